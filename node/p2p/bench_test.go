package p2p

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// Some benchmarks want a node in a process of its own: the test binary runs
// itself with childEnv set to the home folder, and the bootstrap addresses as
// arguments.
const childEnv = "KITH_P2P_CHILD"

// listenEnv is the IPv4 address that such a node listens on; empty: this machine alone.
const listenEnv = "KITH_P2P_LISTEN"

func TestMain(m *testing.M) {
	if home := os.Getenv(childEnv); home != "" {
		child(home, os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// child runs a node until its standard input ends.
func child(home string, bootstrap []string) {
	c := Config{Home: home, Loopback: true}
	if at := os.Getenv(listenEnv); at != "" {
		c.Listen = []string{"/ip4/" + at + "/tcp/4101", "/ip4/" + at + "/udp/4101/quic-v1"}
	}
	for _, s := range bootstrap {
		info, err := peer.AddrInfoFromString(s)
		if err != nil {
			panic(err)
		}
		p := dht.Peer{ID: []byte(info.ID)}
		for _, a := range info.Addrs {
			p.Addrs = append(p.Addrs, a.Bytes())
		}
		c.Bootstrap = append(c.Bootstrap, p)
	}
	n, err := Start(context.Background(), c)
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	n.Close()
}

// startChild runs a node in a process of its own and returns when it is ready.
func startChild(b *testing.B, home string, bootstrap ...string) (pid int, took time.Duration, stop func()) {
	b.Helper()
	return startIn(b, nil, home, bootstrap...)
}

// startIn is startChild with a command before it, and settings of its environment.
func startIn(b *testing.B, before []string, home string, args ...string) (pid int, took time.Duration, stop func()) {
	b.Helper()
	line := append(append(slices.Clone(before), os.Args[0]), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+home)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop = sync.OnceFunc(func() { in.Close(); cmd.Wait() })
	b.Cleanup(stop)
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "ready\n" {
		b.Fatalf("%q, %v", said, err)
	}
	return cmd.Process.Pid, time.Since(began), stop
}

func benchHome(b *testing.B, name string) string {
	b.Helper()
	home := filepath.Join(b.TempDir(), name)
	if _, _, err := Init(home, InitParams{Name: name, DeviceName: "desk"}); err != nil {
		b.Fatal(err)
	}
	return home
}

// quantiles reports the median and the 99th percentile in microseconds.
func quantiles(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	at := func(q int) float64 { return float64(took[(len(took)-1)*q/100].Nanoseconds()) / 1000 }
	b.ReportMetric(at(50), name+"p50-us")
	b.ReportMetric(at(99), name+"p99-us")
}

// BenchmarkReady is the time from exec to a node that takes requests.
func BenchmarkReady(b *testing.B) {
	home := benchHome(b, "ada")
	var took []time.Duration
	for b.Loop() {
		_, d, stop := startChild(b, home)
		took = append(took, d)
		stop()
	}
	quantiles(b, "", took)
}

// disk is the raw medium under everything.
type disk struct{ f *os.File }

func openDisk(b *testing.B) disk {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return disk{f}
}

// sync appends one page and waits until the disk has it.
func (d disk) sync(b *testing.B) time.Duration {
	began := time.Now()
	d.f.Write(make([]byte, 4096))
	if err := d.f.Sync(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// BenchmarkFsync is one append and fsync.
func BenchmarkFsync(b *testing.B) {
	d := openDisk(b)
	var took []time.Duration
	for b.Loop() {
		took = append(took, d.sync(b))
	}
	quantiles(b, "", took)
}

// BenchmarkHeldStream is the round trip of 1 KiB on a held QUIC stream: what
// the network under a message costs.
func BenchmarkHeldStream(b *testing.B) {
	a, z := testHost(b, "a"), testHost(b, "z")
	z.SetStreamHandler("/echo", func(s network.Stream) { io.Copy(s, s) })
	quic := slices.DeleteFunc(z.Addrs(), func(a ma.Multiaddr) bool { return transportOf(a) != "quic" })
	if err := a.Connect(b.Context(), peer.AddrInfo{ID: z.ID(), Addrs: quic}); err != nil {
		b.Fatal(err)
	}
	s, err := a.NewStream(b.Context(), z.ID(), "/echo")
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	buf := make([]byte, 1024)
	for b.Loop() {
		began := time.Now()
		s.Write(buf)
		if _, err := io.ReadFull(s, buf); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	quantiles(b, "", took)
}

// BenchmarkOnlineMessage is one message after the other, from the call to
// "delivered" on the sender's disk: three commits and two trips. The disk's own
// time is taken in the same run, one fsync after each message.
func BenchmarkOnlineMessage(b *testing.B) {
	ada, ben := testNode(b, "ada", nil), testNode(b, "ben", nil)
	befriend(b, ada, ben, "ada")
	var since uint64
	delivered(b, ben, &since, send(b, ben, "ada", "warm"))
	d := openDisk(b)
	var took, fsync []time.Duration
	for b.Loop() {
		began := time.Now()
		delivered(b, ben, &since, send(b, ben, "ada", "hello"))
		took = append(took, time.Since(began))
		fsync = append(fsync, d.sync(b))
	}
	quantiles(b, "", took)
	quantiles(b, "fsync-", fsync)
}

// delivered follows the events of n until message id is delivered.
func delivered(b *testing.B, n *Node, since *uint64, id string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), within)
	defer cancel()
	for {
		list, err := n.Events(ctx, *since, 100)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range list {
			*since = e.Cursor
			if e.Type == "stage" && e.ID == id && e.Stage != nil && e.Stage.Stage == view.StageDelivered {
				return
			}
		}
	}
}

// BenchmarkOnlineBurst is 512 messages by 64 callers at once, until the other
// device shows them all: what group commit is for.
func BenchmarkOnlineBurst(b *testing.B) {
	const callers, each = 64, 8
	ada, ben := testNode(b, "ada", nil), testNode(b, "ben", nil)
	befriend(b, ada, ben, "ada")
	want := len(messagesOf(b, ada))
	for b.Loop() {
		var sent sync.WaitGroup
		for range callers {
			sent.Go(func() {
				for range each {
					send(b, ben, "ada", "hello")
				}
			})
		}
		sent.Wait()
		want += callers * each
		eventually(b, "all", func() bool { return len(messagesOf(b, ada)) >= want })
	}
	b.ReportMetric(float64(callers*each*b.N)/b.Elapsed().Seconds(), "messages/s")
}

func messagesOf(b *testing.B, n *Node) (list []view.Message) {
	b.Helper()
	handle := handleOf(b, n) // not inside View: a read inside a read waits for ever behind a growing file
	n.View(func(tx store.Tx) (err error) {
		list, err = talk.Messages(tx, handle, 1<<20)
		return err
	})
	return list
}

// countingProxy forwards UDP to the relay's QUIC port, adds 28 bytes of IP and
// UDP header per packet to the count, and returns the address to dial.
func countingProxy(b *testing.B, r *Node, count *atomic.Int64) string {
	b.Helper()
	var port string
	for _, a := range r.host.Addrs() {
		if transportOf(a) == "quic" {
			port, _ = a.ValueForProtocol(ma.P_UDP)
		}
	}
	front, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	back, err := net.Dial("udp4", "127.0.0.1:"+port)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { front.Close(); back.Close() })
	const header = 28
	var client atomic.Value
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := front.ReadFrom(buf)
			if err != nil {
				return
			}
			client.Store(from)
			count.Add(int64(n + header))
			back.Write(buf[:n])
		}
	}()
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			count.Add(int64(n + header))
			if to, ok := client.Load().(net.Addr); ok {
				front.WriteTo(buf[:n], to)
			}
		}
	}()
	return fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1/p2p/%s", front.LocalAddr().(*net.UDPAddr).Port, r.PeerID())
}
