package p2p

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// askers are the peers with a stream of the relay protocol to a relay. Both
// kinds of stream are held, so whoever asked is seen.
func askers(r *Node) map[peer.ID]bool {
	out := map[peer.ID]bool{}
	for _, c := range r.host.Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == relay.Protocol && s.Stat().Direction == network.DirInbound {
				out[c.RemotePeer()] = true
			}
		}
	}
	return out
}

// Deposits, collecting, leases and adverts reach a relay under an identity that is not the device's. The control asks
// with the device's own host, and is seen.
func TestARelayNeverSeesTheDeviceOnAMailboxStream(t *testing.T) {
	r := testNode(t, "relay", isRelay)
	ada, ben := testNode(t, "ada", knows(r)), testNode(t, "ben", knows(r))
	awaitMailbox(t, ada, 1)
	awaitMailbox(t, ben, 1)
	befriend(t, ada, ben, "ada")
	eventually(t, "where ben's mail goes", func() bool { return contactsOf(t, ada)[0].Relays > 0 })
	ben.Close()
	waitStage(t, ada, send(t, ada, handleOf(t, ada), "while you are away"), view.StageCustody)
	seen := askers(r)
	if seen[ada.host.ID()] || seen[ben.host.ID()] {
		t.Error("the relay saw a device")
	}
	if !seen[ada.mail.cur.host.ID()] {
		t.Errorf("nobody asked under the identity that is for it: %v", seen)
	}
	control := relay.NewClient(ada.host, nil)
	defer control.Close()
	if _, err := control.Advert(t.Context(), r.Self()); err != nil {
		t.Fatal(err)
	}
	if !askers(r)[ada.host.ID()] {
		t.Error("the control went unseen")
	}
}

func TestTheIdentityChangesWithTheEpoch(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := testNode(t, "relay", isRelay)
	ada := testNode(t, "ada", func(c *Config) { knows(r)(c); c.Now = now })
	awaitMailbox(t, ada, 1)
	first := ada.mail.cur.host.ID()
	eventually(t, "collect stream", func() bool { return askers(r)[first] })
	ahead.Store(int64(time.Hour)) // the control: later in the epoch, or early in the next
	before := ada.mail.cur.epoch
	ada.mail.renew()
	if same := ada.mail.cur.host.ID() == first; same != (ada.mail.cur.epoch == before) {
		t.Error("another identity within one epoch, or the same in two")
	}
	ahead.Store(int64(8 * 24 * time.Hour))
	do(t, ada, func(*node.Engine, *node.Turn) error { return nil })
	eventually(t, "another identity at the relay, and the first one gone", func() bool {
		ada.mail.mu.Lock()
		id := ada.mail.cur.host.ID()
		ada.mail.mu.Unlock()
		seen := askers(r)
		return id != first && seen[id] && !seen[first]
	})
}

// The connections of an identity end after those of the one that followed have begun: a relay that this one reaches is
// not taken for lost. The control is gone.
func TestAnIdentityThatEndsTakesNoRelayAlong(t *testing.T) {
	r := testNode(t, "relay", isRelay)
	ada := testNode(t, "ada", knows(r))
	awaitMailbox(t, ada, 1)
	id := r.host.ID()
	eventually(t, "only the connection identity reaches the relay", func() bool {
		ada.host.Network().ClosePeer(id)
		return ada.mail.reaches(id) && ada.host.Network().Connectedness(id) != network.Connected
	})
	online := func() (on bool) {
		eventually(t, "the engine was told", func() bool {
			ada.watcher.mu.Lock()
			defer ada.watcher.mu.Unlock()
			return !ada.watcher.posted
		})
		err := ada.Look(t.Context(), func(tx store.Tx, e *node.Engine, now time.Time) error {
			v, err := node.Mailbox(tx, e, now)
			on = len(v.Relays) == 1 && v.Relays[0].Online
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return on
	}
	for range 3 { // news of other connections are still on their way
		ada.mail.down(id) // as the identity before does when it is closed
		if !online() {
			t.Fatal("the relay counts as lost")
		}
	}
	r.Close()
	eventually(t, "the control is lost", func() bool { return !online() })
}

// A relay that serves under the connection identity is let go by the device's own host, and stays live: what it is
// needed for still works.
func TestTheDeviceLetsGoOfRelaysThatServe(t *testing.T) {
	var relays []*Node
	for _, name := range []string{"r0", "r1", "r2"} {
		relays = append(relays, testNode(t, name, func(c *Config) { c.Relay = true; knows(relays...)(c) }))
	}
	ada := testNode(t, "ada", knows(relays...))
	eventually(t, "three relays that serve", func() bool {
		return len(ada.mail.connected()) == len(relays) && len(ada.host.Network().Peers()) == len(relays)
	})
	ids := func(nodes []*Node) (out []peer.ID) {
		for _, n := range nodes {
			out = append(out, n.host.ID())
		}
		return out
	}
	spare := ada.spare(ids(relays))
	if len(spare) != len(relays)-keepPeers {
		t.Fatalf("of %d relays the device's own host lets go of %v", len(relays), spare)
	}
	kept := slices.DeleteFunc(ids(relays), func(p peer.ID) bool { return slices.Contains(spare, p) })
	eventually(t, "only the connection that the directory needs", func() bool { // others may dial at any time
		ada.thin()
		return slices.Equal(ada.host.Network().Peers(), kept)
	})
	if n := ada.Net(); n.Relays != len(relays) || n.State != "online" {
		t.Errorf("%+v", n)
	}
	ben := testNode(t, "ben", knows(ada))
	for range 3 { // whoever else connects, the same relay is kept: it never lets go, as another person's node would
		all := append([]*Node{ben}, relays...)
		for _, r := range all {
			if err := ada.host.Connect(t.Context(), peer.AddrInfo{ID: r.host.ID(), Addrs: r.host.Addrs()}); err != nil {
				t.Fatal(err)
			}
		}
		if spare := ada.spare(ids(all)); len(spare) != len(all)-keepPeers || slices.Contains(spare, kept[0]) {
			t.Fatalf("the device's own host lets go of %v, and it kept %v before", spare, kept)
		}
		ada.thin()
		if now := ada.host.Network().Peers(); !slices.Contains(now, kept[0]) {
			t.Fatalf("%v is left, and %v was kept before", now, kept)
		}
	}
}
