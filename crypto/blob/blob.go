// Package blob seals the files that messages carry: attachments of any size,
// piece by piece, under a key of their own.
//
// A file is padded with zeros to a size that tells little (Padded), cut into
// chunks of 1 MiB, and every chunk is sealed with its index and a last-flag in
// the nonce (STREAM), so that none can be left out, repeated or moved. The
// manifest names each sealed chunk by its SHA-256 and is sealed itself, behind
// a commitment to the key. Key and digest of the manifest travel in a message;
// whoever stores the chunks has neither (docs/protocol.md, "Attachments").
//
// It guarantees that what opens under (key, digest of the manifest) is, byte
// for byte, what one sealer was given, for every holder of that pair: a digest
// is checked before anything is decrypted, the commitment before the manifest
// is. Sizes are checked before memory is taken, and never more than one chunk
// and one manifest is held.
//
// It does not guarantee that the chunks can be had, nor hide their number and
// the padded size from whoever stores or carries them. A Key seals one content:
// who seals a file that may have changed since takes a fresh one, because two
// contents under one key give both away.
package blob

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/ipfs/go-cid"
	"golang.org/x/crypto/chacha20poly1305"
)

// Errors of this package. ErrInvalid is the one for whatever others sent.
var (
	ErrInvalid  = errors.New("blob: invalid")
	ErrTooLarge = errors.New("blob: the file is too large")
	ErrChanged  = errors.New("blob: the file changed while it was read")
)

// Key seals one file.
type Key [KeySize]byte

// NewKey draws a key.
func NewKey(rng io.Reader) (k Key, err error) {
	_, err = io.ReadFull(rng, k[:])
	return k, err
}

// Labels of docs/protocol.md, section 13.
const (
	chunkLabel    = "kith1 blob chunk"
	streamLabel   = "kith1 blob stream"
	manifestLabel = "kith1 blob manifest"
	commitLabel   = "kith1 blob key"
)

// Commitment names the key and no other, and tells nothing about it.
func (k Key) Commitment() [32]byte {
	return sha256.Sum256(append([]byte(commitLabel), k[:]...))
}

// cipher is the cipher for one use of the key.
func (k Key) cipher(label string) *sealing {
	sub, err := hkdf.Key(sha256.New, k[:], nil, label, chacha20poly1305.KeySize)
	if err != nil {
		panic(err) // only for a length that HKDF cannot give
	}
	a, err := chacha20poly1305.New(sub)
	if err != nil {
		panic(err) // only for a key of another length
	}
	return &sealing{a}
}

// Digest names sealed bytes: their SHA-256.
type Digest [sha256.Size]byte

// DigestOf hashes a sealed chunk or manifest.
func DigestOf(sealed []byte) Digest { return sha256.Sum256(sealed) }

// cidHead makes a digest a CIDv1 of the raw codec: version 1, raw, sha2-256, 32 bytes.
var cidHead = []byte{0x01, cid.Raw, 0x12, sha256.Size}

// CID is the digest as others write it: CIDv1, raw, sha2-256.
func (d Digest) CID() cid.Cid {
	c, err := cid.Cast(append(append(make([]byte, 0, len(cidHead)+len(d)), cidHead...), d[:]...))
	if err != nil {
		panic(err) // only for other bytes than these
	}
	return c
}

// String is the text of the CID.
func (d Digest) String() string { return d.CID().String() }

// ParseCID reads the text of a CID of the one kind that this package makes.
func ParseCID(text string) (d Digest, err error) {
	if len(text) > maxCIDText {
		return d, ErrInvalid
	}
	c, err := cid.Decode(text)
	if err != nil || c.ByteLen() != len(cidHead)+len(d) || string(c.Bytes()[:len(cidHead)]) != string(cidHead) {
		return d, ErrInvalid
	}
	copy(d[:], c.Bytes()[len(cidHead):])
	return d, nil
}

// maxCIDText is the longest text of such a CID, in any of its alphabets.
const maxCIDText = 512

// Padded is the size that a file of size bytes is padded to: at least
// MinPadded, and of the bits of a larger size only so many count that their
// number tells its magnitude (Padmé): at most 12 % more.
func Padded(size int64) int64 {
	if size <= MinPadded {
		return MinPadded
	}
	exponent := bits.Len64(uint64(size)) - 1
	free := exponent - bits.Len64(uint64(exponent)) // low bits that become zero
	mask := int64(1)<<free - 1
	return (size + mask) &^ mask
}

// Chunks is how many chunks a file of size bytes has and how many bytes they
// have together when they are sealed. It is ErrTooLarge for more than MaxChunks.
func Chunks(size int64) (n int, sealed int64, err error) {
	if size < 0 || size > MaxChunks*ChunkSize { // which is its own padding
		return 0, 0, ErrTooLarge
	}
	padded := Padded(size)
	n = int((padded + ChunkSize - 1) / ChunkSize)
	return n, padded + int64(n)*Overhead, nil
}

// chunkLen is how many bytes of a file padded to so many its i-th chunk holds.
func chunkLen(padded int64, i int) int {
	return int(min(padded-int64(i)*ChunkSize, ChunkSize))
}

// nonce is index u64 | last u8 | zero 3.
func nonce(i int, last bool) []byte {
	n := binary.BigEndian.AppendUint64(make([]byte, 0, chacha20poly1305.NonceSize), uint64(i))
	if last {
		n = append(n, 1)
	}
	return n[:chacha20poly1305.NonceSize]
}

// Sealer seals a file chunk by chunk.
type Sealer struct {
	cipher *sealing
	key    Key
	from   io.Reader
	left   int64 // of the file, not read yet
	padded int64
	of     Manifest
	n      int
}

// NewSealer seals the size bytes that from gives. The key is fresh and for this
// content alone.
func NewSealer(key Key, from io.Reader, size int64) (*Sealer, error) {
	n, _, err := Chunks(size)
	if err != nil {
		return nil, err
	}
	return &Sealer{
		cipher: key.cipher(chunkLabel), key: key, from: from, left: size, padded: Padded(size), n: n,
		of: Manifest{Size: size, Chunks: make([]Digest, 0, n)},
	}, nil
}

// Next returns the next sealed chunk and its digest; io.EOF when there is none.
// The chunk lies in buf where MaxChunk bytes fit. ErrChanged says that from has
// fewer or more bytes than it should.
func (s *Sealer) Next(buf []byte) (Digest, []byte, error) {
	i := len(s.of.Chunks)
	if i == s.n {
		return Digest{}, nil, io.EOF
	}
	size := chunkLen(s.padded, i)
	if cap(buf) < size+Overhead {
		buf = make([]byte, size+Overhead)
	}
	plain := buf[:size]
	n := int(min(s.left, int64(size)))
	if _, err := io.ReadFull(s.from, plain[:n]); err != nil {
		return Digest{}, nil, changed(err)
	}
	clear(plain[n:])
	s.left -= int64(n)
	last := i == s.n-1
	if last {
		if err := ended(s.from); err != nil {
			return Digest{}, nil, err
		}
	}
	sealed := s.cipher.Seal(plain[:0], nonce(i, last), plain, nil)
	d := DigestOf(sealed)
	s.of.Chunks = append(s.of.Chunks, d)
	return d, sealed, nil
}

// changed names the end of a file that came too early.
func changed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrChanged
	}
	return fmt.Errorf("blob: read: %w", err)
}

// ended says whether a reader has no further byte.
func ended(r io.Reader) error {
	var one [1]byte
	switch _, err := io.ReadFull(r, one[:]); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("blob: read: %w", err)
	}
	return ErrChanged
}

// Manifest seals the manifest of the chunks, all of which Next has returned.
func (s *Sealer) Manifest() (Digest, []byte, error) {
	if len(s.of.Chunks) != s.n {
		return Digest{}, nil, ErrInvalid
	}
	sealed := s.of.seal(s.key)
	return DigestOf(sealed), sealed, nil
}
