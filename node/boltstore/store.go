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
	"sync/atomic"
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
	// The marks of the vault's keys, by their class; not in files of earlier builds.
	markKeys = map[vault.Class][]byte{vault.Lasting: []byte("lasting"), vault.Fleeting: []byte("fleeting")}
)

// Options of Open.
type Options struct {
	ReadOnly bool          // many readers at a time, no writer
	Timeout  time.Duration // how long to wait for another process; zero: DefaultTimeout
	// Also seals anew what else lies under the vault's lasting keys, durably, in each of their rotations; nil: nothing does.
	Also func(v *vault.Vault) error
}

// Store is a store.Store on disk.
type Store struct {
	db       *bbolt.DB
	dir      string
	path     string
	readOnly bool
	also     func(v *vault.Vault) error
	restored atomic.Bool
	step     func(what string) // tests look at the disk after each step of a rotation

	turning sync.Mutex   // one rotation at a time
	keys    sync.RWMutex // guards vault; held over the begin of what reads, so that its snapshot has the keys for it
	vault   *vault.Vault

	writing sync.Mutex // one Update at a time, until sums are those of its commit

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
	sealed, err := v.Seal(rand.Reader, vault.Lasting, headerPlace(sumsKey), sums{}.marshal())
	if err != nil {
		return err
	}
	return errors.Join(createBuckets(tx), h.Put(versionKey, binary.BigEndian.AppendUint32(nil, Version)),
		h.Put(sumsKey, sealed), putMark(h, v, vault.Lasting), putMark(h, v, vault.Fleeting))
}

// putMark says that no row of a class needs another key than the current one.
func putMark(h *bbolt.Bucket, v *vault.Vault, c vault.Class) error {
	return h.Put(markKeys[c], v.Mark(c))
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

// Open opens the store in dir with the vault that made it. ErrMissing, ErrLocked, ErrNewer, ErrApart and ErrDamaged say why
// not. A store that is Restored opens.
func Open(dir string, v *vault.Vault, o Options) (*Store, error) {
	s := &Store{vault: v, dir: dir, path: filepath.Join(dir, FileName), readOnly: o.ReadOnly, also: o.Also, step: func(string) {}}
	var err error
	if s.db, err = boltfile.Open(s.path, o.file()); err != nil {
		return nil, fmt.Errorf("open store: %w", named(err))
	}
	if err := guard("header", s.begin); err != nil {
		s.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

// begin reads the header and adds the buckets that an older build did not know.
func (s *Store) begin() error {
	missing := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		for _, b := range store.Buckets() {
			missing = missing || tx.Bucket([]byte{byte(b)}) == nil
		}
		h, err := readHeader(tx, s.vault)
		s.sums = h.sums
		s.restored.Store(h.restored)
		return err
	})
	if err != nil || s.readOnly || !missing {
		return err
	}
	return s.db.Update(createBuckets)
}

// header is what a store says of itself.
type header struct {
	sums     sums
	restored bool // the keys of its fleeting rows are gone
}

func readHeader(tx *bbolt.Tx, v *vault.Vault) (h header, err error) {
	b := tx.Bucket(headerName)
	if b == nil {
		return h, &Damage{Place: "header", Why: "missing"}
	}
	version := b.Get(versionKey)
	if len(version) != 4 || binary.BigEndian.Uint32(version) == 0 {
		return h, &Damage{Place: "header/version", Why: "unreadable"}
	}
	if n := binary.BigEndian.Uint32(version); n > Version {
		return h, fmt.Errorf("%w: version %d, this one knows %d", ErrNewer, n, Version)
	}
	lasting, err := readMark(b, v, vault.Lasting)
	if err != nil {
		return h, err
	}
	if !lasting {
		return h, ErrApart
	}
	fleeting, err := readMark(b, v, vault.Fleeting)
	if err != nil {
		return h, err
	}
	h.restored = !fleeting
	plain, err := v.Open(vault.Lasting, headerPlace(sumsKey), b.Get(sumsKey))
	if err != nil {
		return h, &Damage{Place: "header/sums", Why: "does not open with this key"}
	}
	h.sums, err = parseSums(plain)
	return h, err
}

// readMark says whether the vault has the key of a class under which the store is sealed.
func readMark(h *bbolt.Bucket, v *vault.Vault, c vault.Class) (held bool, err error) {
	mark := h.Get(markKeys[c])
	held, err = v.Holds(mark, c)
	if err == nil && (held || mark != nil) {
		return held, nil
	}
	why := "not made by these keys"
	if mark == nil {
		why = "missing"
	}
	return false, fmt.Errorf("%w: %w", ErrApart, &Damage{Place: "header/" + string(markKeys[c]), Why: why})
}

func headerPlace(key []byte) []byte { return append([]byte{0, 0}, key...) }

// Close closes the file and lets go of its lock.
func (s *Store) Close() error { return guard(FileName, s.db.Close) }

// View runs fn in a read transaction. It returns fn's error, or the damage that fn's reads met.
func (s *Store) View(fn func(store.Tx) error) error {
	t, err := s.reading()
	if err != nil {
		return err
	}
	defer s.release(t.tx)
	return run(t, fn)
}

// reading begins a read transaction.
func (s *Store) reading() (*txn, error) {
	s.keys.RLock()
	defer s.keys.RUnlock()
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, named(err)
	}
	return &txn{store: s, tx: tx, vault: s.vault, restored: s.Restored()}, nil
}

// Update runs fn in a read-write transaction: durable when it returns nil, nothing left when it returns an error.
// ErrFull says that the disk is full; the store stays usable and a later Update may succeed. Any other failure of the
// commit ends the writing until the store is opened again. A fn that writes nothing costs no fsync.
func (s *Store) Update(fn func(store.Tx) error) error {
	return s.update(func(t *txn) error { return run(t, fn) })
}

func (s *Store) update(fn func(*txn) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	tx, err := s.db.Begin(true)
	if err != nil {
		return named(err)
	}
	// Also when fn panics; after a commit it does nothing.
	defer s.release(tx)
	s.mu.Lock()
	t := &txn{store: s, tx: tx, vault: s.current(), sums: s.sums, restored: s.Restored()}
	broken := s.broken
	s.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := fn(t); err != nil || !t.wrote {
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
	sealed, err := t.vault.Seal(rand.Reader, vault.Lasting, headerPlace(sumsKey), t.sums.marshal())
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
