package witness

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

var day0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func rootOf(name string) *identity.Root {
	return identity.NewRootFromSeed(sha256.Sum256([]byte(name)))
}

// list is a list of ann's, with devices of these names.
func list(t testing.TB, who string, epoch uint32, seq uint64, prev [32]byte, names ...string) *identity.DeviceList {
	t.Helper()
	f := identity.ListFields{Seq: seq, Prev: prev, Issued: day0, NotAfter: day0.Add(identity.ListLifetime)}
	for _, n := range names {
		k, err := identity.NewDeviceKeys(rand.NewChaCha8(sha256.Sum256([]byte(n))))
		if err != nil {
			t.Fatal(err)
		}
		f.Devices = append(f.Devices, k.Public(0, 1))
	}
	if len(names) == 0 {
		f.Flags = identity.FlagTombstone
	}
	l, err := rootOf(who).Account(epoch).SignList(f)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Two lists that exclude each other are a proof, in whatever order they are given; lists that do not are none.
func TestProof(t *testing.T) {
	one := list(t, "ann", 1, 1, [32]byte{}, "phone")
	two := list(t, "ann", 1, 2, one.Hash(), "phone", "laptop")
	ghost := list(t, "ann", 1, 2, one.Hash(), "phone", "ghost")
	loose := list(t, "ann", 1, 2, [32]byte{9}, "phone")
	for name, pair := range map[string][2]*identity.DeviceList{"same number": {two, ghost}, "does not follow": {loose, one}} {
		p, err := NewProof(pair[0], pair[1])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		q, err := NewProof(pair[1], pair[0])
		if err != nil || !bytes.Equal(p.Bytes(), q.Bytes()) {
			t.Errorf("%s: the other order gives another proof: %v", name, err)
		}
		r, err := ReadProof("look at this:\r\n\r\n" + strings.ReplaceAll(p.Text(), "\n", "\r\n") + "\r\nregards")
		if err != nil || !bytes.Equal(r.Bytes(), p.Bytes()) || r.User() != one.User() {
			t.Errorf("%s: its text gives another proof: %v", name, err)
		}
		for _, l := range pair {
			if o := p.Other(l); o == nil || o.Hash() == l.Hash() {
				t.Errorf("%s: no other list", name)
			}
		}
	}
	for name, pair := range map[string][2]*identity.DeviceList{
		"one follows the other": {one, two}, "one list": {two, two}, "another epoch": {two, list(t, "ann", 2, 2, one.Hash(), "phone")},
		"two people": {two, list(t, "bob", 1, 2, one.Hash(), "desk")}, "a gap": {one, list(t, "ann", 1, 3, two.Hash(), "phone")},
	} {
		if p, err := NewProof(pair[0], pair[1]); p != nil || err != ErrInvalid {
			t.Errorf("%s is taken for a proof", name)
		}
	}
}

// Nothing but the bytes that NewProof writes is a proof: no bit may differ, no byte be missing or be added, the lists
// have one order.
func TestProofIsExact(t *testing.T) {
	one := list(t, "ann", 1, 1, [32]byte{}, "phone")
	p, err := NewProof(list(t, "ann", 1, 2, one.Hash(), "phone"), list(t, "ann", 1, 2, one.Hash(), "ghost"))
	if err != nil {
		t.Fatal(err)
	}
	good := p.Bytes()
	if _, err := ParseProof(good); err != nil {
		t.Fatalf("control: %v", err)
	}
	a, b := p.Lists()
	swapped := (&Proof{[2]*identity.DeviceList{b, a}}).Bytes()
	for _, bad := range [][]byte{swapped, good[:len(good)-1], append(bytes.Clone(good), 0), nil} {
		if q, err := ParseProof(bad); q != nil || err != ErrInvalid {
			t.Errorf("%d bytes are taken for a proof", len(bad))
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if q, err := ParseProof(bad); q != nil || err != ErrInvalid {
			t.Errorf("a flipped bit in byte %d is not noticed", i)
		}
	}
}

func codeOf(t *testing.T) (ann, bob Code) {
	a, b := list(t, "ann", 1, 3, [32]byte{1}, "phone"), list(t, "bob", 7, 1, [32]byte{}, "desk")
	return NewCode(a.User(), b.User(), a.Head(), b.Head()), NewCode(b.User(), a.User(), b.Head(), a.Head())
}

// A code comes back from its text however it was pasted, and two codes agree only if all four heads do.
func TestCode(t *testing.T) {
	ann, bob := codeOf(t)
	text := ann.Text()
	if len(text) > 195 {
		t.Errorf("%d characters do not fit a QR code of version 6", len(text))
	}
	for _, pasted := range []string{text, strings.ToLower(text), " " + text[:40] + "\n  " + text[40:] + "\n"} {
		if c, err := ParseCode(pasted); err != nil || c != ann || !IsCode(pasted) {
			t.Errorf("%q: %v", pasted, err)
		}
	}
	for _, bad := range []string{"", Scheme, text[:len(text)-1], text + "A", text[len(Scheme):], strings.Replace(text, Scheme+"A", Scheme+"B", 1), strings.Repeat(text, 9)} {
		if _, err := ParseCode(bad); err != ErrInvalid {
			t.Errorf("%q is taken for a code", bad)
		}
	}
	if f := Compare(ann, bob); f != Agreed {
		t.Fatalf("control: %v", f)
	}
	for want, change := range map[Finding]func(*Code){
		TheirsNewer: func(c *Code) { c.UserHead.Seq++ }, Ghost: func(c *Code) { c.UserHead.Seq-- },
		OursNewer: func(c *Code) { c.PeerHead.Epoch++ }, OursOlder: func(c *Code) { c.PeerHead = identity.Head{} },
		Forked: func(c *Code) { c.PeerHead.Hash[0]++ }, Strangers: func(c *Code) { c.User, c.Peer = c.Peer, c.User },
	} {
		c := ann
		if change(&c); Compare(c, bob) != want {
			t.Errorf("%v is found to be %v", want, Compare(c, bob))
		}
	}
	both := ann
	both.UserHead.Seq++
	if both.PeerHead.Hash[3]++; Compare(both, bob) != Forked {
		t.Error("the lesser of two findings hides the greater")
	}
}

// The words stand in the order of the digits, whoever asks.
func TestSafetyWords(t *testing.T) {
	for i := range byte(8) {
		a, b := identity.UserID{i}, identity.UserID{100 + i}
		words := SafetyWords(a, b)
		if words != SafetyWords(b, a) || len(strings.Fields(words)) != 14 {
			t.Errorf("words %q", words)
		}
		first := identity.SafetyNumber(a, b)[:35] == identity.SafetyNumber(a, a)[:35]
		if first != strings.HasPrefix(words, a.SafetyWords()) {
			t.Error("the words have another order than the digits")
		}
	}
}

func FuzzParse(f *testing.F) {
	t := &testing.T{}
	one := list(t, "ann", 1, 1, [32]byte{}, "phone")
	p, err := NewProof(one, list(t, "ann", 1, 1, [32]byte{}, "ghost"))
	if err != nil {
		f.Fatal(err)
	}
	ann, _ := codeOf(t)
	f.Add(p.Bytes(), p.Text())
	f.Add([]byte{}, ann.Text())
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		if p, err := ParseProof(raw); err == nil && !bytes.Equal(p.Bytes(), raw) {
			t.Error("a second encoding of a proof")
		}
		if p, err := ReadProof(text); err == nil && len(p.Bytes()) > MaxProof {
			t.Error("a proof that is too large")
		}
		if c, err := ParseCode(text); err == nil {
			if d, err := ParseCode(c.Text()); err != nil || d != c {
				t.Error("a code does not come back")
			}
		}
	})
}
