package session

import (
	"slices"
	"time"
)

// skippedKey is the key of a message that has not arrived. Its tag alone finds it: the body is
// authenticated together with the header, so the header key is not needed any more.
type skippedKey struct {
	tag  [tagSize]byte
	kept int64 // unix milliseconds
	key  [keySize]byte
}

// skipTo moves the receiving chain to message n and keeps the keys of those in between.
func (s *Session) skipTo(n uint32, now time.Time) error {
	c := &s.recv
	switch {
	case n < c.n:
		return ErrOpen // was opened before, or its key has expired
	case n == c.n:
		return nil
	case !c.live:
		return ErrOpen // a peer that has not sent yet has no previous chain
	case n-c.n > maxGap:
		return ErrTooFar
	}
	tags := make([][tagSize]byte, n-c.n)
	c.head.tags(c.n, tags)
	kept := slices.Clone(s.skipped)
	for _, tag := range tags {
		key, next := stepChain(c.key)
		kept = append(kept, skippedKey{tag, now.UnixMilli(), key})
		c.key = next
	}
	c.n = n
	s.skipped = kept[max(0, len(kept)-maxSkipped):]
	return nil
}

func findSkipped(keys []skippedKey, tag [tagSize]byte, now time.Time) int {
	return slices.IndexFunc(keys, func(k skippedKey) bool { return k.tag == tag && !k.expired(now) })
}

func (k skippedKey) expired(now time.Time) bool {
	return now.UnixMilli()-k.kept > skippedLife.Milliseconds()
}

// expireSkipped leaves keys as they are and returns those that still live.
func expireSkipped(keys []skippedKey, now time.Time) []skippedKey {
	if !slices.ContainsFunc(keys, func(k skippedKey) bool { return k.expired(now) }) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k skippedKey) bool { return k.expired(now) })
}

// Expire forgets the keys of messages that were skipped more than 32 days ago and returns their
// number. Open does the same; this is for sessions that have fallen silent.
func (s *Session) Expire(now time.Time) int {
	before := len(s.skipped)
	s.skipped = expireSkipped(s.skipped, now)
	return before - len(s.skipped)
}

// Skipped is the number of kept keys, at most 2,048.
func (s *Session) Skipped() int { return len(s.skipped) }
