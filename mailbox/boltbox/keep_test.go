//go:build unix

package boltbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
)

// BenchmarkKeep stores b.N envelopes of 2 KiB in 5,000 boxes over ten days of
// expiry (-benchtime 500000x is the goal's relay) and reports what they cost:
// disk over payload, heap per envelope, opening, and dropping one day.
func BenchmarkKeep(b *testing.B) {
	x := newBench(b, 5000)
	path := x.store.db.Path()
	const size = 2048
	for i := 0; i < b.N; {
		err := x.store.Do(context.Background(), func(tx mailbox.Tx) error {
			for range min(256, b.N-i) {
				envelope := make([]byte, size)
				binary.BigEndian.PutUint64(envelope, uint64(i))
				_, err := x.relay.Deposit(tx, x.now, mailbox.Deposit{
					Box: x.boxes[i%5000], Envelope: envelope, Expires: x.now.Add(time.Duration(i%10+1) * 24 * time.Hour),
				})
				if err != nil {
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
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.HeapInuse)/float64(b.N), "heap-B/envelope")
	_ = x.store.Close()
	began := time.Now()
	x.store = mustOpen(b, path)
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "open-ms")
	b.ReportMetric(residentMiB(), "rss-MiB")
	began = time.Now()
	err := x.store.Do(context.Background(), func(tx mailbox.Tx) error {
		_, err := tx.DropDay(mailbox.DayOf(x.now.Add(24 * time.Hour).UnixMilli()))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "drop-day-ms")
	_ = x.store.Close()
}

// residentMiB is the process's resident memory, 0 where /proc is not there.
func residentMiB() float64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var pages int64
	for _, c := range raw[bytes.IndexByte(raw, ' ')+1:] {
		if c < '0' || c > '9' {
			break
		}
		pages = pages*10 + int64(c-'0')
	}
	return float64(pages*int64(os.Getpagesize())) / (1 << 20)
}
