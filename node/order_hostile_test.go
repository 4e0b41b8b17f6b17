package node_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/store"
)

// A text that says it is of the end of time does not stay the last of its conversation for ever.
func TestTextOfTheEndOfTime(t *testing.T) {
	w, a, b := pair(t)
	payload, err := proto.Marshal(&chatpb.Text{Text: "last"})
	w.must(err)
	c, err := chat.New(b.rng, chat.KindText, chat.Direct(userID(a), userID(b)), 1<<64-1, payload)
	w.must(err)
	var envelope []byte
	w.must(b.store.Update(func(tx store.Tx) error {
		tx.Scan(store.BucketSessions, nil, func(k, v []byte) bool {
			s, err := session.ParseSession(v)
			w.must(err)
			envelope, err = s.Seal(b.rng, session.Body{Counter: 1, Content: c.Bytes()})
			w.must(err)
			return false
		})
		return nil
	}))
	a.input(func(e *node.Engine, t *node.Turn) { e.Received(t, b.self.ID, envelope) })
	wantTexts(t, a, b, "last")
	a.send(b, "and yet")
	w.pass(2 * 24 * time.Hour)
	a.send(b, "there is more")
	wantTexts(t, a, b, "last", "and yet", "there is more")
}
