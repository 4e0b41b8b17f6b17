package names_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/names"
	"github.com/kith-im/kith/node/namestest"
	"github.com/kith-im/kith/node/people"
)

// zone is what a name server of ours answers: TXT records, each of one or more strings, by their owner's name.
type zone map[string][][]string

// serve answers until the test ends. A name that the zone does not have does not exist, except "_kith.silent.test.", which
// is never answered, and "_kith.broken.test.", whose server fails.
func (z zone) serve(t *testing.T) string {
	t.Helper()
	addr, stop, err := namestest.Serve(func(name string) namestest.Answer {
		records, known := z[name]
		return namestest.Answer{
			Records: records, Unknown: !known, Broken: name == "_kith.broken.test.", Silent: name == "_kith.silent.test.",
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr
}

func name(t *testing.T, s string) people.Name {
	t.Helper()
	n, err := people.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLookup(t *testing.T) {
	alice, bob := identity.UserID{0xa1}, identity.UserID{0xb0}
	n := name(t, "alice@example.test")
	record := n.RecordFor(alice)
	z := zone{
		"_kith.example.test.":  {{"v=spf1 -all"}, {name(t, "bob@example.test").RecordFor(bob)}, {record[:20], record[20:]}},
		"_kith.empty.test.":    {},
		"_kith.two.test.":      {{n.RecordFor(alice)}, {n.RecordFor(bob)}},
		"_kith.hostile.test.":  {{"alice=\x1b[31m"}, {strings.Repeat("x", 255), strings.Repeat("=", 255)}, {"="}},
		"example.test.":        {{n.RecordFor(bob)}}, // not where we look
		"_kith.elsewhere.test": {},
	}
	r, err := names.New(z.serve(t))
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]struct {
		user identity.UserID
		err  error
	}{
		"alice@example.test": {alice, nil},
		"ALICE@Example.Test": {alice, nil},
		"bob@example.test":   {bob, nil},
		"carol@example.test": {err: people.ErrNoRecord},
		"alice@empty.test":   {err: people.ErrNoRecord},
		"alice@nowhere.test": {err: people.ErrNoRecord},
		"alice@two.test":     {err: people.ErrTwoRecords},
		"alice@hostile.test": {err: people.ErrNoRecord},
		"alice@broken.test":  {err: people.ErrUnanswered},
	} {
		got, err := r.Lookup(t.Context(), name(t, who))
		if !errors.Is(err, want.err) || got != want.user {
			t.Errorf("%s: %x, %v", who, got[:2], err)
		}
	}
}

// A server that does not answer holds nobody up for longer than they want to wait, and proves nothing.
func TestLookupOfSilence(t *testing.T) {
	r, err := names.New(zone{}.serve(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Lookup(ctx, name(t, "alice@silent.test")); !errors.Is(err, people.ErrUnanswered) {
		t.Errorf("%v", err)
	}
	if _, err := names.New("dns.example.org"); err == nil {
		t.Error("a server without an address was taken")
	}
}
