package crowd_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/result"
)

// kept is what a profile of the heap shows.
var kept *crowd.Crowd

func init() {
	signature.Remember(1 << 19)
}

// spent is the CPU time of this process, in seconds, for others may use the machine; and the most memory that it ever had, in MB.
func spent(t *testing.T) (cpu, memory float64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds(), float64(u.Maxrss) * 1024 / 1e6 // kB, as Linux has it
}

// head is that of the table "What a town costs" in docs/simulation.md, of which a row is printed.
const head = "| people, devices, relays | contacts | days | messages a person and day | crypto | CPU | memory | events | deliveries | lost, doubled, late |\n" +
	"|---|---|---|---|---|---|---|---|---|---|"

// row is what a population cost, of which setUp seconds were its set-up.
func row(t *testing.T, c *crowd.Config, r *result.Result, setUp, alive float64) string {
	cpu, most := spent(t)
	count := func(name string) string {
		v, ok := r.Figure(name)
		if !ok {
			t.Errorf("there is no %s", name)
		}
		digits := strconv.FormatFloat(v.Value, 'f', -1, 64)
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
		return digits
	}
	days, devices := c.For.Hours()/24, float64(len(kept.World().Devices()))
	return fmt.Sprintf("| %s, %s, %s | %d | %.3g | %.3g | %s | %.3g s, %.3g of them set-up: %.2g ms a device and day | %.0f MB at most, %.0f kB a device at the end | %s | %s | %s, %s, %s |",
		count("users.count"), count("devices.count"), count("relays.count"), c.Contacts, days, c.Messages, r.Crypto,
		cpu, setUp, (cpu-setUp)*1000/devices/days, most, alive/1000/devices,
		count("events.count"), count("deliveries.count"), count("lost.count"), count("doubled.count"), count("late.count"))
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
	dht.Remember(crowd.Records(c.Users))
	x, err := crowd.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // kith sim lets more garbage lie about in a small world, and less in a large one
	setUp := 0.0
	for more := true; more; {
		settles := strings.HasPrefix(x.Progress(), "setting up")
		more = x.Step()
		cpu, _ := spent(t)
		if settles {
			setUp = cpu
		}
		t.Logf("%6.1f s  %s, %d events", cpu, x.Progress(), x.World().Events())
	}
	if x.Err() != nil {
		t.Fatal(x.Err())
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	t.Logf("%d devices, %.0f kB each; %.0f MB in %.1f million pieces allocated in all", len(x.World().Devices()),
		float64(m.HeapAlloc)/1000/float64(len(x.World().Devices())), float64(m.TotalAlloc)/1e6, float64(m.Mallocs)/1e6)
	kept = x
	r := x.Result()
	for _, name := range []string{"lost.count", "doubled.count", "late.count", "removed.read.count", "broken.count", "refused.count"} {
		if v, ok := r.Figure(name); !ok || v.Value != 0 {
			t.Errorf("%s: %g %t", name, v.Value, ok)
		}
	}
	for _, v := range r.Figures() {
		t.Logf("%-28s %g %s", v.Name, v.Value, v.Unit)
	}
	fmt.Println(head + "\n" + row(t, &c, r, setUp, float64(m.HeapAlloc)))
}
