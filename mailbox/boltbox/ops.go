package boltbox

import (
	"encoding/binary"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

// op is one write: first to bbolt, then, once that is durable, to the index.
type op interface {
	disk(*disk) error
	apply(*index)
}

// disk is bbolt's side of a commit.
type disk struct {
	tx      *bolt.Tx
	ix      *index
	seq     uint64
	sums    map[mailbox.Day]sum // of the days touched
	buckets map[bucketKey]*bolt.Bucket
	touched int64 // bytes of the file that had to be read
}

type bucketKey struct {
	kind byte
	day  mailbox.Day
}

// bucket opens, or creates, the i or e bucket of a day.
func (d *disk) bucket(kind byte, day mailbox.Day) (*bolt.Bucket, error) {
	key := bucketKey{kind, day}
	if b := d.buckets[key]; b != nil {
		return b, nil
	}
	b, err := d.tx.CreateBucketIfNotExists(append([]byte{kind}, dayKey(day)...))
	if err != nil {
		return nil, err
	}
	b.FillPercent = appendFill
	d.buckets[key] = b
	return b, nil
}

func (d *disk) sum(day mailbox.Day) sum {
	if s, ok := d.sums[day]; ok {
		return s
	}
	if known := d.ix.days[day]; known != nil {
		return known.sum
	}
	return sum{}
}

// finish writes what a commit writes once.
func (d *disk) finish() error {
	b := d.tx.Bucket(sumBucket)
	for day, s := range d.sums {
		key := dayKey(day)
		if s == (sum{}) {
			if err := b.Delete(key); err != nil {
				return err
			}
			continue
		}
		if err := b.Put(key, sealed(sumBucket, key, appendSum(nil, s))); err != nil {
			return err
		}
	}
	if d.seq == 0 {
		return nil
	}
	value := binary.BigEndian.AppendUint64(nil, d.seq)
	return d.tx.Bucket(metaBucket).Put(seqKey, sealed(metaBucket, seqKey, value))
}

type putBox struct {
	id  mailbox.ID
	box mailbox.Box
}

func (o putBox) disk(d *disk) error {
	return d.tx.Bucket(boxBucket).Put(o.id[:], sealed(boxBucket, o.id[:], appendBox(nil, o.box)))
}

func (o putBox) apply(x *index) { x.putBox(o.id, o.box) }

type dropBox struct{ id mailbox.ID }

func (o dropBox) disk(d *disk) error {
	if err := d.tx.Bucket(setBucket).Delete(o.id[:]); err != nil {
		return err
	}
	return d.tx.Bucket(boxBucket).Delete(o.id[:])
}

func (o dropBox) apply(x *index) { x.dropBox(o.id) }

type putSet struct {
	id  mailbox.ID
	raw []byte
}

func (o putSet) disk(d *disk) error {
	value := append(make([]byte, 0, len(o.raw)+checkSize), o.raw...)
	return d.tx.Bucket(setBucket).Put(o.id[:], sealed(setBucket, o.id[:], value))
}

func (o putSet) apply(*index) {}

type addEntry struct {
	box      mailbox.ID
	entry    mailbox.Entry
	envelope []byte
}

func (o addEntry) disk(d *disk) error {
	e, err := d.bucket('e', o.entry.Day())
	if err != nil {
		return err
	}
	if err := e.Put(seqBytes(o.entry.Seq), o.envelope); err != nil {
		return err
	}
	d.seq = o.entry.Seq
	c, err := d.putEntry(o.box, o.entry)
	if err == nil {
		d.sums[o.entry.Day()] = d.sum(o.entry.Day()).add(c, 1)
	}
	return err
}

func (o addEntry) apply(x *index) { x.add(o.box, o.entry) }

// putEntry writes an index value and returns its check.
func (d *disk) putEntry(box mailbox.ID, e mailbox.Entry) (c [checkSize]byte, err error) {
	b, err := d.bucket('i', e.Day())
	if err != nil {
		return c, err
	}
	key := seqBytes(e.Seq)
	value := sealed(indexBucket(e.Day()), key, appendEntry(make([]byte, 0, entrySize+admitSize+checkSize), box, e))
	return [checkSize]byte(value[len(value)-checkSize:]), b.Put(key, value)
}

type buryEntry struct {
	box   mailbox.ID
	entry mailbox.Entry // as it was
}

func (o buryEntry) disk(d *disk) error {
	day, key := o.entry.Day(), seqBytes(o.entry.Seq)
	e, err := d.bucket('e', day)
	if err != nil {
		return err
	}
	if err := e.Delete(key); err != nil {
		return err
	}
	d.touched += 2 * pageSize // of the envelope and of its index entry
	was := check(indexBucket(day), key, appendEntry(nil, o.box, o.entry))
	buried := o.entry
	buried.Buried, buried.Size = true, 0
	is, err := d.putEntry(o.box, buried)
	if err == nil {
		d.sums[day] = d.sum(day).add(was, 0).add(is, 0)
	}
	return err
}

func (o buryEntry) apply(x *index) { x.bury(o.box, o.entry.ID) }

// forgetEntry removes an entry, because its envelope comes again.
type forgetEntry struct {
	box   mailbox.ID
	entry mailbox.Entry // as it was
}

func (o forgetEntry) disk(d *disk) error {
	day, key := o.entry.Day(), seqBytes(o.entry.Seq)
	b, err := d.bucket('i', day)
	if err != nil {
		return err
	}
	if err := b.Delete(key); err != nil {
		return err
	}
	was := check(indexBucket(day), key, appendEntry(nil, o.box, o.entry))
	d.sums[day] = d.sum(day).add(was, -1)
	if d.sums[day].entries == 0 {
		return dropDay{day}.disk(d)
	}
	if o.entry.Buried {
		return nil
	}
	d.touched += 2 * pageSize // of the envelope and of its index entry
	e, err := d.bucket('e', day)
	if err != nil {
		return err
	}
	return e.Delete(key)
}

func (o forgetEntry) apply(x *index) { x.forget(o.box, o.entry) }

type dropDay struct{ day mailbox.Day }

func (o dropDay) disk(d *disk) error {
	for _, kind := range []byte{'i', 'e'} {
		name := append([]byte{kind}, dayKey(o.day)...)
		if d.tx.Bucket(name) == nil {
			continue
		}
		if err := d.tx.DeleteBucket(name); err != nil {
			return err
		}
		delete(d.buckets, bucketKey{kind, o.day})
	}
	d.sums[o.day] = sum{}
	return nil
}

func (o dropDay) apply(x *index) { x.dropDay(o.day) }

type setClock struct{ clock mailbox.Clock }

func (o setClock) disk(d *disk) error {
	return d.tx.Bucket(metaBucket).Put(clockKey, sealed(metaBucket, clockKey, appendClock(nil, o.clock)))
}

func (o setClock) apply(x *index) { x.clock = o.clock }

type setLeaving struct{ at time.Time }

func (o setLeaving) disk(d *disk) error {
	return d.tx.Bucket(metaBucket).Put(leaveKey, sealed(metaBucket, leaveKey, appendTime(nil, o.at)))
}

func (o setLeaving) apply(x *index) { x.leave = o.at }

type putPass struct {
	box  mailbox.ID
	cert pass.Cert
}

func (o putPass) disk(d *disk) error {
	key := passKey(o.box, o.cert.ID())
	return d.tx.Bucket(passBucket).Put(key, sealed(passBucket, key, append([]byte(nil), o.cert[:]...)))
}

func (o putPass) apply(x *index) { x.putPass(o.box, o.cert) }

type dropPass struct {
	box mailbox.ID
	id  pass.ID
}

func (o dropPass) disk(d *disk) error {
	return d.tx.Bucket(passBucket).Delete(passKey(o.box, o.id))
}

func (o dropPass) apply(x *index) { x.dropPass(o.box, o.id) }

// mendEntry puts an envelope in the place of damaged bytes.
type mendEntry struct {
	entry    mailbox.Entry
	envelope []byte
}

func (o mendEntry) disk(d *disk) error {
	e, err := d.bucket('e', o.entry.Day())
	if err != nil {
		return err
	}
	return e.Put(seqBytes(o.entry.Seq), o.envelope)
}

func (o mendEntry) apply(*index) {}
