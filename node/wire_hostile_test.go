package node_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/view"
)

// What an envelope looks like to whoever keeps it (docs/protocol.md, sections 2.1 and 2.3).
const (
	flightPrefix  = 1 + 8 + 32 + 1088 + 156
	flightSealed  = 1 + 8 + 32 + 1088 // where the sealed identity begins
	messageHead   = 1 + 8 + 8 + 61
	messageAround = messageHead + 16
)

// sealed are the bytes of an envelope that have to look random, without what is random by another measure: a
// ciphertext of ML-KEM and an X25519 key have a form, and say no more than the type does.
func sealed(envelope []byte) (prefix, message []byte, err error) {
	message = envelope
	if len(envelope) > flightPrefix && envelope[0] == 2 {
		prefix, message = envelope[flightSealed:flightPrefix], envelope[flightPrefix:]
	}
	classes := []int{256, 512, 1024, 1536, 2048, 4096}
	if len(message) < messageAround || message[0] != 1 || !slices.Contains(classes, len(message)-messageAround) {
		return nil, nil, fmt.Errorf("%d bytes that begin with %x are no envelope", len(envelope), envelope[:min(2, len(envelope))])
	}
	return prefix, message[1:], nil
}

// noise says whether bytes that lie at relays are pseudo-random: over all of them, and at each place of a message's
// head, where a field in the clear would stand.
func noise(envelopes [][]byte) error {
	var all [256]int
	total := 0
	places := make([][256]int, messageHead-1)
	seen := map[string]bool{} // an initiator repeats its prefix; a relay's copies are the same
	for _, e := range envelopes {
		prefix, message, err := sealed(e)
		if err != nil {
			return err
		}
		for _, part := range [][]byte{prefix, message} {
			if seen[string(part)] {
				continue
			}
			seen[string(part)] = true
			for _, b := range part {
				all[b]++
			}
			total += len(part)
			for i := range places {
				if len(part) == len(message) {
					places[i][part[i]]++
				}
			}
		}
	}
	chi, want := 0.0, float64(total)/256
	for _, n := range all {
		chi += (float64(n) - want) * (float64(n) - want) / want
	}
	if chi < 100 || chi > 500 { // 255 degrees of freedom: ±6 and 10 standard deviations
		return fmt.Errorf("chi-square of %d bytes: %.0f", total, chi)
	}
	for i, place := range places {
		if n := slices.Max(place[:]); n > 12+len(envelopes)/20 {
			return fmt.Errorf("byte %d of a message is the same in %d of %d", i+1, n, len(envelopes))
		}
	}
	return nil
}

// Whatever is deposited, for whatever reason, is a type, and then bytes of no shape in one of six sizes.
func TestAttackReadingAtTheRelay(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b2 := b.link("bob-2")
	a.meetDevice(b2)
	w.pass(time.Minute)
	b.stop()
	b2.stop()
	canary := "canary: the eagle lands at midnight, bring the documents"
	for i := range 40 {
		a.send(b, fmt.Sprint(canary, " ", i, " ", string(bytes.Repeat([]byte{'x'}, i*i*2))))
	}
	w.pass(time.Hour)
	b.start()
	b2.start()
	w.pass(time.Hour)
	a.stop()
	for i := range 20 {
		b.send(a, fmt.Sprint(canary, i))
	}
	w.pass(time.Hour)
	a.start()
	w.pass(time.Hour)

	var tapped [][]byte
	for _, p := range w.sent {
		if p.relay != nil {
			tapped = append(tapped, p.envelope)
		}
	}
	if len(tapped) < 200 {
		t.Fatalf("control: only %d deposits", len(tapped))
	}
	if err := noise(tapped); err != nil {
		t.Error(err)
	}
	secrets := map[string][]byte{"the text": []byte("canary"), "a name": []byte("alice"), "another": []byte("bob-2")} // of a few letters: chance writes three of them among a million bytes
	for _, d := range []*device{a, b, b2} {
		secrets[d.name+"'s user"] = d.row().User[:16]
	}
	_, list := w.list(b)
	for _, d := range list.Devices() {
		id := d.ID()
		secrets["a device"], secrets["a signing key"], secrets["an identity key"] = id[:16], d.SigPub[:16], d.IKPub[:16]
	}
	for what, secret := range secrets {
		if slices.ContainsFunc(tapped, func(e []byte) bool { return bytes.Contains(e, secret) }) {
			t.Errorf("a relay reads %s", what)
		}
	}

	// Controls: a header in the clear, a body in the clear, and an envelope of another size are seen.
	header := func(e []byte) []byte {
		e = bytes.Clone(e)
		_, m, _ := sealed(e)
		copy(m[8+8+1+32:], make([]byte, 12)) // PN, N and epoch of a short chain
		return e
	}
	body := func(e []byte) []byte {
		e = bytes.Clone(e)
		copy(e[len(e)-200:], bytes.Repeat([]byte("plain "), 30))
		return e
	}
	for what, spoil := range map[string]func([]byte) []byte{
		"a header in the clear": header, "a body in the clear": body, "another size": func(e []byte) []byte { return append(bytes.Clone(e), 0) },
	} {
		var bad [][]byte
		for _, e := range tapped {
			bad = append(bad, spoil(e))
		}
		if noise(bad) == nil {
			t.Errorf("control: %s is not noticed", what)
		}
	}
}

// Every bit of an envelope that changes gives the same: nothing stored but a count, nothing said, nothing sent; the one
// that was not touched is shown after all of them.
func TestAttackOracle(t *testing.T) {
	w, a, b := pair(t)
	w.lose = func(p parcel) bool { return true }
	a.send(b, "the real one")
	var envelope []byte
	for _, p := range w.sent {
		if p.to == b && p.envelope[0] == 1 {
			envelope = p.envelope
		}
	}
	before, dropped := b.dump(), b.engine.Stats().Dropped
	tried := 0
	for i := range envelope {
		for bit := range 8 {
			if i > messageHead && bit != i%8 {
				continue // the body: a bit a byte
			}
			bad := bytes.Clone(envelope)
			bad[i] ^= 1 << bit
			b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, a.self.ID, bad) })
			if l := b.last; len(l.Directs)+len(l.Deposits)+len(l.Notices)+len(l.Lookups)+len(l.Acks) > 0 {
				t.Fatalf("byte %d, bit %d has an effect", i, bit)
			}
			tried++
		}
	}
	if b.dump() != before {
		t.Error("the store changed")
	}
	if n := b.engine.Stats().Dropped - dropped; int(n) != tried {
		t.Errorf("%d of %d are counted", n, tried)
	}
	b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, a.self.ID, envelope) })
	wantTexts(t, b, a, "the real one")
	if b.dump() == before || len(b.last.Directs) == 0 && b.engine.Deadline().IsZero() {
		t.Error("control: the honest one changes nothing either")
	}
}

// A sender who gives each device of a person another text cannot have them taken for one message: the id is the hash
// of what is said, so each device gets the other text from its sibling when they
// compare, in a week at the latest if they hear each other, and shows both.
func TestAttackDifferentTextsForSiblings(t *testing.T) {
	w, a, b := pair(t)
	b2 := b.link("bob-2")
	a.meetDevice(b2)
	w.pass(2 * time.Minute)
	a.send(b, "hello")
	w.pass(time.Minute)
	one := a.content(chat.Direct(userID(a), userID(b)), chat.KindText, &chatpb.Text{Text: "meet at noon"})
	two := bytes.Replace(bytes.Clone(one), []byte("noon"), []byte("nine"), 1) // the same header: time, random, everything
	a.sayRaw(b, one)
	a.sayRaw(b2, two)
	if slices.Contains(b.texts(a), "meet at nine") {
		t.Error("control: it was told both")
	}
	w.pass(8 * day)
	b2.send(a, "no matter what") // they hear each other
	w.pass(time.Hour)
	for _, d := range []*device{b, b2} {
		got := d.texts(a)
		if !slices.Contains(got, "meet at noon") || !slices.Contains(got, "meet at nine") {
			t.Errorf("%s shows %q: it was told one thing and its sibling another", d.name, got)
		}
	}
	// Control: the same content is one message.
	same := a.content(chat.Direct(userID(a), userID(b)), chat.KindText, &chatpb.Text{Text: "the same to both"})
	a.sayRaw(b, same)
	a.sayRaw(b2, same)
	w.pass(8 * day)
	b2.send(a, "and again")
	w.pass(time.Hour)
	for _, d := range []*device{b, b2} {
		if n := count(d.texts(a), func(s string) bool { return s == "the same to both" }); n != 1 {
			t.Errorf("control: %s shows it %d times", d.name, n)
		}
	}
}

// What a group of 32 gets is sealed for each: no 16 bytes of it lie in two boxes, so relays that compare what they keep
// do not find who belongs together.
func TestAttackEqualCiphertexts(t *testing.T) {
	w := newWorld(t)
	w.relay("r1")
	ann := w.person("ann")
	var members []*device
	var names []string
	for i := range 31 {
		m := w.person(fmt.Sprint("member", i))
		w.befriend(ann, m)
		m.stop()
		members, names = append(members, m), append(names, m.user())
	}
	_, err := ann.group(func(e *node.Engine, t *node.Turn) (view.Group, error) { return e.CreateGroup(t, "Crowd", names) })
	w.must(err)
	w.pass(time.Minute)
	w.sent = nil
	_, err = ann.tell("Crowd", "the same to everybody")
	w.must(err)
	const width = 16
	in := map[[width]byte]mailbox.ID{}
	boxes, shared := map[mailbox.ID]bool{}, 0
	look := func(box mailbox.ID, e []byte) {
		boxes[box] = true
		for i := range len(e) - width + 1 {
			at := [width]byte(e[i:])
			if other, ok := in[at]; ok && other != box {
				shared++
			}
			in[at] = box
		}
	}
	var last parcel
	for _, p := range w.sent {
		if p.relay != nil {
			last = p
			look(p.box, p.envelope)
		}
	}
	if len(boxes) != len(members) {
		t.Fatalf("control: deposits into %d boxes", len(boxes))
	}
	if shared > 0 {
		t.Errorf("%d stretches of 16 bytes lie in two boxes", shared)
	}
	if look(mailbox.ID{1}, last.envelope); shared == 0 {
		t.Error("control: one envelope in two boxes is not noticed")
	}
}
