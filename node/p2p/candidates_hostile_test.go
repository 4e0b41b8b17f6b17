package p2p

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
)

// A contact that names more relays than are remembered, none of which exists, does not keep real ones from being asked.
func TestNamedByAContactAndNeverMet(t *testing.T) {
	asked := make(chan peer.ID, 1)
	c := newCandidates(time.Now)
	c.advert = func(_ context.Context, r dht.Peer) (*dht.Advert, error) {
		asked <- peer.ID(r.ID)
		return nil, errors.New("away")
	}
	c.met("friend", true)
	<-asked
	c.seenAs("friend", election.SourceContact)
	for i := range 2 * maxCandidates {
		c.seenAs(peer.ID(fmt.Sprint("nobody ", i)), election.SourceContact)
	}
	for i := range 3 {
		real := peer.ID(fmt.Sprint("real ", i))
		c.met(real, true)
		if !c.isRelay(real) {
			t.Fatalf("%q finds no room", real)
		}
		if p := <-asked; p != real {
			t.Errorf("%q was asked", p)
		}
	}
	if !c.isRelay("friend") {
		t.Error("a friend's relay was forgotten for what was never met")
	}
	if n := len(c.seen); n > maxCandidates {
		t.Errorf("%d are remembered", n)
	}
	c.close()
}
