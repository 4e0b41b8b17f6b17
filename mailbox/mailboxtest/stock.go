package mailboxtest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/stock"
)

func entropy(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// DeviceKeys are those of a made-up device.
func DeviceKeys(t testing.TB, seed byte) *identity.DeviceKeys {
	t.Helper()
	keys, err := identity.NewDeviceKeys(entropy(seed))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Bundles are n bundles of a device, good for seven days.
func Bundles(t testing.TB, keys *identity.DeviceKeys, now time.Time, flags uint32, n int) (out [][]byte) {
	t.Helper()
	rng := entropy(byte(n))
	for range n {
		b, _, err := identity.NewBundle(rng, keys, identity.BundleFields{
			Generation: 1, Number: 1, Issued: now, NotAfter: now.Add(7 * 24 * time.Hour), Flags: flags,
		})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b.Bytes())
	}
	return out
}

// Stock runs what every store of one-time bundles has to pass: a long random
// story against a list of what is there, with reopening. open makes an empty
// store; reopen closes it and opens what it kept.
func Stock(t *testing.T, open func(testing.TB) (s stock.Store, reopen func() stock.Store)) {
	s, reopen := open(t)
	rng := rand.New(rand.NewPCG(1, 2))
	now := T0
	held := map[mailbox.ID][]stock.Item{}
	fresh := func(box mailbox.ID) []stock.Item {
		for len(held[box]) > 0 && !now.Before(held[box][0].Until) {
			held[box] = held[box][1:]
		}
		return held[box]
	}
	var serial uint32
	for step := range 400 {
		box := mailbox.ID{byte(rng.IntN(3))}
		now = now.Add(time.Duration(rng.IntN(8)) * time.Hour)
		switch rng.IntN(8) {
		case 0, 1:
			var items []stock.Item
			for range rng.IntN(stock.Most + 4) {
				serial++
				b := bytes.Repeat([]byte{1, byte(serial >> 8), byte(serial)}, stock.BundleSize/3+1)[:stock.BundleSize]
				items = append(items, stock.Item{Bundle: b, Until: now.Add(48 * time.Hour)})
			}
			n, err := s.Put(box, items, now)
			had := fresh(box)
			held[box] = append(had[:len(had):len(had)], items[:min(len(items), stock.Most-len(had))]...)
			if err != nil || n != len(held[box]) {
				t.Fatalf("step %d: put: %d, %v; want %d", step, n, err, len(held[box]))
			}
		case 2:
			s = reopen()
		case 3:
			if err := s.Sweep(now); err != nil {
				t.Fatal(err)
			}
		default:
			got, err := s.Take(box, now)
			var want []byte
			if h := fresh(box); len(h) > 0 {
				want, held[box] = h[0].Bundle, h[1:]
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("step %d: take: %x, %v; want %x", step, got[:min(3, len(got))], err, want[:min(3, len(want))])
			}
		}
	}
}
