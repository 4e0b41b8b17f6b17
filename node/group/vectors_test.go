package group

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/identity"
)

const vectorFile = "../../docs/vectors/group.json"

var update = flag.Bool("update", false, "rewrite "+vectorFile)

// vectors is the file: logs with the state that they have.
type vectors struct {
	About string      `json:"about"`
	Logs  []logVector `json:"logs"`
}

type logVector struct {
	Name    string        `json:"name"`
	Group   string        `json:"group"`
	Entries []string      `json:"entries"` // in no order
	Hashes  []string      `json:"hashes"`  // of the entries
	Lists   []string      `json:"lists"`   // that prove them
	Title   string        `json:"title"`
	Members []seatVector  `json:"members"` // the most senior first
	Past    []spanVector  `json:"past"`
	Refused []refusedText `json:"refused,omitempty"`
}

type seatVector struct {
	User  string `json:"user"`
	Admin bool   `json:"admin"`
	Since uint64 `json:"since"`
}

type spanVector struct {
	User string `json:"user"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

type refusedText struct {
	Why   string `json:"why"`
	Entry string `json:"entry"`
}

func vectorsOf(t *testing.T) vectors {
	v := vectors{About: "Groups (docs/protocol.md, \"Groups\"): the members that logs have. Bytes are hex, times Lamport milliseconds. Rewrite with: go test ./node/group -run TestVectors -update"}
	people := crowd(t, 4)
	found(t, people)
	people[0].act(t, 10, Act{Kind: Name, Data: []byte("friends of Ann")})
	people[0].act(t, 20, Act{Kind: Admin, Users: who(people[3])})
	people[0].act(t, 30, Act{Kind: Image, Data: []byte{1, 2, 3}})
	v.Logs = append(v.Logs, vectorOf("everything in turn", people[0].log, people))
	people = crowd(t, 5)
	found(t, people)
	people[1].act(t, 10, Act{Kind: Admin, Users: who(people[4])})
	meet(people)
	people[1].act(t, 20, remove(people[2]))
	people[2].act(t, 21, remove(people[1]))
	people[2].act(t, 22, Act{Kind: Name, Data: []byte("void")})
	people[3].act(t, 23, Act{Kind: Leave})
	meet(people)
	people[0].act(t, 30, Act{Kind: Add, Users: who(people[2])})
	meet(people)
	last := vectorOf("two remove each other; one leaves; one comes back", people[0].log, people)
	f := people[4].log.Act(people[4].user, people[4].list.Head(), 40, Act{Kind: Name, Data: []byte("mine")})
	last.Refused = append(last.Refused, refusedText{"its author is no admin", hex.EncodeToString(people[4].sign(t, f).raw)})
	f.Lamport = people[0].log.Latest()
	f.Act = Act{Kind: Leave}
	last.Refused = append(last.Refused, refusedText{"it is not later than what it builds on", hex.EncodeToString(people[4].sign(t, f).raw)})
	v.Logs = append(v.Logs, last)
	return v
}

func vectorOf(name string, l *Log, people []*person) logVector {
	id, s := l.ID(), l.State()
	v := logVector{Name: name, Group: hex.EncodeToString(id[:]), Title: s.Name}
	for _, e := range l.Beyond(nil) {
		v.Entries = append(v.Entries, hex.EncodeToString(e.raw))
		v.Hashes = append(v.Hashes, hex.EncodeToString(e.hash[:]))
	}
	for _, m := range s.Members {
		v.Members = append(v.Members, seatVector{m.User.String(), m.Admin, m.Since})
	}
	for _, p := range people {
		v.Lists = append(v.Lists, hex.EncodeToString(p.list.Bytes()))
		for _, past := range s.past[p.user] {
			v.Past = append(v.Past, spanVector{p.user.String(), past.From, past.To})
		}
	}
	return v
}

func TestVectors(t *testing.T) {
	want := vectorsOf(t)
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
	for _, v := range got.Logs {
		readVector(t, v)
	}
}

// readVector reads a log as a stranger would: from the last entry to the first.
func readVector(t *testing.T, v logVector) {
	lists := map[identity.Head]*identity.DeviceList{}
	for _, raw := range v.Lists {
		list, err := identity.ParseDeviceList(unhex(t, raw))
		if err != nil {
			t.Fatal(err)
		}
		lists[list.Head()] = list
	}
	l := NewLog(ID(unhex(t, v.Group)))
	for range v.Entries {
		for i := range v.Entries {
			e, err := Parse(unhex(t, v.Entries[len(v.Entries)-1-i]))
			if err != nil || !e.By(lists[e.Fields().List]) {
				t.Fatalf("%s: entry refused: %v", v.Name, err)
			}
			l.Merge([]*Entry{e})
		}
	}
	for _, r := range v.Refused {
		e, err := Parse(unhex(t, r.Entry))
		if added, missing := l.Merge([]*Entry{e}); err != nil || len(added)+len(missing) > 0 {
			t.Errorf("%s: taken, though %s: %v", v.Name, r.Why, err)
		}
	}
	s := l.State()
	if len(s.Members) != len(v.Members) || s.Name != v.Title {
		t.Fatalf("%s: %d members of %q", v.Name, len(s.Members), s.Name)
	}
	for i, m := range s.Members {
		if m.User.String() != v.Members[i].User || m.Admin != v.Members[i].Admin || m.Since != v.Members[i].Since {
			t.Errorf("%s: member %d is %v", v.Name, i, m)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || bytes.ContainsAny([]byte(s), "ABCDEF") {
		t.Fatalf("no lower-case hex: %.20s", s)
	}
	return b
}
