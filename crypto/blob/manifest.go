package blob

import (
	"bytes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// sealing is the cipher of one use of a key.
type sealing struct{ cipher.AEAD }

// Manifest says what a file is made of.
type Manifest struct {
	Size   int64    // of the file, in bytes
	Chunks []Digest // of its sealed chunks, in order
}

// ChunkLen is how many bytes the i-th sealed chunk has.
func (m *Manifest) ChunkLen(i int) int { return chunkLen(Padded(m.Size), i) + Overhead }

// ManifestLen is how many bytes the sealed manifest of a file of a size has; 0: there is no such file.
func ManifestLen(size int64) int {
	n, _, err := Chunks(size)
	if err != nil {
		return 0
	}
	return manifestOver + manifestHead + n*len(Digest{})
}

// encode is version 1 | size u64 | digest 32 each. Padding, chunk size and the
// number of chunks follow from the size, so that nothing is said twice.
func (m *Manifest) encode() []byte {
	b := make([]byte, 0, manifestHead+len(m.Chunks)*len(Digest{})+Overhead)
	b = append(b, version)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Size))
	for i := range m.Chunks {
		b = append(b, m.Chunks[i][:]...)
	}
	return b
}

// seal is commitment 32 | the sealed manifest, with the commitment as
// associated data. The nonce is zero: a key seals one manifest.
func (m *Manifest) seal(key Key) []byte {
	commitment := key.Commitment()
	plain := m.encode()
	out := make([]byte, len(commitment), manifestOver+len(plain))
	copy(out, commitment[:])
	return key.cipher(manifestLabel).Seal(out, nonce(0, false), plain, commitment[:])
}

// OpenManifest opens the manifest that a message names by its key and digest.
func OpenManifest(key Key, want Digest, sealed []byte) (*Manifest, error) {
	if len(sealed) > MaxChunk || len(sealed) < manifestOver+manifestHead || DigestOf(sealed) != want {
		return nil, ErrInvalid
	}
	commitment := key.Commitment()
	if subtle.ConstantTimeCompare(sealed[:len(commitment)], commitment[:]) != 1 {
		return nil, ErrInvalid
	}
	plain, err := key.cipher(manifestLabel).Open(nil, nonce(0, false), sealed[len(commitment):], commitment[:])
	if err != nil {
		return nil, ErrInvalid
	}
	return parseManifest(plain)
}

// parseManifest reads what encode wrote. It takes memory for as many digests as
// have come, and only if the size asks for exactly these.
func parseManifest(b []byte) (*Manifest, error) {
	if len(b) < manifestHead || b[0] != version {
		return nil, ErrInvalid
	}
	size, digests := binary.BigEndian.Uint64(b[1:]), b[manifestHead:]
	if size > MaxChunks*ChunkSize {
		return nil, ErrInvalid
	}
	n, _, err := Chunks(int64(size))
	if err != nil || len(digests) != n*len(Digest{}) {
		return nil, ErrInvalid
	}
	m := &Manifest{Size: int64(size), Chunks: make([]Digest, n)}
	for i := range m.Chunks {
		copy(m.Chunks[i][:], digests[i*len(Digest{}):])
	}
	return m, nil
}

// Opener opens the chunks of one file, in any order. Its methods may be called
// from any goroutine.
type Opener struct {
	cipher *sealing
	of     *Manifest
}

// NewOpener opens the chunks of a manifest of OpenManifest under the same key.
func NewOpener(key Key, m *Manifest) *Opener {
	return &Opener{cipher: key.cipher(chunkLabel), of: m}
}

// Open returns the bytes of the file that its i-th chunk holds; they begin at
// i*ChunkSize. They lie in buf where they fit, which may be sealed itself
// (sealed[:0]); the pad is checked and cut off, so there may be none.
func (o *Opener) Open(i int, sealed, buf []byte) ([]byte, error) {
	if i < 0 || i >= len(o.of.Chunks) || len(sealed) != o.of.ChunkLen(i) || DigestOf(sealed) != o.of.Chunks[i] {
		return nil, ErrInvalid
	}
	plain, err := o.cipher.Open(buf[:0], nonce(i, i == len(o.of.Chunks)-1), sealed, nil)
	if err != nil {
		return nil, ErrInvalid
	}
	n := max(0, min(o.of.Size-int64(i)*ChunkSize, int64(len(plain))))
	if len(bytes.TrimLeft(plain[n:], "\x00")) > 0 {
		return nil, ErrInvalid
	}
	return plain[:n], nil
}
