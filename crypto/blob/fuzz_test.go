package blob

import (
	"bytes"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
)

// FuzzOpenManifest gives the input to the reader as it is, and as the plaintext
// of a manifest that is sealed well: else no fuzzer gets past the cipher.
func FuzzOpenManifest(f *testing.F) {
	whole := seal(f, keyOf(1), noise(1, 3000))
	f.Add(whole.manifest)
	f.Add((&Manifest{Size: 2*ChunkSize + 1, Chunks: make([]Digest, 3)}).encode())
	f.Add((&Manifest{}).encode())
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		if m, err := OpenManifest(whole.key, DigestOf(raw), raw); err == nil && !bytes.Equal(m.seal(whole.key), raw) {
			t.Fatal("a manifest has two spellings")
		}
		m, err := parseManifest(raw)
		if err != nil {
			if err != ErrInvalid || m != nil {
				t.Fatalf("%v, %v", m, err)
			}
			return
		}
		if !bytes.Equal(m.encode(), raw) {
			t.Fatal("a manifest has two spellings")
		}
		held := int64(0)
		for i := range m.Chunks {
			held += int64(m.ChunkLen(i))
		}
		if n, sealed, err := Chunks(m.Size); err != nil || n != len(m.Chunks) || sealed != held || held > int64(n)*MaxChunk {
			t.Fatalf("%d bytes: %d chunks of %d bytes", m.Size, n, held)
		}
		sealed := m.seal(whole.key)
		if again, err := OpenManifest(whole.key, DigestOf(sealed), sealed); err != nil || again.Size != m.Size {
			t.Fatal(err)
		}
	})
}

func FuzzOpenChunk(f *testing.F) {
	whole := seal(f, keyOf(1), noise(1, 300))
	f.Add(whole.chunks[0], int64(300))
	f.Add(whole.chunks[0], int64(0))
	f.Add(make([]byte, Overhead), int64(-1))
	f.Fuzz(func(t *testing.T, raw []byte, size int64) {
		defer fuzztest.Limit(t, len(raw))()
		m := &Manifest{Size: size & (ChunkSize - 1), Chunks: []Digest{DigestOf(raw)}}
		plain, err := NewOpener(whole.key, m).Open(0, raw, nil)
		if err == nil && (int64(len(plain)) > m.Size || !bytes.Equal(raw, whole.chunks[0])) {
			t.Fatalf("%d bytes open that nobody sealed", len(plain))
		}
		if err != nil && (err != ErrInvalid || plain != nil) {
			t.Fatalf("%d bytes, %v", len(plain), err)
		}
	})
}

func FuzzParseCID(f *testing.F) {
	f.Add(DigestOf([]byte("chunk")).String())
	f.Add("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi")
	f.Add("Qm")
	f.Fuzz(func(t *testing.T, text string) {
		defer fuzztest.Limit(t, len(text))()
		d, err := ParseCID(text)
		if err != nil {
			if err != ErrInvalid || d != (Digest{}) {
				t.Fatalf("%x, %v", d, err)
			}
			return
		}
		if again, err := ParseCID(d.String()); err != nil || again != d {
			t.Fatalf("%x, %v", again, err)
		}
	})
}
