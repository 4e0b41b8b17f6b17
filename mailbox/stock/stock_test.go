package stock_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/stock"
)

func TestMemory(t *testing.T) {
	mailboxtest.Stock(t, func(testing.TB) (stock.Store, func() stock.Store) {
		m := stock.NewMemory()
		return m, func() stock.Store { return m }
	})
}

// Only the owner of a leased front door leaves bundles, and only such as may be handed out once.
func TestAdmit(t *testing.T) {
	now := mailboxtest.T0
	host := signature.NewKey(bytes.Repeat([]byte{1}, 32))
	owner := signature.NewKey(bytes.Repeat([]byte{2}, 32))
	rules, store := mailbox.NewRelay(host, mailbox.Limits{}), mailbox.NewMemory()
	box := mailbox.IDOf(owner.Public().(ed25519.PublicKey))
	put := func(b mailbox.Box) {
		if err := store.Do(context.Background(), func(tx mailbox.Tx) error { return tx.PutBox(box, b) }); err != nil {
			t.Fatal(err)
		}
	}
	door := mailbox.Box{Member: true, FrontDoor: true, End: now.Add(time.Hour)}
	put(door)
	keys := mailboxtest.DeviceKeys(t, 1)
	good := mailboxtest.Bundles(t, keys, now, identity.FlagOneTime, 2)
	admit := func(o stock.Offer) error {
		return store.View(func(tx mailbox.Tx) error {
			_, err := stock.Admit(tx, rules, o, now)
			return err
		})
	}
	if err := admit(stock.Sign(owner, rules.Peer(), good)); err != nil {
		t.Fatal("control:", err)
	}
	if err := admit(stock.Sign(owner, rules.Peer(), nil)); err != nil {
		t.Fatal("control, none:", err)
	}
	broken := bytes.Clone(good[1])
	broken[700] ^= 1
	signed := stock.Sign(owner, rules.Peer(), good)
	signed.Bundles = append(bytes.Clone(signed.Bundles), good[0]...)
	for name, o := range map[string]stock.Offer{
		"of another relay":     stock.Sign(owner, bytes.Repeat([]byte{9}, 38), good),
		"of another box":       stock.Sign(host, rules.Peer(), good),
		"other bundles":        signed,
		"a last-resort bundle": stock.Sign(owner, rules.Peer(), mailboxtest.Bundles(t, keys, now, 0, 1)),
		"an old bundle":        stock.Sign(owner, rules.Peer(), mailboxtest.Bundles(t, keys, now.Add(-8*24*time.Hour), identity.FlagOneTime, 1)),
		"one of next year":     stock.Sign(owner, rules.Peer(), mailboxtest.Bundles(t, keys, now.Add(365*24*time.Hour), identity.FlagOneTime, 1)),
		"a broken one":         stock.Sign(owner, rules.Peer(), [][]byte{good[0], broken}),
		"two devices":          stock.Sign(owner, rules.Peer(), [][]byte{good[0], mailboxtest.Bundles(t, mailboxtest.DeviceKeys(t, 2), now, identity.FlagOneTime, 1)[0]}),
		"half a bundle":        stock.Sign(owner, rules.Peer(), [][]byte{good[0][:700]}),
	} {
		if err := admit(o); !errors.Is(err, stock.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string]mailbox.Box{
		"no front door":      {Member: true, End: now.Add(time.Hour)},
		"a lease that ended": {Member: true, FrontDoor: true, End: now},
		"no member":          {FrontDoor: true, End: now.Add(time.Hour)},
	} {
		put(b)
		if err := admit(stock.Sign(owner, rules.Peer(), good)); !errors.Is(err, stock.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	owner := signature.NewKey(make([]byte, 32))
	offer := stock.Sign(owner, make([]byte, 38), [][]byte{make([]byte, stock.BundleSize)})
	f.Add(stock.Question{ID: [32]byte{7}}.Marshal())
	f.Add(stock.Question{Offer: &offer}.Marshal())
	f.Add(stock.Given(nil))
	f.Add(stock.Held(3, nil))
	f.Add([]byte{2, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if q, err := stock.ReadQuestion(bytes.NewReader(raw)); err == nil {
			if out := q.Marshal(); !bytes.HasPrefix(raw, out) {
				t.Errorf("%x is read and written as %x", raw[:len(out)], out)
			}
		}
		if b, err := stock.ReadGiven(bytes.NewReader(raw)); err == nil && b != nil && len(b) != stock.BundleSize {
			t.Errorf("%d bytes", len(b))
		}
		if n, err := stock.ReadHeld(bytes.NewReader(raw)); err == nil && (n < 0 || n > stock.Most) {
			t.Errorf("%d bundles", n)
		}
	})
}
