package boltfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var (
	rows  = []byte("rows")
	quick = Options{Wait: 20 * time.Millisecond}
)

// fill writes a table of n rows, and a table within a table.
func fill(n int) func(*bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(rows)
		if err != nil {
			return err
		}
		small, err := b.CreateBucket([]byte("small"))
		if err != nil {
			return err
		}
		for i := range n {
			if err := b.Put(fmt.Appendf(nil, "key %05d", i), []byte(strings.Repeat("value ", 1+i%20))); err != nil {
				return err
			}
		}
		return small.Put([]byte("k"), []byte("v"))
	}
}

// created is the path of a new file with n rows.
func created(t testing.TB, o Options, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.db")
	if err := Create(path, o, fill(n)); err != nil {
		t.Fatal(err)
	}
	return path
}

func opened(t testing.TB, path string, o Options) *bolt.DB {
	t.Helper()
	db, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// count is how many rows the file shows.
func count(t testing.TB, db *bolt.DB) (n int) {
	t.Helper()
	err := db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(rows).ForEach(func(_, _ []byte) error { n++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAFileAppearsWholeOrNotAtAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.db")
	if err := os.WriteFile(path+".new", []byte("torn first write"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	err := Create(path, quick, func(tx *bolt.Tx) error { return errors.Join(fill(9)(tx), stop) })
	if !errors.Is(err, stop) {
		t.Errorf("create: %v", err)
	}
	for _, p := range []string{path, path + ".new"} {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s after a creation that failed: %v", filepath.Base(p), err)
		}
	}
	if err := Create(path, quick, fill(9)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, opened(t, path, quick)); n != 10 {
		t.Errorf("%d rows", n)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestCreateKeepsWhatIsThere(t *testing.T) {
	path := created(t, quick, 3)
	if err := Create(path, quick, fill(5)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create: %v", err)
	}
	if n := count(t, opened(t, path, quick)); n != 4 {
		t.Errorf("%d rows", n)
	}
	if err := Create(filepath.Join(path, "no", "folder"), quick, fill(1)); err == nil {
		t.Error("created in no folder")
	}
}

func TestOneWriterOrManyReaders(t *testing.T) {
	path := created(t, quick, 3)
	reading := quick
	reading.ReadOnly = true
	first, second := opened(t, path, reading), opened(t, path, reading)
	if count(t, first) != 4 || count(t, second) != 4 {
		t.Error("rows are missing")
	}
	if _, err := Open(path, quick); !errors.Is(err, ErrLocked) {
		t.Errorf("a writer beside readers: %v", err)
	}
	_, _ = first.Close(), second.Close()
	opened(t, path, quick)
	for _, o := range []Options{quick, reading} {
		if _, err := Open(path, o); !errors.Is(err, ErrLocked) {
			t.Errorf("beside a writer, %+v: %v", o, err)
		}
	}
}

func TestOpenSaysWhyNot(t *testing.T) {
	whole, err := os.ReadFile(created(t, quick, 300))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, content := range map[string][]byte{
		"empty": {}, "garbage": []byte("not a file of bbolt"), "one page": whole[:4096], "torn": whole[:len(whole)/3],
		"no metas": append(make([]byte, 8192), whole[8192:]...), "no pages": append(whole[:8192:8192], make([]byte, len(whole)-8192)...),
	} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var where *Damage
		if _, err := Open(path, quick); !errors.Is(err, ErrDamaged) || !errors.As(err, &where) || where.Place == "" {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadFile(path); err != nil || len(left) != len(content) {
			t.Errorf("%s: opening left %d bytes of %d", name, len(left), len(content))
		}
	}
	if _, err := Open(filepath.Join(folder, "missing"), quick); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Open(folder, quick); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a folder: %v", err)
	}
}

func TestErrorsAreClassified(t *testing.T) {
	stop := errors.New("stop")
	for name, c := range map[string]struct{ err, want error }{
		"write":          {&fs.PathError{Op: "write", Err: syscall.ENOSPC}, ErrFull},
		"quota":          {fmt.Errorf("x: %w", &fs.PathError{Op: "write", Err: syscall.EDQUOT}), ErrFull},
		"grow":           {errors.New("file resize error: truncate file.db: " + syscall.ENOSPC.Error()), ErrFull},
		"sync, raw":      {syscall.ENOSPC, nil},
		"sync, by path":  {&fs.PathError{Op: "sync", Err: syscall.ENOSPC}, nil},
		"sync of growth": {errors.New("file sync error: " + syscall.ENOSPC.Error()), nil},
		"lock":           {berrors.ErrTimeout, ErrLocked},
		"format":         {berrors.ErrVersionMismatch, ErrDamaged},
		"checksum":       {berrors.ErrChecksum, ErrDamaged},
		"other":          {stop, stop},
	} {
		got := Classify(c.err)
		for _, class := range []error{ErrFull, ErrLocked, ErrDamaged, stop} {
			if is := errors.Is(got, class); is != (class == c.want) {
				t.Errorf("%s: %v is %v: %v", name, got, class, is)
			}
		}
	}
	if Classify(nil) != nil {
		t.Error("nil is an error")
	}
}

func TestGuardReportsWhatBboltTripsOver(t *testing.T) {
	path := created(t, quick, 300)
	db := opened(t, path, quick)
	if err := os.Truncate(path, 8192); err != nil { // the metas stay, or bbolt keeps its locks
		t.Fatal(err)
	}
	var where *Damage
	read := func() error { // a fault
		return db.View(func(tx *bolt.Tx) error {
			return tx.Bucket(rows).ForEach(func(_, _ []byte) error { return nil })
		})
	}
	if err := Guard("here", read); !errors.As(err, &where) || where.Place != "here" || !errors.Is(err, ErrDamaged) {
		t.Errorf("a shortened file: %v", err)
	}
	if err := Guard("there", func() error { panic("page") }); !errors.As(err, &where) || where.Place != "there" {
		t.Errorf("a panic: %v", err)
	}
	if err := Guard("", func() error { return fs.ErrClosed }); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("an error: %v", err)
	}
}
