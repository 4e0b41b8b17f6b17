//go:build root

package p2p

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// idleEnv sets how long BenchmarkIdle watches (Go duration).
const idleEnv = "KITH_BENCH_IDLE"

// BenchmarkIdle is a person's node with three relays and nothing to do: memory, processor, and bytes on the wire (IP
// level, both ways), extrapolated from the watched time to an hour. The node has a network namespace of its own, and
// what passes the one wire into it is counted, whatever the protocol.
func BenchmarkIdle(b *testing.B) {
	watch := 10 * time.Minute // the longest pause between two things that happen regularly
	if s := os.Getenv(idleEnv); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			b.Fatal(err)
		}
		watch = d
	}
	const near, far = "10.213.7.1", "10.213.7.2"
	ns := "kith-idle-" + strconv.Itoa(os.Getpid())
	wire := "ki" + strconv.Itoa(os.Getpid())
	ip := func(args ...string) {
		b.Helper()
		if said, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			b.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, said)
		}
	}
	ip("netns", "add", ns)
	b.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", ns)
	// Where there is IPv6, its own talk is not the node's.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+wire+"/disable_ipv6", []byte("1"), 0)
	ip("addr", "add", near+"/24", "dev", wire)
	ip("link", "set", wire, "up")
	ip("-n", ns, "addr", "add", far+"/24", "dev", "eth0")
	ip("-n", ns, "link", "set", "lo", "up")
	ip("-n", ns, "link", "set", "eth0", "up")

	var relays []*Node
	var doors []string
	for i := range 3 {
		r := testNode(b, "relay"+strconv.Itoa(i), func(c *Config) {
			c.Relay, c.Listen = true, []string{"/ip4/" + near + "/tcp/0", "/ip4/" + near + "/udp/0/quic-v1"}
			knows(relays...)(c)
		})
		relays = append(relays, r)
		doors = append(doors, r.Addrs()...)
	}
	b.Setenv(listenEnv, far)
	pid, _, _ := startIn(b, []string{"ip", "netns", "exec", ns}, benchHome(b, "ada"), doors...)
	settle(b, relays)
	rest(b.Context(), settled)
	for b.Loop() {
		before, cpu := onWire(b, wire), cpuOf(b, pid)
		rest(b.Context(), watch)
		hours := watch.Hours()
		b.ReportMetric(float64(onWire(b, wire)-before)/1000/hours, "KB/hour")
		b.ReportMetric(100*(cpuOf(b, pid)-cpu).Seconds()/watch.Seconds(), "cpu-%")
		b.ReportMetric(rssOf(b, pid), "rss-MB")
	}
}

// settled is how long a node gets to become quiet: its first sweep lets go of what it needed only to begin.
const settled = advertSweep + time.Minute

// settle waits until the node has its mailbox at every relay.
func settle(b *testing.B, relays []*Node) {
	b.Helper()
	for _, r := range relays {
		eventually(b, "collect stream", func() bool { return r.Relay().Collectors > 0 })
	}
}

// onWire is how many bytes have passed an interface, without what Ethernet adds.
func onWire(b *testing.B, name string) (sum int64) {
	b.Helper()
	const header = 14
	for counter, weight := range map[string]int64{"rx_bytes": 1, "tx_bytes": 1, "rx_packets": -header, "tx_packets": -header} {
		raw, err := os.ReadFile(filepath.Join("/sys/class/net", name, "statistics", counter))
		if err != nil {
			b.Fatal(err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += weight * n
	}
	return sum
}

// rssOf is the resident memory of a process in MB (10^6 bytes).
func rssOf(b *testing.B, pid int) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		if f := strings.Fields(string(line)); len(f) == 3 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb * 1024 / 1e6
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// cpuOf is the processor time that a process has used.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	const tick = 10 * time.Millisecond // USER_HZ
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * tick
}
