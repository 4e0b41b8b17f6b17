package people_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/people"
)

func TestHandlesAreCleaned(t *testing.T) {
	got := people.Handles([]string{
		"Ada", "ada@Example.org", "ada@example.org", "\u202eevil\u200b", "\u0430da@example.org", "@", strings.Repeat("x", 10<<20), "Ada", "ninth",
	})
	if want := []string{"Ada", "ada@example.org", "evil", strings.Repeat("x", 64)}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if n := people.Note("hi\x1b[31m\n" + strings.Repeat("\u202e", 1000) + strings.Repeat("ü", 1000)); len(n) > people.MaxNote || strings.ContainsAny(n, "\x1b\n\u202e") {
		t.Errorf("%q", n)
	}
}

// A name goes from unknown to verified, stays so while the DNS is silent, and is lost when the domain says otherwise.
func TestTheLifeOfAName(t *testing.T) {
	now := time.Date(2031, 3, 1, 8, 0, 0, 0, time.UTC)
	user := identity.UserID{1}
	c := &pb.Contact{Names: people.Merge(nil, []string{"Ada", "ada@example.org"}, now)}
	if c.Names[0].Next != 0 {
		t.Error("a plain handle is asked about")
	}
	n := people.Ask(c, now)
	if n == nil || n.Name != "ada@example.org" || people.Ask(c, now.Add(time.Hour-time.Second)) != nil {
		t.Fatalf("%v", n)
	}
	after := func(by time.Duration, found identity.UserID, err error) (lost bool, pause time.Duration) {
		now = now.Add(by)
		lost = people.Answered(n, user, found, err, now)
		return lost, time.UnixMilli(n.Next).Sub(now)
	}
	for _, s := range []struct {
		found    identity.UserID
		err      error
		verified bool
		lost     bool
		pause    time.Duration
	}{
		{err: people.ErrUnanswered, pause: time.Hour},
		{found: user, verified: true, pause: 7 * 24 * time.Hour},
		{err: people.ErrUnanswered, verified: true, pause: time.Hour},
		{err: people.ErrUnanswered, verified: true, pause: 2 * time.Hour},
		{found: user, verified: true, pause: 7 * 24 * time.Hour},
		{found: identity.UserID{2}, lost: true, pause: 24 * time.Hour},
		{err: people.ErrNoRecord, pause: 24 * time.Hour},
		{err: errors.New("another"), pause: 24 * time.Hour},
		{found: user, verified: true, pause: 7 * 24 * time.Hour},
		{err: people.ErrTwoRecords, lost: true, pause: 24 * time.Hour},
	} {
		lost, pause := after(time.Minute, s.found, s.err)
		if n.Verified != s.verified || lost != s.lost || pause != s.pause || (n.Error == "") != (s.err == nil && s.found == user) {
			t.Errorf("after %v %x: %+v, lost %t, next in %v", s.err, s.found[:1], n, lost, pause)
		}
	}
	for range 20 {
		if _, pause := after(0, user, people.ErrUnanswered); pause > 24*time.Hour {
			t.Errorf("a silent DNS is asked again in %v", pause)
		}
	}
}

// What was verified stays when the profile comes again; what it does not name any more goes, but for what we found.
func TestMergeKeepsWhatIsKnown(t *testing.T) {
	now := time.UnixMilli(1)
	old := []*pb.Named{{Name: "a@x.org", Verified: true}, {Name: "b@x.org", Verified: true}, {Name: "c@x.org", Found: true}}
	got := people.Merge(old, []string{"b@x.org", "d@x.org"}, now)
	var names []string
	for _, n := range got {
		names = append(names, n.Name)
	}
	if !slices.Equal(names, []string{"b@x.org", "c@x.org", "d@x.org"}) || !got[0].Verified || got[2].Verified {
		t.Errorf("%v", got)
	}
}

// However fast a contact changes its handles, we ask once a minute for it.
func TestAContactCannotMakeUsAskAtWill(t *testing.T) {
	now := time.Date(2031, 3, 1, 8, 0, 0, 0, time.UTC)
	c := &pb.Contact{}
	asked := 0
	for i := range 600 { // ten minutes, a new name each second
		at := now.Add(time.Duration(i) * time.Second)
		c.Names = people.Merge(c.Names, []string{"a" + strings.Repeat("b", i%60) + "@x.org"}, at)
		if people.Ask(c, at) != nil {
			asked++
		}
	}
	if asked == 0 || asked > 10 {
		t.Errorf("asked %d times in ten minutes", asked)
	}
	if at := people.NextAsk(c); at.Before(time.UnixMilli(c.Looked).Add(people.AskEvery)) {
		t.Errorf("next at %v", at)
	}
}
