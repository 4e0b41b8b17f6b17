package dht

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// NextPublish says when to put a record again. After a put that reached at
// least one peer it is PublishEvery ± PublishJitter away, so that a population
// does not publish in step. After failures >= 1 puts in a row that reached
// nobody it is a random moment within RetryMin·2^failures, between RetryMin
// and RetryMax; callers also retry at once when a connection appears. rng
// gives 8 bytes.
func NextPublish(rng io.Reader, now time.Time, stored, failures int) (time.Time, error) {
	if stored > 0 {
		d, err := between(rng, PublishEvery-PublishJitter, PublishEvery+PublishJitter)
		return now.Add(d), err
	}
	limit := RetryMax
	if failures < 16 {
		limit = min(RetryMax, RetryMin<<max(failures, 1))
	}
	d, err := between(rng, RetryMin, limit)
	return now.Add(d), err
}

// between draws a duration in [lo, hi). The bias of the modulus is below 2^-15.
func between(rng io.Reader, lo, hi time.Duration) (time.Duration, error) {
	var b [8]byte
	if _, err := io.ReadFull(rng, b[:]); err != nil {
		return hi, fmt.Errorf("draw jitter: %w", err)
	}
	return lo + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(hi-lo)), nil
}
