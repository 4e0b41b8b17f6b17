package boltbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
)

var fileOptions = boltfile.Options{Wait: lockWait, PageSize: pageSize, MapSize: mapSize}

// lay writes the tables of a new store.
func lay(t *bolt.Tx) error {
	for _, name := range tables {
		if _, err := t.CreateBucket(name); err != nil {
			return err
		}
	}
	b := t.Bucket(metaBucket)
	return errors.Join(
		b.Put(formatKey, binary.BigEndian.AppendUint32(nil, formatVersion)),
		b.Put(seqKey, sealed(metaBucket, seqKey, make([]byte, seqSize))),
		b.Put(clockKey, sealed(metaBucket, clockKey, appendClock(nil, mailbox.Clock{}))),
	)
}

// upgrade makes a store of the first format one of this format, in one commit.
// A later format is ErrNewer. What is no format at all is damage.
func upgrade(db *bolt.DB) error {
	var format uint32
	err := db.View(func(t *bolt.Tx) error {
		b := t.Bucket(metaBucket)
		if b == nil {
			return fmt.Errorf("%w: bucket %s", mailbox.ErrDamaged, metaBucket)
		}
		raw := b.Get(formatKey)
		if len(raw) != 4 {
			return fmt.Errorf("%w: format %x", mailbox.ErrDamaged, raw)
		}
		format = binary.BigEndian.Uint32(raw)
		return nil
	})
	switch {
	case err != nil || format == formatVersion:
		return err
	case format != firstFormat:
		return fmt.Errorf("%w: %d", ErrNewer, format)
	}
	return db.Update(func(t *bolt.Tx) error {
		if _, err := t.CreateBucketIfNotExists(passBucket); err != nil {
			return err
		}
		return t.Bucket(metaBucket).Put(formatKey, binary.BigEndian.AppendUint32(nil, formatVersion))
	})
}

// compacted is the store's file without its free pages, if they are most of
// it. A copy that cannot be made, on a full disk for instance, is no matter.
func compacted(db *bolt.DB, above int64) (*bolt.DB, error) {
	size, free, err := boltfile.Sparse(db)
	if err != nil || size <= above || free <= size/2 {
		return db, err
	}
	smaller, err := boltfile.Compact(db, fileOptions)
	if smaller == nil {
		return nil, err
	}
	return smaller, nil
}

// guard runs work on bbolt. What bbolt trips over, when it opens the file or
// later, is ErrDamaged.
func guard(fn func() error) error {
	err := boltfile.Guard("mailbox store", fn)
	if errors.Is(err, boltfile.ErrDamaged) && !errors.Is(err, mailbox.ErrDamaged) {
		return fmt.Errorf("%w: %w", mailbox.ErrDamaged, err)
	}
	return err
}

// load builds the index from the file. A spoilt meta page counts as damage: the
// last commit may be missing, though a crash in the middle looks the same.
func (s *Store) load() (*index, error) {
	spoilt, err := boltfile.SpoiltMetas(s.path)
	if err != nil {
		return nil, err
	}
	s.damaged.Add(int64(len(spoilt)))
	x := newIndex()
	err = s.db.View(func(t *bolt.Tx) error {
		for _, name := range tables {
			if t.Bucket(name) == nil {
				return fmt.Errorf("%w: bucket %s", mailbox.ErrDamaged, name)
			}
		}
		if err := s.loadMeta(t, x); err != nil {
			return err
		}
		if err := s.loadBoxes(t, x); err != nil {
			return err
		}
		err := s.loadDays(t, x)
		forget(s.db, t) // opening read every page
		return err
	})
	var latest int64
	for _, c := range x.held {
		for _, p := range c.parts { // by ascending Seq, as the file had them
			for i := range p.entries {
				latest = max(latest, p.entries[i].Stored)
			}
		}
	}
	if x.clock.Trusted.Equal(lostClock) {
		x.clock.Trusted = time.UnixMilli(latest).UTC()
	}
	return x, err
}

// lostClock stands for a clock whose value is damaged, until the latest
// arrival is known: the relay did believe that time.
var lostClock = time.UnixMilli(1).UTC()

// loadMeta reads the arrival number and the clock. Where one is damaged, what
// the envelopes show stands for it: see index.add.
func (s *Store) loadMeta(t *bolt.Tx, x *index) error {
	b := t.Bucket(metaBucket)
	if value, ok := opened(metaBucket, seqKey, b.Get(seqKey)); ok && len(value) == seqSize {
		x.seq = binary.BigEndian.Uint64(value)
	} else {
		s.damaged.Add(1)
	}
	if err := s.loadPasses(t, x); err != nil {
		return err
	}
	if raw := b.Get(leaveKey); raw != nil {
		var ok bool
		if x.leave, ok = parseLeaving(raw); !ok {
			s.damaged.Add(1)
		}
	}
	value, ok := opened(metaBucket, clockKey, b.Get(clockKey))
	clock, parsed := parseClock(value)
	if x.clock = clock; !ok || !parsed {
		x.clock = mailbox.Clock{Trusted: lostClock}
		s.damaged.Add(1)
	}
	return nil
}

// loadPasses reads the certificates of passes.
func (s *Store) loadPasses(t *bolt.Tx, x *index) error {
	return t.Bucket(passBucket).ForEach(func(key, raw []byte) error {
		if box, cert, ok := parsePass(key, raw); ok {
			x.putPass(box, cert)
		} else {
			s.damaged.Add(1)
		}
		return nil
	})
}

func (s *Store) loadBoxes(t *bolt.Tx, x *index) error {
	err := t.Bucket(setBucket).ForEach(func(key, raw []byte) error { // only looked at
		if _, ok := opened(setBucket, key, raw); !ok {
			s.damaged.Add(1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.Bucket(boxBucket).ForEach(func(key, raw []byte) error {
		value, ok := opened(boxBucket, key, raw)
		box, parsed := parseBox(value)
		if !ok || !parsed || len(key) != len(mailbox.ID{}) {
			s.damaged.Add(1)
			return nil
		}
		x.putBox(mailbox.ID(key), box)
		return nil
	})
}

// loadDays reads the index of every day. A day that has a sum but no index is
// missing as a whole.
func (s *Store) loadDays(t *bolt.Tx, x *index) error {
	err := t.ForEach(func(name []byte, b *bolt.Bucket) error {
		kind, d, ok := parseDay(name)
		if !ok || kind != 'i' {
			return nil
		}
		return s.loadDay(t, x, d, b)
	})
	if err != nil {
		return err
	}
	return t.Bucket(sumBucket).ForEach(func(key, _ []byte) error {
		if len(key) != 4 || x.days[mailbox.Day(binary.BigEndian.Uint32(key))] == nil {
			s.damaged.Add(1)
		}
		return nil
	})
}

// loadDay reads the index entries of one day and compares them with their sum.
func (s *Store) loadDay(t *bolt.Tx, x *index, d mailbox.Day, b *bolt.Bucket) error {
	var found sum
	var spoilt int64
	name := indexBucket(d)
	err := guard(func() error {
		return b.ForEach(func(key, raw []byte) error {
			value, ok := opened(name, key, raw)
			box, e, parsed := parseEntry(key, value)
			if !ok || !parsed || e.Day() != d || x.has(box, e.ID) {
				spoilt++
				return nil
			}
			x.add(box, e)
			found = found.add([checkSize]byte(raw[len(value):]), 1)
			return nil
		})
	})
	if errors.Is(err, mailbox.ErrDamaged) {
		spoilt, err = spoilt+1, nil
	}
	key := dayKey(d)
	value, ok := opened(sumBucket, key, t.Bucket(sumBucket).Get(key))
	want, parsed := parseSum(value)
	if missing := int64(want.entries - found.entries); ok && parsed && found != want {
		spoilt = max(spoilt, missing, 1)
	} else if (!ok || !parsed) && found.entries > 0 {
		spoilt = max(spoilt, 1)
	}
	s.damaged.Add(spoilt)
	if found.entries > 0 {
		x.day(d).sum = found
	}
	return err
}
