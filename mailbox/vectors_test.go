//go:build !standin

package mailbox_test

import (
	"bytes"
	"testing"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/mailbox"
)

// vectors is what this package has in the file that docs/vectors/model/mailbox.mjs writes.
type vectors struct {
	Requests []requestVector `json:"requests"`
	Commits  []commitVector  `json:"commits"`
	Refused  []struct {
		Rule    string         `json:"rule"`
		Receipt vectortest.Hex `json:"receipt"`
	} `json:"refused_receipts"`
	Work []struct {
		Box  vectortest.Hex `json:"box"`
		ID   vectortest.Hex `json:"id"`
		Bits byte           `json:"bits"`
		Work vectortest.Hex `json:"work"`
	} `json:"work"`
	Sums []struct {
		IDs []vectortest.Hex `json:"ids"`
		Sum vectortest.Hex   `json:"sum"`
	} `json:"sums"`
	Possessions []struct {
		Nonce    vectortest.Hex `json:"nonce"`
		Envelope vectortest.Hex `json:"envelope"`
		Proof    vectortest.Hex `json:"proof"`
	} `json:"possessions"`
}

type requestVector struct {
	What    string         `json:"what"`
	BoxSeed vectortest.Hex `json:"box_seed"`
	Relay   vectortest.Hex `json:"relay"`
	Verb    mailbox.Verb   `json:"verb"`
	Content vectortest.Hex `json:"content"`
	Sig     vectortest.Hex `json:"sig"`
}

type commitVector struct {
	Stored    int64            `json:"stored"`
	Expires   int64            `json:"expires"`
	SetNumber uint64           `json:"set_number"`
	Relay     vectortest.Hex   `json:"relay"`
	Box       vectortest.Hex   `json:"box"`
	Envelopes []vectortest.Hex `json:"envelopes"`
	IDs       []vectortest.Hex `json:"ids"`
	Receipts  []vectortest.Hex `json:"receipts"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	vectortest.Read(t, "../docs/vectors/mailbox.json", &v)
	if min(len(v.Requests), len(v.Commits), len(v.Refused), len(v.Work), len(v.Sums), len(v.Possessions)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	return v
}

func TestVectorsOfReceipts(t *testing.T) {
	v := readVectors(t)
	for i, c := range v.Commits {
		for j, raw := range c.Receipts {
			r, err := mailbox.ParseReceipt(raw)
			if err != nil || r.Verify(c.Relay, c.Box.Key(), mailbox.EnvelopeIDOf(c.Envelopes[j])) != nil {
				t.Fatalf("commit %d, receipt %d: %v", i, j, err)
			}
			if !bytes.Equal(r.Bytes(), raw) || r.StoredAt.UnixMilli() != c.Stored || r.ExpiresAt.UnixMilli() != c.Expires || r.SetNumber != c.SetNumber ||
				mailbox.EnvelopeID(c.IDs[j].Key()) != r.Envelope {
				t.Errorf("commit %d, receipt %d says %+v", i, j, r)
			}
		}
	}
	// The first commit is that of a real relay.
	first := v.Commits[0]
	for i, r := range someReceipts(t, len(first.Receipts)) {
		if !bytes.Equal(r.Bytes(), first.Receipts[i]) {
			t.Errorf("receipt %d: the model and the code disagree: %x", i, r.Bytes())
		}
	}
	for _, c := range v.Refused {
		r, err := mailbox.ParseReceipt(c.Receipt)
		if err == nil && r.Verify(first.Relay, first.Box.Key(), first.IDs[1].Key()) == nil {
			t.Errorf("taken, against the rule: %s", c.Rule)
		}
	}
}

func TestVectorsOfRequests(t *testing.T) {
	for _, c := range readVectors(t).Requests {
		key := signature.NewKey(c.BoxSeed)
		if got := mailbox.SignRequest(key, c.Relay, c.Verb, c.Content); !bytes.Equal(got, c.Sig) {
			t.Errorf("%s: the model and the code disagree: %x", c.What, got)
		}
		if !mailbox.VerifyRequest(pub(key), c.Relay, c.Verb, c.Content, c.Sig) || mailbox.VerifyRequest(pub(key), c.Relay, c.Verb+1, c.Content, c.Sig) {
			t.Errorf("%s: verified wrongly", c.What)
		}
	}
}

func TestVectorsOfWorkAndRepair(t *testing.T) {
	v := readVectors(t)
	for _, c := range v.Work {
		got, ok := mailbox.SolveWork(c.Box.Key(), c.ID.Key(), c.Bits, 0, 1<<30)
		if !ok || !bytes.Equal(got, c.Work) || !mailbox.CheckWork(c.Box.Key(), c.ID.Key(), c.Bits, c.Work) {
			t.Errorf("%d bits: the model and the code disagree: %x", c.Bits, got)
		}
	}
	for _, c := range v.Possessions {
		if got := mailbox.ProofOf(c.Nonce.Key(), c.Envelope); got != c.Proof.Key() {
			t.Errorf("proof: the model and the code disagree: %x", got)
		}
	}
	for _, c := range v.Sums {
		w := newWorld(t, mailbox.Limits{})
		someReceiptsIn(t, w, len(c.IDs))
		err := w.do(func(tx mailbox.Tx) error {
			if got := w.relay.Sum(tx, w.now, v.Commits[0].Box.Key()); got != c.Sum.Key() {
				t.Errorf("sum of %d: the model and the code disagree: %x", len(c.IDs), got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
