package compare_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	dr "github.com/status-im/doubleratchet"

	"github.com/kith-im/kith/crypto/session"
)

// ourKDFs are kith's derivations (docs/protocol.md, 2.2) as status-im/doubleratchet wants them. Keys come from a list,
// so that both implementations draw the same ones; the message key that was last used stays visible.
type ourKDFs struct {
	keys    func() []byte
	message dr.Key
}

type keyPair struct{ private, public dr.Key }

func (p keyPair) PrivateKey() dr.Key { return p.private }
func (p keyPair) PublicKey() dr.Key  { return p.public }

func pairOf(private []byte) keyPair {
	k, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		panic(err)
	}
	return keyPair{private, k.PublicKey().Bytes()}
}

func (c *ourKDFs) GenerateDH() (dr.DHPair, error) { return pairOf(c.keys()), nil }

func (c *ourKDFs) DH(own dr.DHPair, remote dr.Key) (dr.Key, error) {
	k, err := ecdh.X25519().NewPrivateKey(own.PrivateKey())
	if err != nil {
		return nil, err
	}
	p, err := ecdh.X25519().NewPublicKey(remote)
	if err != nil {
		return nil, err
	}
	return k.ECDH(p)
}

func (c *ourKDFs) KdfRK(root, dh dr.Key) (newRoot, chain, head dr.Key) {
	prk, err := hkdf.Extract(sha256.New, dh, root)
	if err != nil {
		panic(err)
	}
	out, err := hkdf.Expand(sha256.New, prk, "kith1 ratchet", 96)
	if err != nil {
		panic(err)
	}
	return out[:32], out[32:64], out[64:]
}

func mac(key []byte, data byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte{data})
	return h.Sum(nil)
}

func (c *ourKDFs) KdfCK(chain dr.Key) (next, message dr.Key) { return mac(chain, 2), mac(chain, 1) }

// Encrypt and Decrypt carry the message key in place of a ciphertext: what is compared is keys.
func (c *ourKDFs) Encrypt(key dr.Key, _, _ []byte) ([]byte, error) {
	c.message = key
	return key, nil
}

func (c *ourKDFs) Decrypt(key dr.Key, ciphertext, _ []byte) ([]byte, error) {
	c.message = key
	if !bytes.Equal(key, ciphertext) {
		return nil, errors.New("another key")
	}
	return key, nil
}

// peek is where their state stays visible.
type peek struct{ *dr.State }

func (p *peek) Save(_ []byte, s *dr.State) error {
	p.State = s
	return nil
}
func (p *peek) Load([]byte) (*dr.State, error) { return p.State, nil }

// ourState is kith's stored session (docs/protocol.md, 2.6), as far as the ratchet goes.
type ourState struct {
	root, local, remote, sendKey, sendHead, nextSend, recvKey, recvHead, nextRecv []byte
	sending, receiving                                                            bool
	sent, received, previous                                                      uint32
}

func stateOf(s *session.Session) ourState {
	raw := s.Marshal()
	key := func(n int) []byte { return raw[8+32*n:][:32] }
	numbers := raw[8+15*32+8+8:]
	return ourState{
		root: key(5), local: key(6), remote: key(8), sendKey: key(9), sendHead: key(10), nextSend: key(11), recvKey: key(12), recvHead: key(13), nextRecv: key(14),
		sending: raw[3]&4 != 0, receiving: raw[3]&8 != 0,
		sent: binary.BigEndian.Uint32(numbers), received: binary.BigEndian.Uint32(numbers[4:]), previous: binary.BigEndian.Uint32(numbers[8:]),
	}
}

// side is one device in both implementations.
type side struct {
	d      *device
	s      *session.Session
	theirs dr.Session
	crypto *ourKDFs
	state  *peek
	next   []byte // the ratchet key that both draw next
	rng    *rand.ChaCha8
}

// draw gives theirs the next key; ours draws the same one when it first seals after that.
func (x *side) draw() []byte {
	x.next = make([]byte, 32)
	_, _ = x.rng.Read(x.next)
	return bytes.Clone(x.next)
}

// entropy is what Seal draws: the ratchet key if a step is due, then the guard.
func (x *side) entropy() io.Reader {
	if !stateOf(x.s).sending {
		return io.MultiReader(bytes.NewReader(x.next), x.rng)
	}
	return x.rng
}

// letter is a message in both implementations.
type letter struct {
	ours   []byte
	theirs dr.Message
	key    dr.Key
	text   []byte
}

// TestRatchetMatchesDoubleRatchet carries out random schedules - bursts both ways, reordered, lost, very late - in both
// implementations and compares root, chain, header and message keys after every step. Fewer than 50 messages a session, so
// that no post-quantum epoch begins: theirs has none.
func TestRatchetMatchesDoubleRatchet(t *testing.T) {
	messages, turns, late := 0, 0, 0
	for seed := range uint64(300) {
		r := newRace(t, seed)
		r.run(t)
		messages, turns, late = messages+r.messages, turns+r.turns, late+r.late
	}
	t.Logf("300 sessions: %d messages, %d DH steps, %d opened with kept keys; all keys equal", messages, turns, late)
	if messages < 5000 || turns < 1000 || late < 500 {
		t.Error("the schedules have become too tame")
	}
}

// TestAnotherKeyIsNoticed is the control: the comparison fails when one bit of one key is another.
func TestAnotherKeyIsNoticed(t *testing.T) {
	r := newRace(t, 1)
	if err := r.same(0); err != nil {
		t.Fatal(err)
	}
	r.sides[0].state.RootCh.CK[0] ^= 1
	if r.same(0) == nil {
		t.Error("another root key goes unnoticed")
	}
}

type race struct {
	sides                 [2]*side
	queue                 [2][]letter // to that side
	rng                   *rand.Rand
	messages, turns, late int
}

func newRace(t *testing.T, seed uint64) *race {
	t.Helper()
	r := &race{rng: rand.New(rand.NewPCG(seed, 1))}
	for i := range r.sides {
		r.sides[i] = &side{d: newDevice(t, byte(2*seed)+byte(i)), state: &peek{}, rng: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(i)})}
		r.sides[i].crypto = &ourKDFs{keys: r.sides[i].draw}
	}
	a, b := r.sides[0], r.sides[1]
	var err error
	if a.s, err = session.Initiate(a.d.rng, a.d.Self, b.d.bundle); err != nil {
		t.Fatal(err)
	}
	start := stateOf(a.s)
	if a.theirs, err = dr.NewWithRemoteKey([]byte("a"), bytes.Clone(start.root), bytes.Clone(start.remote), a.state, dr.WithCrypto(a.crypto)); err != nil {
		t.Fatal(err)
	}
	first := r.send(t, 0)
	if b.s, _, _, err = session.Accept(b.d.Self, b.d.pre, trust, first.ours, now); err != nil {
		t.Fatal(err)
	}
	spk := b.d.pre.Marshal()[33:65]
	if b.theirs, err = dr.New([]byte("b"), bytes.Clone(start.root), pairOf(bytes.Clone(spk)), b.state, dr.WithCrypto(b.crypto)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.theirs.RatchetDecrypt(first.theirs, nil); err != nil {
		t.Fatal(err)
	}
	r.queue[1] = nil
	if err := r.same(1); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *race) run(t *testing.T) {
	t.Helper()
	for r.messages < 45 {
		i := r.rng.IntN(2)
		for range 1 + r.rng.IntN(4) {
			if r.messages < 45 {
				r.send(t, i)
			}
		}
		for range r.rng.IntN(6) {
			r.receive(t, r.rng.IntN(2))
		}
	}
	for i := range r.queue {
		for len(r.queue[i]) > 0 {
			r.receive(t, i)
		}
	}
}

// send seals in both, and holds our envelope against their key.
func (r *race) send(t *testing.T, i int) letter {
	t.Helper()
	x := r.sides[i]
	if !stateOf(x.s).sending {
		r.turns++
	}
	l := letter{text: fmt.Appendf(nil, "message %d", r.messages)}
	before := stateOf(x.s)
	var err error
	if l.ours, err = x.s.Seal(x.entropy(), session.Body{Content: l.text}); err != nil {
		t.Fatal(err)
	}
	if l.theirs, err = x.theirs.RatchetEncrypt(l.text, nil); err != nil {
		t.Fatal(err)
	}
	l.key = bytes.Clone(x.crypto.message)
	after := stateOf(x.s)
	if before.sending && !bytes.Equal(mac(before.sendKey, 1), l.key) {
		t.Fatalf("message %d: another message key", r.messages)
	}
	if !bytes.Equal(stateOf(x.s).sendKey, x.state.SendCh.CK) || after.sent != x.state.SendCh.N || after.previous != x.state.PN && r.turns > 1 {
		t.Fatalf("message %d: another sending chain", r.messages)
	}
	if err := r.same(i); err != nil {
		t.Fatalf("message %d: %v", r.messages, err)
	}
	r.messages++
	r.queue[1-i] = append(r.queue[1-i], l)
	return l
}

// receive opens a message that waits, in both: mostly the first, often another, sometimes none, for it was lost.
func (r *race) receive(t *testing.T, i int) {
	t.Helper()
	x := r.sides[i]
	if len(r.queue[i]) == 0 {
		return
	}
	n := 0
	if r.rng.IntN(3) == 0 {
		n = r.rng.IntN(len(r.queue[i]))
	}
	l := r.queue[i][n]
	r.queue[i] = append(r.queue[i][:n:n], r.queue[i][n+1:]...)
	if r.rng.IntN(12) == 0 {
		return // lost
	}
	kept := x.s.Skipped()
	body, err := x.s.Open(l.ours, now)
	if err != nil || !bytes.Equal(body.Content, l.text) {
		t.Fatalf("ours does not open %q: %v", l.text, err)
	}
	if x.s.Skipped() < kept {
		r.late++
	}
	if _, err := x.theirs.RatchetDecrypt(l.theirs, nil); err != nil || !bytes.Equal(x.crypto.message, l.key) {
		t.Fatalf("theirs does not open %q: %v", l.text, err)
	}
	if err := r.same(i); err != nil {
		t.Fatalf("after %q: %v", l.text, err)
	}
}

// same compares what both implementations hold. Theirs makes its sending chain as soon as it has received, ours when it
// next seals: until then its root is the one before, and what comes of it is derived here.
func (r *race) same(i int) error {
	x, theirs := r.sides[i], r.sides[i].state.State
	ours := stateOf(x.s)
	root, send, nextSend := ours.root, ours.sendKey, ours.nextSend
	if !ours.sending {
		if theirs.DHr == nil {
			return nil
		}
		dh, err := x.crypto.DH(pairOf(x.next), ours.remote)
		if err != nil {
			return err
		}
		var a, b, c dr.Key
		a, b, c = x.crypto.KdfRK(ours.root, dh)
		root, send, nextSend = a, b, c
	}
	for what, keys := range map[string][2][]byte{
		"root key": {root, theirs.RootCh.CK}, "sending chain": {send, theirs.SendCh.CK}, "peer's ratchet key": {ours.remote, theirs.DHr},
	} {
		if !bytes.Equal(keys[0], keys[1]) {
			return fmt.Errorf("another %s", what)
		}
	}
	if ours.receiving {
		if !bytes.Equal(ours.recvKey, theirs.RecvCh.CK) || ours.received != theirs.RecvCh.N {
			return errors.New("another receiving chain")
		}
		if !bytes.Equal(ours.nextRecv, theirs.NHKr) || !bytes.Equal(nextSend, theirs.NHKs) {
			return errors.New("other header keys")
		}
	}
	return nil
}
