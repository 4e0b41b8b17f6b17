package p2p

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// BenchmarkWire is what a text costs on a held QUIC connection, at the IP level: both directions, from the send until
// well after the acknowledgement, so that the transport's own acknowledgements and the read of the next one count. The
// device acknowledgement is an envelope of its own and included.
func BenchmarkWire(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			var wire atomic.Int64
			ada, ben := testNode(b, "ada", nil), testNode(b, "ben", nil)
			info, err := peer.AddrInfoFromString(countingProxy(b, ada, &wire))
			if err != nil {
				b.Fatal(err)
			}
			if err := ben.host.Connect(b.Context(), *info); err != nil {
				b.Fatal(err)
			}
			befriend(b, ada, ben, "ada")
			var since uint64
			text := strings.Repeat("x", size)
			for range 10 { // both sessions have replied, records and reach are told
				delivered(b, ben, &since, send(b, ben, "ada", text))
			}
			quiet(b, &wire)
			before := wire.Load()
			for b.Loop() {
				delivered(b, ben, &since, send(b, ben, "ada", text))
			}
			quiet(b, &wire)
			b.ReportMetric(float64(wire.Load()-before)/float64(b.N), "wire-B/op")
			for _, c := range ben.host.Network().Conns() {
				if transportOf(c.RemoteMultiaddr()) == "tcp" {
					b.Error("a TCP connection went past the proxy")
				}
			}
		})
	}
}

// quiet waits until nothing crossed the wire for a second.
func quiet(b *testing.B, wire *atomic.Int64) {
	b.Helper()
	for last := int64(-1); last != wire.Load(); {
		last = wire.Load()
		rest(b.Context(), time.Second)
	}
}
