package blob

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// noise is n bytes that a seed gives.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func keyOf(seed byte) (k Key) {
	copy(k[:], noise(uint64(seed)+1000, KeySize))
	return k
}

// sealed is a file in all its parts.
type sealed struct {
	key      Key
	digest   Digest
	manifest []byte
	chunks   [][]byte
}

func seal(t testing.TB, key Key, file []byte) sealed {
	t.Helper()
	s, err := NewSealer(key, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	out := sealed{key: key}
	for {
		d, chunk, err := s.Next(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || DigestOf(chunk) != d {
			t.Fatalf("%v, digest %v", err, d)
		}
		out.chunks = append(out.chunks, chunk)
	}
	if out.digest, out.manifest, err = s.Manifest(); err != nil {
		t.Fatal(err)
	}
	return out
}

// open is the file, or an error of the first part that does not open.
func (s *sealed) open() ([]byte, error) {
	m, err := OpenManifest(s.key, s.digest, s.manifest)
	if err != nil {
		return nil, err
	}
	if len(m.Chunks) != len(s.chunks) {
		return nil, errors.New("chunks are missing")
	}
	o := NewOpener(s.key, m)
	var file []byte
	for i, c := range s.chunks {
		plain, err := o.Open(i, c, nil)
		if err != nil {
			return nil, err
		}
		file = append(file, plain...)
	}
	return file, nil
}

func TestAFileOpensAsItWasSealed(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 257, ChunkSize - 1, ChunkSize, ChunkSize + 1, 2*ChunkSize + 77} {
		file := noise(1, n)
		s := seal(t, keyOf(1), file)
		got, err := s.open()
		if err != nil || !bytes.Equal(got, file) {
			t.Errorf("%d bytes: %d back, %v", n, len(got), err)
		}
		chunks, total, err := Chunks(int64(n))
		held := 0
		for _, c := range s.chunks {
			held += len(c)
		}
		if err != nil || chunks != len(s.chunks) || total != int64(held) {
			t.Errorf("%d bytes: %d chunks of %d bytes, said %d of %d, %v", n, len(s.chunks), held, chunks, total, err)
		}
	}
}

func TestASealerTakesExactlyTheFile(t *testing.T) {
	file := noise(2, 3000)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		from io.Reader
		size int64
		want error
	}{
		"shorter":   {bytes.NewReader(file), 3001, ErrChanged},
		"longer":    {bytes.NewReader(file), 2999, ErrChanged},
		"breaks":    {io.MultiReader(bytes.NewReader(file[:100]), iotest.ErrReader(broken)), 3000, broken},
		"ends late": {io.MultiReader(bytes.NewReader(file), iotest.ErrReader(broken)), 3000, broken},
		"negative":  {nil, -1, ErrTooLarge},
		"too large": {nil, MaxChunks*ChunkSize + 1, ErrTooLarge},
	} {
		s, err := NewSealer(keyOf(1), c.from, c.size)
		if err == nil {
			if _, _, early := s.Manifest(); early == nil {
				t.Errorf("%s: a manifest before the chunks", name)
			}
			_, _, err = s.Next(nil)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestPaddingTellsOnlyTheMagnitude(t *testing.T) {
	for _, c := range [][2]int64{{0, 256}, {256, 256}, {257, 272}, {4095, 4096}, {4097, 4352}, {1 << 30, 1 << 30}, {1<<30 + 1, 1<<30 + 1<<25}, {MaxChunks*ChunkSize - 1, MaxChunks * ChunkSize}} {
		if got := Padded(c[0]); got != c[1] {
			t.Errorf("%d is padded to %d, want %d", c[0], got, c[1])
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(MinPadded, 1<<40).Draw(t, "size")
		p := Padded(n)
		if p < n || float64(p) > 1.12*float64(n) || Padded(p) != p {
			t.Fatalf("%d is padded to %d, and that to %d", n, p, Padded(p))
		}
	})
}

// TestNoPartCanBeExchanged moves the parts of a file about; the digests are
// those of a liar's manifest where he can make one, because he knows the key.
func TestNoPartCanBeExchanged(t *testing.T) {
	file := noise(3, 3*ChunkSize)
	whole := seal(t, keyOf(1), file)
	other := seal(t, keyOf(2), noise(4, 3*ChunkSize))
	for name, spoil := range map[string]func(s *sealed){
		"swapped":       func(s *sealed) { s.chunks[0], s.chunks[1] = s.chunks[1], s.chunks[0] },
		"repeated":      func(s *sealed) { s.chunks[1] = s.chunks[0] },
		"last early":    func(s *sealed) { s.chunks[1], s.chunks[2] = s.chunks[2], s.chunks[1] },
		"truncated":     func(s *sealed) { s.chunks[2] = s.chunks[2][:len(s.chunks[2])-1] },
		"longer":        func(s *sealed) { s.chunks[2] = append(s.chunks[2][:len(s.chunks[2]):len(s.chunks[2])], 0) },
		"of another":    func(s *sealed) { s.chunks[1] = other.chunks[1] },
		"one bit":       func(s *sealed) { s.chunks[1] = bytes.Clone(s.chunks[1]); s.chunks[1][7] ^= 1 },
		"wrong key":     func(s *sealed) { s.key = other.key },
		"manifest":      func(s *sealed) { s.manifest = other.manifest },
		"manifest's id": func(s *sealed) { s.digest = other.digest },
		"left out":      func(s *sealed) { s.chunks = s.chunks[:2] },
	} {
		bad := whole
		bad.chunks = append([][]byte(nil), whole.chunks...)
		spoil(&bad)
		if _, err := bad.open(); err == nil {
			t.Errorf("%s: opens", name)
		}
		// Even a manifest that names the spoilt chunks does not open them.
		m := Manifest{Size: int64(len(file))}
		for _, c := range bad.chunks {
			m.Chunks = append(m.Chunks, DigestOf(c))
		}
		bad.manifest = m.seal(bad.key)
		bad.digest = DigestOf(bad.manifest)
		if _, err := bad.open(); err == nil && name != "manifest" && name != "manifest's id" {
			t.Errorf("%s, with a manifest to it: opens", name)
		}
	}
	if got, err := whole.open(); err != nil || !bytes.Equal(got, file) {
		t.Errorf("the whole file: %v", err)
	}
}

// TestAFileHasOneKey shows why the commitment is there: for a cipher alone two
// keys may open the same bytes (invisible salamanders).
func TestAFileHasOneKey(t *testing.T) {
	whole := seal(t, keyOf(1), noise(5, 1000))
	_, err := OpenManifest(keyOf(2), whole.digest, whole.manifest)
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("another key: %v", err)
	}
	// A manifest sealed by one key behind the commitment of another opens with neither.
	mixed := bytes.Clone(whole.manifest)
	theirs := keyOf(2).Commitment()
	copy(mixed, theirs[:])
	for seed := byte(1); seed <= 2; seed++ {
		if _, err := OpenManifest(keyOf(seed), DigestOf(mixed), mixed); !errors.Is(err, ErrInvalid) {
			t.Errorf("key %d: %v", seed, err)
		}
	}
}

func TestAManifestCannotLie(t *testing.T) {
	honest := Manifest{Size: 3 * ChunkSize, Chunks: make([]Digest, 3)}
	if m, err := parseManifest(honest.encode()); err != nil || len(m.Chunks) != 3 {
		t.Fatalf("%v", err)
	}
	sized := func(size uint64, digests int) []byte {
		b := binary.BigEndian.AppendUint64([]byte{version}, size)
		return append(b, make([]byte, digests*32)...)
	}
	for name, raw := range map[string][]byte{
		"empty": {}, "version": append([]byte{2}, honest.encode()[1:]...), "no size": {version, 0, 0},
		"fewer":     sized(3*ChunkSize, 2),
		"more":      sized(3*ChunkSize, 4),
		"none":      sized(0, 0),
		"part":      append(sized(3*ChunkSize, 2), 1, 2, 3),
		"huge":      sized(1<<63, 3),
		"wraps":     sized(1<<64-1, 1),
		"too large": sized(MaxChunks*ChunkSize+1, 3),
	} {
		if m, err := parseManifest(raw); !errors.Is(err, ErrInvalid) || m != nil {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if len(honest.seal(keyOf(1))) > MaxChunk {
		t.Error("too large to be a chunk")
	}
	most := Manifest{Size: MaxChunks * ChunkSize, Chunks: make([]Digest, MaxChunks)}
	raw := most.seal(keyOf(1))
	if m, err := OpenManifest(keyOf(1), DigestOf(raw), raw); err != nil || len(m.Chunks) != MaxChunks || len(raw) > MaxChunk {
		t.Errorf("the largest manifest has %d bytes: %v", len(raw), err)
	}
}

// TestThePadIsEmpty: a sender who knows the key hides nothing behind the file.
func TestThePadIsEmpty(t *testing.T) {
	key, plain := keyOf(1), make([]byte, Padded(1000))
	plain[1020] = 1
	chunk := key.cipher(chunkLabel).Seal(nil, nonce(0, true), plain, nil)
	for _, c := range []struct {
		size int64
		want error
	}{{1000, ErrInvalid}, {1021, nil}} {
		m := &Manifest{Size: c.size, Chunks: []Digest{DigestOf(chunk)}}
		if _, err := NewOpener(key, m).Open(0, chunk, nil); !errors.Is(err, c.want) {
			t.Errorf("a file of %d bytes: %v", c.size, err)
		}
	}
}

func TestAnOpenerKnowsItsChunks(t *testing.T) {
	s := seal(t, keyOf(1), noise(6, 10))
	m, err := OpenManifest(s.key, s.digest, s.manifest)
	if err != nil {
		t.Fatal(err)
	}
	o := NewOpener(s.key, m)
	for _, i := range []int{-1, 1, 1 << 40} {
		if _, err := o.Open(i, s.chunks[0], nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	inPlace := bytes.Clone(s.chunks[0])
	if got, err := o.Open(0, inPlace, inPlace[:0]); err != nil || !bytes.Equal(got, noise(6, 10)) {
		t.Errorf("in place: %x, %v", got, err)
	}
}

func TestCIDsAreOfOneKind(t *testing.T) {
	d := DigestOf([]byte("chunk"))
	if got, err := ParseCID(d.String()); err != nil || got != d {
		t.Fatalf("%v, %v", got, err)
	}
	for name, text := range map[string]string{
		"empty": "", "version 0": "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKyzdg",
		"codec": "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", "cut": d.String()[:20], "long": string(noise(1, 600)),
	} {
		if got, err := ParseCID(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
