package boltbox

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

const checkLabel = "kith1 boltbox"

var (
	metaBucket = []byte("meta")
	boxBucket  = []byte("box")
	setBucket  = []byte("set")
	sumBucket  = []byte("sum")
	passBucket = []byte("pass")

	formatKey = []byte("format")
	seqKey    = []byte("seq")
	clockKey  = []byte("clock")
	leaveKey  = []byte("leaving")

	// tables are those that every store has; days come and go.
	tables = [][]byte{metaBucket, boxBucket, setBucket, passBucket, sumBucket}
)

const (
	flagMember    = 1
	flagFrontDoor = 2
	flagBuried    = 1
	flagByPass    = 2
	flagCopied    = 4
)

// passKey is box id 32 | pass id 8.
func passKey(box mailbox.ID, id pass.ID) []byte { return append(box[:len(box):len(box)], id[:]...) }

func dayKey(d mailbox.Day) []byte { return binary.BigEndian.AppendUint32(nil, uint32(d)) }

func indexBucket(d mailbox.Day) []byte    { return append([]byte{'i'}, dayKey(d)...) }
func envelopeBucket(d mailbox.Day) []byte { return append([]byte{'e'}, dayKey(d)...) }

// parseDay reads the day of an i or e bucket's name.
func parseDay(name []byte) (kind byte, d mailbox.Day, ok bool) {
	if len(name) != 5 || name[0] != 'i' && name[0] != 'e' {
		return 0, 0, false
	}
	return name[0], mailbox.Day(binary.BigEndian.Uint32(name[1:])), true
}

func seqBytes(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func check(bucket, key, value []byte) [checkSize]byte {
	if len(checkLabel)+len(bucket)+len(key)+len(value) > 256 {
		return checkLarge(bucket, key, value)
	}
	b := make([]byte, 0, 256) // which stays on the stack
	b = append(b, checkLabel...)
	b = append(b, bucket...)
	b = append(b, key...)
	sum := sha256.Sum256(append(b, value...))
	return [checkSize]byte(sum[:checkSize])
}

// checkLarge is check of an envelope or a set, which it does not copy: relays read all they hold again and again.
func checkLarge(bucket, key, value []byte) [checkSize]byte {
	h := sha256.New()
	head := slices.Concat([]byte(checkLabel), bucket, key)
	h.Write(head)
	h.Write(value)
	return [checkSize]byte(h.Sum(head[:0]))
}

// sealed appends the check to a value.
func sealed(bucket, key, value []byte) []byte {
	c := check(bucket, key, value)
	return append(value, c[:]...)
}

// opened strips the check of a value, or says that it is damaged.
func opened(bucket, key, raw []byte) ([]byte, bool) {
	n := len(raw) - checkSize
	if n < 0 {
		return nil, false
	}
	return raw[:n], check(bucket, key, raw[:n]) == [checkSize]byte(raw[n:])
}

func appendEntry(b []byte, box mailbox.ID, e mailbox.Entry) []byte {
	b = append(b, box[:]...)
	b = append(b, e.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Stored))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Expires))
	b = binary.BigEndian.AppendUint32(b, e.Size)
	var flags byte
	if e.Buried {
		flags |= flagBuried
	}
	if e.ByPass {
		flags |= flagByPass
	}
	if e.Copied {
		flags |= flagCopied
	}
	b = append(b, flags)
	if e.Admit != [8]byte{} {
		b = append(b, e.Admit[:]...)
	}
	return b
}

// parseEntry decodes an index value without its check.
func parseEntry(key, raw []byte) (box mailbox.ID, e mailbox.Entry, ok bool) {
	s := cryptobyte.String(raw)
	var stored, expires uint64
	var flags byte
	if len(key) != seqSize || !s.CopyBytes(box[:]) || !s.CopyBytes(e.ID[:]) || !s.ReadUint64(&stored) ||
		!s.ReadUint64(&expires) || !s.ReadUint32(&e.Size) || !s.ReadUint8(&flags) ||
		!s.Empty() && (!s.CopyBytes(e.Admit[:]) || e.Admit == [8]byte{}) || !s.Empty() ||
		flags > flagBuried|flagByPass|flagCopied || int64(stored) < 0 || int64(expires) < 0 {
		return mailbox.ID{}, mailbox.Entry{}, false
	}
	e.Seq, e.Stored, e.Expires = binary.BigEndian.Uint64(key), int64(stored), int64(expires)
	e.Buried, e.ByPass, e.Copied = flags&flagBuried != 0, flags&flagByPass != 0, flags&flagCopied != 0
	return box, e, true
}

func appendBox(b []byte, x mailbox.Box) []byte {
	b = binary.BigEndian.AppendUint64(b, x.Number)
	b = append(b, x.Core[:]...)
	var flags byte
	if x.Member {
		flags |= flagMember
	}
	if x.FrontDoor {
		flags |= flagFrontDoor
	}
	b = append(b, x.Rank, flags)
	b = appendTime(appendTime(b, x.End), x.Reserved)
	if x.Key != [32]byte{} {
		b = append(b, x.Key[:]...)
	}
	return b
}

func parseBox(raw []byte) (x mailbox.Box, ok bool) {
	s := cryptobyte.String(raw)
	var flags byte
	if !s.ReadUint64(&x.Number) || !s.CopyBytes(x.Core[:]) || !s.ReadUint8(&x.Rank) || !s.ReadUint8(&flags) ||
		!readTime(&s, &x.End) || !readTime(&s, &x.Reserved) ||
		!s.Empty() && (!s.CopyBytes(x.Key[:]) || x.Key == [32]byte{}) || !s.Empty() || flags > flagMember|flagFrontDoor {
		return mailbox.Box{}, false
	}
	x.Member, x.FrontDoor = flags&flagMember != 0, flags&flagFrontDoor != 0
	return x, true
}

// parsePass reads a row of the bucket of passes, its check included.
func parsePass(key, raw []byte) (box mailbox.ID, c pass.Cert, ok bool) {
	value, ok := opened(passBucket, key, raw)
	if !ok || len(key) != len(box)+len(pass.ID{}) || len(value) != pass.CertSize || pass.Cert(value).ID() != pass.ID(key[len(box):]) {
		return box, c, false
	}
	return mailbox.ID(key[:len(box)]), pass.Cert(value), true
}

// parseLeaving reads the leaving time, its check included.
func parseLeaving(raw []byte) (at time.Time, ok bool) {
	value, ok := opened(metaBucket, leaveKey, raw)
	s := cryptobyte.String(value)
	return at, ok && readTime(&s, &at) && s.Empty()
}

func appendClock(b []byte, c mailbox.Clock) []byte {
	return appendTime(appendTime(appendTime(b, c.Trusted), c.Held), c.Last)
}

func parseClock(raw []byte) (c mailbox.Clock, ok bool) {
	s := cryptobyte.String(raw)
	if !readTime(&s, &c.Trusted) || !readTime(&s, &c.Held) || !readTime(&s, &c.Last) || !s.Empty() {
		return mailbox.Clock{}, false
	}
	return c, true
}

// appendTime writes unix milliseconds; the zero time is 0.
func appendTime(b []byte, t time.Time) []byte {
	var millis int64
	if !t.IsZero() {
		millis = t.UnixMilli()
	}
	return binary.BigEndian.AppendUint64(b, uint64(millis))
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	var millis uint64
	if !s.ReadUint64(&millis) || int64(millis) < 0 {
		return false
	}
	if millis != 0 {
		*t = time.UnixMilli(int64(millis)).UTC()
	}
	return true
}

// sum is what the index of a day amounts to.
type sum struct{ entries, xor uint64 }

// add takes an entry's check in, or out again.
func (s sum) add(c [checkSize]byte, entries int) sum {
	return sum{entries: s.entries + uint64(entries), xor: s.xor ^ binary.BigEndian.Uint64(c[:])}
}

func appendSum(b []byte, s sum) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, s.entries), s.xor)
}

func parseSum(raw []byte) (sum, bool) {
	if len(raw) != 16 {
		return sum{}, false
	}
	return sum{binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])}, true
}
