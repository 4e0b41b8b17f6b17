package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// listed is what a file shows through bbolt: table, key, value.
func listed(t testing.TB, db *bolt.DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	var each func(name []byte, b *bolt.Bucket) error
	each = func(name []byte, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return each(k, b.Bucket(k))
			}
			all[string(name)+"/"+string(k)] = string(v)
			return nil
		})
	}
	if err := db.View(func(tx *bolt.Tx) error { return tx.ForEach(each) }); err != nil {
		t.Fatal(err)
	}
	return all
}

func collect(into map[string]string) Row {
	return func(table, key, value []byte) { into[string(table)+"/"+string(key)] = string(value) }
}

func wantRows(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s: row %q is %.20q, want %.20q", what, k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
}

func TestScanSeesWhatBboltSees(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.db")
	if err := os.WriteFile(path, sample(t), 0o600); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	found, err := Scan(path, quick, collect(got))
	if err != nil || len(found) != 0 {
		t.Fatal(found, err)
	}
	db := opened(t, path, quick)
	want := listed(t, db)
	wantRows(t, "scan", got, want)
	if _, err := Scan(path, quick, collect(got)); !errors.Is(err, ErrLocked) {
		t.Errorf("beside a writer: %v", err)
	}
	if _, err := Scan(path+".missing", quick, collect(got)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// TestScanTableGoesOnWhereItStopped reads a table in steps beside a writer that
// changes it: each row is seen once.
func TestScanTableGoesOnWhereItStopped(t *testing.T) {
	path := created(t, paged, 3000)
	db := opened(t, path, paged)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	got, twice, steps := map[string]string{}, 0, 0
	for next := []byte{}; next != nil; steps++ {
		err := db.View(func(tx *bolt.Tx) (err error) {
			var found []*Damage
			next, found = ScanTable(tx, f, rows, next, 3*page, func(_, k, v []byte) {
				if _, known := got[string(k)]; known {
					twice++
				}
				got[string(k)] = string(v)
			})
			if len(found) > 0 {
				t.Error(found[0])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(rows).Put(fmt.Appendf(nil, "key %05d", steps), []byte("changed"))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 3000 || twice != 0 || steps < 10 {
		t.Errorf("%d rows, %d twice, %d steps", len(got), twice, steps)
	}
	_ = db.View(func(tx *bolt.Tx) error {
		if next, found := ScanTable(tx, f, []byte("none"), nil, page, nil); next != nil || found != nil {
			t.Errorf("no table: %x, %v", next, found)
		}
		return nil
	})
}

// TestScanGoesRoundDamage: whatever bit is flipped, what the scan shows is a
// row of the file, or damage is named, and it ends.
func TestScanGoesRoundDamage(t *testing.T) {
	whole := sample(t)
	healthy := 0
	_ = scan(bytes.NewReader(whole), int64(len(whole)), func(_, _, _ []byte) { healthy++ })
	rng := rand.New(rand.NewPCG(1, 7))
	named, kept := 0, 0
	for range 600 {
		at := rng.IntN(len(whole)/page)*page + rng.IntN(300)
		n := 0
		raw := flipped(whole, at, rng.IntN(8))
		if len(scan(bytes.NewReader(raw), int64(len(raw)), func(_, _, _ []byte) { n++ })) > 0 {
			named++
			if n > healthy/2 {
				kept++
			}
		} else if n != healthy {
			t.Fatalf("byte %d: %d rows of %d, and nothing is named", at, n, healthy)
		}
	}
	t.Logf("%d of 600 named, most rows kept in %d", named, kept)
	if kept < named/2 {
		t.Errorf("most rows were kept in %d of %d", kept, named)
	}
}

func sparse(t testing.TB, path string, n int) *bolt.DB {
	t.Helper()
	if err := Create(path, paged, fill(n)); err != nil {
		t.Fatal(err)
	}
	db := opened(t, path, paged)
	err := db.Update(func(tx *bolt.Tx) error {
		for i := range n * 3 / 4 {
			if err := tx.Bucket(rows).Delete(fmt.Appendf(nil, "key %05d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestCompactKeepsTheRowsAndGivesTheSpaceBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.db")
	db := sparse(t, path, 6000)
	want := listed(t, db)
	before, free, err := Sparse(db)
	if err != nil || free < before/2 {
		t.Fatal(before, free, err)
	}
	waiting := make(chan error, 1) // for the lock, at the file that is replaced
	slow := paged
	slow.Wait = 0
	go func() {
		late, err := current(path, slow) // without the checks of Open, so that it waits while the file is replaced
		if err == nil {
			err = late.Update(func(tx *bolt.Tx) error { return tx.Bucket(rows).Put([]byte("by the late"), []byte("v")) })
			err = errors.Join(err, late.Close())
		}
		waiting <- err
	}()
	if db, err = Compact(db, paged); err != nil {
		t.Fatal(err)
	}
	after, _, _ := Sparse(db)
	if after > before/2 {
		t.Errorf("%d bytes of %d are left", after, before)
	}
	got := listed(t, db)
	delete(got, "rows/by the late") // the late may come before we have the new file again, or when we let go of it
	wantRows(t, "compacted", got, want)
	if err = errors.Join(err, db.Close(), <-waiting); err != nil {
		t.Fatal(err)
	}
	if db, err = Open(path, paged); err != nil {
		t.Fatal(err)
	}
	if listed(t, db)["rows/by the late"] == "" {
		t.Error("the late opened the file that was replaced")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCompactLeavesTheFileWhereItCannotCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.db")
	db := sparse(t, path, 600)
	want := listed(t, db)
	if err := os.MkdirAll(path+".new/full", 0o700); err != nil {
		t.Fatal(err)
	}
	same, err := Compact(db, paged)
	if err == nil || same != db {
		t.Fatalf("compacted into a folder: %v", err)
	}
	wantRows(t, "left alone", listed(t, db), want)
}

// TestKillInTheMiddleOfACompaction: a child compacts, the parent kills it at
// some size of the copy; the file then has all rows, and the rest of the copy
// is gone once it is opened.
func TestKillInTheMiddleOfACompaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.db")
	if child := os.Getenv("BOLTFILE_COMPACT"); child != "" {
		db, err := Open(child, paged)
		for err == nil {
			db, err = Compact(db, paged)
		}
		fmt.Println(err)
		return
	}
	db := sparse(t, path, 8000)
	want := listed(t, db)
	size, _, _ := Sparse(db)
	_ = db.Close()
	rng := rand.New(rand.NewPCG(1, 9))
	caught := 0
	for range 12 {
		run := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		run.Env = append(os.Environ(), "BOLTFILE_COMPACT="+path)
		run.Stdout = os.Stderr
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- run.Wait() }()
		for limit := rng.Int64N(size / 10); ; {
			if info, err := os.Stat(path + ".new"); err == nil && info.Size() >= limit {
				break
			}
			if len(ended) > 0 {
				t.Fatal("the child ended by itself")
			}
		}
		_ = run.Process.Kill()
		<-ended
		if _, err := os.Stat(path + ".new"); err == nil {
			caught++
		}
		db := opened(t, path, paged)
		wantRows(t, "killed", listed(t, db), want)
		_ = db.Close()
		if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the rest of the copy: %v", err)
		}
	}
	t.Logf("%d of 12 in the middle", caught)
	if caught == 0 {
		t.Error("no kill met a copy")
	}
}
