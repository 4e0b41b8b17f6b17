//go:build unix

package boltbox

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
)

// BenchmarkKeep stores b.N envelopes of 2 KiB in 5,000 boxes over five days of
// expiry (-benchtime 500000x is the goal's relay: 1 GiB, 100,000 envelopes a
// day) and reports what they cost: disk over payload, heap per envelope,
// opening, memory, draining at random, scrubbing, and dropping one day.
func BenchmarkKeep(b *testing.B) {
	x := newBench(b, 5000)
	path := x.store.path
	const size = 2048
	for i := 0; i < b.N; {
		err := x.store.Do(context.Background(), func(tx mailbox.Tx) error {
			for range min(256, b.N-i) {
				body := make([]byte, size)
				binary.BigEndian.PutUint64(body, uint64(i))
				e := mailbox.Entry{
					ID: mailbox.EnvelopeIDOf(body), Stored: x.now.UnixMilli(), Size: size,
					Expires: x.now.Add(time.Duration(i/5000%5+1) * 24 * time.Hour).UnixMilli(),
				}
				if err := tx.Add(x.boxes[i%5000], e, body); err != nil {
					return err
				}
				i++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(stat.Blocks*512)/float64(b.N*size), "disk/payload")
	b.ReportMetric(float64(heap())/float64(b.N), "heap-B/envelope")
	b.ReportMetric(residentMiB(), "rss-filled-MiB")
	_ = x.store.Close()
	x.store, x.boxes = nil, x.boxes[:5000:5000]
	debug.FreeOSMemory()
	took(b, "open", func() { x.store = mustOpen(b, path) })
	s := x.store
	b.ReportMetric(residentMiB(), "rss-opened-MiB")
	took(b, "drain", func() { x.drainSome(b, 1000) })
	b.ReportMetric(residentMiB(), "rss-drained-MiB")
	took(b, "scrub", func() {
		if damaged, err := s.Scrub(context.Background(), 0); err != nil || len(damaged) != 0 {
			b.Fatal(damaged, err)
		}
	})
	dropped := 0
	took(b, "drop-day", func() {
		err := s.Do(context.Background(), func(tx mailbox.Tx) error {
			gone, err := tx.DropDay(mailbox.DayOf(x.now.Add(24 * time.Hour).UnixMilli()))
			dropped = gone.Count + gone.Tombs
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	})
	b.ReportMetric(float64(dropped), "dropped")
	_ = s.Close()
}

// drainSome fetches and acks all of some boxes, in random order.
func (x *bench) drainSome(b *testing.B, boxes int) {
	b.Helper()
	began, drained := time.Now(), 0
	for _, n := range rand.New(rand.NewPCG(1, 1)).Perm(len(x.boxes))[:boxes] {
		var ids []mailbox.EnvelopeID
		err := x.store.View(func(tx mailbox.Tx) error {
			ids = nil
			items, _, err := x.relay.Fetch(tx, x.now, x.boxes[n], 0, 0, 1<<20)
			for _, it := range items {
				ids = append(ids, it.ID)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		if len(ids) == 0 {
			continue
		}
		sig := mailbox.SignRequest(x.keys[n], x.relay.Peer(), mailbox.VerbAck, mailbox.AckContent(ids))
		err = x.store.Do(context.Background(), func(tx mailbox.Tx) error {
			return x.relay.Ack(tx, x.now, x.keys[n].Public().(ed25519.PublicKey), ids, sig)
		})
		if err != nil {
			b.Fatal(err)
		}
		drained += len(ids)
	}
	b.ReportMetric(float64(drained)/time.Since(began).Seconds(), "drained/s")
}

// BenchmarkTick ticks a relay of 30,000 leased boxes with an envelope each.
func BenchmarkTick(b *testing.B) {
	x := newBench(b, 30_000)
	err := x.store.Do(context.Background(), func(tx mailbox.Tx) error {
		for i, box := range x.boxes {
			body := binary.BigEndian.AppendUint64(nil, uint64(i))
			e := mailbox.Entry{ID: mailbox.EnvelopeIDOf(body), Size: 8, Expires: x.now.Add(240 * time.Hour).UnixMilli()}
			if err := tx.Add(box, e, body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		err := x.store.Do(context.Background(), func(tx mailbox.Tx) error {
			_, err := x.relay.Tick(tx, x.now)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return mem.HeapInuse
}

// took reports the time of a step, and what it cost this process of a core: on
// a busy machine the second says more.
func took(b *testing.B, what string, step func()) {
	b.Helper()
	began, spent := time.Now(), cpuTime()
	step()
	b.ReportMetric(millis(time.Since(began)), what+"-ms")
	b.ReportMetric(millis(cpuTime()-spent), what+"-cpu-ms")
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentMiB is the process's resident memory, 0 where /proc is not there.
func residentMiB() float64 {
	raw, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(raw))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return float64(pages*os.Getpagesize()) / (1 << 20)
}
