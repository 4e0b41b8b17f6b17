package boltstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/store"
)

// current is the vault that seals now.
func (s *Store) current() *vault.Vault {
	s.keys.RLock()
	defer s.keys.RUnlock()
	return s.vault
}

// keep makes a vault the current one, once its file is on the disk.
func (s *Store) keep(v *vault.Vault) error {
	if err := saveKeys(s.dir, v, s.step); err != nil {
		return named(err)
	}
	s.keys.Lock()
	defer s.keys.Unlock()
	s.vault = v
	return nil
}

// Renew ends rotations that were interrupted, and begins those that are due; at says what time it is. What was deleted or
// replaced before a rotation began is gone when it has ended. Rows that do not open are left as they are and reported as
// damage, after the rotation.
func (s *Store) Renew(ctx context.Context, at time.Time) error {
	s.turning.Lock()
	defer s.turning.Unlock()
	return errors.Join(s.renew(ctx, vault.Fleeting, FleetingEvery, at), s.renew(ctx, vault.Lasting, LastingEvery, at))
}

func (s *Store) renew(ctx context.Context, c vault.Class, every time.Duration, at time.Time) error {
	v := s.current()
	if v.Rotating(c) {
		return s.turn(ctx, c, resealPause)
	}
	age := at.Sub(v.Made(c))
	if age >= every || age < -every { // a key of the future: the clock was wrong, or is
		return s.rotate(ctx, c, at, resealPause)
	}
	return nil
}

// Rotate brings a fresh key for one class now.
func (s *Store) Rotate(ctx context.Context, c vault.Class, at time.Time) error {
	s.turning.Lock()
	defer s.turning.Unlock()
	return s.rotate(ctx, c, at, 0)
}

func (s *Store) rotate(ctx context.Context, c vault.Class, at time.Time, pause time.Duration) error {
	if s.Restored() {
		return ErrRestored
	}
	v := s.current()
	if !v.Rotating(c) {
		next, err := v.Rotate(rand.Reader, c, at)
		if err != nil {
			return err
		}
		if err := s.keep(next); err != nil {
			return err
		}
	}
	return s.turn(ctx, c, pause)
}

// Relock puts the key file under another passphrase (empty: none), and brings fresh keys for everything, so that an old key
// file opens nothing that is written from now on, and nothing in the store. A passphrase counts from the moment the first
// file is on the disk: if err is not nil, changed says whether it does.
func (s *Store) Relock(ctx context.Context, passphrase []byte, at time.Time) (changed bool, err error) {
	s.turning.Lock()
	defer s.turning.Unlock()
	if s.Restored() {
		return false, ErrRestored
	}
	for c := range vault.Fleeting + 1 {
		if s.current().Rotating(c) {
			if err := s.turn(ctx, c, 0); err != nil && !errors.Is(err, ErrDamaged) {
				return false, err
			}
		}
	}
	v, err := s.current().Rewrap(rand.Reader, passphrase)
	for c := range vault.Fleeting + 1 {
		if err == nil {
			v, err = v.Rotate(rand.Reader, c, at)
		}
	}
	if err != nil {
		return false, err
	}
	if err := s.keep(v); err != nil {
		return false, err
	}
	return true, errors.Join(s.turn(ctx, vault.Fleeting, 0), s.turn(ctx, vault.Lasting, 0))
}

// turn seals everything of a class under its current key, and then destroys the others. It can be interrupted anywhere and
// begun again.
func (s *Store) turn(ctx context.Context, c vault.Class, pause time.Duration) error {
	if s.Restored() {
		return ErrRestored
	}
	if c == vault.Lasting && s.also != nil {
		if err := s.also(s.current()); err != nil {
			return err
		}
	}
	damaged, err := s.resealAll(ctx, c, pause)
	if err != nil {
		return fmt.Errorf("rotation: %w", err)
	}
	s.step("sealed again")
	return errors.Join(s.keep(s.current().Retire(c)), damaged)
}

// resealAll seals the stale rows of a class again: those that must be forgotten in one transaction, the others in steps.
func (s *Store) resealAll(ctx context.Context, c vault.Class, pause time.Duration) (damaged, err error) {
	var found []error
	at := position{}
	for done := false; !done; {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err := s.update(func(t *txn) (err error) {
			var bad []error
			at, bad, err = t.reseal(c, at)
			found = append(found, bad...)
			if done = at.bucket == nil; done && err == nil {
				err = t.mark(c)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		s.step("a step sealed again")
		if pause > 0 && !done {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
	return errors.Join(found...), nil
}

// mark says that no row of a class needs another key than the current one.
func (t *txn) mark(c vault.Class) error {
	t.wrote = true
	return guard("header", func() error { return putMark(t.tx.Bucket(headerName), t.vault, c) })
}

// position is where a reseal goes on: the table and the stored key; without a table it has ended.
type position struct {
	bucket *store.Bucket
	from   []byte
}

// reseal seals stale rows from a position on (none: the beginning) and returns where to go on.
func (t *txn) reseal(c vault.Class, at position) (next position, damaged []error, err error) {
	left := resealStep
	if c == vault.Fleeting {
		left = math.MaxInt // all in one transaction
	}
	for _, b := range store.Buckets() {
		if class(b) != c || at.bucket != nil && b < *at.bucket {
			continue
		}
		var from []byte
		if at.bucket != nil && b == *at.bucket {
			from = at.from
		}
		bad, more, err := t.resealBucket(b, from, &left)
		damaged = append(damaged, bad...)
		if err != nil || more != nil {
			return position{&b, more}, damaged, err
		}
	}
	return position{}, damaged, nil
}

// pair is a row as bbolt holds it.
type pair struct{ stored, sealed []byte }

// resealBucket works through b until left is used up; more is then the stored key to go on with.
func (t *txn) resealBucket(b store.Bucket, from []byte, left *int) (damaged []error, more []byte, err error) {
	err = guard(bucketName(b), func() error {
		bucket := t.bucket(b)
		if bucket == nil {
			return nil
		}
		var stale []pair // first all, for a write moves what a cursor stands on
		cursor := bucket.Cursor()
		for k, v := cursor.Seek(from); k != nil; k, v = cursor.Next() {
			if *left <= 0 {
				more = slices.Clone(k)
				break
			}
			if *left -= len(k); t.vault.Stale(class(b), v) {
				*left -= len(v)
				stale = append(stale, pair{slices.Clone(k), slices.Clone(v)})
			}
		}
		for _, r := range stale {
			bad, err := t.resealRow(b, r)
			if err != nil {
				return err
			}
			if bad != nil {
				damaged = append(damaged, bad)
			}
		}
		return nil
	})
	return damaged, more, err
}

func (t *txn) resealRow(b store.Bucket, r pair) (damaged, err error) {
	plain, err := t.unseal(b, r.stored, r.sealed)
	if err != nil {
		return err, nil
	}
	sealed, err := t.vault.Seal(rand.Reader, class(b), place(b, r.stored), plain)
	clear(plain)
	if err != nil {
		return nil, err
	}
	t.sums.remove(t.vault, b, r.stored, r.sealed)
	t.sums.add(t.vault, b, r.stored, sealed)
	t.wrote = true
	return nil, t.tx.Bucket([]byte{byte(b)}).Put(r.stored, sealed)
}

// Restored says that store and key file are of different times: one of them was put back from an older copy, and no key
// opens sessions, prekeys and first flights any more. They read as empty and cannot be written until Forget; everything else
// is as it was then. A copy of both files together, or one as young as the last rotation, is not noticed.
func (s *Store) Restored() bool { return s.restored.Load() }

// Forget drops sessions, prekeys and first flights, which no key opens when the store was Restored, or which are damaged,
// and runs fn in the same transaction: it has the device begin anew with those who knew it.
func (s *Store) Forget(fn func(store.Tx) error) error {
	err := s.update(func(t *txn) error {
		for _, b := range store.Buckets() {
			if b.Fleeting() {
				if err := t.empty(b); err != nil {
					return err
				}
			}
		}
		if err := t.mark(vault.Fleeting); err != nil {
			return err
		}
		t.restored = false
		return run(t, fn)
	})
	if err == nil {
		s.restored.Store(false)
	}
	return err
}

func (t *txn) empty(b store.Bucket) error {
	t.sums[b] = sum{}
	return guard(bucketName(b), func() error {
		name := []byte{byte(b)}
		if t.tx.Bucket(name) != nil {
			if err := t.tx.DeleteBucket(name); err != nil {
				return err
			}
		}
		_, err := t.tx.CreateBucket(name)
		return err
	})
}
