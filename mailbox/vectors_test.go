package mailbox_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/kith-im/kith/mailbox"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h hexBytes) id() (id [32]byte) {
	copy(id[:], h)
	return id
}

// vectors is what this package has in the file that docs/vectors/model/mailbox.mjs writes.
type vectors struct {
	Requests []requestVector `json:"requests"`
	Commits  []commitVector  `json:"commits"`
	Refused  []struct {
		Rule    string   `json:"rule"`
		Receipt hexBytes `json:"receipt"`
	} `json:"refused_receipts"`
	Work []struct {
		Box  hexBytes `json:"box"`
		ID   hexBytes `json:"id"`
		Bits byte     `json:"bits"`
		Work hexBytes `json:"work"`
	} `json:"work"`
	Sums []struct {
		IDs []hexBytes `json:"ids"`
		Sum hexBytes   `json:"sum"`
	} `json:"sums"`
	Possessions []struct {
		Nonce    hexBytes `json:"nonce"`
		Envelope hexBytes `json:"envelope"`
		Proof    hexBytes `json:"proof"`
	} `json:"possessions"`
}

type requestVector struct {
	What    string       `json:"what"`
	BoxSeed hexBytes     `json:"box_seed"`
	Relay   hexBytes     `json:"relay"`
	Verb    mailbox.Verb `json:"verb"`
	Content hexBytes     `json:"content"`
	Sig     hexBytes     `json:"sig"`
}

type commitVector struct {
	Stored    int64      `json:"stored"`
	Expires   int64      `json:"expires"`
	SetNumber uint64     `json:"set_number"`
	Relay     hexBytes   `json:"relay"`
	Box       hexBytes   `json:"box"`
	Envelopes []hexBytes `json:"envelopes"`
	IDs       []hexBytes `json:"ids"`
	Receipts  []hexBytes `json:"receipts"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	raw, err := os.ReadFile("../docs/vectors/mailbox.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
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
			if err != nil || r.Verify(c.Relay, c.Box.id(), mailbox.EnvelopeIDOf(c.Envelopes[j])) != nil {
				t.Fatalf("commit %d, receipt %d: %v", i, j, err)
			}
			if !bytes.Equal(r.Bytes(), raw) || r.StoredAt.UnixMilli() != c.Stored || r.ExpiresAt.UnixMilli() != c.Expires || r.SetNumber != c.SetNumber ||
				mailbox.EnvelopeID(c.IDs[j].id()) != r.Envelope {
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
		if err == nil && r.Verify(first.Relay, first.Box.id(), first.IDs[1].id()) == nil {
			t.Errorf("taken, against the rule: %s", c.Rule)
		}
	}
}

func TestVectorsOfRequests(t *testing.T) {
	for _, c := range readVectors(t).Requests {
		key := ed25519.NewKeyFromSeed(c.BoxSeed)
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
		got, ok := mailbox.SolveWork(c.Box.id(), c.ID.id(), c.Bits, 0, 1<<30)
		if !ok || !bytes.Equal(got, c.Work) || !mailbox.CheckWork(c.Box.id(), c.ID.id(), c.Bits, c.Work) {
			t.Errorf("%d bits: the model and the code disagree: %x", c.Bits, got)
		}
	}
	for _, c := range v.Possessions {
		if got := mailbox.ProofOf(c.Nonce.id(), c.Envelope); got != c.Proof.id() {
			t.Errorf("proof: the model and the code disagree: %x", got)
		}
	}
	for _, c := range v.Sums {
		w := newWorld(t, mailbox.Limits{})
		someReceiptsIn(t, w, len(c.IDs))
		err := w.do(func(tx mailbox.Tx) error {
			if got := w.relay.Sum(tx, w.now, v.Commits[0].Box.id()); got != c.Sum.id() {
				t.Errorf("sum of %d: the model and the code disagree: %x", len(c.IDs), got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
