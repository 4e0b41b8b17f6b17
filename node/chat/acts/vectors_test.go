package acts_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/node/chat/acts"
)

const vectorFile = "../../../docs/vectors/acts.json"

// vectors is the file, which docs/vectors/model/acts.mjs writes: what was done to messages, and what became of them.
type vectors struct {
	About string        `json:"about"`
	Cases []caseVectors `json:"cases"`
}

type caseVectors struct {
	Name  string      `json:"name"`
	Acts  []actVector `json:"acts"` // in no order
	State string      `json:"state"`

	Texts     []string `json:"texts"` // that count, oldest first
	Refused   int      `json:"refused"`
	Unsent    bool     `json:"unsent"`
	Reactions []string `json:"reactions"` // oldest first
	Deleted   bool     `json:"deleted"`
	Erased    bool     `json:"erased"`
}

type actVector struct {
	Kind string `json:"kind"` // message, edit, unsend, react, delete, undelete, read
	User string `json:"user,omitempty"`
	At   uint64 `json:"at,omitempty"`
	ID   string `json:"id,omitempty"`
	Text string `json:"text,omitempty"` // of an edit: the body as UTF-8; of a reaction: the emoji
}

func TestVectors(t *testing.T) {
	var v vectors
	vectortest.Read(t, vectorFile, &v)
	if len(v.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, want := range v.Cases {
		for seed := range uint64(4) { // a stranger might hear of them in any order
			acts, rng := slices.Clone(want.Acts), rand.New(rand.NewPCG(seed, 0))
			rng.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
			got := caseVectors{Name: want.Name, Acts: want.Acts}
			got.become(t, acts)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s: the model and the code disagree (-model +code):\n%s", want.Name, diff)
			}
		}
	}
}

// become says what has become of a message after acts.
func (c *caseVectors) become(t *testing.T, all []actVector) {
	var s acts.State
	for _, a := range all {
		do(t, &s, a)
	}
	raw := s.Marshal()
	if again, err := acts.Parse(raw); err != nil || !bytes.Equal(again.Marshal(), raw) {
		t.Errorf("%s: the state does not parse: %v", c.Name, err)
	}
	c.State = hex.EncodeToString(raw)
	x := s.Show()
	for _, e := range x.Edits {
		c.Texts = append(c.Texts, string(e.Body))
	}
	for _, r := range x.Reactions {
		c.Reactions = append(c.Reactions, r.Emoji)
	}
	c.Refused, c.Unsent, c.Deleted, c.Erased = x.Refused, x.Unsent, x.Deleted, x.Erased
}

func do(t *testing.T, s *acts.State, a actVector) {
	t.Helper()
	by, err := hex.DecodeString(a.User)
	if err != nil {
		t.Fatal(err)
	}
	id, err := hex.DecodeString(a.ID)
	if err != nil {
		t.Fatal(err)
	}
	at := acts.Stamp{At: a.At}
	copy(at.ID[:], id)
	u := user(0)
	copy(u[:], by)
	switch a.Kind {
	case "message":
		s.Arrive(u, a.At)
	case "edit":
		s.Edit(u, at, []byte(a.Text))
	case "unsend":
		s.Unsend(u, at)
	case "react":
		s.React(u, at, a.Text)
	case "delete", "undelete":
		s.Delete(a.At, a.Kind == "delete")
	case "read":
		s.Read(a.At)
	default:
		t.Fatalf("no kind %q", a.Kind)
	}
}
