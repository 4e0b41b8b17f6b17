package blob

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

func sealStream(t *testing.T, key Key, plain []byte, step int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(key, &out)
	for p := range slices.Chunk(plain, step) {
		if n, err := w.Write(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("a closed stream takes more")
	}
	return out.Bytes()
}

func TestStream(t *testing.T) {
	key := keyOf(1)
	for _, size := range []int{0, 1, StreamChunk - 1, StreamChunk, StreamChunk + 1, 3*StreamChunk - 1, 3 * StreamChunk} {
		plain := bytes.Repeat([]byte("stream."), size/7+1)[:size]
		sealed := sealStream(t, key, plain, 10_007)
		if other := sealStream(t, key, plain, 1<<20); !bytes.Equal(other, sealed) {
			t.Errorf("%d bytes: how they are written changes what comes of it", size)
		}
		chunks := max(1, (size+StreamChunk-1)/StreamChunk)
		if want := size + chunks*Overhead; len(sealed) != want {
			t.Errorf("%d bytes: sealed %d, want %d", size, len(sealed), want)
		}
		r := NewReader(key, iotest.HalfReader(bytes.NewReader(sealed)))
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, plain) || r.Chunks() != chunks {
			t.Errorf("%d bytes: %d come back in %d chunks, %v", size, len(got), r.Chunks(), err)
		}
	}
}

// What is not the whole stream, in its order, under its key, is refused, and nothing of the chunk in question is given.
func TestStreamRefuses(t *testing.T) {
	const chunk = StreamChunk + Overhead
	key := keyOf(1)
	plain := bytes.Repeat([]byte("0123456789abcdef"), 3*StreamChunk/16)
	sealed := sealStream(t, key, plain, 1<<20)
	flipped := func(at int) []byte {
		b := slices.Clone(sealed)
		b[at] ^= 1
		return b
	}
	swapped := slices.Concat(sealed[chunk:2*chunk], sealed[:chunk], sealed[2*chunk:])
	file := key.cipher(chunkLabel).Seal(nil, nonce(0, true), []byte("of a file"), nil)
	for name, c := range map[string]struct {
		sealed []byte
		key    Key
		good   int // chunks that come before
	}{
		"nothing":                 {nil, key, 0},
		"another key":             {sealed, keyOf(2), 0},
		"first chunk":             {flipped(7), key, 0},
		"second chunk's tag":      {flipped(2*chunk - 1), key, 1},
		"last chunk":              {flipped(len(sealed) - 1), key, 2},
		"cut by a byte":           {sealed[:len(sealed)-1], key, 2},
		"cut between chunks":      {sealed[:2*chunk], key, 1},
		"cut to less than a tag":  {sealed[:5], key, 0},
		"a byte more":             {append(slices.Clone(sealed), 0), key, 2},
		"a chunk more":            {append(slices.Clone(sealed), sealed[:chunk]...), key, 2},
		"two swapped":             {swapped, key, 0},
		"one left out":            {slices.Concat(sealed[:chunk], sealed[2*chunk:]), key, 1},
		"a chunk of a file's":     {file, key, 0},
		"an empty chunk behind":   {append(slices.Clone(sealed), key.cipher(streamLabel).Seal(nil, nonce(3, true), nil, nil)...), key, 2},
		"an empty one of another": {append(slices.Clone(sealed[:2*chunk]), key.cipher(streamLabel).Seal(nil, nonce(2, true), nil, nil)...), key, 2},
	} {
		r := NewReader(c.key, bytes.NewReader(c.sealed))
		got, err := io.ReadAll(r)
		if !errors.Is(err, ErrInvalid) || r.Chunks() != c.good || !bytes.Equal(got, plain[:c.good*StreamChunk]) {
			t.Errorf("%s: %d bytes of %d chunks, %v; want %d chunks and ErrInvalid", name, len(got), r.Chunks(), err, c.good)
		}
	}
	if got, err := io.ReadAll(NewReader(key, bytes.NewReader(sealed))); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("control: the stream as it was sealed: %v", err)
	}
}

func TestStreamPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	if _, err := io.ReadAll(NewReader(keyOf(1), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Error(err)
	}
	w := NewWriter(keyOf(1), failing{broken})
	if _, err := w.Write(make([]byte, 2*StreamChunk)); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := w.Close(); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
