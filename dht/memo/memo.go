// Package memo remembers what bytes say, for a process with many devices in it (the simulator): what a thousand of them read
// is parsed and verified once.
//
// Guarantees. No answer depends on what is remembered: parsing is a function of the bytes, whose result nobody changes, and the
// same bytes say the same. What does not parse is not remembered. How much is remembered is bounded, and nothing until Remember.
// For any number of goroutines. A device that remembers what it has parsed itself (node/store) finds it by its Tail, too.
package memo

import "sync"

// Record knows the bytes that it was read from.
type Record interface{ Is(raw []byte) bool }

// Tail is the end of a record's bytes, by which it is found among others without a copy of them all: records end with their
// signature.
type Tail [16]byte

// TailOf is the tail of raw. Another record may have it, too: ask Is.
func TailOf(raw []byte) (t Tail) {
	copy(t[:], raw[max(0, len(raw)-len(t)):])
	return t
}

// Memo is what was parsed, by its bytes: at most 2*half, and when recent is full it takes the place of older. What is asked for
// stays.
type Memo[T Record] struct {
	mu            sync.Mutex
	half          int
	recent, older map[Tail]T
}

// Remember has up to about n results remembered from now on; 0: none.
func (m *Memo[T]) Remember(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.half, m.recent, m.older = (n+1)/2, nil, nil
}

// Of is what raw says: as it is remembered, or as parse says.
func (m *Memo[T]) Of(raw []byte, parse func([]byte) (T, error)) (T, error) {
	if v, ok := m.knows(raw); ok {
		return v, nil
	}
	v, err := parse(raw)
	if err == nil {
		m.add(raw, v)
	}
	return v, err
}

func (m *Memo[T]) knows(raw []byte) (v T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tail := TailOf(raw)
	if v, ok = m.recent[tail]; ok {
		return v, v.Is(raw)
	}
	if v, ok = m.older[tail]; ok && v.Is(raw) {
		m.keep(tail, v)
		return v, true
	}
	return v, false
}

func (m *Memo[T]) add(raw []byte, v T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.half > 0 {
		m.keep(TailOf(raw), v)
	}
}

func (m *Memo[T]) keep(tail Tail, v T) {
	if m.recent == nil || len(m.recent) >= m.half {
		m.recent, m.older = map[Tail]T{}, m.recent
	}
	m.recent[tail] = v
}
