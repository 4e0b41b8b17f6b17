package blobs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
)

var fileOptions = boltfile.Options{Wait: lockWait}

const (
	checkLabel = "kith1 blobs"
	checkSize  = 8
	claimSize  = 32 + 4
	dayKeySize = 4 + 32 + 32
)

var (
	chunkBucket = []byte("chunks") // digest -> size u32 | n u8 | n x (owner 32 | day u32) | check 8
	dayBucket   = []byte("days")   // day u32 | digest | owner -> nothing
	metaBucket  = []byte("meta")
	formatKey   = []byte("format")
	formatValue = []byte{1}
)

func layIndex(tx *bolt.Tx) error {
	for _, name := range [][]byte{chunkBucket, dayBucket, metaBucket} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(metaBucket).Put(formatKey, formatValue)
}

// claim is an owner's word that a chunk is wanted to the end of a day.
type claim struct {
	owner [32]byte
	day   mailbox.Day
}

// dayOf is the day of a time, and the last one for the zero time.
func dayOf(t time.Time) mailbox.Day {
	if t.IsZero() {
		return math.MaxUint32
	}
	return mailbox.DayOf(t.UnixMilli())
}

// row is what the index knows of a chunk.
type row struct {
	size   uint32
	claims []claim // by ascending owner
}

func (r *row) find(owner [32]byte) (int, bool) {
	return slices.BinarySearchFunc(r.claims, owner, func(c claim, o [32]byte) int { return bytes.Compare(c.owner[:], o[:]) })
}

func (r *row) claimed(by [32]byte) bool {
	_, known := r.find(by)
	return known
}

// claim adds a claim or makes it longer; false: the chunk has too many.
func (r *row) claim(c claim) bool {
	i, known := r.find(c.owner)
	switch {
	case known:
		r.claims[i].day = max(r.claims[i].day, c.day)
	case len(r.claims) >= MaxClaims:
		return false
	default:
		r.claims = slices.Insert(r.claims, i, c)
	}
	return true
}

// unclaim ends a claim; false: there is none.
func (r *row) unclaim(owner [32]byte) bool {
	i, known := r.find(owner)
	if known {
		r.claims = slices.Delete(r.claims, i, i+1)
	}
	return known
}

func rowCheck(d Digest, value []byte) []byte {
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte(checkLabel), d[:], value}, nil))
	return sum[:checkSize]
}

func (r *row) encode(d Digest) []byte {
	b := make([]byte, 0, 5+len(r.claims)*claimSize+checkSize)
	b = binary.BigEndian.AppendUint32(b, r.size)
	b = append(b, byte(len(r.claims)))
	for _, c := range r.claims {
		b = append(b, c.owner[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(c.day))
	}
	return append(b, rowCheck(d, b)...)
}

// parseRow is nil for a row that makes no sense.
func parseRow(d Digest, b []byte) *row {
	n := len(b) - checkSize
	if n < 5 || !bytes.Equal(rowCheck(d, b[:n]), b[n:]) {
		return nil
	}
	r := &row{size: binary.BigEndian.Uint32(b)}
	claims := b[5:n]
	if count := int(b[4]); count == 0 || count > MaxClaims || len(claims) != count*claimSize || r.size == 0 || r.size > blob.MaxChunk {
		return nil
	}
	for ; len(claims) > 0; claims = claims[claimSize:] {
		c := claim{owner: [32]byte(claims[:32]), day: mailbox.Day(binary.BigEndian.Uint32(claims[32:]))}
		if k := len(r.claims); k > 0 && bytes.Compare(r.claims[k-1].owner[:], c.owner[:]) >= 0 {
			return nil
		}
		r.claims = append(r.claims, c)
	}
	return r
}

func dayKey(d Digest, c claim) []byte {
	k := binary.BigEndian.AppendUint32(make([]byte, 0, dayKeySize), uint32(c.day))
	k = append(k, d[:]...)
	return append(k, c.owner[:]...)
}

// index is the file within one transaction.
type index struct{ chunks, days *bolt.Bucket }

func indexOf(tx *bolt.Tx) index { return index{tx.Bucket(chunkBucket), tx.Bucket(dayBucket)} }

// row is nil for a chunk that is not here.
func (ix index) row(d Digest) *row {
	raw := ix.chunks.Get(d[:])
	if raw == nil {
		return nil
	}
	return parseRow(d, raw)
}

// put replaces the row of a chunk, with the days that it stands in; one without
// claims goes. What that changes of the sums is noted in c.
func (ix index) put(c *change, d Digest, r *row) error {
	old := ix.row(d)
	if old == nil {
		old = &row{size: r.size}
		c.total.add(Usage{1, int64(r.size)})
	}
	for _, was := range old.claims {
		c.owes(was.owner, -costOf(int64(old.size)))
		if err := ix.days.Delete(dayKey(d, was)); err != nil {
			return err
		}
	}
	for _, is := range r.claims {
		c.owes(is.owner, costOf(int64(r.size)))
		if err := ix.days.Put(dayKey(d, is), nil); err != nil {
			return err
		}
	}
	if len(r.claims) > 0 {
		return ix.chunks.Put(d[:], r.encode(d))
	}
	c.total.add(Usage{-1, -int64(old.size)})
	c.gone = append(c.gone, d)
	return ix.chunks.Delete(d[:])
}

// unclaim ends a claim; false: there is none.
func (ix index) unclaim(c *change, d Digest, owner [32]byte) (known bool, err error) {
	r := ix.row(d)
	if r == nil || !r.unclaim(owner) {
		return false, nil
	}
	return true, ix.put(c, d, r)
}

// sweep ends claims of days before today, at most sweepStep of them, and says
// whether there may be more.
func (ix index) sweep(c *change, today mailbox.Day) (more bool, err error) {
	var over [][]byte
	cur := ix.days.Cursor()
	for k, _ := cur.First(); k != nil && len(over) < sweepStep; k, _ = cur.Next() {
		if len(k) == dayKeySize && mailbox.Day(binary.BigEndian.Uint32(k)) >= today {
			break
		}
		over = append(over, bytes.Clone(k)) // a key of another size is of nobody
	}
	for _, k := range over {
		if err := ix.days.Delete(k); err != nil {
			return false, err
		}
		if len(k) != dayKeySize {
			continue
		}
		d, owner := Digest(k[4:36]), [32]byte(k[36:])
		r := ix.row(d)
		if r == nil {
			continue
		}
		if i, known := r.find(owner); !known || r.claims[i].day >= today {
			continue
		}
		r.unclaim(owner)
		if err := ix.put(c, d, r); err != nil {
			return false, err
		}
	}
	return len(over) == sweepStep, nil
}
