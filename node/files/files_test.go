package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/blobs"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is some stores that are asked by the first byte of their peer ids, as peers do.
type world struct {
	mu     sync.Mutex
	stores map[byte]*blobs.Store
	lies   map[byte]bool // answers with other bytes
	fat    bool          // what digests name is larger than what a manifest says: its author made it so
	gets   map[blob.Digest]int
	puts   map[blob.Digest]int
	held   int
	most   int // chunks under way at once
}

func newWorld() *world {
	return &world{stores: map[byte]*blobs.Store{}, lies: map[byte]bool{}, gets: map[blob.Digest]int{}, puts: map[blob.Digest]int{}}
}

func source(b byte) transfer.Source { return transfer.Source{Peer: dht.Peer{ID: []byte{b}}} }

var errDown = errors.New("down")

func (w *world) at(s transfer.Source) (*blobs.Store, error) {
	if st := w.stores[s.Peer.ID[0]]; st != nil {
		return st, nil
	}
	return nil, errDown
}

func (w *world) count(of map[blob.Digest]int, d blob.Digest) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	of[d]++
	w.held++
	w.most = max(w.most, w.held)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.held--
	}
}

func (w *world) Has(ctx context.Context, at transfer.Source, ds []blob.Digest) ([]bool, error) {
	if at.Peer.ID[0] == 77 {
		<-ctx.Done()
	}
	st, err := w.at(at)
	if err != nil {
		return nil, err
	}
	return st.Has(ds), nil
}

func (w *world) Get(_ context.Context, from transfer.Source, d blob.Digest, _ []byte) ([]byte, error) {
	st, err := w.at(from)
	if err != nil {
		return nil, err
	}
	if w.lies[from.Peer.ID[0]] {
		return nil, blobs.ErrInvalid // the client finds out
	}
	defer w.count(w.gets, d)()
	chunk, err := st.Get(d)
	if w.fat && err == nil {
		chunk = append(chunk, make([]byte, blob.MaxChunk-len(chunk))...)
	}
	return chunk, err
}

func (w *world) Put(_ context.Context, to transfer.Source, j transfer.Job, d blob.Digest, chunk []byte) error {
	st, err := w.at(to)
	if err != nil {
		return err
	}
	defer w.count(w.puts, d)()
	return st.Put(d, chunk, j.Expires, [32]byte{1})
}

func (w *world) Drop(_ context.Context, at transfer.Source, _ transfer.Job, ds []blob.Digest) error {
	st, err := w.at(at)
	if err != nil {
		return err
	}
	for _, d := range ds {
		_ = st.Drop(d, [32]byte{1})
	}
	return nil
}

// store opens a store with a number in the world.
func (w *world) store(t testing.TB, b byte, o blobs.Options) *blobs.Store {
	t.Helper()
	o.Floor = max(o.Floor, 1)
	st, err := blobs.Open(filepath.Join(t.TempDir(), "store"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w.stores[b] = st
	return st
}

// device is a service on store b of the world; its results come on the channel.
func (w *world) device(t testing.TB, b byte, o blobs.Options) (*Service, chan transfer.Result) {
	t.Helper()
	out := make(chan transfer.Result, 16)
	s, err := New(Config{
		Dir: t.TempDir(), Chunks: w.store(t, b, o), Peers: w, Rand: rand.NewChaCha8([32]byte{b}),
		Answer: func(r transfer.Result) { out <- r }, Known: func([]byte) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, out
}

func write(t testing.TB, name string, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func noise(n int) []byte {
	raw := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(raw)
	return raw
}

func seal(t testing.TB, s *Service, path string) *chatpb.File {
	t.Helper()
	sealed, err := s.Seal(t.Context(), []Attachment{{Path: path}})
	if err != nil {
		t.Fatal(err)
	}
	sealed.Keep()
	return sealed.Files[0]
}

// do runs one job to its end.
func do(s *Service, out chan transfer.Result, j transfer.Job) transfer.Result {
	s.Do([]transfer.Job{j})
	return <-out
}

func TestAFileComesFromAllWhoHaveItAndOnce(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	bob, bobs := w.device(t, 2, blobs.Options{})
	relay := w.store(t, 3, blobs.Options{})
	plain := noise(9<<20 + 12345)
	f := seal(t, alice, write(t, "a b.bin", plain))
	job := transfer.Job{Number: 1, Kind: transfer.Upload, File: f, Sources: []transfer.Source{source(9), source(3)}, Need: 1, Expires: time.Now().Add(time.Hour)}
	out := make(chan transfer.Result, 1)
	alice.c.Answer = func(r transfer.Result) { out <- r }
	if r := do(alice, out, job); r.Err != nil || len(r.Stored) != 1 || r.Stored[0][0] != 3 {
		t.Fatalf("%+v", r)
	}
	w.lies[5] = true
	w.stores[5] = w.stores[1]
	fetch := transfer.Job{Number: 1, Kind: transfer.Fetch, File: f, Sources: []transfer.Source{source(1), source(5), source(8), source(3)}}
	if r := do(bob, bobs, fetch); r.Err != nil {
		t.Fatalf("%+v", r)
	}
	for d, n := range w.gets {
		if n > 1 {
			t.Errorf("%s came %d times", d, n)
		}
	}
	for d, n := range w.puts {
		if n > 1 {
			t.Errorf("%s went %d times", d, n)
		}
	}
	if relay.Stats().Chunks != 11 || w.most > largeChunks {
		t.Errorf("%d chunks at the relay, %d at once", relay.Stats().Chunks, w.most)
	}
	dir := t.TempDir()
	r := do(bob, bobs, transfer.Job{Number: 1, Kind: transfer.Save, File: f, Folder: dir})
	got, err := os.ReadFile(r.Saved)
	if r.Err != nil || err != nil || !bytes.Equal(got, plain) || filepath.Base(r.Saved) != "a b.bin" {
		t.Fatalf("%+v %v", r, err)
	}
	// A second one stands beside it, and nothing else does.
	r = do(bob, bobs, transfer.Job{Number: 1, Kind: transfer.Save, File: f, Folder: dir})
	list, err := os.ReadDir(dir)
	if r.Err != nil || err != nil || filepath.Base(r.Saved) != "a b (2).bin" || len(list) != 2 {
		t.Fatalf("%+v %v %v", r, err, list)
	}
}

func TestWhatIsHereIsNotFetchedAgain(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	bob, bobs := w.device(t, 2, blobs.Options{})
	f := seal(t, alice, write(t, "x", noise(5<<20)))
	fetch := transfer.Job{Number: 1, Kind: transfer.Fetch, File: f, Sources: []transfer.Source{source(1)}}
	full := w.stores[1]
	w.stores[1] = nil
	if r := do(bob, bobs, fetch); r.Err == nil || r.Final {
		t.Fatalf("nobody answers: %+v", r)
	}
	// A part of it is here when the process ends.
	part := w.store(t, 4, blobs.Options{})
	m := manifestOf(t, alice, f)
	for _, d := range append(m.Chunks[:3:3], blob.Digest(f.Manifest)) {
		chunk, err := full.Get(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := part.Put(d, chunk, forever, [32]byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	fetch.Sources = []transfer.Source{source(4)}
	if r := do(bob, bobs, fetch); r.Err == nil || !r.Moved {
		t.Fatalf("half of it: %+v", r)
	}
	w.stores[1] = full
	fetch.Sources = []transfer.Source{source(4), source(1)}
	if r := do(bob, bobs, fetch); r.Err != nil {
		t.Fatalf("%+v", r)
	}
	for d, n := range w.gets {
		if n > 1 {
			t.Errorf("%s came %d times", d, n)
		}
	}
}

func manifestOf(t testing.TB, s *Service, f *chatpb.File) *blob.Manifest {
	t.Helper()
	m, _, err := s.open(transfer.Job{File: f})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLiesAboutAFileAreFinal(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	bob, bobs := w.device(t, 2, blobs.Options{})
	f := seal(t, alice, write(t, "x", noise(1000)))
	fetch := func(change func(*chatpb.File)) transfer.Result {
		lie := &chatpb.File{Key: f.Key, Manifest: f.Manifest, Size: f.Size, Name: f.Name}
		change(lie)
		return do(bob, bobs, transfer.Job{Number: 1, Kind: transfer.Fetch, File: lie, Sources: []transfer.Source{source(1)}})
	}
	for name, change := range map[string]func(*chatpb.File){
		"size":      func(f *chatpb.File) { f.Size = 1 },
		"key":       func(f *chatpb.File) { f.Key = make([]byte, 32) },
		"short key": func(f *chatpb.File) { f.Key = nil },
		"no manifest but a chunk": func(f *chatpb.File) {
			d := manifestOf(t, alice, f).Chunks[0]
			f.Manifest = d[:]
		},
	} {
		if r := fetch(change); r.Err == nil || !r.Final {
			t.Errorf("%s: %+v", name, r)
		}
	}
	w.fat = true
	if r := fetch(func(*chatpb.File) {}); !r.Final { // of the manifest
		t.Errorf("a large manifest of a small file: %+v", r)
	}
	m := must(alice.c.Chunks.Get(blob.Digest(f.Manifest)))
	if err := bob.c.Chunks.Put(blob.Digest(f.Manifest), m, forever, ownerOf(transfer.Job{File: f})); err != nil {
		t.Fatal(err)
	}
	if r := fetch(func(*chatpb.File) {}); !r.Final { // of its chunk
		t.Errorf("a large chunk of a small file: %+v", r)
	}
	w.fat = false
	if n := bob.c.Chunks.Stats().Chunks; n > 1 { // the manifest
		t.Errorf("%d chunks of lies stay", n)
	}
	if r := fetch(func(*chatpb.File) {}); r.Err != nil {
		t.Errorf("control: %+v", r)
	}
}

// TestNobodyHasUsDropAnothersChunks: a file that names the chunks of another, and goes, takes none of them along.
func TestNobodyHasUsDropAnothersChunks(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	bob, bobs := w.device(t, 2, blobs.Options{})
	f := seal(t, alice, write(t, "x", noise(3<<20)))
	fetch := transfer.Job{Number: 1, Kind: transfer.Fetch, File: f, Sources: []transfer.Source{source(1)}}
	if r := do(bob, bobs, fetch); r.Err != nil {
		t.Fatal(r.Err)
	}
	// The same key, the same chunks, another manifest: its plaintext is rubbish to us, but it opens.
	for _, kind := range []transfer.Kind{transfer.Fetch, transfer.Drop} {
		for _, s := range []*Service{alice, bob} {
			lie := &chatpb.File{Key: f.Key, Manifest: bytes.Repeat([]byte{3}, 32), Size: f.Size}
			s.drop(&run{job: transfer.Job{Number: 2, Kind: kind, File: lie}, ctx: t.Context()})
			for _, d := range manifestOf(t, alice, f).Chunks {
				s.dropChunk(d, ownerOf(transfer.Job{File: lie})) // as if its manifest had named them
			}
		}
	}
	if a, b := alice.c.Chunks.Stats().Chunks, bob.c.Chunks.Stats().Chunks; a != 4 || b != 4 {
		t.Errorf("%d and %d chunks of 4", a, b)
	}
}

// TestASourceThatDoesNotAnswerHoldsNothingUp: its chunks go to those who do.
func TestASourceThatDoesNotAnswerHoldsNothingUp(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	bob, bobs := w.device(t, 2, blobs.Options{})
	f := seal(t, alice, write(t, "x", noise(3<<20)))
	hang := transfer.Source{Peer: dht.Peer{ID: []byte{77}}} // until its job ends
	r := do(bob, bobs, transfer.Job{Number: 1, Kind: transfer.Fetch, File: f, Sources: []transfer.Source{hang, source(1)}})
	if r.Err != nil {
		t.Error(r.Err)
	}
}

func TestAFullDiskLosesNothing(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	bob, bobs := w.device(t, 2, blobs.Options{MaxBytes: 3 << 20})
	path := write(t, "x", noise(6<<20))
	f := seal(t, alice, path)
	fetch := transfer.Job{Number: 1, Kind: transfer.Fetch, File: f, Sources: []transfer.Source{source(1)}}
	if r := do(bob, bobs, fetch); !errors.Is(r.Err, ErrNoRoom) || r.Final {
		t.Fatalf("%+v", r)
	}
	if _, err := bob.Seal(t.Context(), []Attachment{{Path: path}}); !errors.Is(err, ErrNoRoom) {
		t.Errorf("to send: %v", err)
	}
	if n := bob.c.Chunks.Stats().Chunks; n == 0 || n > 3 {
		t.Errorf("%d chunks are here", n) // what was sealed in vain is gone, what was fetched is not
	}
}

func TestWhatWasNeverSentLeavesNoChunks(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	path := write(t, "x", noise(3<<20))
	sealed, err := alice.Seal(t.Context(), []Attachment{{Path: path}})
	if err != nil || alice.c.Chunks.Stats().Chunks != 4 {
		t.Fatal(err, alice.c.Chunks.Stats())
	}
	// The process ends here, once before the message is written and once after.
	for _, known := range []bool{true, false} {
		c := alice.c
		c.Known = func(m []byte) bool { return known && bytes.Equal(m, sealed.Files[0].Manifest) }
		if known { // as it lies on the disk before each start
			raw, err := os.ReadFile(sealed.notes[0].file.Name())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.WriteFile(filepath.Join(alice.notes(), "seal-again"), raw, 0o600) }()
		}
		again, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
		if n := c.Chunks.Stats().Chunks; n != 4 {
			t.Errorf("known %v: %d chunks", known, n)
		}
	}
	_, err = alice.Seal(t.Context(), []Attachment{{Path: path}, {Path: path + "2"}})
	if err == nil || alice.c.Chunks.Stats().Chunks != 4 {
		t.Errorf("a second file that is not there: %v, %+v", err, alice.c.Chunks.Stats())
	}
}

func TestOnlyFilesAreRead(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	for _, path := range []string{"/dev/zero", t.TempDir(), "/proc/self/mem"} {
		if _, err := alice.Seal(t.Context(), []Attachment{{Path: path}}); err == nil && path != "/proc/self/mem" {
			t.Errorf("%s was read", path)
		}
	}
}

func TestAHostileNameStaysInItsFolder(t *testing.T) {
	w := newWorld()
	alice, out := w.device(t, 1, blobs.Options{})
	f := seal(t, alice, write(t, "x", []byte("hello")))
	outer := t.TempDir()
	dir := filepath.Join(outer, "in")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	before := sha256.Sum256(must(os.ReadFile("/etc/passwd")))
	for _, name := range []string{"../../evil", "/etc/passwd", "..", "link", strings.Repeat("n", 9000), "a\x00b", "\u202egnp.exe", "CON", ""} {
		f.Name = name
		r := do(alice, out, transfer.Job{Number: 1, Kind: transfer.Save, File: f, Folder: dir})
		if r.Err != nil || filepath.Dir(r.Saved) != dir {
			t.Errorf("%.30q: %+v", name, r)
		}
		if got := must(os.ReadFile(r.Saved)); string(got) != "hello" {
			t.Errorf("%.30q: %q", name, got)
		}
	}
	if list, _ := os.ReadDir(outer); len(list) != 1 {
		t.Errorf("outside: %v", list)
	}
	if sha256.Sum256(must(os.ReadFile("/etc/passwd"))) != before {
		t.Error("a link was followed")
	}
}

func must(raw []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return raw
}

func TestADamagedChunkIsFetchedAgainAndNoFileAppears(t *testing.T) {
	w := newWorld()
	alice, out := w.device(t, 1, blobs.Options{})
	f := seal(t, alice, write(t, "x", noise(3<<20)))
	d := manifestOf(t, alice, f).Chunks[1]
	if err := alice.c.Chunks.Drop(d, sealedBy(blob.Key(f.Key))); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := do(alice, out, transfer.Job{Number: 1, Kind: transfer.Save, File: f, Folder: dir})
	if list, _ := os.ReadDir(dir); r.Err == nil || !r.Lost || len(list) != 0 {
		t.Errorf("%+v %v", r, list)
	}
}

func TestDropTakesChunksHereAndAtRelays(t *testing.T) {
	w := newWorld()
	alice, out := w.device(t, 1, blobs.Options{})
	relay := w.store(t, 3, blobs.Options{})
	f := seal(t, alice, write(t, "x", noise(3<<20)))
	up := transfer.Job{Number: 1, Kind: transfer.Upload, File: f, Sources: []transfer.Source{source(3)}, Need: 1, Expires: forever}
	if r := do(alice, out, up); r.Err != nil {
		t.Fatal(r.Err)
	}
	up.Kind, up.Up = transfer.Drop, true
	alice.Do([]transfer.Job{up})
	alice.mu.Lock()
	r := alice.runs[1]
	alice.mu.Unlock()
	if r != nil {
		<-r.done
	}
	if a, b := alice.c.Chunks.Stats().Chunks, relay.Stats().Chunks; a != 0 || b != 0 {
		t.Errorf("%d here, %d there", a, b)
	}
}

func picture(w, h int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(i * 7)
	}
	img.Set(0, 0, color.White)
	return img
}

func TestPreviewsAreSmallAndSayNothingElse(t *testing.T) {
	secret := []byte("GPS 52.5200 13.4050")
	var plain, p, g bytes.Buffer
	if err := errors.Join(jpeg.Encode(&plain, picture(900, 600), nil), png.Encode(&p, picture(700, 100)), gif.Encode(&g, picture(50, 60), nil)); err != nil {
		t.Fatal(err)
	}
	raw := plain.Bytes()
	app := append([]byte{0xff, 0xe1, 0, byte(2 + len(secret))}, secret...) // a segment as cameras write it
	tagged := slices.Concat(raw[:2], app, raw[2:])
	for name, c := range map[string]struct {
		raw  []byte
		w, h int
	}{"jpeg": {tagged, 320, 213}, "png": {p.Bytes(), 320, 45}, "gif": {g.Bytes(), 50, 60}} {
		f, err := os.Open(write(t, "x", c.raw))
		if err != nil {
			t.Fatal(err)
		}
		small, err := previewOf(f, int64(len(c.raw)))
		f.Close()
		if err != nil || small == nil {
			t.Fatalf("%s: %v", name, err)
		}
		img, err := jpeg.Decode(bytes.NewReader(small))
		if err != nil || img.Bounds().Dx() != c.w || img.Bounds().Dy() != c.h || len(small) > transfer.MaxPreview {
			t.Errorf("%s: %v %v, %d bytes", name, err, img.Bounds(), len(small))
		}
		if bytes.Contains(small, secret) {
			t.Errorf("%s: the preview tells", name)
		}
	}
}

func TestABombIsNotDecoded(t *testing.T) {
	var p bytes.Buffer
	if err := png.Encode(&p, image.NewPaletted(image.Rect(0, 0, 7000, 6000), color.Palette{color.Black, color.White})); err != nil {
		t.Fatal(err)
	}
	header := p.Bytes() // 42 million pixels in a few KiB
	for _, raw := range [][]byte{header, header[:40], []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), noise(1000), nil} {
		f, err := os.Open(write(t, "x", raw))
		if err != nil {
			t.Fatal(err)
		}
		small, err := previewOf(f, int64(len(raw)))
		f.Close()
		if err != nil || small != nil {
			t.Errorf("%d bytes: a preview, %v", len(raw), err)
		}
	}
}

func TestProgressIsToldButNotTooOften(t *testing.T) {
	w := newWorld()
	alice, _ := w.device(t, 1, blobs.Options{})
	bob, bobs := w.device(t, 2, blobs.Options{})
	f := seal(t, alice, write(t, "x", noise(4<<20)))
	moved := bob.Moved()
	began := time.Now()
	signs := 0
	ended := make(chan transfer.Result)
	go func() {
		ended <- do(bob, bobs, transfer.Job{Number: 7, Kind: transfer.Fetch, File: f, Sources: []transfer.Source{source(1)}})
	}()
	for {
		select {
		case <-moved:
			signs++
			moved = bob.Moved()
			continue
		case r := <-ended:
			if most := int(time.Since(began)/tellEvery) + 1; r.Err != nil || signs > most {
				t.Errorf("%+v, %d signs", r, signs)
			}
		}
		return
	}
}

// BenchmarkSealFetchSave is a file's whole way but for the network: read, seal, store; fetch, store; open, write.
func BenchmarkSealFetchSave(b *testing.B) {
	const size = 128 << 20
	path := filepath.Join(b.TempDir(), "x")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), size)
	if err = errors.Join(err, f.Close()); err != nil {
		b.Fatal(err)
	}
	w := newWorld()
	alice, _ := w.device(b, 1, blobs.Options{})
	bob, bobs := w.device(b, 2, blobs.Options{})
	dir := b.TempDir()
	b.SetBytes(size)
	var spent [3]time.Duration
	n := uint64(0)
	for b.Loop() {
		at := time.Now()
		file := seal(b, alice, path)
		spent[0] += time.Since(at)
		for i, kind := range []transfer.Kind{transfer.Fetch, transfer.Save} {
			at = time.Now()
			r := do(bob, bobs, transfer.Job{Number: n, Kind: kind, File: file, Folder: dir, Sources: []transfer.Source{source(1)}})
			if r.Err != nil {
				b.Fatal(r.Err)
			}
			spent[i+1] += time.Since(at)
			_ = os.Remove(r.Saved)
		}
		n++
		for _, s := range []*Service{alice, bob} {
			s.Do([]transfer.Job{{Number: n << 32, Kind: transfer.Drop, File: file, Up: s == alice}})
		}
	}
	for i, name := range []string{"seal", "fetch", "save"} {
		b.ReportMetric(float64(size)*float64(n)/1e6/spent[i].Seconds(), name+"-MB/s")
	}
}
