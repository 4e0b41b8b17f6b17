package mailbox_test

import (
	"bytes"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

func someReceipts(t testing.TB, n int) []*mailbox.Receipt {
	return someReceiptsIn(t, newWorld(&testing.T{}, mailbox.Limits{}), n)
}

func someReceiptsIn(t testing.TB, w *world, n int) []*mailbox.Receipt {
	w.lease(1, epoch)
	pass := mailboxtest.Pass(1, 0, w.relay.Peer())
	var rs []*mailbox.Receipt
	err := w.do(func(tx mailbox.Tx) error {
		for i := range n {
			r, err := w.relay.Deposit(tx, w.now, mailbox.Deposit{
				Box: mailboxtest.Box(1), Envelope: []byte{byte(i), byte(i >> 8)}, Expires: t0.Add(day), Pass: pass,
			})
			if err != nil {
				return err
			}
			rs = append(rs, r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestReceiptHoldsForNothingElse(t *testing.T) {
	r := someReceipts(t, 3)[1]
	good := r.Bytes()
	verify := func(raw []byte, relay []byte, box mailbox.ID, id mailbox.EnvelopeID) bool {
		parsed, err := mailbox.ParseReceipt(raw)
		return err == nil && parsed.Verify(relay, box, id) == nil
	}
	if !verify(good, r.Relay, r.Box, r.Envelope) {
		t.Fatal("the receipt does not verify")
	}
	if verify(good, peer(90).ID, r.Box, r.Envelope) || verify(good, r.Relay, mailbox.ID{}, r.Envelope) ||
		verify(good, r.Relay, r.Box, mailbox.EnvelopeID{}) || verify(good, nil, r.Box, r.Envelope) {
		t.Error("it verifies for another relay, box or envelope")
	}
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if verify(bad, r.Relay, r.Box, r.Envelope) {
			t.Fatalf("bit %d may be flipped", i)
		}
	}
}

func TestReceiptOfOneCannotBeAnInnerNode(t *testing.T) {
	rs := someReceipts(t, 4)
	r := *rs[0]
	r.Path = r.Path[1:] // claims that the node above is the leaf
	if r.Verify(r.Relay, r.Box, r.Envelope) == nil {
		t.Error("a shortened path verifies")
	}
}

func FuzzParseReceipt(f *testing.F) {
	for _, n := range []int{1, 3, 100} {
		f.Add(someReceipts(f, n)[0].Bytes())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		r, err := mailbox.ParseReceipt(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Bytes(), raw) {
			t.Errorf("%x became %x", raw, r.Bytes())
		}
		_ = r.Verify(r.Relay, r.Box, r.Envelope)
	})
}

func TestWork(t *testing.T) {
	box, id := mailboxtest.Box(1), mailbox.EnvelopeIDOf([]byte("x"))
	work, ok := mailbox.SolveWork(box, id, 12, 0, 1<<20)
	if !ok || !mailbox.CheckWork(box, id, 12, work) {
		t.Fatalf("solved %v %x", ok, work)
	}
	if mailbox.CheckWork(mailboxtest.Box(2), id, 12, work) || mailbox.CheckWork(box, mailbox.EnvelopeID{}, 12, work) {
		t.Error("the work of one envelope does for another")
	}
	if mailbox.CheckWork(box, id, 12, nil) || mailbox.CheckWork(box, id, 12, append(work, 0)) || mailbox.CheckWork(box, id, 250, work) {
		t.Error("bad work passes")
	}
	if !mailbox.CheckWork(box, id, 0, nil) {
		t.Error("no work asked, and refused")
	}
	if _, ok := mailbox.SolveWork(box, id, 40, 0, 100); ok {
		t.Error("solved forty bits in a hundred tries")
	}
}

func BenchmarkSolveWork16(b *testing.B) {
	box, start := mailboxtest.Box(1), uint64(0)
	for range b.N {
		id := mailbox.EnvelopeIDOf([]byte{byte(start), byte(start >> 8), byte(start >> 16)})
		mailbox.SolveWork(box, id, 16, 0, 1<<30)
		start++
	}
}
