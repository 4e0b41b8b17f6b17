package node_test

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// masked is a device of mallory's that calls itself by the signing key of another person's device, with an identity key
// of mallory's own: the list of an account may name any key.
func masked(w *world, as identity.Device) *identity.DeviceKeys {
	w.t.Helper()
	keys, err := identity.NewDeviceKeys(seeded("mask of mallory"))
	w.must(err)
	keys.Sign = ed25519.PrivateKey(slices.Concat(keys.Sign[:32], as.SigPub[:]))
	return keys
}

// flight is a first flight to a device with keys of the sender's choice, and the session that it begins.
func (w *world) flight(to *device, user identity.UserID, keys *identity.DeviceKeys, head identity.Head, kind chat.Kind, payload proto.Message) (*session.Session, []byte) {
	w.t.Helper()
	_, list := w.list(to)
	rec, err := dht.ParseDeviceRecord(w.records[dht.DeviceKey(list.Devices()[0].ID())])
	w.must(err)
	s, err := session.Initiate(seeded("flight"), session.Self{User: user, Keys: keys, Head: head}, rec.Bundle())
	w.must(err)
	envelope, err := s.Seal(seeded("seal"), session.Body{Counter: 1, Content: to.content(chat.Direct(user, list.User()), kind, payload)})
	w.must(err)
	return s, envelope
}

// A contact whose list names our friend's device key cannot slip a session, an address or relays of its own into the
// friend's place.
func TestClaimedDeviceKey(t *testing.T) {
	w, a, b := pair(t)
	m := w.person("mallory")
	w.befriend(a, m)
	_, blist := w.list(b)
	keys := masked(w, blist.Devices()[0])
	mkey, mlist := w.list(m)
	claim := w.sign("mallory", 1, mlist, mlist.Seq()+1, mlist.Hash(), append(mlist.Devices(), keys.Public(0, 2))...)
	a.looked(mkey, claim.Bytes())
	w.pass(time.Minute)
	rows := a.rows(store.BucketSessions)
	s, envelope := w.flight(a, userID(m), keys, claim.Head(), chat.KindReach, &chatpb.Reach{Number: 1 << 62, Endpoint: &chatpb.Endpoint{Id: m.self.ID, Addrs: m.self.Addrs}})
	a.input(func(e *node.Engine, t *node.Turn) { e.Received(t, m.self.ID, envelope) })
	w.settle()
	if n := a.rows(store.BucketSessions); n != rows {
		t.Errorf("%d sessions stand under the friend's device key, %d before", n, rows)
	}
	w.sent = nil
	id := a.send(b, "for bob only")
	w.pass(time.Minute)
	for _, p := range w.sent {
		if _, err := s.Clone().Open(p.envelope, w.now); err == nil {
			t.Error("mallory opens what is for bob")
		}
	}
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("it is %s", s)
	}
	wantTexts(t, b, a, "for bob only")
}

// A contact whose list claims a device key before its owner comes keeps the owner neither from joining nor from being
// written to: the device's own record says whose it is.
func TestClaimedBeforeTheOwnerComes(t *testing.T) {
	for name, invite := range map[string]func(a, b *device) (joins *device, text string){
		"the owner joins":   func(a, b *device) (*device, string) { return b, a.invite() },
		"the owner invites": func(a, b *device) (*device, string) { return a, b.invite() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, b, m := w.person("alice"), w.person("bob"), w.person("mallory")
			w.befriend(a, m)
			_, blist := w.list(b)
			mkey, mlist := w.list(m)
			claim := w.sign("mallory", 1, mlist, mlist.Seq()+1, mlist.Hash(), append(mlist.Devices(), masked(w, blist.Devices()[0]).Public(0, 2))...)
			absent := true
			w.lookup = func(_ *device, key string) []byte {
				if absent && key == dht.DeviceKey(blist.Devices()[0].ID()) {
					return nil
				}
				return w.records[key]
			}
			a.looked(mkey, claim.Bytes())
			w.pass(time.Minute)
			a.meetDevice(b)
			joins, text := invite(a, b)
			w.must(joins.join(text))
			w.pass(time.Minute)
			absent = false
			w.pass(time.Hour)
			for _, x := range [][2]*device{{a, b}, {b, a}} {
				if c := x[0].contact(x[1].user()); c.State != "accepted" {
					t.Fatalf("%s sees %s as %+v\n%s\n%s", x[0].name, x[1].name, c, a.outbox(), b.outbox())
				}
			}
			a.send(b, "hello bob")
			b.send(a, "hello alice")
			w.pass(time.Hour)
			wantTexts(t, b, a, "hello bob", "hello alice")
			wantTexts(t, a, b, "hello bob", "hello alice")
		})
	}
}
