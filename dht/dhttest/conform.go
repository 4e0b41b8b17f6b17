// Package dhttest is the conformance suite of dht.Directory and makes the
// records that its users need. Every directory passes the same suite: the one
// in memory, the one on kad-dht, the simulated one.
//
// It tests what a single caller sees. It does not test what hostile or dead
// peers can do to a directory: the packages that have peers do.
package dhttest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
)

// Clock is a clock that only moves when told to. The goroutines of a directory
// may read it meanwhile.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock returns a clock that stands at at.
func NewClock(at time.Time) *Clock { return &Clock{at: at} }

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Set moves the clock.
func (c *Clock) Set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// Conform runs the suite. open returns an empty directory whose clock is now;
// it registers its own clean-up.
func Conform(t *testing.T, open func(t *testing.T, now func() time.Time) dht.Directory) {
	for _, check := range []struct {
		name string
		run  func(*bench)
	}{
		{"an unknown key is not found", (*bench).unknown},
		{"what is put is found", (*bench).roundTrip},
		{"a result is the caller's own copy", (*bench).ownCopy},
		{"a value that does not verify is refused", (*bench).refuses},
		{"a value under another key is refused", (*bench).wrongKey},
		{"the newer value wins and stays", (*bench).newerWins},
		{"of one number the last put stays", (*bench).lastOfFork},
		{"a value is not found after its grace", (*bench).expires},
		{"an ended context ends every call", (*bench).endedContext},
		{"a malformed key is refused", (*bench).malformedKey},
	} {
		t.Run(check.name, func(t *testing.T) {
			for i, name := range []string{"list", "device", "set"} {
				t.Run(name, func(t *testing.T) {
					clock := NewClock(Start)
					kind := Kinds(t, NewPerson(t, "conform", Start))[i]
					check.run(&bench{t, kind, clock, open(t, clock.Now)})
				})
			}
		})
	}
}

// bench is one check of one kind on one empty directory.
type bench struct {
	*testing.T
	kind  Kind
	clock *Clock
	dir   dht.Directory
}

func (b *bench) put(value []byte) {
	b.Helper()
	if _, err := b.dir.Put(b.Context(), b.kind.Key, value); err != nil {
		b.Fatalf("put: %v", err)
	}
}

func (b *bench) refused(key string, value []byte, want error) {
	b.Helper()
	if n, err := b.dir.Put(b.Context(), key, value); !errors.Is(err, want) || n != 0 {
		b.Fatalf("put: stored %d, error %v, want %v", n, err, want)
	}
}

func (b *bench) holds(want []byte) {
	b.Helper()
	got, err := b.dir.Get(b.Context(), b.kind.Key)
	if err != nil || !bytes.Equal(got, want) {
		b.Fatalf("get: %d bytes, error %v; want %d other bytes", len(got), err, len(want))
	}
}

func (b *bench) holdsNothing() {
	b.Helper()
	if got, err := b.dir.Get(b.Context(), b.kind.Key); !errors.Is(err, dht.ErrNotFound) {
		b.Fatalf("get: %d bytes, error %v; want not found", len(got), err)
	}
}

func (b *bench) unknown() { b.holdsNothing() }

func (b *bench) roundTrip() {
	b.put(b.kind.Make(1, 0))
	b.holds(b.kind.Make(1, 0))
	b.put(b.kind.Make(1, 0))
	b.holds(b.kind.Make(1, 0))
}

func (b *bench) ownCopy() {
	value := b.kind.Make(1, 0)
	b.put(value)
	value[0] ^= 1
	got, err := b.dir.Get(b.Context(), b.kind.Key)
	if err != nil {
		b.Fatal(err)
	}
	got[1] ^= 1
	b.holds(b.kind.Make(1, 0))
}

func (b *bench) refuses() {
	good := b.kind.Make(1, 0)
	for _, bad := range [][]byte{
		nil,
		{},
		{0},
		[]byte("junk"), Forged(good), good[:len(good)-1], append(bytes.Clone(good), 0),
		make([]byte, dht.MaxRecord+1), make([]byte, 1<<20),
	} {
		b.refused(b.kind.Key, bad, dht.ErrInvalid)
	}
	b.clock.Set(Start.Add(Life + dht.Grace + time.Second))
	b.refused(b.kind.Key, good, dht.ErrInvalid)
	b.clock.Set(Start)
	b.holdsNothing()
}

func (b *bench) wrongKey() {
	for _, other := range Kinds(b, NewPerson(b, "another", Start)) {
		b.refused(other.Key, b.kind.Make(1, 0), dht.ErrInvalid)
	}
}

func (b *bench) newerWins() {
	b.put(b.kind.Make(2, 0))
	b.refused(b.kind.Key, b.kind.Make(1, 0), dht.ErrOlder)
	b.holds(b.kind.Make(2, 0))
	b.put(b.kind.Make(7, 0))
	b.holds(b.kind.Make(7, 0))
	b.refused(b.kind.Key, b.kind.Make(2, 0), dht.ErrOlder)
	b.holds(b.kind.Make(7, 0))
}

func (b *bench) lastOfFork() {
	b.put(b.kind.Make(3, 0))
	b.put(b.kind.Make(3, 1))
	b.holds(b.kind.Make(3, 1))
}

func (b *bench) expires() {
	b.put(b.kind.Make(1, 0))
	b.clock.Set(Start.Add(Life + dht.Grace))
	b.holds(b.kind.Make(1, 0))
	b.clock.Set(Start.Add(Life + dht.Grace + time.Second))
	b.holdsNothing()
}

func (b *bench) endedContext() {
	ctx, end := context.WithCancel(b.Context())
	end()
	if _, err := b.dir.Put(ctx, b.kind.Key, b.kind.Make(1, 0)); !errors.Is(err, context.Canceled) {
		b.Errorf("put: %v", err)
	}
	if _, err := b.dir.Get(ctx, b.kind.Key); !errors.Is(err, context.Canceled) {
		b.Errorf("get: %v", err)
	}
}

func (b *bench) malformedKey() {
	for _, key := range []string{"", "/", "/kith-u/", b.kind.Key + "x", b.kind.Key[1:], "/pk/" + b.kind.Key[8:], "/kith-x/" + b.kind.Key[8:]} {
		b.refused(key, b.kind.Make(1, 0), dht.ErrInvalid)
		if _, err := b.dir.Get(b.Context(), key); !errors.Is(err, dht.ErrInvalid) {
			b.Errorf("get %q: %v", key, err)
		}
	}
}
