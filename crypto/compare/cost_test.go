package compare_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.mau.fi/libsignal/state/record"

	"github.com/kith-im/kith/crypto/identity"
	kith "github.com/kith-im/kith/crypto/session"
)

// row is one line of the table: the same work in both. Each prepares what it needs and returns the work.
type row struct {
	what, goal   string
	ours, theirs func(t testing.TB) func()
	per          int // messages in one piece of work
}

// cost is what a piece of work takes. Time is that of the processor, not of the clock on the wall: the machine may do other
// things beside.
type cost struct {
	cpu           time.Duration
	allocs, bytes uint64
}

const (
	fan   = 96
	piece = 200 * time.Millisecond // of processor time for one measurement
)

// TestCost prints the table of make bench-crypto. Ours and theirs take turns, ROUNDS times; the least counts.
func TestCost(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("ROUNDS"))
	if err != nil {
		rounds = 1
	}
	fmt.Printf("%-56s %12s %12s %7s   %s\n", "processor time per message, one core", "kith", "libsignal", "ratio", "allocations and bytes: kith; libsignal")
	for _, r := range rows() {
		var ours, theirs cost
		for range rounds {
			ours, theirs = better(ours, measure(r.ours(t))), better(theirs, measure(r.theirs(t)))
		}
		per := uint64(max(r.per, 1))
		fmt.Printf("%-56s %12v %12v %6.1fx   %d, %d; %d, %d  %s\n", r.what, rounded(ours.cpu, per), rounded(theirs.cpu, per), float64(theirs.cpu)/float64(ours.cpu),
			ours.allocs/per, ours.bytes/per, theirs.allocs/per, theirs.bytes/per, r.goal)
	}
	printSizes(t)
}

func rounded(d time.Duration, per uint64) time.Duration {
	return (d / time.Duration(per)).Round(10 * time.Nanosecond)
}

func better(a, b cost) cost {
	if a.cpu == 0 || b.cpu < a.cpu {
		return b
	}
	return a
}

// measure does the work again and again, more often each time until it takes long enough.
func measure(work func()) cost {
	work()
	for n := 1; ; n *= 2 {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		from := processor()
		for range n {
			work()
		}
		took := processor() - from
		if took < piece {
			continue
		}
		runtime.ReadMemStats(&after)
		count := uint64(n)
		return cost{took / time.Duration(n), (after.Mallocs - before.Mallocs) / count, (after.TotalAlloc - before.TotalAlloc) / count}
	}
}

// processor is the time that this process has had, collecting garbage included.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func rows() []row {
	var out []row
	for _, size := range []int{100, 1024} {
		content := bytes.Repeat([]byte{'x'}, size)
		name := fmt.Sprintf("%d B: ", size)
		out = append(
			out,
			row{what: name + "encrypt, chain goes on", ours: func(t testing.TB) func() { return sealSteady(t, content) }, theirs: func(t testing.TB) func() { return encryptSteady(t, content) }},
			row{what: name + "encrypt and decrypt, chain goes on", ours: func(t testing.TB) func() { return bothSteady(t, content, false) }, theirs: func(t testing.TB) func() { return theirSteady(t, content, false) }},
			row{what: name + "the same, state encoded and parsed each time", ours: func(t testing.TB) func() { return bothSteady(t, content, true) }, theirs: func(t testing.TB) func() { return theirSteady(t, content, true) }},
			row{what: name + "conversation, turns of 10, with post-quantum epochs", goal: "goal 5x", per: 20, ours: func(t testing.TB) func() { return talk(t, content, 10) }, theirs: func(t testing.TB) func() { return theirTalk(t, content, 10) }},
			row{what: name + "ping-pong, a DH step each message, with epochs", per: 2, ours: func(t testing.TB) func() { return talk(t, content, 1) }, theirs: func(t testing.TB) func() { return theirTalk(t, content, 1) }},
		)
	}
	return append(
		out,
		row{what: "session set-up: bundle checked, first message sealed", ours: setUp, theirs: theirSetUp},
		row{what: "session set-up: first message opened", ours: accept, theirs: theirAccept},
		row{what: "fan-out of 1 KiB to 96 devices, warm, state encoded", goal: "goal 5 ms", ours: fanWarm, theirs: theirFanWarm},
		row{what: "fan-out of 1 KiB to 96 devices, cold, bundles checked", goal: "goal 60 ms", ours: fanCold, theirs: theirFanCold},
	)
}

func sealSteady(b testing.TB, content []byte) func() {
	p := newKithPair(b)
	return func() {
		p.seal(b, p.a, p.sa, content)
	}
}

func encryptSteady(b testing.TB, content []byte) func() {
	p := newSignalPair(b, false)
	return func() {
		encrypt(b, p.ca, content)
	}
}

// bothSteady seals and opens; stored also encodes and parses the state on both sides, as around a transaction.
func bothSteady(b testing.TB, content []byte, stored bool) func() {
	p := newKithPair(b)
	return func() {
		open(b, p.sb, p.seal(b, p.a, p.sa, content))
		if stored {
			p.sa, p.sb = reloaded(b, p.sa), reloaded(b, p.sb)
		}
	}
}

func reloaded(b testing.TB, s *kith.Session) *kith.Session {
	again, err := kith.ParseSession(s.Marshal())
	if err != nil {
		b.Fatal(err)
	}
	return again
}

func theirSteady(b testing.TB, content []byte, stored bool) func() {
	p := newSignalPair(b, stored)
	return func() {
		p.b.decrypt(b, p.cb, encrypt(b, p.ca, content))
	}
}

// talk is a turn of each side.
func talk(b testing.TB, content []byte, burst int) func() {
	p := newKithPair(b)
	return func() {
		for range burst {
			open(b, p.sb, p.seal(b, p.a, p.sa, content))
		}
		for range burst {
			open(b, p.sa, p.seal(b, p.b, p.sb, content))
		}
	}
}

func theirTalk(b testing.TB, content []byte, burst int) func() {
	p := newSignalPair(b, false)
	return func() {
		for range burst {
			p.b.decrypt(b, p.cb, encrypt(b, p.ca, content))
		}
		for range burst {
			p.a.decrypt(b, p.ca, encrypt(b, p.cb, content))
		}
	}
}

func initiate(b testing.TB, from *device, raw, content []byte) (*kith.Session, []byte) {
	bundle, err := identity.ParseBundle(raw)
	if err != nil {
		b.Fatal(err)
	}
	s, err := kith.Initiate(from.rng, from.Self, bundle)
	if err != nil {
		b.Fatal(err)
	}
	env, err := s.Seal(from.rng, kith.Body{Counter: 1, OwnHead: [12]byte{1}, YourHead: [12]byte{2}, Content: content})
	if err != nil {
		b.Fatal(err)
	}
	return s, env
}

func setUp(b testing.TB) func() {
	from, raw := newDevice(b, 1), newDevice(b, 2).bundle.Bytes()
	return func() {
		initiate(b, from, raw, []byte("first"))
	}
}

func theirSetUp(b testing.TB) func() {
	p := &signalPair{a: newSignalDevice(b, "a"), b: newSignalDevice(b, "b")}
	return func() {
		p.a.sessions = map[string]*record.Session{}
		p.begin(b, []byte("first"))
	}
}

func accept(b testing.TB) func() {
	from, to := newDevice(b, 1), newDevice(b, 2)
	_, env := initiate(b, from, to.bundle.Bytes(), []byte("first"))
	return func() {
		if _, _, _, err := kith.Accept(to.Self, to.pre, trust, env, now); err != nil {
			b.Fatal(err)
		}
	}
}

func theirAccept(b testing.TB) func() {
	p := &signalPair{a: newSignalDevice(b, "a"), b: newSignalDevice(b, "b")}
	raw := p.begin(b, []byte("first"))
	return func() {
		p.b.sessions = map[string]*record.Session{}
		p.b.decryptFirst(b, p.cb, raw)
	}
}

// fanWarm seals one content for sessions that stand, and encodes their state, as one commit holds it.
func fanWarm(b testing.TB) func() {
	pairs := make([]*kithPair, fan)
	for i := range pairs {
		pairs[i] = newKithPair(b)
	}
	content := bytes.Repeat([]byte{'x'}, 1024)
	return func() {
		for _, p := range pairs {
			p.seal(b, p.a, p.sa, content)
			p.sa.Marshal()
		}
	}
}

func theirFanWarm(b testing.TB) func() {
	pairs := make([]*signalPair, fan)
	for i := range pairs {
		pairs[i] = newSignalPair(b, true)
	}
	content := bytes.Repeat([]byte{'x'}, 1024)
	return func() {
		for _, p := range pairs {
			encrypt(b, p.ca, content)
		}
	}
}

// fanCold begins a session with each device: its bundle is parsed and verified, and the state encoded.
func fanCold(b testing.TB) func() {
	from, content := newDevice(b, 1), bytes.Repeat([]byte{'x'}, 1024)
	var bundles [][]byte
	for i := range fan {
		bundles = append(bundles, newDevice(b, byte(2+i)).bundle.Bytes())
	}
	return func() {
		for _, raw := range bundles {
			s, _ := initiate(b, from, raw, content)
			s.Marshal()
		}
	}
}

func theirFanCold(b testing.TB) func() {
	from, content := newSignalDevice(b, "a"), bytes.Repeat([]byte{'x'}, 1024)
	from.stored = true
	var to []*signalDevice
	for i := range fan {
		to = append(to, newSignalDevice(b, fmt.Sprint(i)))
	}
	return func() {
		from.sessions, from.disk = map[string]*record.Session{}, map[string][]byte{}
		for _, d := range to {
			p := &signalPair{a: from, b: d}
			p.begin(b, content)
		}
	}
}

// printSizes prints what is sent and what is kept.
func printSizes(t *testing.T) {
	t.Helper()
	fmt.Printf("\n%-58s %14s %14s\n", "bytes", "kith", "libsignal")
	for _, size := range []int{100, 1024} {
		p, q, content := newKithPair(t), newSignalPair(t, true), bytes.Repeat([]byte{'x'}, size)
		env := p.seal(t, p.a, p.sa, content)
		fmt.Printf("%-58s %14d %14d   plaintext and padding included; kith's class is %d\n", fmt.Sprintf("an envelope with %d B of content", size), len(env), len(encrypt(t, q.ca, content)), len(env)-94)
	}
	a, b := newDevice(t, 1), newDevice(t, 2)
	s, err := kith.Initiate(a.rng, a.Self, b.bundle)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Seal(a.rng, kith.Body{Counter: 1, Content: bytes.Repeat([]byte{'x'}, 100)})
	if err != nil {
		t.Fatal(err)
	}
	q := &signalPair{a: newSignalDevice(t, "a"), b: newSignalDevice(t, "b")}
	raw := q.begin(t, bytes.Repeat([]byte{'x'}, 100))
	fmt.Printf("%-58s %14d %14d   goal 1,300 and the message\n", "a first flight beside its message", len(first)-350, len(raw)-100)
	fmt.Printf("%-58s %14d\n", "a session on disk, waiting for the first answer", len(s.Marshal()))
	p, stored := newKithPair(t), newSignalPair(t, true)
	fmt.Printf("%-58s %14d %14d   goal 2,048\n", "a session on disk, established", len(p.sa.Marshal()), len(stored.a.disk[stored.b.address.String()]))
	cost, most, epochs := conversation(t)
	fmt.Printf("%-58s %14.1f %14s   goal 60; %d epochs in 5,000 messages\n", "post-quantum cost of a message, on average", cost, "-", epochs)
	fmt.Printf("%-58s %14d %14s   goal 2,048\n", "the largest session state on the way", most, "-")
}

// conversation is 5,000 texts of 100 B in bursts of random length, and what their envelopes have beyond their class.
func conversation(t *testing.T) (cost float64, most int, epochs uint32) {
	t.Helper()
	p, rng := newKithPair(t), rand.New(rand.NewPCG(1, 2))
	content, beyond, sent := bytes.Repeat([]byte{'x'}, 100), 0, 0
	for sent < 5000 {
		for range 1 + rng.IntN(12) {
			env := p.seal(t, p.a, p.sa, content)
			open(t, p.sb, env)
			beyond += len(env) - kith.EnvelopeSize(len(content), false)
			most = max(most, len(p.sa.Marshal()), len(p.sb.Marshal()))
			sent++
		}
		p.a, p.b, p.sa, p.sb = p.b, p.a, p.sb, p.sa
	}
	return float64(beyond) / float64(sent), most, p.sa.Epoch()
}
