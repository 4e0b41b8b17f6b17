package node_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// Whoever uses a link up before a contact of the inviter's does, does not end their conversation: declined is the link.
func TestUsedLinkBetweenContacts(t *testing.T) {
	w, a, b := pair(t)
	user := userID(b)
	w.must(a.store.Update(func(tx store.Tx) error { // as after bob's account key changed, and alice accepted it
		c := &pb.Contact{}
		w.must(proto.Unmarshal(tx.Get(store.BucketContacts, user[:dht.UserPrefix]), c))
		c.Verified = false
		raw, err := proto.Marshal(c)
		tx.Put(store.BucketContacts, user[:dht.UserPrefix], raw)
		return err
	}))
	thief := w.person("thief")
	thief.meetDevice(b)
	text := b.invite()
	w.must(thief.join(text))
	w.pass(time.Minute)
	w.must(a.join(text))
	w.pass(time.Minute)
	if c := a.contact(b.user()); c.Verified || c.State != "accepted" {
		t.Fatalf("control: alice sees %+v", c)
	}
	if _, err := a.trySend(b, "still there?"); err != nil {
		t.Errorf("alice cannot write to her contact: %v", err)
	}
	w.pass(time.Minute)
	wantTexts(t, b, a, "still there?")
}
