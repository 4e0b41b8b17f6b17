//go:build root

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

// smallDisk puts the home of one machine on a file system of its own. A relay keeps 8 MiB free for acknowledgements.
func smallDisk(t *testing.T, name, size string) func(*machine) {
	return func(m *machine) {
		if m.name != name {
			return
		}
		check(t, os.MkdirAll(m.home, 0o700))
		check(t, syscall.Mount("tmpfs", m.home, "tmpfs", 0, "size="+size+",mode=700"))
		t.Cleanup(func() { check(t, syscall.Unmount(m.home, syscall.MNT_DETACH)) })
	}
}

func ballast(m *machine) string { return filepath.Join(m.home, "ballast") }

// fill leaves no byte on the disk of a machine.
func fill(t *testing.T, m *machine) {
	t.Helper()
	f, err := os.OpenFile(ballast(m), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	check(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(bytes.Repeat([]byte{1}, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestAFullRelaySaysSoAndRecovers: the sender hears why, nothing is lost, and room brings service back by itself.
func TestAFullRelaySaysSoAndRecovers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{honest: 1, prepare: smallDisk(t, "relay1", "24m")})
	relay := c.relays[0]
	early := c.away(ctx, 2)
	fill(t, relay)
	said := c.alice.must(t, ctx, api.ExitRefused, "send", "bob", "while the relay is full", "--json", "--timeout", "20s", "--jq", ".id + \" \" + .stage")
	id, stage, _ := strings.Cut(said, " ")
	if view.Stage(stage) != view.StageFull {
		t.Errorf("stage %q", stage)
	}
	late := &text{from: c.alice, screens: c.others(c.alice), to: "bob", body: "while the relay is full"}
	late.queued(id)
	check(t, os.Remove(ballast(relay)))
	begun := time.Now()
	all := append(early, late)
	if err := c.news.until(ctx, "custody", func() bool { return least(all) >= 2 }); err != nil {
		t.Fatalf("%v\n%s", err, c.traces(all))
	}
	t.Logf("in custody %.1f s after there was room", time.Since(begun).Seconds())
	c.alice.kill()
	check(t, c.up(ctx, c.bob.machine, c.phone.machine))
	c.arrive(ctx, all)
	c.once(all)
}

// squeeze writes until Alice's store takes no more, and returns what it took and how the first refusal was told. The
// store's file has room of its own when the disk is full already; what it takes counts like any other text.
func (c *cast) squeeze(ctx context.Context, most int) (fits []*text, no answer) {
	for i := range most {
		body := fmt.Sprintf("no room for this, or is there? %d", i)
		a, err := c.alice.run(ctx, "send", "bob", body, "--json", "--wait", "queued")
		check(c.t, err)
		if a.exit != 0 {
			return fits, a
		}
		var sent struct{ ID string }
		check(c.t, json.Unmarshal([]byte(a.out), &sent))
		fit := &text{from: c.alice, screens: c.others(c.alice), to: "bob", body: body}
		fit.queued(sent.ID)
		fits = append(fits, fit)
	}
	c.t.Fatal("the full disk took everything")
	return nil, answer{}
}

// TestAFullClientSaysSoAndRecovers: nothing is queued that is not on the disk, what was there stays readable, what others
// send waits at the relay, and room brings everything back by itself.
func TestAFullClientSaysSoAndRecovers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{honest: 2, prepare: smallDisk(t, "alice", "6m")})
	texts := []*text{c.write(ctx, "before")}
	c.arrive(ctx, texts)
	fill(t, c.alice.machine)
	fits, a := c.squeeze(ctx, 200)
	texts = append(texts, fits...)
	t.Logf("%d texts fitted into free pages", len(fits))
	if a.exit != api.ExitFailed || !strings.Contains(a.err, "cannot store") || !strings.Contains(a.err, `"hint"`) {
		t.Errorf("exit %d\n%s%s", a.exit, a.out, a.err)
	}
	c.alice.kill()
	check(t, c.alice.start(ctx)) // with nothing to write on, it still starts and reads
	if read := c.alice.must(t, ctx, 0, "read", "bob", "--peek"); !strings.Contains(read, "before") {
		t.Errorf("what was there cannot be read: %q", read)
	}
	reply := &text{from: c.bob, screens: []*device{c.alice, c.phone}, to: "alice", body: "are you there?"}
	id, err := c.bob.send(ctx, reply.to, reply.body, "")
	check(t, err)
	reply.queued(id)
	check(t, c.news.until(ctx, "custody", func() bool { return reply.from.least(id, 2) >= 2 }))
	check(t, os.Remove(ballast(c.alice.machine)))
	begun := time.Now()
	again := &text{from: c.alice, screens: c.others(c.alice), to: "bob", body: "room again"}
	check(t, asking(ctx, func() bool {
		id, err := c.alice.send(ctx, "bob", again.body, "key")
		again.queued(id)
		return err == nil
	}))
	texts = append(texts, again)
	check(t, c.news.until(ctx, "the reply", func() bool { return shown([]*text{reply}) }))
	t.Logf("back %.1f s after there was room", time.Since(begun).Seconds())
	c.arrive(ctx, texts)
	c.once(texts)
	c.alice.kill()
	list, err := c.alice.holds("bob")
	check(t, err)
	if len(list) != len(texts)+1 || c.alice.times(reply.body) != 1 {
		t.Errorf("Alice holds %d messages of %d and showed the reply %d times", len(list), len(texts)+1, c.alice.times(reply.body))
	}
}
