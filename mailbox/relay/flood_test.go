package relay

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/boltbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
	"github.com/kith-im/kith/mailbox/relay/rate"
)

// The relay and the attackers of BenchmarkFlood are processes of their own,
// this test binary started again: "relay on|off DIR" or "attack PEER ADDR".
const floodVariable = "KITH_RELAY_BENCH_FLOOD"

const (
	floodHosts   = 100 // attackers' hosts, each with a peer id of its own
	floodStreams = 100 // streams that each of them tries to hold: 10,000 in all
	honestHosts  = 8
	honestPause  = 5 * time.Millisecond
	floodPhase   = 8 * time.Second
	floodPause   = 20 * time.Second      // before an attacker opens a stream again
	floodGap     = 20 * time.Millisecond // between two frames of an attacker's stream
)

// BenchmarkFlood prints how long honest deposits take while nobody else is
// there and while 100 hosts attack with 10,000 streams, and what memory the
// relay's process has at most; with the limits on, and off as the control. All
// share this machine's processors: the attackers are paced, because they are to
// exhaust the relay and not the machine, and the relay says what it used.
func BenchmarkFlood(b *testing.B) {
	for _, limits := range []string{"on", "off"} {
		b.Run("limits="+limits, func(b *testing.B) {
			for range b.N {
				flood(b, limits)
			}
		})
	}
}

func flood(b *testing.B, limits string) {
	r := startChild(b, "relay "+limits+" "+b.TempDir())
	var relay dht.Peer
	var id, addr, attacked string // by IPv4, and by IPv6
	if _, err := fmt.Sscan(r.line(b), &id, &addr, &attacked); err != nil {
		b.Fatal(err)
	}
	relay.ID, _ = hex.DecodeString(id)
	raw, _ := hex.DecodeString(addr)
	relay.Addrs = [][]byte{raw}
	var clients []*Client
	for i := range honestHosts {
		c := clientAt(b, fmt.Sprint("honest", i), overTCP)
		openBox(b, c, relay, seedKey(fmt.Sprint("box", i)))
		clients = append(clients, c)
	}
	quiet := honest(b, clients, relay, 0)
	rss := r.rss(b)
	a := startChild(b, "attack "+id+" "+attacked)
	if got := a.line(b); got != "ready" {
		b.Fatalf("attackers: %q", got)
	}
	most := atomic.Int64{}
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			most.Store(max(most.Load(), r.rss(b)))
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	flooded := honest(b, clients, relay, 1)
	close(stop)
	watch.Wait()
	_, _ = io.WriteString(r.in, "stop\n")
	b.Logf("relay: %s", r.line(b))
	_, _ = io.WriteString(a.in, "stop\n")
	b.Logf("attackers: %s", a.line(b))
	reportLatency(b, "quiet", quiet)
	reportLatency(b, "flooded", flooded)
	b.ReportMetric(float64(len(quiet)), "quiet-deposits")
	b.ReportMetric(float64(len(flooded)), "flooded-deposits")
	b.ReportMetric(float64(rss>>20), "quiet-rss-MiB")
	b.ReportMetric(float64(most.Load()>>20), "flooded-rss-MiB")
}

// honest deposits one at a time from every client for a while.
func honest(b *testing.B, clients []*Client, relay dht.Peer, phase int) []time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(floodPhase)
	for i, c := range clients {
		wg.Go(func() {
			var mine []time.Duration
			for n := 0; time.Now().Before(end); n++ {
				at := time.Now()
				if _, err := c.Deposit(b.Context(), relay, depositTo(seedKey(fmt.Sprint("box", i)), phase<<20+n%4000, benchEnvelope)); err != nil {
					b.Logf("honest deposit: %v", err)
				}
				mine = append(mine, time.Since(at))
				<-time.After(honestPause)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	wg.Wait()
	return all
}

// child is a process of a benchmark.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startChild(b *testing.B, told string) *child {
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), floodVariable+"="+told)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &child{cmd, in, bufio.NewScanner(out)}
}

func (c *child) line(b *testing.B) string {
	if !c.out.Scan() {
		b.Fatal("the other process has ended")
	}
	return c.out.Text()
}

// rss is what the process has in memory, in bytes; 0 where nobody says.
func (c *child) rss(b *testing.B) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// runFlood says whether this process is part of a flood.
func runFlood() bool {
	told := strings.Fields(os.Getenv(floodVariable))
	if len(told) != 3 {
		return false
	}
	run := floodRelay
	if told[0] == "attack" {
		run = floodAttack
	}
	if err := run(told[1], told[2]); err != nil {
		fmt.Fprintln(os.Stderr, told[0]+":", err)
		os.Exit(1)
	}
	return true
}

func floodRelay(limits, dir string) error {
	store, err := boltbox.Open(filepath.Join(dir, "relay.db"))
	if err != nil {
		return err
	}
	defer store.Close()
	key := seedKey("relay")
	h, err := floodHost(key, libp2p.ListenAddrStrings(overTCP, "/ip6/::1/tcp/0"))
	if err != nil {
		return err
	}
	defer h.Close()
	cfg := Config{Store: store, Relay: mailbox.NewRelay(key, mailbox.Limits{})}
	if limits == "off" {
		cfg.Rate = Rate{PerSecond: -1}
	}
	s, err := Serve(h, cfg)
	if err != nil {
		return err
	}
	// The attackers' hosts stand for four addresses that are not loopback.
	s.group = func(a ma.Multiaddr) netip.Prefix {
		port, err := a.ValueForProtocol(ma.P_TCP)
		if _, v6 := a.ValueForProtocol(ma.P_IP6); v6 != nil || err != nil {
			return netip.Prefix{}
		}
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, port[len(port)-1] & 3}), 32)
	}
	if limits == "off" {
		s.group = rate.Group
		s.load.Over = func() {}
		s.pending.give(1 << 40)
	}
	addrs := h.Addrs()
	slices.SortFunc(addrs, func(a, b ma.Multiaddr) int { return a.Compare(b) })
	fmt.Println(hex.EncodeToString([]byte(h.ID())), hex.EncodeToString(addrs[0].Bytes()), hex.EncodeToString(addrs[1].Bytes()))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	st := s.Stats()
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	fmt.Printf("cpu %d ms, streams %d, deposits %d, refused %v, malformed %d, timed out %d, over limits %d, held %d KiB\n",
		(used.Utime.Nano()+used.Stime.Nano())/1e6, st.Streams, st.Deposits, st.RefusedBy, st.Malformed, st.TimedOut, st.OverLimits, st.HeldBytes>>10)
	return s.Close()
}

func floodHost(key ed25519.PrivateKey, opts ...libp2p.Option) (host.Host, error) {
	k, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return libp2p.New(append(opts, libp2p.Identity(k), libp2p.Transport(tcp.NewTCPTransport), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}))...)
}

// floodAttack holds streams, each with another vice, and opens them again when
// the relay has ended them.
func floodAttack(id, addr string) error {
	rawID, _ := hex.DecodeString(id)
	rawAddr, _ := hex.DecodeString(addr)
	relay := peer.ID(rawID)
	at, err := ma.NewMultiaddrBytes(rawAddr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var opened, sent atomic.Int64
	var hosts []host.Host
	for i := range floodHosts {
		h, err := floodHost(seedKey(fmt.Sprint("attacker", i)), libp2p.NoListenAddrs)
		if err != nil {
			return err
		}
		h.Peerstore().AddAddr(relay, at, peerstore.PermanentAddrTTL)
		if err := h.Connect(ctx, peer.AddrInfo{ID: relay}); err != nil {
			return err
		}
		hosts = append(hosts, h)
	}
	for i, h := range hosts {
		for k := range floodStreams {
			go func() {
				for ctx.Err() == nil {
					if st, err := h.NewStream(ctx, relay, Protocol); err == nil {
						opened.Add(1)
						n, _ := vices[(i+k)%len(vices)](st, rawID, k)
						sent.Add(n)
						_ = st.Reset()
					}
					<-time.After(floodPause)
				}
			}()
		}
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Printf("%d streams opened, %d MiB sent by those that ended\n", opened.Load(), sent.Load()>>20)
	return nil
}

// vices are what an attacker does with a stream until it breaks.
var vices = []func(st network.Stream, relay []byte, k int) (int64, error){
	func(st network.Stream, _ []byte, k int) (int64, error) { // deposits, and never reads an answer
		return repeat(st, depositAsk(1, depositTo(seedKey("box0"), k, 8000)))
	},
	func(st network.Stream, _ []byte, _ int) (int64, error) { // a giant frame that never ends
		return trickleTo(st, frameOf(frame.Max, make([]byte, frame.Max-64)))
	},
	func(st network.Stream, _ []byte, _ int) (int64, error) { // the longest answers, never read
		return repeat(st, &pb.Ask{Id: 1, What: &pb.Ask_Gossip{Gossip: &pb.Gossip{}}})
	},
	func(st network.Stream, relay []byte, k int) (int64, error) { // reserves of boxes without number
		key := seedKey(fmt.Sprint("reserved", k))
		room := &pb.Room{Key: publicOf(key), Sig: mailbox.SignRequest(key, relay, mailbox.VerbReserve, nil)}
		return repeat(st, &pb.Ask{Id: 1, What: &pb.Ask_Reserve{Reserve: &pb.Reserve{Boxes: slices.Repeat([]*pb.Room{room}, MaxBoxesPerAsk)}}})
	},
	func(st network.Stream, relay []byte, k int) (int64, error) { // proofs of boxes
		b, _ := frame.Append(nil, collectAsk())
		if _, err := st.Write(b); err != nil {
			return 0, err
		}
		key := seedKey(fmt.Sprint("proved", k))
		return repeat(st, proveAsk(1, key, relay, make([]byte, nonceSize)))
	},
	func(st network.Stream, _ []byte, _ int) (int64, error) { // large comparisons
		return repeat(st, &pb.Ask{Id: 1, What: &pb.Ask_Compare{Compare: &pb.Compare{Sums: make([]byte, sumSize*MaxCompare)}}})
	},
	func(st network.Stream, _ []byte, _ int) (int64, error) { // garbage
		return repeat(st, &pb.Ask{Id: 1})
	},
	func(st network.Stream, _ []byte, _ int) (int64, error) { // nothing
		return io.Copy(io.Discard, st)
	},
}

func repeat(st network.Stream, ask *pb.Ask) (n int64, err error) {
	b, err := frame.Append(nil, ask)
	for err == nil {
		var k int
		k, err = st.Write(b)
		n += int64(k)
		<-time.After(floodGap)
	}
	return n, err
}

func trickleTo(st network.Stream, b []byte) (int64, error) {
	n, err := st.Write(b)
	for err == nil {
		<-time.After(time.Second)
		_, err = st.Write([]byte{0})
	}
	return int64(n), err
}
