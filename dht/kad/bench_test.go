package kad

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

const benchK = 8 // bucket size of simulations of shape

// sizes of the benchmarked networks, all on loopback.
var sizes = []int{16, 64}

// BenchmarkPut puts fresh device records from changing nodes.
func BenchmarkPut(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			net := newNet(b, n, benchK)
			p := dhttest.NewPerson(b, "bench", dhttest.Start)
			key := dht.DeviceKey(p.Keys.ID())
			var took []time.Duration
			for number := uint64(1); b.Loop(); number++ {
				b.StopTimer()
				value := p.Record(b, number, 0)
				b.StartTimer()
				start := time.Now()
				stored, err := net[number%uint64(n)].Put(b.Context(), key, value)
				took = append(took, time.Since(start))
				if err != nil || stored != benchK {
					b.Fatalf("stored %d: %v", stored, err)
				}
			}
			report(b, took)
		})
	}
}

// BenchmarkLookup looks a device record up from nodes that do not hold it.
func BenchmarkLookup(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			net := newNet(b, n, benchK)
			kind, readers := published(b, net)
			misses, took := 0, []time.Duration{}
			for i := 0; b.Loop(); i++ {
				d := readers[i%len(readers)]
				b.StopTimer()
				forget(d)
				b.StartTimer()
				start := time.Now()
				if _, err := d.Get(b.Context(), kind.Key); err != nil {
					misses++
				}
				took = append(took, time.Since(start))
			}
			b.ReportMetric(float64(misses), "misses")
			report(b, took)
		})
	}
}

// BenchmarkLookupWithDeadPeers is BenchmarkLookup after a fifth of the other
// nodes, holders among them, has gone without a word.
func BenchmarkLookupWithDeadPeers(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			net := newNet(b, n, benchK)
			kind, readers := published(b, net)
			living := readers[:0:0]
			for i, d := range net {
				if i%5 == 0 {
					if err := d.host.Close(); err != nil {
						b.Fatal(err)
					}
				} else if slices.Contains(readers, d) {
					living = append(living, d)
				}
			}
			misses, took := 0, []time.Duration{}
			for i := 0; b.Loop(); i++ {
				d := living[i%len(living)]
				b.StopTimer()
				forget(d)
				b.StartTimer()
				start := time.Now()
				if _, err := d.Get(b.Context(), kind.Key); err != nil {
					misses++
				}
				took = append(took, time.Since(start))
			}
			b.ReportMetric(float64(misses), "misses")
			report(b, took)
		})
	}
}

// BenchmarkCachedLookup looks up what the node has looked up before.
func BenchmarkCachedLookup(b *testing.B) {
	net := newNet(b, 3, benchK)
	kind, _ := published(b, net)
	for b.Loop() {
		if _, err := net[2].Get(b.Context(), kind.Key); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify is what one unseen record of each kind costs a node.
func BenchmarkVerify(b *testing.B) {
	for _, kind := range dhttest.Kinds(b, dhttest.NewPerson(b, "bench", dhttest.Start)) {
		b.Run(kind.Name, func(b *testing.B) {
			value := kind.Make(1, 0)
			for b.Loop() {
				if err := dht.Validate(kind.Key, value, dhttest.Start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// published puts one device record and returns the nodes that do not hold it.
func published(b *testing.B, net []*Directory) (dhttest.Kind, []*Directory) {
	b.Helper()
	kind := dhttest.Kinds(b, dhttest.NewPerson(b, "bench", dhttest.Start))[1]
	if n, err := net[len(net)-1].Put(b.Context(), kind.Key, kind.Make(1, 0)); err != nil || n == 0 {
		b.Fatalf("stored %d: %v", n, err)
	}
	var readers []*Directory
	for _, d := range net[:len(net)-1] {
		if own, err := d.local(context.Background(), kind.Key); err == nil && own.value == nil {
			readers = append(readers, d)
		}
	}
	return kind, readers
}

// forget empties what a lookup leaves behind, verified claims included.
func forget(d *Directory) {
	forgetValues(d)
	d.verifier.mu.Lock()
	defer d.verifier.mu.Unlock()
	d.verifier.young, d.verifier.elders = map[[32]byte]dht.Claim{}, nil
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
