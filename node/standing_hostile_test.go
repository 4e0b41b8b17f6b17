package node_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
)

// What is acknowledged, and said to be read, at once goes in envelopes that a box takes without a pass, however much it is:
// else a person who answers a flood can answer nothing.
func TestAttackManyMessagesAtOnce(t *testing.T) {
	w, a, b := pair(t)
	a.stop()
	for i := range 130 {
		b.send(a, fmt.Sprint("text ", i))
	}
	before := len(w.sent)
	a.start()
	w.pass(time.Minute)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.MarkRead(t, a.contact(b.user()).Handle)
		return err
	}))
	w.settle()
	w.pass(time.Minute)
	largest, most := 0, session.EnvelopeSize(session.ContentRoom(2048), false)
	for _, p := range w.sent[before:] {
		if p.from == a {
			largest = max(largest, len(p.envelope))
		}
	}
	if largest != most {
		t.Errorf("the largest envelope has %d bytes, want %d", largest, most)
	}
	if n := len(a.texts(b)); n != 130 {
		t.Errorf("control: %d texts came", n)
	}
}

// A contact whose every message tells that it has lost its sessions again has what it does not acknowledge sealed anew a
// bounded number of times, and is told how to reach us as often.
func TestAttackLosingSessionsInEveryMessage(t *testing.T) {
	w, a, b := pair(t)
	w.lose = func(p parcel) bool { return p.from == b }
	for i := range 20 {
		a.send(b, fmt.Sprint("text ", i))
	}
	before, generation := len(w.sent), b.row().Generation
	for i := range uint64(50) {
		typing := b.content(chat.Direct(userID(b), userID(a)), chat.KindTyping, &chatpb.Typing{On: true})
		b.sayBody(a, session.Body{Generation: generation + 1 + i, Content: typing})
	}
	n := count(w.sent[before:], func(p parcel) bool { return p.from == a && p.to == b })
	if n < 20 || n > 50+2*20 {
		t.Errorf("50 messages drew %d envelopes", n)
	}
}

// A relay that hands out a bundle which an accomplice has used up, so that its secret is gone, holds up who begins with it
// for the two days after which a first flight is made anew, and no longer, however often it does so.
func TestAttackAWornBundle(t *testing.T) {
	w := newWorld(t)
	w.stock = true
	r1 := w.relay("r1")
	a, b, m := w.person("alice"), w.person("bob"), w.person("mallory")
	w.pass(time.Hour)
	worn, err := r1.bundles().Take(b.doorID(), w.now)
	w.must(err)
	w.handOut = worn
	w.must(m.join(b.invite()))
	w.pass(80 * time.Hour)
	wantState(t, b, m)
	text := b.invite()
	b.stop()
	w.must(a.join(text))
	w.pass(time.Minute)
	b.start()
	b.drain()
	w.pass(time.Hour)
	if b.contact(a.user()).State == "accepted" {
		t.Fatal("control: the bundle opens still")
	}
	w.pass(48 * time.Hour)
	wantState(t, b, a)
}

// Only a record that the device itself signed, and no older one, shows it that its store is an older copy: what others
// hand out or change does not. Nor can a contact have a device of ours taken off the list.
func TestAttackAnOldRecordOfOnesOwn(t *testing.T) {
	w, a, a2, b := trio(t)
	_, list := w.list(a)
	key := dht.DeviceKey(list.Devices()[0].ID())
	old := w.records[key]
	w.pass(36 * time.Hour) // the bundle rotates
	now := bytes.Clone(w.records[key])
	rec, err := dht.ParseDeviceRecord(now)
	w.must(err)
	sign := func(of *device) []byte { // a record of the future for alice's device, with the keys of a device
		keys, err := identity.ParseDeviceKeys(of.row().DeviceKeys)
		w.must(err)
		if r, err := dht.SignDeviceRecord(keys, dht.DeviceFields{
			Bundle: rec.Bundle(), Number: rec.Number() + 7, Issued: w.now, NotAfter: w.now.Add(24 * time.Hour), Peer: rec.Peer(), Head: rec.Head(),
		}); err == nil {
			return r.Bytes()
		}
		return nil
	}
	flipped := bytes.Clone(now)
	flipped[len(flipped)-1] ^= 1
	generation := a.row().Generation
	for name, raw := range map[string][]byte{"an older one": old, "the same": now, "a changed one": flipped, "bob's word": sign(b), "the other device's": sign(a2)} {
		a.looked(key, raw)
		b.say(a, chat.KindRecords, &chatpb.Records{Devices: [][]byte{raw}})
		if a.told("older copy") || a.row().Generation != generation {
			t.Fatalf("%s has the device begin anew", name)
		}
	}
	before := a.row().List
	b.say(a, chat.KindSync, &chatpb.Sync{Leaving: true})
	w.pass(time.Minute)
	if !bytes.Equal(a.row().List, before) {
		t.Error("bob has a device taken off the list")
	}
	a2.say(a, chat.KindSync, &chatpb.Sync{Leaving: true})
	w.pass(time.Minute)
	if l, err := identity.ParseDeviceList(a.row().List); err != nil || len(l.Devices()) != 1 {
		t.Error("control: the device itself cannot leave")
	}
	a.looked(key, sign(a))
	if !a.told("older copy") {
		t.Error("control: a record that the device signed itself does not count")
	}
}
