package boltbox

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
)

// scrub is one walk through an open store.
type scrub struct {
	store *Store
	file  *os.File
	rate  int // bytes a second; 0: as fast as it goes
	audit *audit
	until uint64 // the last arrival number when the day's index was read
}

// Scrub verifies every stored value while the store is in use, in read
// transactions of about a mebibyte, at most rate bytes a second (0: as fast as
// it goes). It returns what is damaged; an envelope among that is healed by
// Contents.Mend. It reads the file beside bbolt and its mapping, so that the
// store's memory does not grow and a damaged page is a finding, not a fault.
// What is acknowledged, dropped or mended meanwhile is no damage.
func (s *Store) Scrub(ctx context.Context, rate int) ([]Damage, error) {
	if s.queue.isClosed() {
		return nil, mailbox.ErrClosed
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	sc := &scrub{store: s, file: f, rate: rate, audit: newAudit()}
	var days []mailbox.Day
	err = s.View(func(tx mailbox.Tx) error { days = tx.Days(); return nil })
	for _, table := range tables[:len(tables)-1] { // sums go with their days
		if err == nil {
			err = sc.table(ctx, table)
		}
	}
	for _, day := range days {
		if err == nil {
			err = sc.day(ctx, day)
		}
	}
	if err != nil {
		return nil, err
	}
	s.damaged.Add(int64(len(sc.audit.report.Damaged)))
	return sc.audit.report.Damaged, nil
}

// table reads one table step by step.
func (sc *scrub) table(ctx context.Context, name []byte) error {
	for from := []byte{}; from != nil; {
		err := sc.step(func(t *bolt.Tx) { from = sc.read(t, name, from, scrubStep, sc.audit.row) })
		if err == nil {
			err = sc.rest(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// step runs one read transaction.
func (sc *scrub) step(fn func(*bolt.Tx)) error {
	err := guard(func() error {
		return sc.store.db.View(func(t *bolt.Tx) error { fn(t); return nil })
	})
	if sc.store.queue.isClosed() {
		return mailbox.ErrClosed
	}
	return err
}

func (sc *scrub) read(t *bolt.Tx, table, from []byte, budget int, row boltfile.Row) (next []byte) {
	next, found := boltfile.ScanTable(t, sc.file, table, from, budget, row)
	for _, d := range found {
		sc.audit.page(d)
	}
	return next
}

// rest keeps to the rate.
func (sc *scrub) rest(ctx context.Context) error {
	if sc.rate <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(float64(scrubStep) / float64(sc.rate) * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// day reads the index of a day with its sum in one transaction, because they
// have to agree, and then its envelopes step by step.
func (sc *scrub) day(ctx context.Context, d mailbox.Day) error {
	a := sc.audit
	sound := true
	sc.store.state.RLock()
	sc.until = sc.store.index.seq // before the transaction begins, which sees all of it
	sc.store.state.RUnlock()
	err := sc.step(func(t *bolt.Tx) {
		found := len(a.report.Damaged)
		_ = sc.read(t, indexBucket(d), []byte{}, math.MaxInt, a.row)
		_ = sc.read(t, sumBucket, dayKey(d), 1, func(table, key, raw []byte) {
			if bytes.Equal(key, dayKey(d)) {
				a.row(table, key, raw)
			}
		})
		sound = a.compareSum(d) && len(a.report.Damaged) == found
	})
	if err == nil {
		err = sc.table(ctx, envelopeBucket(d))
	}
	if err == nil && !sound {
		sc.missing(d)
	}
	if err == nil {
		err = sc.judge()
	}
	a.entries, a.bodies, a.days = map[uint64]audited{}, map[uint64]stored{}, map[mailbox.Day]*dayTally{}
	return err
}

// missing names the entries of a day that the store knows and the file does
// not show; their envelopes are judged by what the store knows.
func (sc *scrub) missing(d mailbox.Day) {
	sc.store.state.RLock()
	defer sc.store.state.RUnlock()
	for box, c := range sc.store.index.held {
		for _, e := range c.of(d) {
			if _, seen := sc.audit.entries[e.Seq]; seen || e.Seq > sc.until {
				continue
			}
			sc.audit.add(Damage{Place: place(indexBucket(d), seqBytes(e.Seq)), Box: box, Envelope: e.ID, Why: "the index entry is damaged"})
			sc.audit.entries[e.Seq] = audited{box, e}
		}
	}
}

// judge reports what is damaged of a day and still held. What came after its
// index was read is left to the next scrub.
func (sc *scrub) judge() error {
	a := sc.audit
	suspects := &audit{entries: a.entries, bodies: a.bodies}
	for at := range a.bodies {
		if _, known := a.entries[at]; !known && at > sc.until {
			delete(a.bodies, at)
		}
	}
	suspects.compare()
	for _, d := range suspects.report.Damaged {
		still := d.Box == (mailbox.ID{}) || d.Why == whyLeft
		err := sc.store.View(func(tx mailbox.Tx) error {
			e, known := tx.Find(d.Box, d.Envelope)
			if still || !known || e.Buried {
				return nil
			}
			_, err := tx.Body(d.Box, e)
			if errors.Is(err, mailbox.ErrDamaged) {
				still, err = true, nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if still {
			a.add(d)
		}
	}
	return nil
}
