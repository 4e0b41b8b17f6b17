package session

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

var day0 = time.Unix(1_800_000_000, 0)

// seeded is reproducible entropy.
func seeded(n byte) io.Reader { return rand.NewChaCha8([32]byte{n}) }

// device is one device in a test, with its published bundle.
type device struct {
	Self
	rng    io.Reader
	bundle *identity.Bundle
	pre    *identity.Prekey
}

func newDevice(t testing.TB, n byte) *device {
	t.Helper()
	d := &device{rng: seeded(n)}
	keys, err := identity.NewDeviceKeys(d.rng)
	if err != nil {
		t.Fatal(err)
	}
	head := identity.Head{Epoch: 1, Seq: uint64(n), Hash: [32]byte{n, 1}}
	d.Self = Self{User: identity.UserID{n}, Keys: keys, Head: head}
	d.publish(t)
	return d
}

// publish makes a new bundle and forgets the secrets of the last one.
func (d *device) publish(t testing.TB) {
	t.Helper()
	f := identity.BundleFields{User: d.User, Generation: 1, Number: 1, Issued: day0, NotAfter: day0.Add(identity.BundleLifetime)}
	bundle, pre, err := identity.NewBundle(d.rng, d.Keys, f)
	if err != nil {
		t.Fatal(err)
	}
	d.bundle, d.pre = bundle, pre
}

// initiate is Initiate with seeded entropy throughout.
func (d *device) initiate(t testing.TB, to *device) *Session {
	t.Helper()
	s, err := initiate(d.rng, d.Self, to.bundle, seededKEM(t, d.rng))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func trust(Sender) error { return nil }

func (d *device) accept(t testing.TB, envelope []byte) (*Session, Sender, Body) {
	t.Helper()
	s, from, body, err := Accept(d.Self, d.pre, trust, envelope, day0)
	if err != nil {
		t.Fatal(err)
	}
	return s, from, body
}

func (d *device) seal(t testing.TB, s *Session, text string) []byte {
	t.Helper()
	env, err := s.Seal(d.rng, Body{Content: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// pair is two devices with one session between them that both hold; a made the first flight.
type pair struct {
	a, b   *device
	sa, sb *Session
}

func newPair(t testing.TB) *pair {
	t.Helper()
	p := &pair{a: newDevice(t, 1), b: newDevice(t, 2)}
	p.sa = p.a.initiate(t, p.b)
	p.sb, _, _ = p.b.accept(t, p.a.seal(t, p.sa, "first"))
	mustOpen(t, p.sa, p.b.seal(t, p.sb, "reply"), "reply")
	return p
}

func mustOpen(t testing.TB, s *Session, envelope []byte, want string) {
	t.Helper()
	body, err := s.Open(envelope, day0)
	if err != nil {
		t.Fatalf("open %q: %v", want, err)
	}
	if string(body.Content) != want {
		t.Fatalf("opened %q, want %q", body.Content, want)
	}
}

// mustRefuse checks that the envelope gives exactly want and leaves no trace in the session.
func mustRefuse(t testing.TB, s *Session, envelope []byte, want error) {
	t.Helper()
	before := s.Marshal()
	body, err := s.Open(envelope, day0)
	if err != want { // identical, not only errors.Is: one value for every failure
		t.Fatalf("open: %v, want %v", err, want)
	}
	if body.Content != nil || body.Token != nil || body.Counter != 0 {
		t.Fatalf("a refused envelope gave %v", body)
	}
	if !bytes.Equal(before, s.Marshal()) {
		t.Fatal("a refused envelope changed the session")
	}
}

// stored returns the session as it comes back from the disk.
func stored(t testing.TB, s *Session) *Session {
	t.Helper()
	back, err := ParseSession(s.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return back
}
