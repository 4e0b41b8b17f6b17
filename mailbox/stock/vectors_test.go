//go:build !standin

package stock_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/stock"
)

type ruled struct {
	Rule  string         `json:"rule"`
	Frame vectortest.Hex `json:"frame"`
}

// vectors is the file that docs/vectors/model/prekey.mjs writes.
type vectors struct {
	Now   int64 `json:"now"`
	Takes []struct {
		What  string         `json:"what"`
		Key   vectortest.Hex `json:"key"`
		Frame vectortest.Hex `json:"frame"`
	} `json:"takes"`
	Offers []struct {
		What  string           `json:"what"`
		Raw   []vectortest.Hex `json:"raw"`
		Frame vectortest.Hex   `json:"frame"`
	} `json:"offers"`
	Given []struct {
		What  string         `json:"what"`
		Frame vectortest.Hex `json:"frame"`
	} `json:"given"`
	Held []struct {
		Count *int           `json:"count"`
		Frame vectortest.Hex `json:"frame"`
	} `json:"held"`
	Refused       []ruled `json:"refused"`
	RefusedOffers []ruled `json:"refused_offers"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	vectortest.Read(t, "../../docs/vectors/prekey.json", &v)
	if min(len(v.Takes), len(v.Offers), len(v.Given), len(v.Held), len(v.Refused), len(v.RefusedOffers)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	return v
}

func vectorKey(seed string) ed25519.PrivateKey {
	h := sha256.Sum256([]byte(seed))
	return signature.NewKey(h[:])
}

func TestVectorsOfQuestions(t *testing.T) {
	v := readVectors(t)
	rules, box := mailbox.NewRelay(vectorKey("relay"), mailbox.Limits{}), vectorKey("box")
	store, now := mailbox.NewMemory(), time.Unix(v.Now, 0)
	if err := store.Do(context.Background(), func(tx mailbox.Tx) error {
		return tx.PutBox(mailbox.IDOf(box.Public().(ed25519.PublicKey)), mailbox.Box{Member: true, FrontDoor: true, End: now.Add(time.Hour)})
	}); err != nil {
		t.Fatal(err)
	}
	admit := func(frame []byte) (int, error) {
		q, err := stock.ReadQuestion(bytes.NewReader(frame))
		if err != nil || q.Offer == nil {
			t.Fatal("no offer:", err)
		}
		var items []stock.Item
		err = store.View(func(tx mailbox.Tx) (err error) {
			items, err = stock.Admit(tx, rules, *q.Offer, now)
			return err
		})
		return len(items), err
	}
	for _, c := range v.Takes {
		id := [32]byte(identity.DeviceOf([32]byte(c.Key)))
		if c.What == "box" {
			id = [32]byte(mailbox.IDOf(ed25519.PublicKey(c.Key)))
		}
		if got := (stock.Question{ID: id}).Marshal(); !bytes.Equal(got, c.Frame) {
			t.Errorf("take, %s: the code says %x", c.What, got)
		}
	}
	for _, c := range v.Offers {
		var bundles [][]byte
		for _, b := range c.Raw {
			bundles = append(bundles, b)
		}
		o := stock.Sign(box, rules.Peer(), bundles)
		if got := (stock.Question{Offer: &o}).Marshal(); !bytes.Equal(got, c.Frame) {
			t.Errorf("offer, %s: the code says %x", c.What, got)
		}
		if n, err := admit(c.Frame); n != len(bundles) || err != nil {
			t.Errorf("offer, %s: %d bundles are taken in, %v", c.What, n, err)
		}
	}
	for _, c := range v.Refused {
		if _, err := stock.ReadQuestion(bytes.NewReader(c.Frame)); err == nil {
			t.Errorf("read, against the rule: %s", c.Rule)
		}
	}
	for _, c := range v.RefusedOffers {
		if _, err := admit(c.Frame); !errors.Is(err, stock.ErrRefused) {
			t.Errorf("taken in, against the rule: %s: %v", c.Rule, err)
		}
	}
}

func TestVectorsOfAnswers(t *testing.T) {
	v := readVectors(t)
	for _, c := range v.Given {
		b, err := stock.ReadGiven(bytes.NewReader(c.Frame))
		if err != nil || (b == nil) != (c.What == "none") || !bytes.Equal(stock.Given(b), c.Frame) {
			t.Errorf("%s: read as %d bytes, %v", c.What, len(b), err)
		}
	}
	for _, c := range v.Held {
		n, err := stock.ReadHeld(bytes.NewReader(c.Frame))
		if c.Count == nil {
			if !errors.Is(err, stock.ErrRefused) || !bytes.Equal(stock.Held(0, err), c.Frame) {
				t.Errorf("refused is read as %d, %v", n, err)
			}
			continue
		}
		if err != nil || n != *c.Count || !bytes.Equal(stock.Held(n, nil), c.Frame) {
			t.Errorf("%d bundles are read as %d, %v", *c.Count, n, err)
		}
	}
}
