package election_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
)

// of are the candidates that serve, in the order of the incumbents.
func of(all []election.Candidate, inc []election.Incumbent) (out []election.Candidate) {
	for _, i := range inc {
		for _, c := range all {
			if bytes.Equal(c.Peer.ID, i.Peer) {
				out = append(out, c)
			}
		}
	}
	return out
}

func samePeers(a, b []dht.Peer) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i].ID, b[i].ID) {
			return false
		}
	}
	return true
}

// Whoever Stand lets stay, Elect elects in the same order, whoever else races; and whom it does not let stay although
// Elect would elect them has served longer than a term.
func TestWhoStandsIsElectedAgain(t *testing.T) {
	stood, fell := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(rapid.Custom(drawCandidate), 5, 30, func(c election.Candidate) string { return string(c.Peer.ID) }).Draw(t, "candidates")
		quiet := rapid.Bool().Draw(t, "quiet") // nobody leaves, so that enough stand
		for i := range all {
			if quiet {
				all[i].Failed, all[i].Bad, all[i].WeekBad = time.Time{}, 0, 0
				continue
			}
			if rapid.IntRange(0, 9).Draw(t, "well") > 0 {
				all[i].Failed, all[i].Bad, all[i].WeekBad = time.Time{}, 0, 0
			}
			switch rapid.IntRange(0, 40).Draw(t, "ill") {
			case 0:
				all[i].LastSeen = now.Add(-25 * time.Hour)
			case 1:
				all[i].LeavingAt = now
			case 2:
				all[i].WeekGood, all[i].WeekBad = 10, 10
			case 3:
				all[i].Peer.Addrs = [][]byte{{}}
			}
		}
		var inc []election.Incumbent
		days, apart, served := rapid.IntRange(0, 160).Draw(t, "days"), rapid.IntRange(0, 12).Draw(t, "apart"), rapid.SampledFrom([]int{5, 5, 5, 4, 6}).Draw(t, "incumbents")
		if quiet {
			days, apart, served = days/4, apart/2, 5
		}
		for i := range served {
			inc = append(inc, election.Incumbent{Peer: all[i%len(all)].Peer.ID, Since: now.Add(-time.Duration(days+i*apart) * day)})
		}
		p := election.DefaultPolicy()
		if rapid.Bool().Draw(t, "near") {
			p.Caps, p.Pool = false, 3
		}
		members, standbys, ok := election.Stand([32]byte{1}, of(all, inc), inc, p, now)
		r := election.Elect([32]byte{1}, all, inc, nil, p, now)
		if ok {
			stood++
			if !samePeers(r.Members, members) || !samePeers(r.Standbys, standbys) || r.W != p.W || r.Thin {
				t.Fatalf("stand %x and %x, elected %x and %x", members, standbys, r.Members, r.Standbys)
			}
			return
		}
		fell++
		weak := slices.ContainsFunc(of(all, inc), func(c election.Candidate) bool { return c.WeekBad > 0 }) // they leave if anybody else can come
		if len(inc) == 5 && p.Pool > 3 && days+4*apart <= 90 && !weak {
			same := true
			for i, q := range append(r.Members, r.Standbys...) {
				same = same && bytes.Equal(q.ID, inc[i].Peer)
			}
			if same && len(r.Members)+len(r.Standbys) == 5 {
				t.Fatalf("elected again, and did not stand: %x", r.Members)
			}
		}
	})
	if stood == 0 || fell == 0 {
		t.Errorf("control: %d stood, %d fell", stood, fell)
	}
}
