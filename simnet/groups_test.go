package simnet_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// party is people in one group: the first knows all others, who need not know each other.
type party struct {
	t       testing.TB
	w       *simnet.World
	seed    uint64
	rng     *rand.Rand
	relays  []*simnet.Relay
	devices [][]*simnet.Device // of each person
	users   []string           // user ids
	group   string             // conversation id
}

func (p *party) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("seed %d: %v\n%s", p.seed, err, strings.Join(p.w.Trace()[max(0, len(p.w.Trace())-60):], "\n"))
	}
}

// gather makes people with so many devices each, the first of whom makes a group of the given ones.
func gather(t testing.TB, seed uint64, people, devices, relays, invited int) *party {
	p := &party{t: t, seed: seed, w: simnet.New(seed), rng: rand.New(rand.NewPCG(seed, 3))}
	for i := range relays {
		p.relays = append(p.relays, p.w.AddRelay(fmt.Sprint("relay-", i)))
	}
	for i := range people {
		d, err := p.w.AddDevice(fmt.Sprint("p", i))
		p.must(err)
		p.must(d.Start())
		p.devices = append(p.devices, []*simnet.Device{d})
		d.View(func(tx store.Tx) error { p.users = append(p.users, talk.Me(tx).String()); return nil })
	}
	for i := 1; i < people; i++ {
		var link string
		p.must(p.devices[0][0].Do(func(e *node.Engine, t *node.Turn) error { v, err := e.CreateInvite(t, 0); link = v.Text; return err }))
		p.must(p.devices[i][0].Do(func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, link, ""); return err }))
		if i%32 == 0 { // so many links may be open
			p.w.Run(time.Minute)
		}
	}
	p.w.Run(5 * time.Minute)
	for i := range people {
		for n := 1; n < devices; n++ {
			d, err := p.w.LinkDevice(fmt.Sprintf("p%d-%d", i, n), p.devices[i][0])
			p.must(err)
			p.must(d.Start())
			p.devices[i] = append(p.devices[i], d)
			p.w.Run(2 * time.Second)
		}
	}
	p.w.Run(10 * time.Minute)
	var members []string
	for i := 1; i < invited; i++ {
		members = append(members, p.users[i])
	}
	p.must(p.devices[0][0].Do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.CreateGroup(t, "friends", members)
		p.group = v.Chat
		return err
	}))
	p.w.Run(5 * time.Minute)
	return p
}

// say writes into the group, if the device believes that it may.
func (p *party) say(d *simnet.Device, text string) (id string) {
	if who := p.handle(d); who != "" {
		_ = d.Do(func(e *node.Engine, t *node.Turn) error {
			v, err := e.Send(t, node.SendRequest{To: who, Text: text})
			id = v.ID
			return err
		})
	}
	return id
}

func (p *party) chat(d *simnet.Device) (found view.Group) {
	d.View(func(tx store.Tx) error {
		for _, c := range talk.Groups(tx) {
			if v := talk.GroupView(tx, talk.Me(tx), c); v.Chat == p.group {
				found = v
			}
		}
		return nil
	})
	return found
}

func (p *party) handle(d *simnet.Device) string { return p.chat(d).Handle }

// members is who is in the group as a device sees it, and what it is called.
func (p *party) members(d *simnet.Device) string {
	v := p.chat(d)
	out := []string{v.Name}
	for _, m := range v.Members {
		name := fmt.Sprint(slices.Index(p.users, m.User))
		if m.Admin {
			name += "*"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// texts are those of the conversation as a device sees it.
func (p *party) texts(d *simnet.Device) (out []string) {
	who := p.handle(d)
	if who == "" {
		return nil
	}
	d.View(func(tx store.Tx) error {
		all, err := talk.Messages(tx, who, 0)
		for _, m := range all {
			out = append(out, m.Text)
		}
		return err
	})
	return out
}

func (p *party) each(fn func(i int, d *simnet.Device)) {
	for i, devices := range p.devices {
		for _, d := range devices {
			fn(i, d)
		}
	}
}

func TestAGroupTalks(t *testing.T) {
	p := gather(t, 1, 4, 2, 3, 4)
	var want []string
	p.each(func(i int, d *simnet.Device) {
		text := "from " + d.Name()
		if p.say(d, text) == "" {
			t.Errorf("%s cannot write", d.Name())
		}
		want = append(want, text)
		p.w.Run(time.Minute)
	})
	p.w.Run(10 * time.Minute)
	p.each(func(_ int, d *simnet.Device) {
		if got := p.texts(d); !slices.Equal(got, want) {
			t.Errorf("%s shows %q", d.Name(), got)
		}
		if got := p.members(d); got != "friends 0* 1 2 3" && !strings.HasPrefix(got, "friends 0*") {
			t.Errorf("%s sees %s", d.Name(), got)
		}
	})
}

// Every message of a group comes to every device of every member, and to the author's own others, though a tenth of the
// devices is away while they are written. MEMBERS and DEVICES set the size.
func TestAGroupReachesEveryDevice(t *testing.T) {
	members, devices, messages := size(t, "MEMBERS", 4), size(t, "DEVICES", 2), size(t, "MESSAGES", 10)
	p := gather(t, 1, members, devices, 3, members)
	all := slices.Concat(p.devices...)
	var author *simnet.Device // of the message that is being written
	copies, want := 0, messages*(len(all)-1)
	var live []time.Duration
	at := map[string]time.Time{}
	away := map[*simnet.Device]bool{}
	for _, d := range all {
		d.Notices(func(n view.Notice) {
			if n.Type != "message" || d == author {
				return
			}
			copies++
			if !away[d] {
				live = append(live, p.w.Now().Sub(at[n.Message.Text]))
			}
		})
	}
	for i := 0; len(away) < len(all)/10; i += 10 {
		away[all[(i+7)%len(all)]] = true
	}
	for d := range away {
		d.Stop()
	}
	for i := range messages {
		author = all[i%10*(len(all)/10)%len(all)]
		for away[author] {
			author = all[(slices.Index(all, author)+1)%len(all)]
		}
		text := fmt.Sprint("message ", i)
		at[text] = p.w.Now()
		if p.say(author, text) == "" {
			t.Fatalf("%s cannot write", author.Name())
		}
		author = nil
		p.w.Run(time.Second)
	}
	p.w.Run(10 * time.Minute)
	for d := range away {
		p.must(d.Start())
	}
	p.w.RunUntil(26*time.Hour, func() bool { return copies == want })
	p.w.Run(time.Hour) // none comes twice
	slices.Sort(live)
	t.Logf("%d members with %d devices each, %d devices away: %d of %d copies of %d messages; p95 of those there %v",
		members, devices, len(away), copies, want, messages, live[len(live)*95/100])
	if copies != want {
		t.Errorf("%d of %d copies arrived", copies, want)
	}
}

// size is a number from the environment, or the given one.
func size(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: want a number", name, v)
	}
	return n
}

// BenchmarkGroupMessage is what one message costs its author's device: a row, and an envelope for each device of each
// other member (one here), sealed in one turn. The store is in memory.
func BenchmarkGroupMessage(b *testing.B) {
	for _, members := range []int{3, 16, 64, 256} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			p := gather(b, 1, members, 1, 3, members)
			d := p.devices[0][0]
			p.say(d, "the first makes the sessions")
			p.w.Run(time.Hour)
			b.ResetTimer()
			for b.Loop() {
				if p.say(d, "hello") == "" {
					b.Fatal("not written")
				}
				b.StopTimer()
				p.w.Run(time.Minute)
				b.StartTimer()
			}
			b.ReportMetric(float64(members-1), "envelopes/op")
		})
	}
}
