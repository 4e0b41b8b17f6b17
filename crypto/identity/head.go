package identity

import (
	"crypto/sha256"
	"encoding/binary"
)

// Head names one device list of a user: what a contact pins and what devices
// tell each other. The zero Head means that no list is known.
type Head struct {
	Epoch uint32
	Seq   uint64
	Hash  [32]byte
}

// Order says how one list stands to another.
type Order int

// The four ways in which lists of one user can stand to each other.
const (
	Older Order = iota // ignore it
	Same
	Newer
	Fork // two signed lists for one place: proof that the signer equivocates
)

// String names the order in lower case.
func (o Order) String() string {
	return [...]string{"older", "same", "newer", "fork"}[o]
}

// Head is the list's name.
func (l *DeviceList) Head() Head {
	return Head{Epoch: l.epoch, Seq: l.f.Seq, Hash: l.hash}
}

// Order says how h stands to o: Newer means that h is newer than o.
func (h Head) Order(o Head) Order {
	switch {
	case h.Epoch != o.Epoch:
		return newerIf(h.Epoch > o.Epoch)
	case h.Seq != o.Seq:
		return newerIf(h.Seq > o.Seq)
	case h.Hash != o.Hash:
		return Fork
	}
	return Same
}

// Digest is the 12 bytes that messages carry: the first of SHA-256("kith1
// head" | epoch u32 | seq u64 | hash 32), or zero for the zero Head.
func (h Head) Digest() [12]byte {
	if h == (Head{}) {
		return [12]byte{}
	}
	b := binary.BigEndian.AppendUint32([]byte(labelHead), h.Epoch)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	sum := sha256.Sum256(append(b, h.Hash[:]...))
	return [12]byte(sum[:12])
}

// Order says how l stands to the list that a reader already holds (nil: none).
// It sees more than the heads do: the next list of an epoch that does not
// continue the known one is a Fork, and nothing of the same epoch comes after
// a tombstone. A list of another user is Older: it never takes the place.
func (l *DeviceList) Order(known *DeviceList) Order {
	if known == nil {
		return Newer
	}
	if l.User() != known.User() {
		return Older
	}
	order := l.Head().Order(known.Head())
	if order != Newer || l.epoch != known.epoch {
		return order
	}
	switch {
	case known.Tombstone():
		return Older
	case l.f.Seq == known.f.Seq+1 && l.f.Prev != known.hash:
		return Fork
	}
	return Newer
}

func newerIf(newer bool) Order {
	if newer {
		return Newer
	}
	return Older
}
