package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/node/api"
)

// Times and sizes of a campaign.
const (
	settleWithin = 150 * time.Second // for everything to arrive once all run; retries wait up to two minutes
	proofWithin  = 45 * time.Second  // for what is in custody to arrive without its sender
	momentMax    = 150 * time.Millisecond
	startMax     = 300 * time.Millisecond
	textMax      = 1200 // bytes; one text in ten is longer
	longText     = 3400
)

// plan of a campaign.
type plan struct {
	seed   uint64
	cycles int
	proofs int           // how often the sender and all relays die after custody
	rough  bool          // relays lose their disks and leave as well
	relay  string        // program of the relays; empty: the real one
	sender string        // of Alice
	reader string        // of Bob's devices
	settle time.Duration // zero: settleWithin
	proof  time.Duration // zero: proofWithin
}

// verdict is what a campaign found.
type verdict struct {
	Seed                              uint64
	Cycles, Kills                     int
	Wiped, Drained, Stayed            int            // relays that lost their disk, began to leave, and stayed after all
	By                                map[string]int // kills by machine
	Sent                              int            // texts that `send` said are queued
	Pairs                             int            // of text and device that has to show it
	Delivered, Duplicates, Lost       int
	Custody, LostAfterCustody, Untrue int
	Refused                           int           // failures of `send` other than a dead daemon, and custody that never came
	Settle                            time.Duration // the longest wait until all had arrived
	Took                              time.Duration
}

func (v verdict) clean() bool {
	return v.Lost == 0 && v.Duplicates == 0 && v.LostAfterCustody == 0 && v.Untrue == 0 && v.Refused == 0
}

func (v verdict) String() string {
	return fmt.Sprintf("seed %d: %d cycles, %d kills %v, %d relay disks lost, %d drains begun and %d called off, %d texts to %d screens: %d delivered, %d duplicates, %d lost; %d in custody without their sender: %d lost; %d untrue stages, %d refused; longest settling %.1f s; %.0f s in all",
		v.Seed, v.Cycles, v.Kills, v.By, v.Wiped, v.Drained, v.Stayed, v.Sent, v.Pairs, v.Delivered, v.Duplicates, v.Lost, v.Custody, v.LostAfterCustody, v.Untrue, v.Refused, v.Settle.Seconds(), v.Took.Seconds())
}

// campaign kills processes at random moments while people write to each other.
type campaign struct {
	*cast
	plan
	rng   *rand.Rand
	down  map[*machine]int // cycles until it is started again
	pen   map[*device]chan *text
	wg    sync.WaitGroup
	begun time.Time
	v     verdict

	texts   []*text
	wiped   *machine // lost its disk since all was well
	leaving *machine

	mu      sync.Mutex
	refused int // what could not be sent
}

func newCampaign(t testing.TB, ctx context.Context, p plan) *campaign {
	t.Helper()
	if p.settle == 0 {
		p.settle = settleWithin
	}
	if p.proof == 0 {
		p.proof = proofWithin
	}
	relays := 3
	if p.rough {
		relays = 4 // somebody can leave
	}
	c := &campaign{
		cast: assemble(t, ctx, company{honest: relays}), plan: p, rng: rand.New(rand.NewPCG(p.seed, 1)), begun: time.Now(),
		down: map[*machine]int{}, pen: map[*device]chan *text{},
		v: verdict{Seed: p.seed, Cycles: p.cycles, By: map[string]int{}},
	}
	c.recast(ctx)
	writing, stop := context.WithCancel(ctx)
	for _, d := range c.devices() {
		pen := make(chan *text, 10_000)
		c.pen[d] = pen
		c.wg.Go(func() {
			for {
				select {
				case x := <-pen:
					c.write(writing, x)
				case <-writing.Done():
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		stop()
		c.wg.Wait()
	})
	return c
}

// recast gives other programs to those for whom the plan names some.
func (c *campaign) recast(ctx context.Context) {
	for _, m := range c.machines() {
		program := c.reader
		switch {
		case m == c.alice.machine:
			program = c.sender
		case slices.Contains(c.relays, m):
			program = c.relay
		}
		if program != "" {
			check(c.t, m.stop())
			m.command = []string{program}
			check(c.t, m.start(ctx))
		}
	}
}

// write sends a text until its device says that it is queued. A device that died before it answered is asked again with
// the same key, as a person's script would.
func (c *campaign) write(ctx context.Context, x *text) {
	for ctx.Err() == nil {
		changed := c.news.next()
		id, err := c.say(ctx, x)
		if err == nil {
			x.queued(id)
			c.news.tell()
			return
		}
		if !gone(err) && ctx.Err() == nil {
			c.t.Logf("%s: send: %v", x.from.name, err)
			c.mu.Lock()
			c.refused++
			c.mu.Unlock()
			return
		}
		select {
		case <-changed: // its machine may run again
		case <-ctx.Done():
		}
	}
}

// say uses the command for one text in eight, the local API for the others.
func (c *campaign) say(ctx context.Context, x *text) (string, error) {
	if len(x.key)%8 != 0 {
		return x.from.send(ctx, x.to, x.body, x.key)
	}
	a, err := x.from.run(ctx, "send", x.to, x.body, "--key", x.key, "--wait", "queued", "--jq", ".id")
	switch {
	case err != nil:
		return "", err
	case a.exit == 5:
		return "", api.ErrNoNode
	case a.exit != 0:
		return "", fmt.Errorf("kith send: exit %d: %s", a.exit, a.err)
	}
	return strings.TrimSpace(a.out), nil
}

// length is that of the next text.
func (c *campaign) length() int {
	if c.rng.IntN(10) == 0 {
		return longText
	}
	return c.rng.IntN(textMax)
}

// compose makes the next text; keys have lengths of all kinds.
func (c *campaign) compose(from *device, size int) *text {
	n := len(c.texts) + 1
	body := fmt.Sprintf("text %d of %s ", n, from.name)
	body += strings.Repeat("x", max(0, size-len(body)))
	x := &text{from: from, screens: c.others(from), to: "alice", body: body, key: fmt.Sprintf("%0*d", 6+c.rng.IntN(8), n)}
	if from == c.alice {
		x.to = "bob"
	}
	c.texts = append(c.texts, x)
	return x
}

// author is Alice in seven of ten.
func (c *campaign) author() *device {
	switch n := c.rng.IntN(10); {
	case n < 7:
		return c.alice
	case n < 9:
		return c.bob
	}
	return c.phone
}

// cycle lets people write, and kills somebody at a random moment of it.
func (c *campaign) cycle(ctx context.Context) {
	c.restart(ctx)
	for range 1 + c.rng.IntN(5) {
		from := c.author()
		c.pen[from] <- c.compose(from, c.length())
	}
	c.moment(ctx)
	if c.rough {
		c.upheave(ctx)
	}
	victims := c.victims()
	_ = c.each(func(m *machine) error { m.kill(); return nil }, victims...)
	for _, m := range victims {
		c.down[m] = max(0, c.rng.IntN(5)-2)
		c.v.Kills++
		c.v.By[m.name]++
	}
}

// upheave lets a relay begin to leave, or stay after all, or lose its disk, now and then.
func (c *campaign) upheave(ctx context.Context) {
	switch m := c.relays[c.rng.IntN(len(c.relays))]; c.rng.IntN(12) {
	case 0:
		if !m.up() {
			c.wipe(m)
		}
	case 1:
		if c.leaving == nil && m.up() && c.asked(ctx, m, api.DrainRequest{}) {
			c.leaving = m
			c.v.Drained++
		}
	case 2:
		c.stay(ctx)
	}
}

// wipe takes the mail of a dead relay away: one of all until all is well again, because custody is two disks.
func (c *campaign) wipe(m *machine) {
	if c.wiped != nil {
		return
	}
	check(c.t, os.Remove(filepath.Join(m.home, "relay.db")))
	c.wiped = m
	c.v.Wiped++
}

// stay lets the relay that leaves think again.
func (c *campaign) stay(ctx context.Context) {
	if c.leaving != nil && c.leaving.up() && c.asked(ctx, c.leaving, api.DrainRequest{Cancel: true}) {
		c.leaving = nil
		c.v.Stayed++
	}
}

// asked puts a request for a drain to a relay, which may die over it.
func (c *campaign) asked(ctx context.Context, m *machine, q api.DrainRequest) bool {
	err := m.call(ctx, "relay_drain", q, &api.Relay{})
	if err != nil && !gone(err) {
		c.t.Errorf("%s: drain: %v", m.name, err)
	}
	return err == nil
}

// restart starts those whose time has come; one in eight dies while it starts.
func (c *campaign) restart(ctx context.Context) {
	var due []*machine
	for _, m := range c.machines() {
		if m.up() {
			continue
		}
		if c.down[m]--; c.down[m] >= 0 {
			continue
		}
		if c.rng.IntN(8) == 0 {
			check(c.t, m.stillborn(time.Duration(c.rng.Int64N(int64(startMax)))))
			c.v.Kills++
			c.v.By[m.name]++
		}
		due = append(due, m)
	}
	check(c.t, c.up(ctx, due...))
}

// moment waits for a random time, or for a random number of things that happen anywhere.
func (c *campaign) moment(ctx context.Context) {
	span := time.Duration(c.rng.Int64N(int64(momentMax)))
	steps := c.rng.IntN(12)
	if c.rng.IntN(2) == 0 {
		steps = 1 << 30
	}
	timer := time.NewTimer(span)
	defer timer.Stop()
	for range steps {
		select {
		case <-c.news.next():
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// victims are one machine, or now and then two or three at once.
func (c *campaign) victims() []*machine {
	var running []*machine
	for _, m := range c.machines() {
		if m.up() {
			running = append(running, m)
		}
	}
	c.rng.Shuffle(len(running), func(i, j int) { running[i], running[j] = running[j], running[i] })
	count := 1
	if c.rng.IntN(6) == 0 {
		count = 2 + c.rng.IntN(2)
	}
	return running[:min(count, len(running))]
}

// prove shows that custody is custody: Bob's devices are dead, Alice sends until relays have signed, Alice dies and does
// not come back, all relays die and come back, Bob's devices return. All of it has to be there.
func (c *campaign) prove(ctx context.Context) {
	check(c.t, c.up(ctx, append(c.relays, c.alice.machine)...))
	c.bob.kill()
	c.phone.kill()
	var last []*text
	for range 3 {
		// Short: what a device has not yet told of its mailbox is made good by its front door, which takes 4 KiB.
		x := c.compose(c.alice, c.rng.IntN(textMax))
		c.pen[c.alice] <- x
		last = append(last, x)
	}
	signed := func() bool {
		return !slices.ContainsFunc(last, func(x *text) bool { return x.least() < 2 })
	}
	limit, cancel := context.WithTimeout(ctx, c.settle)
	defer cancel()
	if err := c.news.until(limit, "custody", signed); err != nil {
		c.t.Logf("%v\n%s", err, c.traces(last))
		c.v.Refused++
	}
	c.alice.kill()
	c.owe()
	_ = c.each(func(m *machine) error { m.kill(); return nil }, c.relays...)
	for _, m := range c.machines() {
		c.v.Kills++
		c.v.By[m.name]++
	}
	if c.rough && c.rng.IntN(2) == 0 {
		c.wipe(c.relays[c.rng.IntN(len(c.relays))])
	}
	check(c.t, c.up(ctx, append(c.relays, c.bob.machine, c.phone.machine)...))
	c.count(ctx)
}

// owe notes what Bob's devices have yet to show of what is in custody.
func (c *campaign) owe() {
	for _, x := range c.texts {
		if x.owed = nil; x.from != c.alice || x.least() != 2 {
			continue
		}
		for _, d := range x.screens {
			if d.times(x.body) == 0 {
				x.owed = append(x.owed, d)
				c.v.Custody++
			}
		}
	}
}

// count waits for what is in custody and counts what does not come.
func (c *campaign) count(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, c.proof)
	defer cancel()
	missing := func() (n int) {
		for _, x := range c.texts {
			for _, d := range x.owed {
				if d.times(x.body) == 0 {
					n++
				}
			}
		}
		return n
	}
	_ = c.news.until(limit, "arrival from custody", func() bool { return missing() == 0 })
	c.v.LostAfterCustody += missing()
}

// calm starts everybody and waits until every text is on every screen and its sender has been told so.
// It reports whether that happened in time.
func (c *campaign) calm(ctx context.Context) bool {
	begun := time.Now()
	check(c.t, c.up(ctx, c.machines()...))
	limit, cancel := context.WithTimeout(ctx, c.settle)
	defer cancel()
	err := c.news.until(limit, "settling", func() bool {
		return !slices.ContainsFunc(c.texts, func(x *text) bool { return x.least() < 3 })
	})
	c.v.Settle = max(c.v.Settle, time.Since(begun))
	c.wiped = nil
	c.stay(ctx)
	if err != nil {
		c.t.Logf("%v\n%s", err, c.traces(c.texts))
	}
	return err == nil
}

// judge kills everybody for the last time and reads screens and stores.
func (c *campaign) judge() {
	_ = c.each(func(m *machine) error { m.kill(); return nil }, c.machines()...)
	for _, d := range c.devices() {
		<-d.looking
	}
	stores := c.stores()
	for _, x := range c.texts {
		if x.number() == "" {
			c.v.Untrue++
			c.t.Logf("%s was never queued", x.key)
			continue
		}
		c.v.Sent++
		if x.from.times(x.body) != 1 {
			c.v.Untrue++ // its own screen
			c.t.Logf("%s: %s shows its own text %d times", x.key, x.from.name, x.from.times(x.body))
		}
		for _, d := range x.screens {
			c.judgePair(x, d, stores[d][x.body])
		}
	}
	c.mu.Lock()
	c.v.Refused += c.refused
	c.mu.Unlock()
	c.v.Took = time.Since(c.begun)
}

// held is a text as a store has it.
type held struct {
	times    int
	received time.Time
}

func (c *campaign) stores() map[*device]map[string]held {
	out := map[*device]map[string]held{}
	for _, d := range c.devices() {
		who := "alice"
		if d == c.alice {
			who = "bob"
		}
		list, err := d.holds(who)
		check(c.t, err)
		out[d] = map[string]held{}
		for _, m := range list {
			h := out[d][m.Text]
			h.times, h.received = h.times+1, m.Received
			out[d][m.Text] = h
		}
		d.sane(c.t)
	}
	return out
}

// judgePair compares what a device showed and holds with what the sender was told.
func (c *campaign) judgePair(x *text, d *device, h held) {
	c.v.Pairs++
	shown := d.times(x.body)
	told := x.from.told(x.number(), d.id)
	switch {
	case shown == 0 || h.times == 0:
		c.v.Lost++
		c.t.Logf("%s %s: %s shows it %d times and holds it %d times", x.key, x.number(), d.name, shown, h.times)
	case shown > 1 || h.times > 1:
		c.v.Duplicates += max(shown, h.times) - 1
		c.v.Delivered++
	default:
		c.v.Delivered++
	}
	if !told.IsZero() && (h.times == 0 || told.Before(h.received)) {
		c.v.Untrue++
		c.t.Logf("%s %s: told delivered on %s at %v, there at %v", x.key, x.number(), d.name, told, h.received)
	}
}

// run is the whole campaign.
func (c *campaign) run(ctx context.Context) verdict {
	for i := range c.cycles {
		c.cycle(ctx)
		if c.proofs > 0 && (i+1)%max(1, c.cycles/c.proofs) == 0 {
			c.prove(ctx)
			if !c.calm(ctx) {
				break // it will not get better
			}
		} else if i+1 == c.cycles {
			c.calm(ctx)
		}
	}
	c.judge()
	return c.v
}
