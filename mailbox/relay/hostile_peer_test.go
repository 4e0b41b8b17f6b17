package relay

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

// Who owns a box with many envelopes and has it compared again and again keeps
// nobody from the store for long, and pays before the next question.
func TestComparesOfLargeBoxesAreShortLooks(t *testing.T) {
	const held = 3000
	store := &mailboxtest.Looks{Store: newShared()}
	_, relay := relayAt(t, "relay", overTCP, Config{Store: store, Rate: Rate{PerSecond: 1, Burst: 100}})
	key := seedKey("box")
	shareBox(t, clientAt(t, "owner", overTCP), relay, key, "member")
	box := mailbox.IDOf(key.Public().(ed25519.PublicKey))
	err := store.Do(t.Context(), func(tx mailbox.Tx) error {
		for i := range uint32(held) {
			body := binary.BigEndian.AppendUint32(nil, i)
			e := mailbox.Entry{
				ID: mailbox.EnvelopeIDOf(body), Stored: time.Now().UnixMilli(), Size: 4,
				Expires: time.Now().Add(24 * time.Hour).UnixMilli(),
			}
			if err := tx.Add(box, e, body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	member := clientAt(t, "member", overTCP)
	sums := slices.Repeat([]mailbox.BoxSum{{Box: box}}, 40)
	got, err := member.Compare(t.Context(), relay, sums)
	if err != nil || len(got) != len(sums) || slices.ContainsFunc(got, func(c mailbox.Comparison) bool { return c != mailbox.Differs }) {
		t.Fatalf("%v, %v", got, err)
	}
	if store.Most == 0 || store.Most > entriesPerLook+held {
		t.Errorf("one look went through %d entries", store.Most)
	}
	_, err = member.Compare(t.Context(), relay, sums)
	wantRefusal(t, err, mailbox.RateLimited)
}

// Relays that do not exist leave nothing behind at whoever is sent to them; one that
// goes leaves nothing either.
func TestRelaysThatAreNotThereAreForgotten(t *testing.T) {
	s, relay := relayAt(t, "relay", overTCP, Config{})
	c := clientAt(t, "client", overTCP)
	for i := range 100 {
		ghost := dht.Peer{ID: dht.PeerFromKey(publicOf(seedKey(fmt.Sprint("ghost ", i))))}
		if _, err := c.Clock(t.Context(), ghost); err == nil {
			t.Fatal("a ghost answered")
		}
	}
	if _, err := c.Clock(t.Context(), relay); err != nil || len(c.each) != 1 {
		t.Errorf("%d places, %v", len(c.each), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil || len(c.each) != 0 { // it waits for its readers
		t.Errorf("%d places left, %v", len(c.each), err)
	}
}
