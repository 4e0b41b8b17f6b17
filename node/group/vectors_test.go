//go:build !standin

package group

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/vectortest"
)

const vectorFile = "../../docs/vectors/group.json"

// vectors is the file, which docs/vectors/model/group.mjs writes: logs with the state that they have. People are
// numbers of the first list.
type vectors struct {
	People []personVector `json:"people"`
	Logs   []logVector    `json:"logs"`
}

type personVector struct {
	User string `json:"user"`
	List string `json:"list"`
}

type logVector struct {
	Name    string         `json:"name"`
	Entries []entryVector  `json:"entries"`
	Group   string         `json:"group"`
	Title   string         `json:"title"`
	Members []seatVector   `json:"members"` // the most senior first
	Past    []spanVector   `json:"past"`
	Refused []*entryVector `json:"refused"`
}

type entryVector struct {
	Why     string `json:"why"`
	By      int    `json:"by"`
	Lamport uint64 `json:"lamport"`
	Entry   string `json:"entry"`
	Hash    string `json:"hash"`
}

type seatVector struct {
	Person int    `json:"person"`
	Admin  bool   `json:"admin"`
	Since  uint64 `json:"since"`
}

type spanVector struct {
	Person int    `json:"person"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
}

func TestVectors(t *testing.T) {
	var v vectors
	vectortest.Read(t, vectorFile, &v)
	lists := map[identity.Head]*identity.DeviceList{}
	for _, p := range v.People {
		list, err := identity.ParseDeviceList(unhex(t, p.List))
		if err != nil || list.User().String() != p.User {
			t.Fatalf("a list of the vectors: %v", err)
		}
		lists[list.Head()] = list
	}
	if len(v.Logs) == 0 {
		t.Fatal("no logs")
	}
	for _, l := range v.Logs {
		t.Run(l.Name, func(t *testing.T) { v.read(t, l, lists) })
	}
}

// read reads a log as a stranger would: from the last entry to the first.
func (v *vectors) read(t *testing.T, l logVector, lists map[identity.Head]*identity.DeviceList) {
	log := NewLog(ID(unhex(t, l.Group)))
	for range l.Entries {
		for i := range l.Entries {
			c := l.Entries[len(l.Entries)-1-i]
			e, err := Parse(unhex(t, c.Entry))
			if err != nil || !e.By(lists[e.Fields().List]) || hex.EncodeToString(e.hash[:]) != c.Hash ||
				e.Fields().Lamport != c.Lamport || e.Fields().User.String() != v.People[c.By].User {
				t.Fatalf("entry refused: %v", err)
			}
			log.Merge([]*Entry{e})
		}
	}
	for _, r := range l.Refused {
		e, err := Parse(unhex(t, r.Entry))
		if err != nil || !e.By(lists[e.Fields().List]) {
			continue
		}
		if added, missing := log.Merge([]*Entry{e}); len(added)+len(missing) > 0 {
			t.Errorf("taken, against the rule: %s", r.Why)
		}
	}
	s := log.State()
	got := logVector{Title: s.Name}
	for _, m := range s.Members {
		got.Members = append(got.Members, seatVector{v.person(m.User), m.Admin, m.Since})
	}
	for i := range v.People {
		for _, p := range s.past[identity.UserID(unhex(t, v.People[i].User))] {
			got.Past = append(got.Past, spanVector{i, p.From, p.To})
		}
	}
	if diff := cmp.Diff(l, got, cmpopts.IgnoreFields(logVector{}, "Name", "Entries", "Group", "Refused"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the model and the code disagree (-model +code):\n%s", diff)
	}
	if n := len(log.Beyond(nil)); n != len(l.Entries) {
		t.Errorf("%d of %d entries are in the log", n, len(l.Entries))
	}
}

func (v *vectors) person(user identity.UserID) int {
	for i, p := range v.People {
		if p.User == user.String() {
			return i
		}
	}
	return -1
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || bytes.ContainsAny([]byte(s), "ABCDEF") {
		t.Fatalf("no lower-case hex: %.20s", s)
	}
	return b
}
