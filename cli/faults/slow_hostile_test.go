//go:build hostile

package faults

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kith-im/kith/node/view"
)

// stoppedFor is how long a process under SIGSTOP stays so; connections die before that.
const stoppedFor = 60 * time.Second

// drag is somebody who is slow, or does not answer at all, while the others go on.
type drag struct {
	name  string
	with  company
	begin func(t *testing.T, c *cast)
	end   func(t *testing.T, ctx context.Context, c *cast)
}

// relayDrags are slow members of Bob's mailboxes: one of three.
var relayDrags = []drag{
	{"a relay that takes everything and answers nothing", company{honest: 2, liars: []string{stalls}}, tell, again},
	{"a relay that answers a byte at a time", company{honest: 2, liars: []string{drips}}, tell, again},
	{"a relay process under SIGSTOP", company{honest: 3}, stop, cont},
	{"a relay whose ports are open and mute", company{honest: 3}, mute, again},
}

func third(c *cast) *machine { return c.relays[2] }

func tell(t *testing.T, c *cast) { check(t, third(c).tell("now")) }

// again starts the third relay anew, honest or not yet told.
func again(t *testing.T, ctx context.Context, c *cast) {
	third(c).kill()
	check(t, third(c).start(ctx))
}

func stop(t *testing.T, c *cast) { check(t, third(c).signal(syscall.SIGSTOP)) }

func cont(t *testing.T, ctx context.Context, c *cast) {
	last(ctx, stoppedFor)
	check(t, third(c).signal(syscall.SIGCONT))
}

// mute kills the third relay and listens on its ports, without a word, until the test ends or it starts again.
func mute(t *testing.T, c *cast) {
	m := third(c)
	m.kill()
	silence(t, m)
}

// silence accepts what comes to a machine's ports and answers nothing; the machine's next start ends it.
func silence(t *testing.T, m *machine) {
	t.Helper()
	addr := strings.Split(m.addrs[0], "/") // /ip4/127.0.0.1/tcp/PORT/…
	where := net.JoinHostPort(addr[2], addr[4])
	l, err := net.Listen("tcp", where)
	check(t, err)
	p, err := net.ListenPacket("udp", where)
	check(t, err)
	m.before = func() { _ = l.Close(); _ = p.Close() }
	t.Cleanup(m.before)
	go func() {
		var kept []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			kept = append(kept, c)
		}
		for _, c := range kept {
			_ = c.Close()
		}
	}()
}

// TestSlowRelaysHoldNobodyUp: one of three members is slow in every way that there is. Texts are in custody as before,
// and Bob's devices, who come back while it lasts, get all of them.
func TestSlowRelaysHoldNobodyUp(t *testing.T) {
	for _, d := range relayDrags {
		t.Run(d.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
			defer cancel()
			c := assemble(t, ctx, d.with)
			c.bob.kill()
			c.phone.kill()
			texts, quiet := c.paces(ctx, "quiet", 20)
			d.begin(t, c)
			more, slow := c.paces(ctx, "slow", 20)
			texts = append(texts, more...)
			compare(t, "custody", quiet, slow)
			check(t, c.up(ctx, c.bob.machine, c.phone.machine))
			begun := time.Now()
			c.arrive(ctx, texts)
			t.Logf("%d texts on both screens %.1f s after the return, one relay still slow", len(texts), time.Since(begun).Seconds())
			d.end(t, ctx, c)
			texts = append(texts, c.write(ctx, "one more"))
			c.wait(ctx, "the acknowledgements", 3, texts)
			c.once(texts)
		})
	}
}

// TestSlowPeopleHoldNobodyUp: one of Bob's two devices is stuck. The other one gets everything as before, relays sign for
// what the stuck one cannot take, and it has all of it once when it moves again.
func TestSlowPeopleHoldNobodyUp(t *testing.T) {
	for _, d := range []drag{
		{
			"a device under SIGSTOP",
			company{honest: 3},
			func(t *testing.T, c *cast) { check(t, c.bob.signal(syscall.SIGSTOP)) },
			func(t *testing.T, ctx context.Context, c *cast) {
				last(ctx, stoppedFor)
				check(t, c.bob.signal(syscall.SIGCONT))
			},
		},
		{
			"a device whose ports are open and mute",
			company{honest: 3},
			func(t *testing.T, c *cast) { c.bob.kill(); silence(t, c.bob.machine) },
			func(t *testing.T, ctx context.Context, c *cast) { check(t, c.bob.start(ctx)) },
		},
	} {
		t.Run(d.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
			defer cancel()
			c := assemble(t, ctx, d.with)
			texts, quiet := c.paces(ctx, "quiet", 20)
			d.begin(t, c)
			more, slow := c.paces(ctx, "slow", 20)
			texts = append(texts, more...)
			compare(t, "custody or delivered", quiet, slow)
			check(t, c.news.until(ctx, "the other device", func() bool {
				return !slices.ContainsFunc(texts, func(x *text) bool { return c.phone.times(x.body) == 0 })
			}))
			d.end(t, ctx, c)
			c.wait(ctx, "the acknowledgements", 3, texts)
			c.once(texts)
		})
	}
}

// paces sends texts at once and waits until relays have signed for each delivery or its device has it. It returns how
// long each took, in order of size.
func (c *cast) paces(ctx context.Context, when string, count int) (texts []*text, took []time.Duration) {
	c.t.Helper()
	sent := map[*text]time.Time{}
	for i := range count {
		at := time.Now()
		x := c.write(ctx, fmt.Sprintf("text %d, %s", i, when))
		sent[x] = at
		texts = append(texts, x)
	}
	c.wait(ctx, when, 2, texts)
	for _, x := range texts {
		for _, at := range x.from.safe(x.number()) {
			took = append(took, at.Sub(sent[x]))
		}
	}
	slices.Sort(took)
	return texts, took
}

// wait waits for a stage of all texts.
func (c *cast) wait(ctx context.Context, what string, stage int, texts []*text) {
	c.t.Helper()
	if err := c.news.until(ctx, what, func() bool { return least(texts) >= stage }); err != nil {
		c.t.Fatalf("%v\n%s", err, c.traces(texts))
	}
}

// safe is when each delivery of a message was first in custody or delivered.
func (d *device) safe(id string) (out []time.Time) {
	d.lm.Lock()
	defer d.lm.Unlock()
	for _, h := range d.stages[id] {
		if i := slices.IndexFunc(h, func(p progress) bool { return order[p.stage] >= order[view.StageCustody] }); i >= 0 {
			out = append(out, h[i].at)
		}
	}
	return out
}

func compare(t *testing.T, what string, quiet, slow []time.Duration) {
	t.Helper()
	middle := func(ds []time.Duration) time.Duration { return ds[len(ds)/2].Round(time.Millisecond) }
	worst := func(ds []time.Duration) time.Duration { return ds[len(ds)-1].Round(time.Millisecond) }
	t.Logf("%s of %d deliveries: before p50 %v, worst %v; meanwhile p50 %v, worst %v", what, len(slow), middle(quiet), worst(quiet), middle(slow), worst(slow))
}

// TestControlTwoSlowRelaysOfThreeAreNoticed shows that a stalled relay is none: with two of them nothing is in custody
// until one is itself again.
func TestControlTwoSlowRelaysOfThreeAreNoticed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{honest: 1, liars: []string{stalls, stalls}})
	c.bob.kill()
	c.phone.kill()
	check(t, c.relays[1].tell("now"))
	check(t, c.relays[2].tell("now"))
	texts := []*text{c.write(ctx, "one"), c.write(ctx, "two")}
	last(ctx, 10*time.Second)
	for _, x := range texts {
		if x.least() >= 2 {
			t.Errorf("%q is in custody with one relay of three", x.body)
		}
	}
	again(t, ctx, c)
	c.wait(ctx, "custody", 2, texts)
}
