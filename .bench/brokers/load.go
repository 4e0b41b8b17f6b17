package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// broker is a running server with its clients. Its methods may be called concurrently.
type broker interface {
	// put stores a message of a sender and returns when it is on the disk.
	put(ctx context.Context, sender int, payload []byte) error
	// drain fetches and removes everything that a sender stored, and says how much that was.
	drain(ctx context.Context, sender int) (int, error)
	stop() error
}

// measured runs the phases of kith bench relay on a broker.
func measured(start func(folder string, conns int) (broker, error)) func(context.Context, config) (figures, error) {
	return func(ctx context.Context, c config) (f figures, err error) {
		folder, err := os.MkdirTemp(c.folder, "brokers-")
		if err != nil {
			return f, err
		}
		defer os.RemoveAll(folder)
		b, err := start(folder, c.conns)
		if err != nil {
			return f, err
		}
		defer func() {
			if e := b.stop(); err == nil {
				err = e
			}
		}()
		stored, drained := 0, 0
		n, took, ds, err := load(ctx, b, c, 1)
		if err != nil {
			return f, err
		}
		stored += n
		f.Deposits, f.P50, f.P99 = rate(n, took), at(ds, 0.5), at(ds, 0.99)
		if n, took, _, err = load(ctx, b, c, max(1, c.inAll/c.senders)); err != nil {
			return f, err
		}
		stored += n
		f.Pipelined = rate(n, took)
		if drained, took, err = drainAll(ctx, b, c); err != nil {
			return f, err
		}
		f.Drain = rate(drained, took)
		if drained != stored {
			err = fmt.Errorf("%d of %d fetched", drained, stored)
		}
		return f, err
	}
}

// load puts messages for some time: lanes at once for each sender.
func load(ctx context.Context, b broker, c config, lanes int) (n int, took time.Duration, all []time.Duration, err error) {
	body := make([]byte, c.bytes)
	_, _ = rand.Read(body)
	var wg sync.WaitGroup
	var mu sync.Mutex
	begun := time.Now()
	until := begun.Add(time.Duration(c.seconds) * time.Second)
	for lane := range c.senders * lanes {
		wg.Go(func() {
			var mine []time.Duration
			var failed error
			payload := slices.Clone(body)
			for number := uint64(0); failed == nil; number++ {
				binary.BigEndian.PutUint64(payload, uint64(lane)<<40|number)
				start := time.Now()
				if !start.Before(until) {
					break
				}
				if failed = b.put(ctx, lane%c.senders, payload); failed == nil {
					mine = append(mine, time.Since(start))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			if err == nil {
				err = failed
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return len(all), time.Since(begun), all, err
}

func drainAll(ctx context.Context, b broker, c config) (n int, took time.Duration, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	begun := time.Now()
	for sender := range c.senders {
		wg.Go(func() {
			k, failed := b.drain(ctx, sender)
			mu.Lock()
			defer mu.Unlock()
			n += k
			if err == nil {
				err = failed
			}
		})
	}
	wg.Wait()
	return n, time.Since(begun), err
}

func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

func at(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}
