package boltstore

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/node/store"
)

var (
	headerName = []byte("header")
	versionKey = []byte("version")
	sumsKey    = []byte("sums")
)

// Options of Open.
type Options struct {
	ReadOnly bool          // many readers at a time, no writer
	Timeout  time.Duration // how long to wait for another process; zero: DefaultTimeout
}

// Store is a store.Store on disk.
type Store struct {
	db    *bbolt.DB
	vault *vault.Vault
	path  string

	mu     sync.Mutex // guards what follows
	sums   sums       // as of the last commit
	broken error      // bbolt failed in a way that leaves its memory unknown: nothing is written any more
}

var _ store.Store = (*Store)(nil)

// Create makes a new store in dir, which must exist, and opens it. The file appears under its name only when it is whole.
func Create(dir string, v *vault.Vault) (*Store, error) {
	err := boltfile.Create(filepath.Join(dir, FileName), Options{}.file(), func(tx *bbolt.Tx) error { return lay(tx, v) })
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrExists
	}
	if err != nil {
		return nil, fmt.Errorf("create store: %w", named(err))
	}
	return Open(dir, v, Options{})
}

// lay writes an empty store.
func lay(tx *bbolt.Tx, v *vault.Vault) error {
	h, err := tx.CreateBucket(headerName)
	if err != nil {
		return err
	}
	sealed, err := v.Seal(rand.Reader, headerPlace(sumsKey), sums{}.marshal())
	if err != nil {
		return err
	}
	return errors.Join(createBuckets(tx), h.Put(versionKey, binary.BigEndian.AppendUint32(nil, Version)), h.Put(sumsKey, sealed))
}

func createBuckets(tx *bbolt.Tx) error {
	for _, b := range store.Buckets() {
		if _, err := tx.CreateBucketIfNotExists([]byte{byte(b)}); err != nil {
			return err
		}
	}
	return nil
}

func (o Options) file() boltfile.Options {
	return boltfile.Options{Wait: cmp.Or(o.Timeout, DefaultTimeout), ReadOnly: o.ReadOnly}
}

// Open opens the store in dir with the vault that made it. ErrMissing, ErrLocked, ErrNewer and ErrDamaged say why not.
func Open(dir string, v *vault.Vault, o Options) (*Store, error) {
	s := &Store{vault: v, path: filepath.Join(dir, FileName)}
	var err error
	if s.db, err = boltfile.Open(s.path, o.file()); err != nil {
		return nil, fmt.Errorf("open store: %w", named(err))
	}
	if err := guard("header", func() error { return s.begin(o.ReadOnly) }); err != nil {
		s.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

// begin reads the header and adds the buckets that an older build did not know.
func (s *Store) begin(readOnly bool) error {
	missing := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		for _, b := range store.Buckets() {
			missing = missing || tx.Bucket([]byte{byte(b)}) == nil
		}
		return s.readHeader(tx)
	})
	if err != nil || readOnly || !missing {
		return err
	}
	return s.db.Update(createBuckets)
}

func (s *Store) readHeader(tx *bbolt.Tx) error {
	h := tx.Bucket(headerName)
	if h == nil {
		return &Damage{Place: "header", Why: "missing"}
	}
	version := h.Get(versionKey)
	if len(version) != 4 || binary.BigEndian.Uint32(version) == 0 {
		return &Damage{Place: "header/version", Why: "unreadable"}
	}
	if n := binary.BigEndian.Uint32(version); n > Version {
		return fmt.Errorf("%w: version %d, this one knows %d", ErrNewer, n, Version)
	}
	plain, err := s.vault.Open(headerPlace(sumsKey), h.Get(sumsKey))
	if err != nil {
		return &Damage{Place: "header/sums", Why: "does not open with this key"}
	}
	s.sums, err = parseSums(plain)
	return err
}

func headerPlace(key []byte) []byte { return append([]byte{0, 0}, key...) }

// Close closes the file and lets go of its lock.
func (s *Store) Close() error { return guard(FileName, s.db.Close) }

// View runs fn in a read transaction. It returns fn's error, or the damage that fn's reads met.
func (s *Store) View(fn func(store.Tx) error) error {
	tx, err := s.db.Begin(false)
	if err != nil {
		return named(err)
	}
	defer s.release(tx)
	return run(&txn{store: s, tx: tx}, fn)
}

// Update runs fn in a read-write transaction: durable when it returns nil, nothing left when it returns an error.
// ErrFull says that the disk is full; the store stays usable and a later Update may succeed. Any other failure of the
// commit ends the writing until the store is opened again. A fn that writes nothing costs no fsync.
func (s *Store) Update(fn func(store.Tx) error) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return named(err)
	}
	// Also when fn panics; after a commit it does nothing.
	defer s.release(tx)
	s.mu.Lock()
	t := &txn{store: s, tx: tx, sums: s.sums}
	broken := s.broken
	s.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := run(t, fn); err != nil || !t.wrote {
		return err
	}
	return s.commit(t)
}

func run(t *txn, fn func(store.Tx) error) error {
	if err := fn(t); err != nil {
		return err
	}
	return t.err
}

func (s *Store) commit(t *txn) error {
	sealed, err := s.vault.Seal(rand.Reader, headerPlace(sumsKey), t.sums.marshal())
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	err = guard(FileName, func() error {
		if err := t.tx.Bucket(headerName).Put(sumsKey, sealed); err != nil {
			return err
		}
		return t.tx.Commit()
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if !errors.Is(err, ErrFull) { // nobody knows what the disk holds
			s.broken = fmt.Errorf("store: a commit failed, open it again: %w", err)
		}
		return fmt.Errorf("store: %w", err)
	}
	s.sums = t.sums
	return nil
}

// release ends a transaction that was not committed. If even that fails, bbolt is in no state to write any more.
func (s *Store) release(tx *bbolt.Tx) {
	err := guard(FileName, tx.Rollback)
	if errors.Is(err, ErrDamaged) {
		s.mu.Lock()
		s.broken = err
		s.mu.Unlock()
	}
}
