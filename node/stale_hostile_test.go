package node_test

import (
	"encoding/binary"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// Whoever reads its stream slowly lets our write of an envelope end only after the message was sealed anew. That write says nothing of
// the new envelope, whose own is still in the queue.
func TestALateWriteIsNotOfWhatWasSealedAnew(t *testing.T) {
	w, a, b := pair(t)
	w.lose = func(p parcel) bool { return true }
	a.send(b, "once")
	w.pass(2 * time.Minute)
	waiting := func() (n uint64, d *pb.Delivery) {
		w.must(a.store.View(func(tx store.Tx) error {
			tx.Scan(store.BucketOutbox, nil, func(key, raw []byte) bool {
				x := new(pb.Delivery)
				w.must(proto.Unmarshal(raw, x))
				if len(x.Message) > 0 {
					n, d = binary.BigEndian.Uint64(key), x
				}
				return true
			})
			return nil
		}))
		return n, d
	}
	n, old := waiting()
	if old == nil || old.Left == 0 {
		t.Fatal("control: nothing was written and waits")
	}
	a.links[string(b.self.ID)] = false // from now on no write of ours ends
	w.lose = func(p parcel) bool { return p.from == a }
	b.send(a, "I am here")
	w.pass(3 * time.Minute)
	if _, d := waiting(); d.Resealed == 0 || d.Left != 0 || string(d.Envelope) == string(old.Envelope) {
		t.Fatalf("control: it was not sealed anew, or has left: resealed %d, left %d", d.Resealed, d.Left)
	}
	a.input(func(e *node.Engine, t *node.Turn) { e.DirectDone(t, node.Direct{Ref: n, Envelope: old.Envelope}, true) }) // the old write, at last
	w.pass(time.Hour)
	if _, d := waiting(); d != nil && (d.Left != 0 || d.Sent != 0) {
		t.Errorf("an envelope of which no write ended counts as gone: resealed %d, left %d, sealed anew %d times", d.Resealed, d.Left, d.Repairs)
	}
}
