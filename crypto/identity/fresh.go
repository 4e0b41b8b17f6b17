package identity

import (
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// Fresh says whether the list is before its freshness mark. A list that is
// not may still be used, with a warning, while it is Usable.
func (l *DeviceList) Fresh(now time.Time) bool { return !now.After(l.f.NotAfter) }

// Usable says whether the list may be acted on at all: issued at most
// ClockSkew in the future, and at most Grace past its freshness mark.
func (l *DeviceList) Usable(now time.Time) bool { return usable(l.f.Issued, l.f.NotAfter, now) }

// Fresh says whether the bundle is before its freshness mark. A bundle that
// is not may still be used, with a warning, while it is Usable.
func (b *Bundle) Fresh(now time.Time) bool { return !now.After(b.f.NotAfter) }

// Usable says whether the bundle may be acted on at all: issued at most
// ClockSkew in the future, and at most Grace past its freshness mark.
func (b *Bundle) Usable(now time.Time) bool { return usable(b.f.Issued, b.f.NotAfter, now) }

func usable(issued, notAfter, now time.Time) bool {
	return !issued.After(now.Add(ClockSkew)) && !now.After(notAfter.Add(Grace))
}

// checkTimes holds the rule of both records: whole seconds since 1970, in
// order, and no further apart than maxLifetime.
func checkTimes(issued, notAfter time.Time) error {
	from, to := issued.Unix(), notAfter.Unix()
	switch {
	case from < 0 || to > maxUnixSeconds:
		return errors.New("time out of range")
	case to < from:
		return errors.New("not-after before issued")
	case to-from > int64(maxLifetime/time.Second):
		return errors.New("not-after too far ahead")
	}
	return nil
}

func wholeSeconds(t time.Time) time.Time { return time.Unix(t.Unix(), 0).UTC() }

// readTime reads unix seconds, u64.
func readTime(s *cryptobyte.String, out *time.Time) bool {
	var v uint64
	if !s.ReadUint64(&v) || v > maxUnixSeconds {
		return false
	}
	*out = time.Unix(int64(v), 0).UTC()
	return true
}
