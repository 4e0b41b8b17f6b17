package dht

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// ErrNotFound says that no valid record was found before the context ended or
// all known peers had answered. It does not prove that none exists.
var ErrNotFound = errors.New("dht: not found")

// ErrOlder says that the local copy is newer than the record put.
var ErrOlder = errors.New("dht: a newer record is stored")

// Directory is where records are put and found. Implementations pass the
// suite of dht/dhttest.
type Directory interface {
	// Put publishes value and returns how many other peers stored it; zero
	// with a nil error when nobody was reachable. The local copy is kept in
	// any case and counts for Get. ErrInvalid and ErrOlder refuse the value;
	// of two values with one number the last put is kept.
	Put(ctx context.Context, key string, value []byte) (stored int, err error)
	// Get returns the best valid value it finds before ctx ends; ErrNotFound
	// otherwise, ErrInvalid for a malformed key. It never returns a value that
	// Validate refuses now.
	Get(ctx context.Context, key string) ([]byte, error)
}

// Memory is a directory in memory, for tests and the simulator; for one
// goroutine.
type Memory struct {
	now    func() time.Time
	values map[string][]byte
}

var _ Directory = (*Memory)(nil)

// NewMemory returns an empty directory whose clock is now.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, values: map[string][]byte{}}
}

// Put keeps value unless it is invalid or older than what is kept; 1 stored.
func (m *Memory) Put(ctx context.Context, key string, value []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := Validate(key, value, m.now()); err != nil {
		return 0, err
	}
	if old, ok := m.values[key]; ok {
		if best, err := Select(key, [][]byte{value, old}); err != nil || best != 0 {
			return 0, ErrOlder
		}
	}
	m.values[key] = bytes.Clone(value)
	return 1, nil
}

// Get returns the kept value if it is still valid.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, _, err := ParseKey(key); err != nil {
		return nil, err
	}
	value, ok := m.values[key]
	if !ok || Validate(key, value, m.now()) != nil {
		return nil, ErrNotFound
	}
	return bytes.Clone(value), nil
}
