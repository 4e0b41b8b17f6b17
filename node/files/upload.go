package files

import (
	"context"
	"errors"
	"sync"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/node/transfer"
)

// upload brings as many relays as are needed every chunk that they lack. Those that fail make room for the next.
func (s *Service) upload(r *run) (stored [][]byte, moved bool, err error) {
	m, _, err := s.open(r.job)
	if err != nil {
		return nil, false, err
	}
	r.progress.begin(m.Size * int64(r.job.Need))
	next := make(chan transfer.Source, len(r.job.Sources))
	for _, to := range r.job.Sources {
		next <- to
	}
	close(next)
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for range r.job.Need {
		wg.Go(func() {
			for to := range next {
				sent, e := s.bring(r, to, m)
				mu.Lock()
				if moved = moved || sent; e == nil {
					stored = append(stored, to.Peer.ID)
				} else {
					err = e
				}
				mu.Unlock()
				if e == nil {
					return
				}
			}
		})
	}
	wg.Wait()
	switch {
	case len(stored) >= r.job.Need:
		return stored, true, nil
	case err == nil:
		err = errors.New("there are fewer relays than it needs")
	}
	return stored, moved, err
}

// bring sends one relay the chunks that it lacks, the manifest first: who fetches can begin before all is there.
func (s *Service) bring(r *run, to transfer.Source, m *blob.Manifest) (moved bool, err error) {
	all := append([]blob.Digest{blob.Digest(r.job.File.Manifest)}, m.Chunks...)
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	work := make(chan blob.Digest)
	var wg sync.WaitGroup
	for range width {
		wg.Go(func() {
			for d := range work {
				if ctx.Err() != nil {
					continue
				}
				if err := s.putFrom(ctx, r, to, d); err != nil {
					cancel(err)
				}
			}
		})
	}
	moved = s.lacking(ctx, cancel, r, to, all, work)
	close(work)
	wg.Wait()
	return moved, context.Cause(ctx)
}

// lacking hands out what a relay lacks, asking part by part.
func (s *Service) lacking(ctx context.Context, cancel context.CancelCauseFunc, r *run, to transfer.Source, all []blob.Digest, work chan<- blob.Digest) (some bool) {
	for at := 0; at < len(all); at += askMany {
		part := all[at:min(at+askMany, len(all))]
		asking, done := context.WithTimeout(ctx, askWithin)
		has, err := s.c.Peers.Has(asking, to, part)
		if done(); err == nil && len(has) != len(part) {
			err = blobs.ErrInvalid
		}
		if err != nil {
			cancel(err)
			return some
		}
		for i, d := range part {
			if has[i] {
				r.progress.add(blob.ChunkSize)
				continue
			}
			select {
			case work <- d:
				some = true
			case <-ctx.Done():
				return some
			}
		}
	}
	return some
}

// putFrom sends a relay one chunk out of the store.
func (s *Service) putFrom(ctx context.Context, r *run, to transfer.Source, d blob.Digest) error {
	buf, err := r.buffers.take(ctx)
	if err != nil {
		return err
	}
	defer r.buffers.give(buf)
	chunk, err := s.c.Chunks.Get(d)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, chunkWithin)
	defer cancel()
	if err := s.c.Peers.Put(ctx, to, r.job, d, chunk); err != nil {
		return err
	}
	s.c.Log.Debug("chunk brought to a relay", "chunk", d.String())
	r.progress.add(int64(len(chunk)))
	return nil
}
