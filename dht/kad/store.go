package kad

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	ds "github.com/ipfs/go-datastore"
	dsq "github.com/ipfs/go-datastore/query"
	recpb "github.com/libp2p/go-libp2p-record/pb"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
)

// errFull refuses a value because the store has reached a cap and nothing in
// it has expired.
var errFull = errors.New("directory store is full")

// keeper is what the store keeps its values in: bbolt or a map.
type keeper interface {
	get(key string) ([]byte, error) // nil if absent
	put(key string, value []byte) error
	delete(keys []string) error
	each(func(key string, value []byte)) error
}

// slot is what the store knows of an entry without reading it.
type slot struct {
	size    int
	expires int64 // unix seconds
}

// store is the datastore that kad-dht gets for values. It is bounded: at
// maxEntries or maxBytes a new value is refused unless expired ones can be
// deleted. A stored value is u64 expiry (unix seconds) | kad-dht's record.
type store struct {
	keeper     keeper
	verifier   *verifier
	maxEntries int
	maxBytes   int

	mu    sync.Mutex
	slots map[string]slot
	bytes int
	swept time.Time
}

var _ ds.Batching = (*store)(nil)

func newStore(k keeper, v *verifier) (*store, error) {
	s := &store{keeper: k, verifier: v, maxEntries: maxEntries, maxBytes: maxBytes, slots: map[string]slot{}}
	err := k.each(func(key string, value []byte) {
		if len(value) >= 8 {
			s.slots[key] = slot{len(value), int64(binary.BigEndian.Uint64(value))}
			s.bytes += len(value)
		}
	})
	return s, err
}

// Put implements ds.Write. The value is a marshalled kad-dht record.
func (s *store) Put(_ context.Context, key ds.Key, value []byte) error {
	if len(value) > maxStored {
		return errTooLong
	}
	expires, err := s.expiry(value)
	if err != nil {
		return err
	}
	stored := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(value)), uint64(expires.Unix()))
	stored = append(stored, value...)
	old, err := s.reserve(key.String(), slot{len(stored), expires.Unix()})
	if err != nil {
		return err
	}
	if err := s.keeper.put(key.String(), stored); err != nil {
		s.restore(key.String(), old)
		return err
	}
	return nil
}

// expiry verifies a marshalled record and says when it must be gone: it is no
// longer believed, or nobody has republished it for MaxRecordAge.
func (s *store) expiry(value []byte) (time.Time, error) {
	var rec recpb.Record
	if err := proto.Unmarshal(value, &rec); err != nil {
		return time.Time{}, dht.ErrInvalid
	}
	claim, err := s.verifier.valid(string(rec.GetKey()), rec.GetValue())
	if err != nil {
		return time.Time{}, err
	}
	age := s.verifier.now().Add(MaxRecordAge)
	if claim.Expires().Before(age) {
		return claim.Expires(), nil
	}
	return age, nil
}

// reserve books room for an entry and returns what was booked before.
func (s *store) reserve(key string, next slot) (slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, had := s.slots[key]
	if s.full(next.size-old.size, had) && s.verifier.now().Sub(s.swept) >= sweepPause {
		s.sweep()
		old, had = s.slots[key]
	}
	if s.full(next.size-old.size, had) {
		return slot{}, errFull
	}
	s.slots[key] = next
	s.bytes += next.size - old.size
	return old, nil
}

func (s *store) full(more int, had bool) bool {
	return s.bytes+more > s.maxBytes || (!had && len(s.slots) >= s.maxEntries)
}

func (s *store) restore(key string, old slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += old.size - s.slots[key].size
	if old == (slot{}) {
		delete(s.slots, key)
	} else {
		s.slots[key] = old
	}
}

// Sweep deletes what has expired and returns how many entries that were.
func (s *store) Sweep() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sweep()
}

func (s *store) sweep() int {
	now := s.verifier.now()
	s.swept = now
	var dead []string
	for key, slot := range s.slots {
		if slot.expires <= now.Unix() {
			dead = append(dead, key)
		}
	}
	if len(dead) == 0 || s.keeper.delete(dead) != nil {
		return 0
	}
	for _, key := range dead {
		s.bytes -= s.slots[key].size
		delete(s.slots, key)
	}
	return len(dead)
}

// Get implements ds.Read. An entry that has expired or does not verify, for
// instance because the disk has changed it, is absent.
func (s *store) Get(_ context.Context, key ds.Key) ([]byte, error) {
	value, err := s.keeper.get(key.String())
	if err != nil {
		return nil, err
	}
	if len(value) < 8 || int64(binary.BigEndian.Uint64(value)) <= s.verifier.now().Unix() {
		return nil, ds.ErrNotFound
	}
	if _, err := s.expiry(value[8:]); err != nil {
		return nil, ds.ErrNotFound
	}
	return value[8:], nil
}

// Has implements ds.Read.
func (s *store) Has(ctx context.Context, key ds.Key) (bool, error) {
	return ds.GetBackedHas(ctx, s, key)
}

// GetSize implements ds.Read.
func (s *store) GetSize(ctx context.Context, key ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, s, key)
}

// Delete implements ds.Write.
func (s *store) Delete(_ context.Context, key ds.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.keeper.delete([]string{key.String()}); err != nil {
		return err
	}
	s.bytes -= s.slots[key.String()].size
	delete(s.slots, key.String())
	return nil
}

// Query implements ds.Read; values are read one at a time.
func (s *store) Query(ctx context.Context, q dsq.Query) (dsq.Results, error) {
	s.mu.Lock()
	var keys []string
	for key := range s.slots {
		if strings.HasPrefix(key, q.Prefix) {
			keys = append(keys, key)
		}
	}
	s.mu.Unlock()
	next := func() (dsq.Result, bool) {
		for len(keys) > 0 {
			key := keys[0]
			keys = keys[1:]
			value, err := s.Get(ctx, ds.RawKey(key))
			if err == nil {
				return dsq.Result{Entry: dsq.Entry{Key: key, Value: value, Size: len(value)}}, true
			}
		}
		return dsq.Result{}, false
	}
	return dsq.NaiveQueryApply(q, dsq.ResultsFromIterator(q, dsq.Iterator{Next: next})), nil
}

// Batch implements ds.Batching.
func (s *store) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(s), nil }

// Sync implements ds.Datastore; puts are on disk when they return.
func (s *store) Sync(context.Context, ds.Key) error { return nil }

// Close implements ds.Datastore; the file belongs to the Directory.
func (s *store) Close() error { return nil }

// memory is the keeper of a directory without a file.
type memory struct {
	mu     sync.RWMutex
	values map[string][]byte
}

func (m *memory) get(key string) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.values[key], nil
}

func (m *memory) put(key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = value
	return nil
}

func (m *memory) delete(keys []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.values, key)
	}
	return nil
}

func (m *memory) each(func(string, []byte)) error { return nil }
