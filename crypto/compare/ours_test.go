// Package compare_test holds kith's sessions against other people's: the ratchet core against status-im/doubleratchet,
// key by key, and the cost against go.mau.fi/libsignal. It is a module of its own, and only tests, so that neither their
// licences nor their weight come near the product.
package compare_test

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
)

var now = time.Unix(1_800_000_000, 0)

// device is a kith device with a published bundle.
type device struct {
	session.Self
	rng    io.Reader
	bundle *identity.Bundle
	pre    *identity.Prekey
}

func newDevice(t testing.TB, seed byte) *device {
	t.Helper()
	d := &device{rng: rand.NewChaCha8([32]byte{seed})}
	keys, err := identity.NewDeviceKeys(d.rng)
	if err != nil {
		t.Fatal(err)
	}
	d.Self = session.Self{User: identity.UserID{seed}, Keys: keys, Head: identity.Head{Epoch: 1, Seq: 1, Hash: [32]byte{seed}}}
	d.bundle, d.pre, err = identity.NewBundle(d.rng, keys, identity.BundleFields{
		User: d.User, Generation: 1, Number: 1, Issued: now, NotAfter: now.Add(identity.BundleLifetime),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// kithPair is two devices with an established session.
type kithPair struct {
	a, b   *device
	sa, sb *session.Session
	count  uint64
}

func trust(session.Sender) error { return nil }

// body is what the engine says to one device: the content, a counter and the two list heads.
func (p *kithPair) body(content []byte) session.Body {
	p.count++
	return session.Body{Counter: p.count, OwnHead: [12]byte{1}, YourHead: [12]byte{2}, Content: content}
}

func (p *kithPair) seal(t testing.TB, from *device, s *session.Session, content []byte) []byte {
	env, err := s.Seal(from.rng, p.body(content))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func open(t testing.TB, s *session.Session, env []byte) {
	if _, err := s.Open(env, now); err != nil {
		t.Fatal(err)
	}
}

// begin is the first message of a to b.
func (p *kithPair) begin(t testing.TB) {
	t.Helper()
	var err error
	if p.sa, err = session.Initiate(p.a.rng, p.a.Self, p.b.bundle); err != nil {
		t.Fatal(err)
	}
	first := p.seal(t, p.a, p.sa, []byte("first"))
	if p.sb, _, _, err = session.Accept(p.b.Self, p.b.pre, trust, first, now); err != nil {
		t.Fatal(err)
	}
}

func newKithPair(t testing.TB) *kithPair {
	t.Helper()
	p := &kithPair{a: newDevice(t, 1), b: newDevice(t, 2)}
	p.begin(t)
	open(t, p.sa, p.seal(t, p.b, p.sb, []byte("reply")))
	open(t, p.sb, p.seal(t, p.a, p.sa, []byte("again")))
	return p
}
