package blobs

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// image is the folder as a crash at one step would leave it.
type image struct {
	dir, step string
	sure      map[int]bool // chunks put and acknowledged, and not touched since
	unsure    map[int]bool // chunks that an act under way puts or drops
}

// TestACrashAtAnyStepLeavesAWholeStore takes an image of the folder at every
// step of many random acts, and opens each.
func TestACrashAtAnyStepLeavesAWholeStore(t *testing.T) {
	t.Parallel()
	dir, base := t.TempDir(), t.TempDir()
	const n = 3000
	var images []image
	here, touched := map[int]map[[32]byte]bool{}, -1
	s := newStoreWith(t, dir, Options{}, controls{after: func(step string) {
		if touched < 0 {
			return
		}
		im := image{dir: filepath.Join(base, fmt.Sprint(len(images))), step: step, sure: map[int]bool{}, unsure: map[int]bool{touched: true}}
		for number, owners := range here {
			if number != touched && len(owners) > 0 {
				im.sure[number] = true
			}
		}
		copyFolder(t, dir, im.dir)
		images = append(images, im)
	}})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		touched = rng.IntN(6)
		owner := [][32]byte{alice, bob}[rng.IntN(2)]
		d, b := chunk(touched, n)
		owners := here[touched]
		if owners == nil {
			owners = map[[32]byte]bool{}
			here[touched] = owners
		}
		if owners[owner] {
			if err := s.Drop(d, owner); err != nil {
				t.Fatal(err)
			}
			delete(owners, owner)
			continue
		}
		if err := s.Put(d, b, later, owner); err != nil {
			t.Fatal(err)
		}
		owners[owner] = true
	}
	touched = -1
	left := int64(0)
	for _, im := range images {
		left += im.check(t, n)
	}
	if left == 0 {
		t.Error("no image was in the middle of anything: the test shows nothing")
	}
}

// check opens an image and says how many files it had to remove.
func (im image) check(t *testing.T, n int) int64 {
	t.Helper()
	s, err := Open(im.dir, Options{Floor: 1})
	if err != nil {
		t.Fatalf("%s: %v", im.step, err)
	}
	defer func() { _ = s.Close() }()
	chunks := 0
	for number := range 6 {
		if got := holds(t, s, number, n); got {
			chunks++
		} else if im.sure[number] {
			t.Errorf("%s: chunk %d was acknowledged and is gone", im.step, number)
		}
		if holds(t, s, number, n) && !im.sure[number] && !im.unsure[number] {
			t.Errorf("%s: chunk %d is back", im.step, number)
		}
	}
	got := s.Stats()
	if got.Chunks != chunks || got.Bytes != int64(chunks*n) || got.Damaged != 0 || files(t, im.dir) != chunks {
		t.Errorf("%s: %+v, %d chunks, %d files", im.step, got, chunks, files(t, im.dir))
	}
	return got.Left
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestOpenRepairsWhatDoesNotFit spoils a closed store in every way.
func TestOpenRepairsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	const n = 500
	for name, spoil := range map[string]func(s *Store, d Digest) (damaged, left int64){
		"file without a row": func(s *Store, d Digest) (int64, int64) {
			other, b := chunk(9, n)
			_ = os.MkdirAll(s.folder(other), folderMode)
			_ = os.WriteFile(s.chunkPath(other), b, fileMode)
			return 0, 1
		},
		"row without a file": func(s *Store, d Digest) (int64, int64) { _ = os.Remove(s.chunkPath(d)); return 1, 0 },
		"shorter file":       func(s *Store, d Digest) (int64, int64) { _ = os.Truncate(s.chunkPath(d), n-1); return 1, 1 },
		"row of nonsense": func(s *Store, d Digest) (int64, int64) {
			rewrite(t, s, func(ix index) error { return ix.chunks.Put(d[:], []byte("nonsense")) })
			return 1, 1
		},
		"key of nonsense": func(s *Store, d Digest) (int64, int64) {
			rewrite(t, s, func(ix index) error { return ix.chunks.Put(d[:3], []byte("nonsense")) })
			return 1, 0
		},
		"coming file": func(s *Store, d Digest) (int64, int64) {
			_ = os.WriteFile(filepath.Join(s.comingPath(), "7"), []byte("half"), fileMode)
			return 0, 0
		},
		"days lost": func(s *Store, d Digest) (int64, int64) {
			rewrite(t, s, func(ix index) error {
				return ix.days.ForEach(func(k, _ []byte) error { return ix.days.Delete(bytes.Clone(k)) })
			})
			return 0, 0
		},
	} {
		dir := t.TempDir()
		s := newStore(t, dir, Options{})
		d := put(t, s, 1, n, later, alice)
		put(t, s, 2, n, later, alice)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		damaged, left := spoil(s, d)
		s = newStore(t, dir, Options{})
		got := s.Stats()
		if got.Damaged != damaged || got.Left != left || !holds(t, s, 2, n) || files(t, dir) != got.Chunks || s.Usage(alice) != got.cost() {
			t.Errorf("%s: %+v, %d files, %d claimed", name, got, files(t, dir), s.Usage(alice))
		}
		if holds(t, s, 1, n) != (got.Chunks == 2) {
			t.Errorf("%s: chunk 1", name)
		}
		put(t, s, 1, n, later, alice)
		if n, err := s.Expire(later.AddDate(0, 0, 1)); n != 2 || err != nil {
			t.Errorf("%s: %d expired, %v", name, n, err)
		}
	}
}

// rewrite changes the index of a closed store.
func rewrite(t *testing.T, s *Store, fn func(index) error) {
	t.Helper()
	db, err := bolt.Open(s.indexPath(), fileMode, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error { return fn(indexOf(tx)) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// writerEnv makes the test binary a process that puts chunks until it is killed.
const writerEnv = "KITH_BLOBS_WRITER"

func crashWriter() bool {
	dir := os.Getenv(writerEnv)
	if dir == "" {
		return false
	}
	s, err := Open(dir, Options{Floor: 1})
	if err != nil {
		fmt.Println(err)
		return true
	}
	for i := int(s.Stats().Put); ; i++ {
		d, b := chunk(i, 200_000)
		if s.Has([]Digest{d})[0] {
			continue
		}
		if err := s.Put(d, b, later, alice); err != nil {
			fmt.Println(err)
			return true
		}
		if i%3 == 2 {
			if err := s.Drop(d, alice); err != nil {
				fmt.Println(err)
				return true
			}
			continue
		}
		fmt.Println(i)
	}
}

// TestKilledWritersLoseNothingAcknowledged kills a real process, three times.
func TestKilledWritersLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	told := map[int]bool{}
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 5 + round {
			if !lines.Scan() {
				t.Fatal("the writer ended")
			}
			i, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			told[i] = true
		}
		_ = cmd.Process.Kill()
		for lines.Scan() {
			if i, err := strconv.Atoi(lines.Text()); err == nil {
				told[i] = true
			}
		}
		_ = cmd.Wait()
		s, err := Open(dir, Options{Floor: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range told {
			if !holds(t, s, i, 200_000) {
				t.Errorf("round %d: chunk %d was acknowledged and is gone", round, i)
			}
		}
		if got := s.Stats(); files(t, dir) != got.Chunks || got.Damaged != 0 {
			t.Errorf("round %d: %+v, %d files", round, got, files(t, dir))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAStoreThatSkipsAStepIsCaught is the control of the images: a row before
// its file is named is a row without a file.
func TestAStoreThatSkipsAStepIsCaught(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newStore(t, dir, Options{})
	d, b := chunk(1, 100)
	err := s.do(&change{rows: func(ix index, c *change) error { // no file
		r := &row{size: uint32(len(b))}
		r.claim(claim{alice, dayOf(later)})
		return ix.put(c, d, r)
	}})
	if err != nil {
		t.Fatal(err)
	}
	im := image{dir: filepath.Join(t.TempDir(), "image"), sure: map[int]bool{1: true}}
	copyFolder(t, dir, im.dir)
	o, err := Open(im.dir, Options{Floor: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close() }()
	if o.Stats().Damaged != 1 || holds(t, o, 1, 100) {
		t.Errorf("%+v", o.Stats())
	}
}
