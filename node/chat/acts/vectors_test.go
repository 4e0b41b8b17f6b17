package acts_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/node/chat/acts"
)

const vectorFile = "../../../docs/vectors/acts.json"

var update = flag.Bool("update", false, "rewrite "+vectorFile)

// vectors is the file: what was done to messages, and what became of them.
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

func vectorCases() map[string][]fact {
	at := func(d time.Duration) uint64 { return uint64(noon + d.Milliseconds()) }
	message := fact{Kind: "message", By: 1, At: noon}
	return map[string][]fact{
		"nothing but the message": {message},
		"an edit waits for its message": {
			{Kind: "edit", By: 1, At: at(time.Second), ID: 1, Text: "second"}, {Kind: "react", By: 2, At: at(time.Second), ID: 2, Text: "text 👍", On: true},
		},
		"edits: late, forged, early, and two of one time": {
			message,
			{Kind: "edit", By: 1, At: at(acts.EditWindow + time.Millisecond), ID: 1, Text: "late"},
			{Kind: "edit", By: 2, At: at(time.Second), ID: 2, Text: "forged"},
			{Kind: "edit", By: 1, At: at(-time.Second), ID: 3, Text: "early"},
			{Kind: "edit", By: 1, At: at(time.Second), ID: 5, Text: "shown"},
			{Kind: "edit", By: 1, At: at(time.Second), ID: 4, Text: "before"},
		},
		"reactions: the last of each counts": {
			message,
			{Kind: "react", By: 2, At: at(time.Second), ID: 1, Text: "text 👍", On: true},
			{Kind: "react", By: 2, At: at(2 * time.Second), ID: 2, Text: "text ❤️", On: true},
			{Kind: "react", By: 3, At: at(time.Second), ID: 3, Text: "text 😂", On: true},
			{Kind: "react", By: 3, At: at(time.Second), ID: 4, Text: "text "},
		},
		"taken back": {
			message,
			{Kind: "edit", By: 1, At: at(time.Second), ID: 1, Text: "gone"},
			{Kind: "unsend", By: 1, At: at(acts.UnsendWindow), ID: 2},
			{Kind: "react", By: 2, At: at(time.Second), ID: 3, Text: "text 👍", On: true},
		},
		"taken back too late": {message, {Kind: "unsend", By: 1, At: at(acts.UnsendWindow + time.Millisecond), ID: 1}},
		"deleted, recovered and read": {
			message,
			{Kind: "delete", By: 1, At: at(time.Hour), On: true},
			{Kind: "delete", By: 1, At: at(2 * time.Hour)},
			{Kind: "read", By: 1, At: at(time.Minute)},
			{Kind: "read", By: 1, At: at(time.Second)},
		},
	}
}

func vectorsOf() vectors {
	v := vectors{About: "Acts (docs/protocol.md, \"Acts\"; docs/storage.md): what becomes of a message. Ids and states are hex, times Lamport milliseconds; a body stands for the protobuf that it would be. Rewrite with: go test ./node/chat/acts -run TestVectors -update"}
	cases := vectorCases()
	var names []string
	for name := range cases {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c := caseVectors{Name: name}
		d := &device{}
		for _, f := range cases[name] {
			d.take(f)
			c.Acts = append(c.Acts, actOf(f))
		}
		c.State = hex.EncodeToString(d.states[0].Marshal())
		x := d.states[0].Show()
		for _, e := range x.Edits {
			c.Texts = append(c.Texts, string(e.Body))
		}
		for _, r := range x.Reactions {
			c.Reactions = append(c.Reactions, r.Emoji)
		}
		c.Refused, c.Unsent, c.Deleted, c.Erased = x.Refused, x.Unsent, x.Deleted, x.Erased
		v.Cases = append(v.Cases, c)
	}
	return v
}

func actOf(f fact) actVector {
	by, id := user(f.By), stamp(0, f.ID).ID
	a := actVector{Kind: f.Kind, User: hex.EncodeToString(by[:]), At: f.At}
	switch f.Kind {
	case "edit":
		a.ID, a.Text = hex.EncodeToString(id[:]), f.Text
	case "react":
		if a.ID = hex.EncodeToString(id[:]); f.On {
			a.Text = f.Text[5:]
		}
	case "unsend":
		a.ID = hex.EncodeToString(id[:])
	case "delete":
		if !f.On {
			a.Kind = "undelete"
		}
	}
	return a
}

func TestVectors(t *testing.T) {
	want := vectorsOf()
	if *update {
		raw, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var got vectors
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("the file says other things (-file +computed):\n%s", diff)
	}
	for _, c := range got.Cases { // backwards, as a stranger might hear of them
		var s acts.State
		for _, a := range slices.Backward(c.Acts) {
			do(t, &s, a)
		}
		if hex.EncodeToString(s.Marshal()) != c.State {
			t.Errorf("%s: another order, another state", c.Name)
		}
	}
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
