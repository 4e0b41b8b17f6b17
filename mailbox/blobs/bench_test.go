package blobs

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/blob"
)

// BenchmarkEndToEnd moves one file the whole way on one machine: read, sealed
// and stored at the sender, put to a relay over libp2p, stored there, fetched,
// stored at the recipient, opened, written and synced. Every chunk is on a disk
// three times before the file is, the fourth.
func BenchmarkEndToEnd(b *testing.B) {
	for _, size := range []int64{64 << 20, 512 << 20} {
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				endToEnd(b, size)
			}
		})
	}
}

// workers is how many chunks are on their way at once at each step.
const workers = 4

func endToEnd(b *testing.B, size int64) {
	b.Helper()
	b.StopTimer()
	w := newWorld(b, Options{}, Config{})
	dir := b.TempDir()
	from, to := newStore(b, filepath.Join(dir, "sender"), Options{}), newStore(b, filepath.Join(dir, "recipient"), Options{})
	source, err := os.Create(filepath.Join(dir, "source"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	if _, err := io.CopyN(source, rand.NewChaCha8([32]byte{9}), size); err != nil {
		b.Fatal(err)
	}
	if err := source.Sync(); err != nil {
		b.Fatal(err)
	}
	if _, err := source.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	b.StartTimer()

	key := blob.Key{1}
	sealer, err := blob.NewSealer(key, source, size)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(b.Context())
	n, _, _ := blob.Chunks(size)
	sealed, uploaded, fetched := make(chan item, workers), make(chan item, n), make(chan item, n)
	free := make(chan []byte, 2*workers)
	for range cap(free) {
		free <- make([]byte, blob.MaxChunk)
	}
	stage(cancel, sealed, uploaded, func(i item, _ []byte) error { // to the sender's disk, and to the relay
		defer func() { free <- i.chunk[:0] }()
		if err := from.Put(i.d, i.chunk, later, alice); err != nil {
			return err
		}
		return w.client.Put(ctx, w.relay, box, i.d, i.chunk, later)
	})
	var got sync.Map
	stage(cancel, uploaded, fetched, func(i item, buf []byte) error {
		chunk, err := w.client.Get(ctx, w.relay, i.d, buf)
		if err != nil {
			return err
		}
		if err := to.Put(i.d, chunk, time.Time{}, bob); err != nil {
			return err
		}
		got.Store(i.n, i.d)
		m := &blob.Manifest{Size: size, Chunks: make([]Digest, n)}
		m.Chunks[i.n] = i.d
		plain, err := blob.NewOpener(key, m).Open(i.n, chunk, chunk[:0])
		if err == nil {
			_, err = out.WriteAt(plain, int64(i.n)*blob.ChunkSize)
		}
		return err
	})
	for i := range n {
		d, chunk, err := sealer.Next(<-free)
		if err != nil {
			b.Fatal(err)
		}
		sealed <- item{i, d, chunk}
	}
	close(sealed)
	count := 0
	for range fetched {
		count++
	}
	if err := out.Sync(); err != nil || count != n || ctx.Err() != nil {
		b.Fatalf("%d of %d chunks, %v, %v", count, n, err, context.Cause(ctx))
	}
	cancel(nil)
}

type item struct {
	n     int
	d     Digest
	chunk []byte
}

// stage runs workers from one channel to the next, which it closes.
func stage(stop context.CancelCauseFunc, in <-chan item, out chan<- item, do func(item, []byte) error) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			buf := make([]byte, blob.MaxChunk)
			for i := range in {
				if err := do(i, buf); err != nil {
					stop(err)
					continue
				}
				out <- i
			}
		})
	}
	go func() { wg.Wait(); close(out) }()
}

// BenchmarkPut stores chunks of a mebibyte, several at once.
func BenchmarkPut(b *testing.B) {
	for _, at := range []int{1, 4} {
		b.Run(fmt.Sprintf("%d at once", at), func(b *testing.B) {
			s := newStore(b, b.TempDir(), Options{})
			b.SetBytes(blob.ChunkSize)
			var wg sync.WaitGroup
			next := make(chan int)
			for range at {
				wg.Go(func() {
					for i := range next {
						d, c := chunk(i, blob.ChunkSize)
						if err := s.Put(d, c, later, alice); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				next <- i
			}
			close(next)
			wg.Wait()
		})
	}
}
