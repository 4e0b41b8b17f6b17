//go:build hostile

package faults

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
	"github.com/kith-im/kith/mailbox/relay"
)

// The attack, and those who live with it.
const (
	floodWithin   = 9 * time.Minute
	holders       = 2500 // peers that hold four streams each
	flooders      = 64   // peers that ask as fast as they are read
	honestOnes    = 16   // contacts with a pass, each with a box of its own
	honestEvery   = 40 * time.Millisecond
	honestSize    = 1024 // bytes of an envelope
	floodRounds   = 5    // of quiet and of attack, in turns
	floodRound    = 6 * time.Second
	mostResident  = 512 << 20 // bytes
	mostSlowdown  = 2.0       // p99 under attack / p99 of quiet
	startOfTheMob = 3 * time.Minute
)

// honest is one who deposits, at a pace.
type honest struct {
	client *relay.Client
	at     dht.Peer
	key    ed25519.PrivateKey
	box    mailbox.ID
	pass   []byte
	number uint64
}

func newHonest(t testing.TB, ctx context.Context, at dht.Peer) *honest {
	t.Helper()
	seed := make([]byte, 2*ed25519.SeedSize)
	_, err := rand.Read(seed)
	check(t, err)
	h, err := plainHost(ed25519.NewKeyFromSeed(seed[:ed25519.SeedSize]))
	check(t, err)
	t.Cleanup(func() { _ = h.Close() })
	o := &honest{client: relay.NewClient(h, nil), at: at, key: ed25519.NewKeyFromSeed(seed[ed25519.SeedSize:])}
	t.Cleanup(func() { _ = o.client.Close() })
	o.box = mailbox.IDOf(o.key.Public().(ed25519.PublicKey))
	holder := pass.HolderKey(make([]byte, 32), 1)
	o.pass = pass.Use(holder, pass.Issue(o.key, holder.Public().(ed25519.PublicKey)), at.ID, o.box)
	now := time.Now().Truncate(time.Second)
	core := dht.SetCore{
		Box: o.key.Public().(ed25519.PublicKey), Epoch: dht.EpochAt(now), Number: 1, Issued: now, NotAfter: now.Add(20 * day),
		R: 1, W: 1, Members: []dht.Member{{Peer: at}},
	}
	keys := []ed25519.PrivateKey{o.key}
	check(t, o.client.Reserve(ctx, at, keys))
	leases, err := o.client.Commit(ctx, at, keys, []dht.SetCore{core})
	check(t, err)
	set, err := dht.SignSetRecord(o.key, core, leases)
	check(t, err)
	check(t, o.client.PutSet(ctx, at, set.Bytes()))
	return o
}

// deposits leaves an envelope at each beat and returns how long each took.
func (o *honest) deposits(ctx context.Context, span time.Duration) (took []time.Duration, err error) {
	beat := time.NewTicker(honestEvery)
	defer beat.Stop()
	for begun := time.Now(); time.Since(begun) < span; {
		<-beat.C
		o.number++
		envelope := bytes.Repeat([]byte{byte(o.number)}, honestSize)
		binary.BigEndian.PutUint64(envelope, o.number)
		at := time.Now()
		_, err := o.client.Deposit(ctx, o.at, mailbox.Deposit{
			Box: o.box, Envelope: envelope, Expires: at.Add(day), SetNumber: 1, Pass: o.pass,
		})
		if err != nil {
			return took, err
		}
		took = append(took, time.Since(at))
	}
	return took, nil
}

// siege is a relay process, honest peers, and a mob.
type siege struct {
	t      testing.TB
	relay  *machine
	mob    *machine
	honest []*honest
}

// newSiege starts a relay with these settings, the honest ones, and the mob.
func newSiege(t testing.TB, ctx context.Context, settings string, holders, flooders int) *siege {
	t.Helper()
	dir, n := folder(t), newNews()
	s := &siege{t: t, relay: newMachine(t, dir, "relay", n).listens(t)}
	t.Cleanup(s.end)
	s.relay.args = append(s.relay.args, "--relay")
	s.relay.must(t, ctx, 0, "init", "--name", "relay")
	check(t, os.WriteFile(filepath.Join(s.relay.home, "config.toml"), []byte(settings), 0o600))
	check(t, s.relay.start(ctx))
	overTCP := s.relay.addrs[slices.IndexFunc(s.relay.addrs, func(a string) bool { return strings.Contains(a, "/tcp/") })]
	info, err := peer.AddrInfoFromString(overTCP)
	check(t, err)
	var boxes []string
	for range honestOnes {
		o := newHonest(t, ctx, kad.PlainPeer(*info))
		s.honest, boxes = append(s.honest, o), append(boxes, hex.EncodeToString(o.box[:]))
	}
	t.Logf("before the mob: RSS %d MiB", s.resident()>>20)
	// The mob would be on machines of its own: here it gets what the others leave of the processor.
	s.mob = newMachine(t, dir, "mob", n, "nice", "-n", "19")
	s.mob.role, s.mob.patience = roleMob, startOfTheMob
	s.mob.args = append([]string{overTCP, strconv.Itoa(holders), strconv.Itoa(flooders)}, boxes...)
	begun := time.Now()
	check(t, s.mob.start(ctx))
	t.Logf("%d streams of %d peers stand after %.0f s: RSS %d MiB", holders*mobStreams, holders, time.Since(begun).Seconds(), s.resident()>>20)
	return s
}

func (s *siege) end() {
	if s.mob != nil {
		s.mob.kill()
		raw, _ := os.ReadFile(s.mob.log())
		s.t.Logf("the mob: %s", lastLines(raw))
	}
	s.relay.kill()
	s.relay.sound(s.t)
}

// resident is the most memory that the relay was ever resident in, in bytes.
func (s *siege) resident() int64 {
	s.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.relay.cmd.Process.Pid))
	check(s.t, err)
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			check(s.t, err)
			return kib << 10
		}
	}
	s.t.Fatal("no VmHWM")
	return 0
}

// used is the time that the relay has had of all cores: what others do on the machine does not change it.
func (s *siege) used() time.Duration {
	s.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.relay.cmd.Process.Pid))
	check(s.t, err)
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])) // the name, in parentheses, may hold anything
	user, err := strconv.ParseInt(f[11], 10, 64)
	check(s.t, err)
	system, err := strconv.ParseInt(f[12], 10, 64)
	check(s.t, err)
	return time.Duration(user+system) * time.Second / 100
}

// round lets all honest ones deposit at once and returns the latencies in order.
func (s *siege) round(ctx context.Context) []time.Duration {
	s.t.Helper()
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all []time.Duration
	)
	for _, o := range s.honest {
		wg.Go(func() {
			took, err := o.deposits(ctx, floodRound)
			mu.Lock()
			defer mu.Unlock()
			if all = append(all, took...); err != nil {
				s.t.Errorf("an honest deposit: %v", err)
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

// turns measures quiet and attack in turns and returns the median of the ratios of their p99, and the most memory.
func (s *siege) turns(ctx context.Context) (slowdown float64, resident int64) {
	s.t.Helper()
	p := func(ds []time.Duration, q float64) time.Duration { return ds[min(len(ds)-1, int(q*float64(len(ds))))] }
	s.round(ctx) // warm
	var ratios []float64
	var usedQuiet, usedAttack time.Duration
	for range floodRounds {
		begun := s.used()
		quiet := s.round(ctx)
		between := s.used()
		check(s.t, s.mob.tell("flood"))
		attack := s.round(ctx)
		usedQuiet, usedAttack = usedQuiet+between-begun, usedAttack+s.used()-between
		check(s.t, s.mob.tell("rest"))
		ratio := float64(p(attack, 0.99)) / float64(p(quiet, 0.99))
		ratios = append(ratios, ratio)
		s.t.Logf("quiet p50 %v p99 %v; under attack p50 %v p99 %v of %d: %.2f x", p(quiet, 0.5), p(quiet, 0.99), p(attack, 0.5), p(attack, 0.99), len(attack), ratio)
	}
	slices.Sort(ratios)
	slowdown, resident = ratios[len(ratios)/2], s.resident()
	s.t.Logf("the relay's time for a round, mean: %v in quiet, %v under attack", usedQuiet/floodRounds, usedAttack/floodRounds)
	s.t.Logf("median of p99 under attack / p99 of quiet: %.2f; the relay's most memory: %d MiB", slowdown, resident>>20)
	return slowdown, resident
}

// TestARelayUnderAttackServesTheHonest: ten thousand streams that stay, and peers that flood boxes of others with bad
// passes, bad work and boxes that are not there. It is a measurement: run it on a machine that does nothing else.
func TestARelayUnderAttackServesTheHonest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), floodWithin)
	defer cancel()
	slowdown, resident := newSiege(t, ctx, "", holders, flooders).turns(ctx)
	if slowdown > mostSlowdown || resident > mostResident {
		t.Errorf("p99 %.2f x of quiet, want at most %.1f; RSS %d MiB, want at most %d", slowdown, mostSlowdown, resident>>20, mostResident>>20)
	}
}

// TestControlARelayWithoutLimitsSuffers shows that the attack is one: the same flood at a relay whose rates are off.
func TestControlARelayWithoutLimitsSuffers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), floodWithin)
	defer cancel()
	if slowdown, _ := newSiege(t, ctx, "relay_rate = -1\n", 1, flooders).turns(ctx); slowdown <= mostSlowdown {
		t.Errorf("the flood does nothing: p99 %.2f x of quiet", slowdown)
	}
}
