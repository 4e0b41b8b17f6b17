//go:build hostile

package faults

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

// aRelay is a relay process with these settings.
func aRelay(t *testing.T, ctx context.Context, settings string) *machine {
	t.Helper()
	m := newMachine(t, folder(t), "relay", newNews()).listens(t)
	m.args = append(m.args, "--relay")
	m.must(t, ctx, 0, "init", "--name", "relay")
	check(t, os.WriteFile(filepath.Join(m.home, "config.toml"), []byte(settings), 0o600))
	check(t, m.start(ctx))
	t.Cleanup(func() { m.kill(); m.sound(t) })
	return m
}

// admission is how a deposit asks to be let in.
type admission func(d *mailbox.Deposit, bits byte) bool

// byPass is a contact's; who says whose.
func (o *honest) byPass(who byte) admission {
	holder := pass.HolderKey([]byte{31: who}, 1)
	raw := pass.Use(holder, pass.Issue(o.key, holder.Public().(ed25519.PublicKey)), o.at.ID, o.box)
	return func(d *mailbox.Deposit, _ byte) bool {
		d.Pass = raw
		return true
	}
}

// byWork is a stranger's.
func byWork(d *mailbox.Deposit, bits byte) (ok bool) {
	d.Work, ok = mailbox.SolveWork(d.Box, sha256.Sum256(d.Envelope), bits, 0, 1<<40)
	return ok
}

// pour deposits until the relay refuses with Full, or most are in. It returns the envelopes with receipts.
func (o *honest) pour(t *testing.T, ctx context.Context, in admission, size, most int) (kept []mailbox.EnvelopeID, full bool) {
	t.Helper()
	var bits byte
	for len(kept) < most {
		o.number++
		envelope := make([]byte, size)
		binary.BigEndian.PutUint64(envelope, o.number)
		for {
			d := mailbox.Deposit{Box: o.box, Envelope: envelope, Expires: time.Now().Add(day), SetNumber: 1}
			if !in(&d, bits) {
				t.Fatalf("no work of %d bits", bits)
			}
			r, err := o.client.Deposit(ctx, o.at, d)
			if err == nil {
				kept = append(kept, r.Envelope)
				break
			}
			no, ok := errors.AsType[*mailbox.Refusal](err)
			switch {
			case ok && no.Code == mailbox.NeedWork && no.Bits > bits:
				bits = no.Bits
			case ok && no.Code == mailbox.Full:
				return kept, true
			case ok && no.Code == mailbox.RateLimited:
			default:
				t.Fatal(err)
			}
		}
	}
	return kept, false
}

// errAll ends a collect stream.
var errAll = errors.New("all")

// holds is what the box's owner finds.
func (o *honest) holds(t *testing.T, ctx context.Context) map[mailbox.EnvelopeID]int {
	t.Helper()
	found := map[mailbox.EnvelopeID]int{}
	err := o.client.Collect(ctx, o.at, []ed25519.PrivateKey{o.key}, func(_ mailbox.ID, items []mailbox.Stored) error {
		for _, i := range items {
			found[i.ID]++
		}
		if len(items) == 0 {
			return errAll
		}
		return nil
	}, nil)
	if !errors.Is(err, errAll) {
		t.Fatal(err)
	}
	return found
}

// flooded lets a contact and a stranger fill all they can of one box; then another contact writes.
func flooded(t *testing.T, ctx context.Context, settings string) (refused bool) {
	t.Helper()
	m := aRelay(t, ctx, settings)
	info, err := peer.AddrInfoFromString(m.addrs[0])
	check(t, err)
	o := newHonest(t, ctx, kad.PlainPeer(*info))
	rogue, full := o.pour(t, ctx, o.byPass(1), mailbox.MaxEnvelope, 10_000)
	strangers, closed := o.pour(t, ctx, byWork, 512, 100)
	if !full || !closed {
		t.Errorf("the flood of a contact ended with full: %v, that of strangers: %v", full, closed)
	}
	friend, refused := o.pour(t, ctx, o.byPass(2), 2048, 100)
	t.Logf("in before Full: %d of 8 KiB by one pass, %d by strangers; then %d of 100 by another pass", len(rogue), len(strangers), len(friend))
	found := o.holds(t, ctx)
	for _, list := range [][]mailbox.EnvelopeID{rogue, strangers, friend} {
		for _, id := range list {
			if found[id] != 1 {
				t.Errorf("an envelope with a receipt is there %d times", found[id])
			}
		}
	}
	return refused
}

// TestFloodsOfQuotasTouchNobodyElse: a contact fills his pass, strangers fill their share with work that costs ever more,
// and another contact's mail goes in as before. What was taken stays: nothing makes room by throwing mail away.
func TestFloodsOfQuotasTouchNobodyElse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	if flooded(t, ctx, "") {
		t.Error("a contact is refused because of another")
	}
}

// TestControlWithoutAQuotaForEachPassTheBoxIsShut: passes may fill the box, and one does.
func TestControlWithoutAQuotaForEachPassTheBoxIsShut(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	if !flooded(t, ctx, "relay_pass_bytes = \"16 MiB\"\nrelay_box_bytes = \"8 MiB\"\n") {
		t.Error("there was room for another contact")
	}
}
