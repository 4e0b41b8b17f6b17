package upkeep

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/kith-im/kith/dht"
)

// met remembers adverts that relays gave of themselves.
type met struct {
	self []byte

	mu  sync.Mutex
	all []*dht.Advert // one a relay, the earliest issued first
}

func newMet(self []byte) *met { return &met{self: self} }

// add keeps the newest advert of a relay; the oldest makes room.
func (m *met) add(a *dht.Advert, now time.Time) {
	if a == nil || !a.Fresh(now) || bytes.Equal(a.Peer.ID, m.self) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = slices.DeleteFunc(m.all, func(o *dht.Advert) bool {
		return !o.Fresh(now) || bytes.Equal(o.Peer.ID, a.Peer.ID) && o.Number <= a.Number
	})
	if slices.ContainsFunc(m.all, func(o *dht.Advert) bool { return bytes.Equal(o.Peer.ID, a.Peer.ID) }) {
		return // a newer one is known
	}
	if len(m.all) == MaxMet {
		m.all = m.all[1:]
	}
	m.all = append(m.all, a)
	slices.SortStableFunc(m.all, func(x, y *dht.Advert) int { return cmp.Compare(x.Issued.Unix(), y.Issued.Unix()) })
}

// some returns n of the adverts that are fresh and do not leave, any of them.
func (m *met) some(now time.Time, n int, rng io.Reader) (out [][]byte) {
	for _, a := range m.any(now, n, rng) {
		if a.LeavingAt.IsZero() {
			out = append(out, a.Bytes())
		}
	}
	return out
}

// any draws n fresh adverts.
func (m *met) any(now time.Time, n int, rng io.Reader) []*dht.Advert {
	m.mu.Lock()
	defer m.mu.Unlock()
	fresh := slices.DeleteFunc(slices.Clone(m.all), func(a *dht.Advert) bool { return !a.Fresh(now) })
	n = min(n, len(fresh))
	for i := range n {
		var b [8]byte
		if _, err := io.ReadFull(rng, b[:]); err != nil {
			break
		}
		j := i + int(binary.BigEndian.Uint64(b[:])%uint64(len(fresh)-i))
		fresh[i], fresh[j] = fresh[j], fresh[i]
	}
	return fresh[:n]
}
