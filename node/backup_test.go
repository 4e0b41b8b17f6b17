package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/backup"
	backuppb "github.com/kith-im/kith/node/backup/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

func rootOf(name string) *identity.Root {
	var seed [32]byte
	copy(seed[:], "root of "+name)
	return identity.NewRootFromSeed(seed)
}

// backUp writes a device's store as a backup that the person's phrase opens.
func (d *device) backUp(person string) []byte {
	d.w.t.Helper()
	var file bytes.Buffer
	w, err := backup.Create(d.rng, &file, backup.Keys{Public: backup.PublicKey(rootOf(person).Backup())})
	d.w.must(err)
	var cursor []byte
	for first := true; first || len(cursor) > 0; first = false {
		var page []byte
		d.w.must(d.store.View(func(tx store.Tx) (err error) { page, cursor, err = backup.Page(tx, d.time(), cursor); return err }))
		d.w.must(w.Write(page))
	}
	_, err = w.Close()
	d.w.must(err)
	return file.Bytes()
}

// restore takes a backup in, turn by turn, up to so many records (0: all).
func (d *device) restore(file []byte, person string, most int) error {
	r, err := backup.Open(bytes.NewReader(file), backup.Keys{Seed: rootOf(person).Backup()})
	if err != nil {
		return err
	}
	for n := 0; most == 0 || n < most; n++ {
		rec, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = d.do(func(e *node.Engine, t *node.Turn) error { return e.Restore(t, rec) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// again is a person who comes back with nothing but the recovery phrase.
func (w *world) again(person, name string) *device {
	w.t.Helper()
	d := w.blank(name)
	w.must(d.store.Update(func(tx store.Tx) error {
		return node.Create(d.turn(tx), node.CreateParams{Root: rootOf(person), Epoch: node.RecoveryEpoch(d.time()), Name: person, DeviceName: name})
	}))
	d.start()
	return d
}

// shown is everything that a person sees of conversations and people.
func (d *device) shown() (out struct {
	Inbox    []view.Chat
	Messages map[string][]view.Message
	Contacts []view.Contact
	Settings view.Settings
},
) {
	d.w.t.Helper()
	out.Messages = map[string][]view.Message{}
	d.w.must(d.store.View(func(tx store.Tx) (err error) {
		if out.Inbox, err = talk.Inbox(tx); err != nil {
			return err
		}
		for _, c := range out.Inbox {
			if out.Messages[c.Handle], err = talk.Messages(tx, c.Handle, 1000); err != nil {
				return err
			}
		}
		out.Settings = talk.Settings(tx)
		out.Contacts, err = node.Contacts(tx, nil)
		return err
	}))
	return out
}

// talking is a turn at a device's desk.
func talking(fn func(*talk.Desk) error) func(*node.Engine, *node.Turn) error {
	return func(e *node.Engine, t *node.Turn) error { return e.Talk(t, fn) }
}

// lived is a person with a past: friends, a stranger who was blocked, a group, acts, drafts, settings, unread messages.
func lived(t *testing.T) (w *world, ada, bob, cleo *device) {
	w = newWorld(t)
	w.relay("r1")
	w.relay("r2")
	w.relay("r3")
	ada, bob, cleo = w.person("ada"), w.person("bob"), w.person("cleo")
	w.befriend(ada, bob)
	w.befriend(ada, cleo)
	w.befriend(bob, cleo)
	w.pass(time.Hour)
	first := ada.send(bob, "first")
	w.pass(time.Minute)
	answer := bob.send(ada, "an answer")
	w.pass(time.Minute)
	w.must(ada.do(talking(func(d *talk.Desk) error { _, err := d.Edit(first, "first, edited"); return err })))
	w.must(ada.do(talking(func(d *talk.Desk) error { _, err := d.React(answer, "👍"); return err })))
	w.must(bob.do(talking(func(d *talk.Desk) error { _, err := d.React(first, "🎉"); return err })))
	w.pass(time.Minute)
	gone := ada.send(bob, "taken back")
	w.must(ada.do(talking(func(d *talk.Desk) error { _, err := d.Unsend(gone); return err })))
	w.must(ada.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.CreateGroup(t, "boat", []string{"bob", "cleo"})
		return err
	}))
	w.settle()
	w.must(cleo.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.Send(t, node.SendRequest{To: "boat", Text: "ahoy"})
		return err
	}))
	w.must(ada.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.Send(t, node.SendRequest{To: "me", Text: "a note to myself"})
		return err
	}))
	w.settle()
	w.must(ada.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, "bob"); return err }))
	cleo.send(ada, "unread")
	draft, pinned := "half a sent", true
	w.must(ada.do(talking(func(d *talk.Desk) error {
		_, err := d.SetChat("bob", talk.ChatChange{Draft: &draft, Pinned: &pinned})
		return err
	})))
	w.must(ada.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RenameContact(t, "cleo", "captain"); return err }))
	w.must(ada.do(func(e *node.Engine, t *node.Turn) error {
		name := "Ada L."
		_, err := e.SetProfile(t, node.ProfileChange{Name: &name})
		return err
	}))
	w.pass(time.Hour)
	return w, ada, bob, cleo
}

// seenBy is what shown gives, without what is of one device: how it reaches others, and when things came to it.
func seenBy(d *device) any {
	s := d.shown()
	for i := range s.Contacts {
		s.Contacts[i].Online = false
		s.Contacts[i].Relays = 0
	}
	return s
}

func TestARestoreBringsEverythingBack(t *testing.T) {
	w, ada, bob, cleo := lived(t)
	before := seenBy(ada)
	file := ada.backUp("ada")
	ada.stop()
	w.pass(10 * time.Minute)
	back := w.again("ada", "new laptop")
	w.must(back.restore(file, "ada", 0))
	if diff := cmp.Diff(before, seenBy(back)); diff != "" {
		t.Errorf("what the backup brings back (-was +is):\n%s", diff)
	}
	if name := back.identity().Name; name != "Ada L." {
		t.Errorf("name %q", name)
	}
	again := seenBy(back)
	w.must(back.restore(file, "ada", 0))
	if diff := cmp.Diff(again, seenBy(back)); diff != "" {
		t.Errorf("restoring twice is not the same (-once +twice):\n%s", diff)
	}
	for range 5 {
		w.pass(time.Hour)
	}
	for _, friend := range []*device{bob, cleo} { // who verified ada is asked about the new account key
		w.must(friend.do(func(e *node.Engine, t *node.Turn) error { _, err := e.AcceptContact(t, ada.user()); return err }))
	}
	w.pass(time.Hour)
	back.send(bob, "I am back")
	w.pass(time.Hour)
	bob.send(back, "welcome")
	w.must(cleo.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.Send(t, node.SendRequest{To: "boat", Text: "who is aboard"})
		return err
	}))
	w.pass(time.Hour)
	if got := bob.texts(back); !slices.Contains(got, "I am back") {
		t.Errorf("bob has %q", got)
	}
	if got := back.texts(bob); !slices.Contains(got, "welcome") {
		t.Errorf("ada has %q", got)
	}
	var boat []view.Message
	w.must(back.store.View(func(tx store.Tx) (err error) { boat, err = talk.Messages(tx, "boat", 10); return err }))
	if !slices.ContainsFunc(boat, func(m view.Message) bool { return m.Text == "who is aboard" }) {
		t.Errorf("the group has %v", boat)
	}
}

// Somebody whose account key is proven to have signed two lists gets nothing after a restore either, though neither list
// is the one that we hold. Control: a backup from before the proof does not hold back.
func TestARestoreKeepsAProof(t *testing.T) {
	w, a, b := pair(t)
	_, first := w.list(a)
	next := w.sign("alice", 1, first, 2, first.Hash(), first.Devices()...)
	forged, _ := w.forge("alice", first, 2)
	text := proofText(t, next, forged)
	before := b.backUp("bob")
	w.must(b.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.TakeProof(t, text)
		return err
	}))
	after := b.backUp("bob")
	b.stop()
	for _, c := range []struct {
		file []byte
		held bool
	}{{before, false}, {after, true}} {
		back := w.again("bob", "new "+fmt.Sprint(c.held))
		w.must(back.restore(c.file, "bob", 0))
		_, err := back.trySend(a, "are you there?")
		if errors.Is(err, view.ErrEpochChanged) != c.held || !c.held && err != nil {
			t.Errorf("held %v: %v", c.held, err)
		}
		if v, err := back.proof("alice"); (err == nil) != c.held || c.held && v.Text == "" {
			t.Errorf("held %v: the proof is %+v, %v", c.held, v, err)
		}
		back.stop()
	}
}

// A restore that was cut off anywhere is finished by running it again.
func TestARestoreCutOffGoesOn(t *testing.T) {
	w, ada, _, _ := lived(t)
	want := seenBy(ada)
	file := ada.backUp("ada")
	ada.stop()
	for _, most := range []int{1, 2, 5, 9, 14} {
		back := w.again("ada", "new "+text(most))
		w.must(back.restore(file, "ada", most))
		back.stop()
		back.start()
		w.must(back.restore(file, "ada", 0))
		if diff := cmp.Diff(want, seenBy(back)); diff != "" {
			t.Errorf("cut off after %d records (-was +is):\n%s", most, diff)
		}
		back.stop()
	}
}

// A device that was linked takes in the past that it was not offered.
func TestALinkedDeviceRestores(t *testing.T) {
	w, ada, _, _ := lived(t)
	file := ada.backUp("ada")
	tablet := ada.link("tablet")
	tablet.start()
	w.pass(time.Hour)
	w.must(tablet.restore(file, "ada", 0))
	w.pass(time.Hour)
	a, b := ada.shown(), tablet.shown()
	for who, list := range a.Messages {
		var mine, theirs []string
		for _, m := range list {
			mine = append(mine, m.ID+m.Text)
		}
		for _, m := range b.Messages[who] {
			theirs = append(theirs, m.ID+m.Text)
		}
		if diff := cmp.Diff(mine, theirs); diff != "" {
			t.Errorf("%s (-first +tablet):\n%s", who, diff)
		}
	}
}

func TestTheBackupOfAnotherPersonIsRefused(t *testing.T) {
	w := newWorld(t)
	ada, bob := w.person("ada"), w.person("bob")
	w.befriend(ada, bob)
	ada.send(bob, "between us")
	file := ada.backUp("ada")
	before := seenBy(bob)
	err := bob.restore(file, "ada", 0)
	var problem *view.Problem
	if !errors.As(err, &problem) || !strings.Contains(problem.Message, "another person") {
		t.Errorf("refused with %v", err)
	}
	if diff := cmp.Diff(before, seenBy(bob)); diff != "" {
		t.Errorf("it left something:\n%s", diff)
	}
	if err := bob.restore(file, "bob", 0); !errors.Is(err, backup.ErrKey) {
		t.Errorf("another person's phrase: %v", err)
	}
}

// secrets are those of a store, by what they are.
func secrets(t *testing.T, s store.Store) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	add := func(what string, b []byte) {
		if len(b) >= 16 { // less may be anywhere
			out[what+" "+string(rune('a'+len(out)%26))+string(rune('a'+len(out)/26))] = b
		}
	}
	err := s.View(func(tx store.Tx) error {
		self := &pb.Self{}
		store.Row(tx, store.BucketMeta, []byte("self"), self)
		add("device keys", self.DeviceKeys[1:33])
		add("device keys", self.DeviceKeys[len(self.DeviceKeys)-32:])
		add("account key", self.Account[37:69])
		add("mailbox secret", self.MailboxSecret)
		add("record secret", self.RecordSecret)
		public := slices.Clone(self.List) // of which a session has its peer's keys
		tx.Scan(store.BucketContacts, nil, func(_, value []byte) bool { public = append(public, value...); return true })
		tx.Scan(store.BucketSessions, nil, func(_, value []byte) bool {
			for part := range slices.Chunk(value, 16) {
				if bytes.Count(part, []byte{0}) < 4 && !bytes.Contains(public, part) && !bytes.Contains(public, part[:8]) && !bytes.Contains(public, part[max(len(part)-8, 0):]) {
					add("session", part)
				}
			}
			return true
		})
		tx.Scan(store.BucketPrekeys, nil, func(_, value []byte) bool {
			p := &pb.Prekey{}
			if proto.Unmarshal(value, p) == nil {
				add("prekey", p.Secret[len(p.Secret)-32:])
			}
			return true
		})
		tx.Scan(store.BucketInvites, nil, func(_, value []byte) bool {
			p := &pb.Invite{}
			if proto.Unmarshal(value, p) == nil {
				add("secret of a link", p.Secret)
			}
			return true
		})
		tx.Scan(store.BucketDevices, nil, func(_, value []byte) bool {
			p := &pb.PeerDevice{}
			if proto.Unmarshal(value, p) == nil {
				add("secret of a contact's records", p.RecordSecret)
				add("secret of passes", p.PassSecret)
				for _, pass := range p.Passes {
					add("pass", pass)
				}
			}
			return true
		})
		tx.Scan(store.BucketOutbox, nil, func(_, value []byte) bool {
			p := &pb.Delivery{}
			if proto.Unmarshal(value, p) == nil && len(p.Envelope) > 64 {
				add("envelope", p.Envelope[:64])
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Nothing that opens, signs or ratchets is in a backup. The control: each of them is found where it is put in.
func TestABackupHoldsNoSecrets(t *testing.T) {
	w, ada, _, _ := lived(t)
	joined := "secret of the link joined"
	canary := bytes.Repeat([]byte{0xc5, 0x3a}, 16)
	w.must(ada.store.Update(func(tx store.Tx) error {
		store.PutRow(tx, store.BucketContacts, bytes.Repeat([]byte{7}, 20), &pb.Contact{User: bytes.Repeat([]byte{7}, 20), State: talk.Pending, Handle: "late", JoinSecret: canary})
		c := &pb.Contact{}
		tx.Scan(store.BucketContacts, nil, func(_, v []byte) bool { return proto.Unmarshal(v, c) != nil || c.State != talk.Accepted })
		c.JoinSecret = canary
		store.PutRow(tx, store.BucketContacts, c.User[:20], c)
		return nil
	}))
	planted := secrets(t, ada.store)
	planted[joined] = canary
	kinds := map[string]bool{}
	for what := range planted {
		kinds[strings.TrimRight(what[:max(strings.LastIndex(what, " "), 0)], " ")] = true
	}
	for _, kind := range []string{"device keys", "account key", "mailbox secret", "record secret", "session", "prekey", "secret of a link", "secret of passes", "secret of a contact's records", "pass"} {
		if !kinds[kind] {
			t.Errorf("no %s is planted: %v", kind, kinds)
		}
	}
	plain := opened(t, ada.backUp("ada"), "ada")
	for what, secret := range planted {
		if bytes.Contains(plain, secret) {
			t.Errorf("the backup holds a %s", what)
		}
		leaky, err := proto.Marshal(&backuppb.Record{Contact: &backuppb.Contact{Note: "x", NextList: secret}})
		w.must(err)
		if !bytes.Contains(slices.Concat(plain, leaky), secret) {
			t.Errorf("control: a %s that is put in is not found", what)
		}
	}
	if !bytes.Contains(plain, []byte("a note to myself")) || !bytes.Contains(plain, []byte("half a sent")) {
		t.Error("control: what should be in the backup is not found either")
	}
}

// opened is everything in a backup, in the clear.
func opened(t *testing.T, file []byte, person string) (plain []byte) {
	t.Helper()
	r, err := backup.Open(bytes.NewReader(file), backup.Keys{Seed: rootOf(person).Backup()})
	for err == nil {
		var page []byte
		_, page, err = r.Next()
		plain = append(plain, page...)
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return plain
}
