package talk_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
)

// Two devices have named two groups of one name the other way round. Each hears of the other's names: both end with the
// later ones, and a name that a person has is not taken from it.
func TestAHandleMeansOneGroupOnAllDevices(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		halves := []*half{newHalf(rt, 1), newHalf(rt, 2)}
		g1, g2 := chat.ChatID{1}, chat.ChatID{2}
		for i, h := range halves {
			names := []string{"x", "x-2"}
			h.do(begun, func(d *talk.Desk) {
				for k, id := range []chat.ChatID{g1, g2} {
					c := talk.NewChat(d.Tx, id, talk.Group)
					c.Handle = names[(k+i)%2]
					talk.SaveChat(d.Tx, c)
				}
			})
		}
		said := []*chatpb.Setting{
			{Chat: g1[:], Name: "handle", Value: []byte("x"), At: 1, Device: make([]byte, 32)},
			{Chat: g2[:], Name: "handle", Value: []byte("x-2"), At: 2, Device: make([]byte, 32)},
			{Chat: g1[:], Name: "handle", Value: []byte("x-2"), At: 3, Device: make([]byte, 32)},
			{Chat: g2[:], Name: "handle", Value: []byte("x"), At: 4, Device: make([]byte, 32)},
			{Chat: g2[:], Name: "handle", Value: []byte("friend0"), At: 5, Device: make([]byte, 32)},
		}
		for _, h := range halves {
			for _, i := range rapid.Permutation([]int{0, 1, 2, 3}).Draw(rt, "order") {
				h.do(begun, func(d *talk.Desk) { d.Learn(said[i]) })
			}
			h.do(begun, func(d *talk.Desk) { d.Learn(said[4]) })
			if err := h.store.View(func(tx store.Tx) error {
				if a, b := talk.Chat(tx, g1).Handle, talk.Chat(tx, g2).Handle; a != "x-2" || b != "x" {
					rt.Errorf("the groups are called %q and %q", a, b)
				}
				return nil
			}); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
