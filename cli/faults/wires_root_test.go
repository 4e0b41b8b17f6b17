//go:build root

package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"
)

// wires is a network of namespaces with one wire each: a TUN device whose other end is in this process. What comes out
// of a wire goes into the one that it is addressed to, unless the two are apart or chance takes it. So who hears whom,
// and how much is lost, is a table here, the same on every kernel, and changes between two packets.
type wires struct {
	t     testing.TB
	names []string
	ends  []*os.File
	lost  atomic.Int64
	all   sync.WaitGroup

	mu   sync.RWMutex
	far  []bool // on the other side of the cut
	loss float64
}

// networks tells several of them apart in one process.
var networks atomic.Int64

// newWires lays so many wires. Their ends have addresses in networks of their own: no election cap puts them together.
func newWires(t testing.TB, count int, seed uint64) *wires {
	t.Helper()
	w := &wires{t: t, far: make([]bool, count)}
	id := fmt.Sprintf("k%d-%d", os.Getpid()%100_000, networks.Add(1))
	t.Cleanup(w.end)
	for i := range count {
		ns := fmt.Sprintf("%s-%d", id, i)
		w.ip("netns", "add", ns)
		w.names = append(w.names, ns)
		end, err := openTUN(ns)
		check(t, err)
		w.ends = append(w.ends, end)
		w.ip("link", "set", ns, "netns", ns, "name", "eth0")
		w.ip("-n", ns, "link", "set", "lo", "up")
		w.ip("-n", ns, "addr", "add", w.addr(i)+"/32", "dev", "eth0")
		w.ip("-n", ns, "link", "set", "eth0", "up")
		w.ip("-n", ns, "route", "add", "default", "dev", "eth0")
	}
	for i := range w.ends {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		w.all.Go(func() { w.carry(i, rng) })
	}
	return w
}

// end closes the wires and removes the namespaces.
func (w *wires) end() {
	for _, e := range w.ends {
		_ = e.Close()
	}
	w.all.Wait()
	for _, ns := range w.names {
		if said, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			w.t.Errorf("ip netns del %s: %v\n%s", ns, err, said)
		}
	}
}

func (w *wires) ip(args ...string) {
	w.t.Helper()
	if said, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		w.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

func (w *wires) addr(i int) string { return fmt.Sprintf("10.%d.0.1", firstNet+i) }

const firstNet = 100 // second byte of the first wire's address

// openTUN makes a device that gives and takes bare IP packets.
func openTUN(name string) (*os.File, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	var req struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:syscall.IFNAMSIZ-1], name)
	req.flags = syscall.IFF_TUN | syscall.IFF_NO_PI
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TUNSETIFF, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return nil, errors.Join(fmt.Errorf("TUNSETIFF %s: %w", name, errno), syscall.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// carry takes what one end sends to the others.
func (w *wires) carry(from int, rng *rand.Rand) {
	packet := make([]byte, 1<<16)
	for {
		n, err := w.ends[from].Read(packet)
		if err != nil {
			return
		}
		if to, ok := w.way(from, packet[:n], rng); ok {
			_, _ = w.ends[to].Write(packet[:n]) // a wire that takes no more loses packets
		}
	}
}

// way is where a packet goes, if it gets there.
func (w *wires) way(from int, packet []byte, rng *rand.Rand) (to int, ok bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 || packet[16] != 10 {
		return 0, false
	}
	to = int(packet[17]) - firstNet
	w.mu.RLock()
	defer w.mu.RUnlock()
	if to < 0 || to >= len(w.far) || to == from || w.far[from] != w.far[to] {
		return 0, false
	}
	if w.loss > 0 && rng.Float64() < w.loss {
		w.lost.Add(1)
		return 0, false
	}
	return to, true
}

// cut puts some ends out of reach of the others, and loses a share of what goes between those that hear each other.
func (w *wires) cut(loss float64, far ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.far)
	for _, i := range far {
		w.far[i] = true
	}
	w.loss = loss
}

func (w *wires) heal() { w.cut(0) }

// apart reports whether two ends do not hear each other.
func (w *wires) apart(i, j int) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.far[i] != w.far[j]
}
