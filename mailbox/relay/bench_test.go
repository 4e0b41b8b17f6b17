package relay

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/boltbox"
)

const (
	benchEnvelope = 1024 // bytes
	rawRounds     = 500
	echoProtocol  = "/kith/bench/echo"
)

// benchRelay is a relay on loopback with the durable store.
func benchRelay(b *testing.B, listen string) (host.Host, dht.Peer) {
	b.Helper()
	store, err := boltbox.Open(filepath.Join(b.TempDir(), "relay.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	key := seedKey("relay")
	h := newHost(b, key, listen)
	s, err := Serve(h, Config{
		Store: store,
		Relay: mailbox.NewRelay(key, mailbox.Limits{BoxCount: 1 << 30, BoxBytes: 1 << 40, BoxTombs: 1 << 30, MaxBytes: 1 << 40, PassCount: 1 << 30, PassBytes: 1 << 40}),
		Rate:  Rate{PerSecond: -1},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return h, peerOf(h)
}

// quantile of durations, sorted in place.
func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(q*float64(len(ds))))]
}

func reportLatency(b *testing.B, name string, ds []time.Duration) {
	b.ReportMetric(float64(quantile(ds, 0.5).Microseconds()), name+"-p50-us")
	b.ReportMetric(float64(quantile(ds, 0.99).Microseconds()), name+"-p99-us")
}

// reportRaw measures, in the same run, what the machine can do at best: a
// round trip of one envelope on a held stream, and an fsync of as much.
func reportRaw(b *testing.B, relay host.Host) {
	b.Helper()
	reportLatency(b, "raw-rtt", rawTrips(b, relay))
	reportLatency(b, "raw-fsync", rawSyncs(b))
}

func rawTrips(b *testing.B, relay host.Host) []time.Duration {
	relay.SetStreamHandler(echoProtocol, func(st network.Stream) {
		buf := make([]byte, benchEnvelope)
		for {
			if _, err := io.ReadFull(st, buf); err != nil {
				_ = st.Reset()
				return
			}
			if _, err := st.Write(buf); err != nil {
				return
			}
		}
	})
	listen := overTCP
	if strings.Contains(relay.Addrs()[0].String(), "quic") {
		listen = overQUIC
	}
	h := newHost(b, seedKey("echo"), listen)
	h.Peerstore().AddAddrs(relay.ID(), relay.Addrs(), time.Hour)
	st, err := h.NewStream(b.Context(), relay.ID(), echoProtocol)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = st.Reset() }()
	buf := make([]byte, benchEnvelope)
	ds := make([]time.Duration, 0, rawRounds)
	for range rawRounds {
		start := time.Now()
		if _, err := st.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(st, buf); err != nil {
			b.Fatal(err)
		}
		ds = append(ds, time.Since(start))
	}
	return ds
}

func rawSyncs(b *testing.B) []time.Duration {
	f, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 4096)
	ds := make([]time.Duration, 0, rawRounds)
	for range rawRounds {
		start := time.Now()
		if _, err := f.Write(buf); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		ds = append(ds, time.Since(start))
	}
	return ds
}

// cpuTime is what this process, relay and senders, has used of all cores. On a
// busy machine it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// deposits leaves b.N envelopes, spread over clients with lanes each.
func deposits(b *testing.B, relay dht.Peer, clients []*Client, lanes int) {
	b.Helper()
	keys := make([]ed25519.PrivateKey, len(clients))
	for i, c := range clients {
		keys[i] = seedKey(fmt.Sprint("box", i))
		openBox(b, c, relay, keys[i])
	}
	var next atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	b.SetBytes(benchEnvelope)
	b.ResetTimer()
	start, cpu := time.Now(), cpuTime(b)
	for i := range len(clients) * lanes {
		c, key := clients[i%len(clients)], keys[i%len(clients)]
		wg.Go(func() {
			var mine []time.Duration
			for {
				n := int(next.Add(1))
				if n > b.N {
					break
				}
				at := time.Now()
				if _, err := c.Deposit(b.Context(), relay, depositTo(key, n, benchEnvelope)); err != nil {
					b.Error(err)
					break
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "deposits/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/op")
	reportLatency(b, "deposit", all)
}

func benchClients(b *testing.B, n int, listen string) []*Client {
	var clients []*Client
	for i := range n {
		clients = append(clients, clientAt(b, fmt.Sprint("sender", i), listen))
	}
	return clients
}

// One sender, one deposit at a time.
func BenchmarkDeposit1(b *testing.B) {
	h, relay := benchRelay(b, overQUIC)
	deposits(b, relay, benchClients(b, 1, overQUIC), 1)
	reportRaw(b, h)
}

// 64 senders, one deposit at a time each: on 64 hosts with a connection and a
// receipt check each, all in this process, and on one host.
func BenchmarkDeposit64(b *testing.B) {
	for _, listen := range []string{overQUIC, overTCP} {
		for _, hosts := range []int{64, 1} {
			b.Run(fmt.Sprintf("%s/hosts=%d", strings.Split(listen, "/")[3], hosts), func(b *testing.B) {
				h, relay := benchRelay(b, listen)
				deposits(b, relay, benchClients(b, hosts, listen), 64/hosts)
				reportRaw(b, h)
			})
		}
	}
}

// One host that keeps its window full.
func BenchmarkDepositPipelined(b *testing.B) {
	h, relay := benchRelay(b, overQUIC)
	deposits(b, relay, benchClients(b, 1, overQUIC), MaxInFlight)
	reportRaw(b, h)
}

const benchBacklog = 10_000

// One operation drains a backlog of 10,000 envelopes to one device and
// acknowledges all of it.
func BenchmarkDrain(b *testing.B) {
	h, relay := benchRelay(b, overQUIC)
	c := clientAt(b, "owner", overQUIC)
	key := seedKey("box")
	openBox(b, c, relay, key)
	var fetched, acked []time.Duration
	b.SetBytes(benchBacklog * benchEnvelope)
	for i := range b.N {
		b.StopTimer()
		fill(b, c, relay, key, i*benchBacklog)
		b.StartTimer()
		start := time.Now()
		ids := drain(b, c, relay, key)
		fetched = append(fetched, time.Since(start))
		if err := c.Ack(b.Context(), relay, key, ids); err != nil {
			b.Fatal(err)
		}
		acked = append(acked, time.Since(start))
	}
	b.StopTimer()
	b.ReportMetric(float64(quantile(fetched, 0.5).Milliseconds()), "fetch-10k-p50-ms")
	b.ReportMetric(benchBacklog/quantile(acked, 0.5).Seconds(), "fetch+ack/s")
	reportRaw(b, h)
}

func fill(b *testing.B, c *Client, relay dht.Peer, key ed25519.PrivateKey, from int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range MaxInFlight {
		wg.Go(func() {
			for n := next.Add(1); n <= benchBacklog; n = next.Add(1) {
				if _, err := c.Deposit(b.Context(), relay, depositTo(key, from+int(n), benchEnvelope)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// errEnough ends a Collect.
var errEnough = fmt.Errorf("enough")

func drain(b *testing.B, c *Client, relay dht.Peer, key ed25519.PrivateKey) []mailbox.EnvelopeID {
	var ids []mailbox.EnvelopeID
	_ = c.Collect(b.Context(), relay, []ed25519.PrivateKey{key}, func(_ mailbox.ID, items []mailbox.Stored) error {
		for _, it := range items {
			ids = append(ids, it.ID)
		}
		if len(items) == 0 {
			return errEnough
		}
		return nil
	}, nil)
	if len(ids) != benchBacklog {
		b.Fatalf("%d of %d drained", len(ids), benchBacklog)
	}
	return ids
}

// From the call of Deposit at the sender to the envelope at the owner.
func BenchmarkPush(b *testing.B) {
	h, relay := benchRelay(b, overQUIC)
	owner, sender := clientAt(b, "owner", overQUIC), clientAt(b, "sender", overQUIC)
	key := seedKey("box")
	openBox(b, owner, relay, key)
	came := make(chan time.Time, 1)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = owner.Collect(ctx, relay, []ed25519.PrivateKey{key}, func(mailbox.ID, []mailbox.Stored) error {
			came <- time.Now()
			return nil
		}, nil)
	}()
	<-came // drained
	var ds []time.Duration
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		if _, err := sender.Deposit(b.Context(), relay, depositTo(key, i, benchEnvelope)); err != nil {
			b.Fatal(err)
		}
		ds = append(ds, (<-came).Sub(start))
	}
	b.StopTimer()
	reportLatency(b, "push", ds)
	cancel()
	<-done
	reportRaw(b, h)
}
