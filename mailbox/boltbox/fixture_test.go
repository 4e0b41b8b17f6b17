package boltbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

type boltTx = bolt.Tx

// The universe of the story that the kept files hold.
const (
	storyBoxes     = 4
	storyEnvelopes = 60
	storyFrontDoor = 3
)

// tellStory does what the stores in testdata hold: four boxes with their sets,
// one of them a front door, deposits over five days, acks, a dropped day.
func tellStory(t testing.TB, s mailbox.Store) {
	t.Helper()
	do := func(fn func(tx mailbox.Tx) error) {
		t.Helper()
		if err := s.Do(context.Background(), fn); err != nil {
			t.Fatal(err)
		}
	}
	for n := range storyBoxes {
		core, raw := storySet(t, n)
		do(func(tx mailbox.Tx) error {
			err := tx.PutBox(mailboxtest.Box(n), mailbox.Box{
				Number: core.Number, Core: core.Hash(), Rank: 1, Member: true, FrontDoor: n == storyFrontDoor,
				End: mailboxtest.T0.Add(7 * 24 * time.Hour),
			})
			if err != nil {
				return err
			}
			return tx.PutSet(mailboxtest.Box(n), raw)
		})
	}
	for n := range storyEnvelopes {
		e, body := mailboxtest.Envelope(n, n%5)
		do(func(tx mailbox.Tx) error { return tx.Add(mailboxtest.Box(n%storyBoxes), e, body) })
		if n%3 == 0 {
			do(func(tx mailbox.Tx) error { return tx.Bury(mailboxtest.Box(n%storyBoxes), e.ID) })
		}
	}
	do(func(tx mailbox.Tx) error {
		_, err := tx.DropDay(mailbox.DayOf(mailboxtest.T0.UnixMilli()))
		if err != nil {
			return err
		}
		return tx.SetClock(mailbox.Clock{Trusted: mailboxtest.T0.Add(25 * time.Hour)})
	})
}

// storySet is the set record of box n, signed by the box and two relays.
func storySet(t testing.TB, n int) (dht.SetCore, []byte) {
	t.Helper()
	core := dht.SetCore{
		Box: mailboxtest.Key(n).Public().(ed25519.PublicKey), Epoch: dht.EpochAt(mailboxtest.T0), Number: uint64(n + 1),
		R: 2, W: 1, Issued: mailboxtest.T0, NotAfter: mailboxtest.T0.Add(14 * 24 * time.Hour),
	}
	if n == storyFrontDoor {
		core.Epoch = dht.FrontDoorEpoch
	}
	for i := range 2 {
		key := mailboxtest.Key(90 + i)
		core.Members = append(core.Members, dht.Member{Peer: dht.Peer{ID: dht.PeerFromKey(key.Public().(ed25519.PublicKey))}, Rank: byte(i)})
	}
	var leases []dht.Lease
	for i := range 2 {
		leases = append(leases, dht.SignLease(mailboxtest.Key(90+i), core.Hash(), byte(i), mailboxtest.T0.Add(7*24*time.Hour)))
	}
	set, err := dht.SignSetRecord(mailboxtest.Key(n), core, leases)
	if err != nil {
		t.Fatal(err)
	}
	return core, set.Bytes()
}

// kept unpacks a store of testdata into a folder.
func kept(t testing.TB, folder, name string) (path string, raw []byte) {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(folder, name)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, raw
}

// storyState is what the story comes to, by the model.
func storyState(t testing.TB) mailboxtest.State {
	t.Helper()
	model := mailbox.NewMemory()
	tellStory(t, model)
	return mailboxtest.Look(t, model, storyBoxes, storyEnvelopes)
}

// TestAStoreOfTheFirstFormatIsKept opens what the first format left: nothing is
// lost, and the store goes on.
func TestAStoreOfTheFirstFormatIsKept(t *testing.T) {
	path, _ := kept(t, t.TempDir(), "v1.db")
	want := storyState(t)
	for range 2 {
		s := mustOpen(t, path)
		wantStory(t, s, want)
		ok(t, s.Close())
	}
}

func wantStory(t *testing.T, s *Store, want mailboxtest.State) {
	t.Helper()
	if got := mailboxtest.Look(t, s, storyBoxes, storyEnvelopes); !equalStates(got, want) || s.Stats().Damaged != 0 {
		t.Errorf("holds %+v, want %+v; %+v", got, want, s.Stats())
	}
}
