package crowd_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/simnet/crowd"
)

// kept is what a profile of the heap shows.
var kept *crowd.Crowd

func init() {
	signature.Remember(1 << 19)
}

// spent is the CPU time of this process, in seconds: others may use the machine.
func spent(t *testing.T) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// TestCost plays a population of the size that the environment gives, a small one if it gives none, and prints what it costs.
func TestCost(t *testing.T) {
	c := crowd.Default()
	c.Users, c.Contacts, c.RelayCount, c.For = 4, 2, 5, 3*time.Hour
	for name, set := range map[string]func(float64){
		"USERS":    func(v float64) { c.Users = int(v) },
		"DAYS":     func(v float64) { c.For = time.Duration(v * 24 * float64(time.Hour)) },
		"MESSAGES": func(v float64) { c.Messages = v },
		"CONTACTS": func(v float64) { c.Contacts = int(v) },
		"RELAYS":   func(v float64) { c.RelayCount = int(v) },
	} {
		if v, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
			set(v)
		}
	}
	if v := os.Getenv("UNTIL"); v != "" {
		c.Until = v
	}
	dht.Remember(max(1<<13, 24*c.Users)) // as kith sim does
	x, err := crowd.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // kith sim lets more garbage lie about in a small world, and less in a large one
	for more := true; more; {
		more = x.Step()
		t.Logf("%6.1f s  %s, %d events", spent(t), x.Progress(), x.World().Events())
	}
	if x.Err() != nil {
		t.Fatal(x.Err())
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	t.Logf("%d devices, %.0f kB each; %.0f MB in %.1f million pieces allocated in all", len(x.World().Devices()),
		float64(m.HeapAlloc)/1000/float64(len(x.World().Devices())), float64(m.TotalAlloc)/1e6, float64(m.Mallocs)/1e6)
	r := x.Result()
	kept = x
	for _, name := range []string{"lost.count", "doubled.count", "late.count", "removed.read.count", "broken.count", "refused.count"} {
		if v, ok := r.Figure(name); !ok || v.Value != 0 {
			t.Errorf("%s: %g %t", name, v.Value, ok)
		}
	}
	for _, v := range r.Figures() {
		t.Logf("%-28s %g %s", v.Name, v.Value, v.Unit)
	}
}
