package people_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/people"
)

func TestParseName(t *testing.T) {
	for in, want := range map[string]string{
		"alice@example.org":         "alice@example.org",
		"Alice@EXAMPLE.org.":        "alice@example.org",
		"a.b-c_d@x1.example":        "a.b-c_d@x1.example",
		"bob@xn--bcher-kva.example": "bob@xn--bcher-kva.example",
	} {
		n, err := people.ParseName(in)
		if err != nil || n.String() != want {
			t.Errorf("%q: %v, %v", in, n, err)
		}
	}
	long := strings.Repeat("a", 64)
	for _, in := range []string{
		"", "@", "alice", "@example.org", "alice@", "alice@localhost", "alice@example..org", "alice@.example.org", "alice@127.0.0.1",
		"alice@example.org..", "al ice@example.org", "alice@ex ample.org", "alice@@example.org", "a@b@example.org", ".a@example.org",
		"a@-x.org", "a@x-.org", "a@zz--x.org", "a@b.o_g", long + "a@example.org", "a@" + long + ".org", "a@" + strings.Repeat("a.", 130) + "org",
		"alice@ex\x00ample.org", "alice\n@example.org", strings.Repeat("a", 10<<20),
	} {
		if n, err := people.ParseName(in); err == nil {
			t.Errorf("%.80q was taken for %v", in, n)
		}
	}
	// A letter of another alphabet looks like ours and is not.
	for _, in := range []string{"\u0430lice@example.org", "alice@ex\u0430mple.org", "alice@b\u00fccher.example", "alice@example\u3002org", "ali\u200bce@example.org"} {
		if _, err := people.ParseName(in); !errors.Is(err, people.ErrForeign) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestNamed(t *testing.T) {
	n, err := people.ParseName("alice@example.org")
	if err != nil || n.Record() != "_kith.example.org." {
		t.Fatal(n.Record(), err)
	}
	u, v := identity.UserID{1, 0xab}, identity.UserID{2}
	ours, theirs := n.RecordFor(u), people.Name{Local: "bob"}.RecordFor(v)
	for name, c := range map[string]struct {
		records []string
		err     error
	}{
		"one":                {[]string{ours}, nil},
		"among others":       {[]string{"v=spf1 -all", theirs, ours, ""}, nil},
		"twice the same":     {[]string{ours, ours}, nil},
		"another case":       {[]string{" ALICE = " + strings.ToUpper(strings.TrimPrefix(ours, "alice=")) + " "}, nil},
		"none":               {nil, people.ErrNoRecord},
		"somebody else":      {[]string{theirs}, people.ErrNoRecord},
		"two people":         {[]string{ours, n.RecordFor(v)}, people.ErrTwoRecords},
		"too short an id":    {[]string{ours[:len(ours)-2]}, people.ErrNoRecord},
		"too long an id":     {[]string{ours + "00"}, people.ErrNoRecord},
		"no hex":             {[]string{"alice=" + strings.Repeat("zz", 32)}, people.ErrNoRecord},
		"too long a record":  {[]string{ours + strings.Repeat(" ", 1000)}, people.ErrNoRecord},
		"beyond the limit":   {append(make([]string, people.MaxRecords), ours), people.ErrNoRecord},
		"an id and no name":  {[]string{"=" + ours[6:]}, people.ErrNoRecord},
		"a name that begins": {[]string{"alic=" + ours[6:]}, people.ErrNoRecord},
	} {
		got, err := n.Named(c.records)
		if !errors.Is(err, c.err) || err == nil && got != u {
			t.Errorf("%s: %x, %v", name, got[:4], err)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("alice@example.org")
	f.Add("a@xn--b.c")
	f.Fuzz(func(t *testing.T, s string) {
		defer fuzztest.Limit(t, len(s))()
		n, err := people.ParseName(s)
		if err != nil {
			return
		}
		again, err := people.ParseName(n.String())
		if err != nil || again != n {
			t.Fatalf("%q became %q, which became %v (%v)", s, n, again, err)
		}
		if strings.ContainsFunc(n.String(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("%q", n)
		}
	})
}
