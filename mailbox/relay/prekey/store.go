package prekey

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/stock"
)

const (
	checkLabel = "kith1 stock"
	checkSize  = 8
	keySize    = 32 + 8
	rowSize    = checkSize + 8 + stock.BundleSize
	lockWait   = 5 * time.Second
)

// itemBucket has box id 32 | number u64 -> check 8 | freshness mark in unix ms u64 | bundle.
var itemBucket = []byte("bundles")

// Store is a relay's stock on bbolt. What it counts is in memory, so that who
// asks for what is not there costs no disk.
type Store struct {
	db *bolt.DB

	mu      sync.Mutex
	held    map[mailbox.ID]int
	total   int
	damaged int
}

// Open opens the stock at path, or lays it anew if it is not there or damaged.
func Open(path string) (*Store, error) {
	o := boltfile.Options{Wait: lockWait}
	db, err := boltfile.Open(path, o)
	if errors.Is(err, boltfile.ErrDamaged) {
		err = os.Remove(path)
		if err == nil {
			err = fs.ErrNotExist
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err = boltfile.Create(path, o, layStock); err == nil {
			db, err = boltfile.Open(path, o)
		}
	}
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, held: map[mailbox.ID]int{}}
	if err := s.update(s.load); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func layStock(tx *bolt.Tx) error {
	_, err := tx.CreateBucketIfNotExists(itemBucket)
	return err
}

func (s *Store) update(fn func(*bolt.Bucket) error) error {
	return boltfile.Guard("stock", func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			if err := layStock(tx); err != nil {
				return err
			}
			return fn(tx.Bucket(itemBucket))
		})
	})
}

// load counts what is there and drops what is damaged.
func (s *Store) load(b *bolt.Bucket) error {
	var bad [][]byte
	err := b.ForEach(func(k, v []byte) error {
		if parseRow(k, v) == nil {
			bad = append(bad, bytes.Clone(k))
			return nil
		}
		s.count(mailbox.ID(k[:32]), 1)
		return nil
	})
	s.damaged += len(bad)
	for _, k := range bad {
		err = errors.Join(err, b.Delete(k))
	}
	return err
}

func (s *Store) count(box mailbox.ID, n int) {
	s.total += n
	if s.held[box] += n; s.held[box] == 0 {
		delete(s.held, box)
	}
}

// Close closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db.Close()
}

// Counts are how many bundles there are, and how many rows were found damaged.
func (s *Store) Counts() (held, damaged int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total, s.damaged
}

// Put adds bundles to a box.
func (s *Store) Put(box mailbox.ID, items []stock.Item, now time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(items) == 0 && s.held[box] == 0 {
		return 0, nil
	}
	err := s.change(func(b *bolt.Bucket) (gone []mailbox.ID, added int, err error) {
		if gone, err = s.drop(b, box[:], now); err != nil {
			return nil, 0, err
		}
		added = max(0, min(stock.Most-s.held[box]+len(gone), stock.Total-s.total+len(gone), len(items)))
		for _, item := range items[:added] {
			n, err := b.NextSequence()
			if err != nil {
				return nil, 0, err
			}
			key := binary.BigEndian.AppendUint64(bytes.Clone(box[:]), n)
			if err := b.Put(key, row(key, item)); err != nil {
				return nil, 0, err
			}
		}
		return gone, added, nil
	}, box)
	return s.held[box], err
}

// Take removes the oldest bundle of a box that is fresh.
func (s *Store) Take(box mailbox.ID, now time.Time) (bundle []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[box] == 0 {
		return nil, nil
	}
	err = s.change(func(b *bolt.Bucket) (gone []mailbox.ID, added int, err error) {
		bundle = nil
		if gone, err = s.drop(b, box[:], now); err != nil {
			return nil, 0, err
		}
		k, v := b.Cursor().Seek(box[:])
		if !bytes.HasPrefix(k, box[:]) {
			return gone, 0, nil
		}
		bundle = parseRow(k, v).Bundle
		return append(gone, box), 0, b.Delete(k)
	}, box)
	if err != nil {
		return nil, err
	}
	return bundle, nil
}

// Sweep forgets what is not fresh any more.
func (s *Store) Sweep(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total == 0 {
		return nil
	}
	return s.change(func(b *bolt.Bucket) (gone []mailbox.ID, added int, err error) {
		gone, err = s.drop(b, nil, now)
		return gone, 0, err
	}, mailbox.ID{})
}

// change runs fn in a transaction, and counts what it did when that is on the disk.
func (s *Store) change(fn func(*bolt.Bucket) (gone []mailbox.ID, added int, err error), box mailbox.ID) error {
	var gone []mailbox.ID
	var added int
	damaged := s.damaged
	err := s.update(func(b *bolt.Bucket) (err error) {
		s.damaged = damaged
		gone, added, err = fn(b)
		return err
	})
	if err != nil {
		s.damaged = damaged
		return err
	}
	for _, g := range gone {
		s.count(g, -1)
	}
	if added > 0 {
		s.count(box, added)
	}
	return nil
}

// drop deletes the rows that begin with prefix and are damaged or not fresh.
func (s *Store) drop(b *bolt.Bucket, prefix []byte, now time.Time) (gone []mailbox.ID, err error) {
	var keys [][]byte
	c := b.Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		item := parseRow(k, v)
		if item != nil && now.Before(item.Until) {
			continue
		}
		if item == nil {
			s.damaged++
		}
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if len(k) == keySize {
			gone = append(gone, mailbox.ID(k[:32]))
		}
		if err := b.Delete(k); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

func row(key []byte, i stock.Item) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, checkSize, rowSize), uint64(i.Until.UnixMilli()))
	b = append(b, i.Bundle...)
	copy(b, check(key, b[checkSize:]))
	return b
}

// parseRow is nil for a row that makes no sense.
func parseRow(key, b []byte) *stock.Item {
	if len(key) != keySize || len(b) != rowSize || !bytes.Equal(b[:checkSize], check(key, b[checkSize:])) {
		return nil
	}
	return &stock.Item{
		Until: time.UnixMilli(int64(binary.BigEndian.Uint64(b[checkSize:]))), Bundle: bytes.Clone(b[checkSize+8:]),
	}
}

func check(key, b []byte) []byte {
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte(checkLabel), key, b}, nil))
	return sum[:checkSize]
}
