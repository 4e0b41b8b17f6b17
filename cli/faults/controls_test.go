//go:build crash

package faults

import (
	"context"
	"testing"
	"time"
)

// slowDisk lets a relay's commits take long, as on a tired disk.
var slowDisk = []plant{
	{"mailbox/boltbox/writer.go", "import (\n", "import (\n\t\"time\"\n"},
	{"mailbox/boltbox/writer.go", "\terr := s.commit(", "\ttime.Sleep(300 * time.Millisecond)\n\terr := s.commit("},
}

// eagerRepair lets a sender seal anew what is not acknowledged within moments rather than minutes.
var eagerRepair = []plant{
	{"node/limits.go", "repairAfter = 60 * time.Second", "repairAfter = 50 * time.Millisecond"},
	{"node/limits.go", "repairEvery = 10 * time.Minute", "repairEvery = 50 * time.Millisecond"},
}

// slowStore lets a node's commits take long; early does something before them that must come after.
func slowStore(early string) []plant {
	const end = "\t\treturn w.outcome()\n\t})\n\tif errors.Is(err, errClean) {"
	return []plant{{"node/p2p/loop.go", end, early + "\t\tif w.wrote {\n\t\t\ttime.Sleep(60 * time.Millisecond)\n\t\t}\n" + end}}
}

// short is a campaign for a control.
func short(p plan) plan {
	p.seed, p.settle, p.proof = 5, 20*time.Second, 10*time.Second
	if p.cycles == 0 {
		p.cycles = 40
	}
	p.proofs = p.cycles / 10
	return p
}

func judged(t *testing.T, p plan) verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), campaignWithin)
	defer cancel()
	v := newCampaign(t, ctx, short(p)).run(ctx)
	t.Log(v)
	return v
}

func TestControlAReceiptBeforeTheDiskIsCaught(t *testing.T) {
	honest := planted(t, slowDisk...)
	if v := judged(t, plan{relay: honest}); !v.clean() {
		t.Errorf("a slow disk alone: %v", v)
	}
	early := planted(t, append([]plant{
		{"mailbox/boltbox/writer.go", "if s.ctl.answerEarly {\n\t\tt.batch", "if true {\n\t\tt.batch"},
		{"mailbox/boltbox/writer.go", "if s.ctl.answerEarly {\n\t\treturn", "if true {\n\t\treturn"},
	}, slowDisk...)...)
	if v := judged(t, plan{relay: early}); v.LostAfterCustody == 0 {
		t.Error("relays that sign before they store were not caught")
	}
}

func TestControlShowingAgainIsCaught(t *testing.T) {
	eager := planted(t, eagerRepair...)
	if v := judged(t, plan{sender: eager}); !v.clean() {
		t.Errorf("an eager sender alone: %v", v)
	}
	forgetful := planted(t, plant{"node/inbox.go", "known := t.Tx.Get(store.BucketMessages, a.id[:]) != nil", "known := false"})
	if v := judged(t, plan{sender: eager, reader: forgetful, cycles: 100}); v.Duplicates == 0 {
		t.Error("a recipient that does not know what it has shown was not caught")
	}
}

func TestControlAnOutboxInMemoryIsCaught(t *testing.T) {
	forgetful := planted(t, plant{"node/outbox.go", "func (e *Engine) loadOutbox(t *Turn) {\n", "func (e *Engine) loadOutbox(t *Turn) {\n\tif true {\n\t\treturn\n\t}\n"})
	if v := judged(t, plan{sender: forgetful}); v.Lost == 0 {
		t.Error("a sender whose outbox does not survive was not caught")
	}
}

func TestControlAnAnswerBeforeTheCommitIsCaught(t *testing.T) {
	honest := planted(t, slowStore("")...)
	if v := judged(t, plan{sender: honest, reader: honest}); !v.clean() {
		t.Errorf("slow stores alone: %v", v)
	}
	hasty := planted(t, slowStore("\t\tfor i, c := range batch {\n\t\t\tc.answer(r.errs[i])\n\t\t\tbatch[i].after = nil\n\t\t}\n")...)
	if v := judged(t, plan{sender: hasty}); v.Lost == 0 {
		t.Error("a sender that says queued before it is was not caught")
	}
	hasty = planted(t, slowStore("\t\tl.perform(r)\n")...)
	if v := judged(t, plan{reader: hasty}); v.Lost == 0 && v.Untrue == 0 {
		t.Error("recipients that acknowledge before they store were not caught")
	}
}
