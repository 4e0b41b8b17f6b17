package outbox_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/node/outbox"
)

func TestCeilingDoublesAndStops(t *testing.T) {
	for _, c := range []struct {
		n    int
		age  time.Duration
		want time.Duration
	}{
		{0, 0, 2 * time.Second},
		{1, 0, 2 * time.Second},
		{3, time.Minute, 8 * time.Second},
		{7, time.Hour - 1, 2 * time.Minute},
		{1, time.Hour, 5 * time.Minute},
		{4, 29 * 24 * time.Hour, 40 * time.Minute},
		{12, time.Hour, 6 * time.Hour},
		{1 << 30, time.Hour, 6 * time.Hour},
	} {
		if got := outbox.Ceiling(c.n, c.age); got != c.want {
			t.Errorf("attempt %d at age %v: %v, want %v", c.n, c.age, got, c.want)
		}
	}
}
