package boltbox

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
)

// bench is a relay with leased boxes on a store.
type bench struct {
	store *Store
	relay *mailbox.Relay
	keys  []ed25519.PrivateKey
	boxes []mailbox.ID
	now   time.Time
}

func newBench(b testing.TB, boxes int) *bench {
	b.Helper()
	s, err := Open(filepath.Join(b.TempDir(), "box.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	x := &bench{store: s, relay: testRelay(mailbox.Limits{BoxCount: 1 << 30, BoxBytes: 1 << 40, MaxBytes: 1 << 40}), now: time.Unix(1_800_000_000, 0)}
	err = s.Do(context.Background(), func(tx mailbox.Tx) error {
		for i := range boxes {
			key := testKey(1000 + i)
			x.keys = append(x.keys, key)
			x.boxes = append(x.boxes, mailbox.IDOf(key.Public().(ed25519.PublicKey)))
			if err := tx.PutBox(x.boxes[i], mailbox.Box{Member: true, End: x.now.Add(24 * time.Hour)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return x
}

func testKey(n int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, uint64(n))
	return ed25519.NewKeyFromSeed(seed)
}

// testRelay lets anybody in: these tests are about the store.
func testRelay(l mailbox.Limits) *mailbox.Relay {
	l.NoWork, l.FrontCount, l.FrontEnvelope = true, 1<<30, mailbox.MaxEnvelope
	return mailbox.NewRelay(testKey(1), l)
}

func (x *bench) deposit(i int, envelope []byte) (*mailbox.Receipt, error) {
	binary.BigEndian.PutUint64(envelope, uint64(i))
	var r *mailbox.Receipt
	err := x.store.Do(context.Background(), func(tx mailbox.Tx) (err error) {
		r, err = x.relay.Deposit(tx, x.now, mailbox.Deposit{
			Box: x.boxes[i%len(x.boxes)], Envelope: envelope, Expires: x.now.Add(20 * 24 * time.Hour),
		})
		return err
	})
	return r, err
}

func BenchmarkDeposit(b *testing.B) {
	for _, senders := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			x := newBench(b, 64)
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			start := time.Now()
			b.ResetTimer()
			for range senders {
				wg.Go(func() {
					for {
						i := int(next.Add(1)) - 1
						if i >= b.N {
							return
						}
						began := time.Now()
						r, err := x.deposit(i, make([]byte, 1024))
						if err != nil || r.Sig == [64]byte{} {
							b.Error(err)
							return
						}
						took[i] = time.Since(began)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "deposits/s")
			report(b, "", took)
			st := x.store.Stats()
			b.ReportMetric(float64(st.Calls)/float64(st.Commits), "calls/commit")
			report(b, "fsync-", fsyncs(b, 200))
		})
	}
}

// BenchmarkDepositPipelined is one connection that keeps 64 deposits in flight,
// as the relay protocol does: they go into one transaction.
func BenchmarkDepositPipelined(b *testing.B) {
	x := newBench(b, 64)
	const window = 64
	start := time.Now()
	for i := 0; i < b.N; i += window {
		err := x.store.Do(context.Background(), func(tx mailbox.Tx) error {
			for j := range window {
				envelope := make([]byte, 1024)
				binary.BigEndian.PutUint64(envelope, uint64(i+j))
				if _, err := x.relay.Deposit(tx, x.now, mailbox.Deposit{
					Box: x.boxes[j], Envelope: envelope, Expires: x.now.Add(20 * 24 * time.Hour),
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "deposits/s")
	report(b, "fsync-", fsyncs(b, 200))
}

func report(b *testing.B, prefix string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), prefix+"p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), prefix+"p99-us")
}

// fsyncs measures what the disk gives: a 4 KiB write in place and its fsync.
func fsyncs(b *testing.B, n int) []time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page := make([]byte, 4096)
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if _, err := f.WriteAt(page, int64(i)*4096); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(began)
	}
	return took
}

func BenchmarkDrain(b *testing.B) {
	x := newBench(b, 1)
	const chunk = 256
	err := x.store.Do(context.Background(), func(tx mailbox.Tx) error { return nil })
	for i := 0; i < b.N && err == nil; {
		err = x.store.Do(context.Background(), func(tx mailbox.Tx) error {
			for range chunk {
				envelope := make([]byte, 1024)
				binary.BigEndian.PutUint64(envelope, uint64(i))
				i++
				if _, err := x.relay.Deposit(tx, x.now, mailbox.Deposit{
					Box: x.boxes[0], Envelope: envelope, Expires: x.now.Add(20 * 24 * time.Hour),
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	b.ResetTimer()
	var cursor uint64
	drained := 0
	for more := true; more; {
		var items []mailbox.Stored
		err := x.store.View(func(tx mailbox.Tx) (err error) {
			items, more, err = x.relay.Fetch(tx, x.now, x.boxes[0], cursor, chunk, 1<<20)
			return err
		})
		if err != nil || len(items) == 0 {
			b.Fatal(len(items), err)
		}
		ids := make([]mailbox.EnvelopeID, len(items))
		for i, it := range items {
			ids[i], cursor = it.ID, it.Seq
		}
		sig := mailbox.SignRequest(x.keys[0], x.relay.Peer(), mailbox.VerbAck, mailbox.AckContent(ids))
		err = x.store.Do(context.Background(), func(tx mailbox.Tx) error {
			return x.relay.Ack(tx, x.now, x.keys[0].Public().(ed25519.PublicKey), ids, sig)
		})
		if err != nil {
			b.Fatal(err)
		}
		drained += len(items)
	}
	b.StopTimer()
	b.ReportMetric(float64(drained)/time.Since(start).Seconds(), "drained/s")
}
