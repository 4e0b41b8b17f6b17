package relay

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/kith-im/kith/dht"
)

// The senders of BenchmarkDepositApart are a process of their own, this test
// binary started again, so that the relay's share of the machine shows.
const sendersVariable = "KITH_RELAY_BENCH_SENDERS"

// BenchmarkDepositApart is 64 hosts in another process, each with one deposit
// at a time; relay-cpu-us/op is what the relay's process alone used.
func BenchmarkDepositApart(b *testing.B) {
	h, relay := benchRelay(b, overQUIC)
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", sendersVariable, b.N, encodePeer(relay)))
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
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		b.Fatalf("senders: %q", lines.Text())
	}
	b.ResetTimer()
	start, cpu := time.Now(), cpuTime(b)
	_, _ = io.WriteString(in, "go\n")
	if !lines.Scan() || lines.Text() != "done" {
		b.Fatalf("senders: %q", lines.Text())
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "deposits/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "relay-cpu-us/op")
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	reportRaw(b, h)
}

func encodePeer(p dht.Peer) string {
	return hex.EncodeToString(p.ID) + " " + hex.EncodeToString(p.Addrs[0])
}

// sendersMain is the other process: what it is told in the variable, then
// "ready", wait for a line, all deposits, "done".
func sendersMain(told string) error {
	var n int
	var id, addr string
	if _, err := fmt.Sscan(told, &n, &id, &addr); err != nil {
		return err
	}
	var relay dht.Peer
	relay.ID, _ = hex.DecodeString(id)
	a, _ := hex.DecodeString(addr)
	relay.Addrs = [][]byte{a}
	var clients []*Client
	for i := range 64 {
		k, err := crypto.UnmarshalEd25519PrivateKey(seedKey(fmt.Sprint("apart", i)))
		if err != nil {
			return err
		}
		h, err := libp2p.New(libp2p.Identity(k), libp2p.NoListenAddrs, libp2p.Transport(libp2pquic.NewTransport), libp2p.DisableMetrics())
		if err != nil {
			return err
		}
		c := NewClient(h, nil)
		clients = append(clients, c)
		if _, err := leaseBox(context.Background(), c, relay, seedKey(fmt.Sprint("box", i))); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if err := sendAll(clients, relay, n); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

func sendAll(clients []*Client, relay dht.Peer, n int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, len(clients))
	for i, c := range clients {
		key := seedKey(fmt.Sprint("box", i))
		wg.Go(func() {
			for k := int(next.Add(1)); k <= n; k = int(next.Add(1)) {
				if _, err := c.Deposit(context.Background(), relay, depositTo(key, k, benchEnvelope)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

// runSenders says whether this process is the senders of a benchmark.
func runSenders() bool {
	told := os.Getenv(sendersVariable)
	if strings.TrimSpace(told) == "" {
		return false
	}
	if err := sendersMain(told); err != nil {
		fmt.Fprintln(os.Stderr, "senders:", err)
		os.Exit(1)
	}
	return true
}
