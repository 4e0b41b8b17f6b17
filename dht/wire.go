package dht

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/signature"
)

// ErrInvalid is the one error for every malformed, unsigned or misplaced
// record. It is opaque: a hostile writer learns nothing from it.
var ErrInvalid = errors.New("dht: invalid record")

const (
	recordVersion = 1
	// maxUnix is the last second of the year 9999.
	maxUnix = 253402300799
)

// addTime appends t as u64 unix seconds; the zero time is 0.
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.IsZero() {
		b.AddUint64(0)
		return
	}
	b.AddUint64(uint64(t.Unix()))
}

// encodable reports whether t survives a round trip on the wire.
func encodable(t time.Time) bool {
	return t.IsZero() || (t.Unix() > 0 && t.Unix() <= maxUnix)
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	var u uint64
	if !s.ReadUint64(&u) || u > maxUnix {
		return false
	}
	if u != 0 {
		*t = time.Unix(int64(u), 0).UTC()
	}
	return true
}

// whole cuts t to what the wire carries: seconds, UTC.
func whole(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.Unix(t.Unix(), 0).UTC()
}

// validSpan checks a record's two time marks: both set, in order, encodable.
func validSpan(issued, notAfter time.Time) bool {
	return !issued.IsZero() && encodable(issued) && encodable(notAfter) && !notAfter.Before(issued)
}

// sign appends a signature over label | body to body.
func sign(key ed25519.PrivateKey, label string, body []byte) []byte {
	return append(bytes.Clone(body), signature.Sign(key, append([]byte(label), body...))...)
}

func verify(pub ed25519.PublicKey, label string, body, sig []byte) bool {
	return signature.Verify(pub, append([]byte(label), body...), sig)
}

// copyOf is what a record is read from and keeps: what it says may lie in there, and not in what it came with, which may be much
// more. Nothing of more than most bytes.
func copyOf(raw []byte, most int) []byte {
	if len(raw) > most {
		return nil
	}
	return bytes.Clone(raw)
}

// splitSig cuts the trailing signature off a signed record of at most max bytes.
func splitSig(raw []byte, max int) (body, sig []byte, ok bool) {
	n := len(raw) - ed25519.SignatureSize
	if n <= 0 || len(raw) > max {
		return nil, nil, false
	}
	return raw[:n], raw[n:], true
}

func readVersion(s *cryptobyte.String) bool {
	var v uint8
	return s.ReadUint8(&v) && v == recordVersion
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return key.Public().(ed25519.PublicKey)
}
