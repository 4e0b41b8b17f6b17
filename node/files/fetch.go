package files

import (
	"context"
	"errors"
	"sync"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/node/transfer"
)

// errAway is why a try ends without all chunks: it is planned again.
var errAway = errors.New("nobody who has it answers")

// fetching is one job's hunt for chunks.
type fetching struct {
	s        *Service
	r        *run
	manifest *blob.Manifest
	ctx      context.Context
	cancel   context.CancelCauseFunc

	mu    sync.Mutex
	turn  sync.Cond // the plan changed
	plan  *transfer.Plan
	moved int // chunks that came
}

// fetch gets every chunk that is missing. moved: some came.
func (s *Service) fetch(r *run) (moved bool, err error) {
	m, err := s.manifest(r)
	if err != nil {
		return false, err
	}
	r.progress.begin(m.Size)
	missing := s.missing(m, &r.progress)
	if len(missing) == 0 {
		return true, nil
	}
	f := &fetching{s: s, r: r, manifest: m, plan: transfer.NewPlan(missing, len(r.job.Sources))}
	f.turn.L = &f.mu
	f.ctx, f.cancel = context.WithCancelCause(r.ctx)
	defer f.cancel(nil)
	defer context.AfterFunc(f.ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.turn.Broadcast()
	})()
	var wg sync.WaitGroup
	for i := range r.job.Sources {
		wg.Go(func() { f.from(i, missing) })
	}
	wg.Wait()
	switch {
	case f.plan.Done():
		return true, nil
	case f.moved == 0 && context.Cause(f.ctx) == nil:
		return false, errAway
	case context.Cause(f.ctx) == nil:
		return true, errors.New("not all of it can be had now")
	}
	return f.moved > 0, context.Cause(f.ctx)
}

// manifest is the manifest of a file, from the store or from the first source that says that it has it.
func (s *Service) manifest(r *run) (*blob.Manifest, error) {
	m, _, err := s.open(r.job)
	if err == nil || !errors.Is(err, blobs.ErrNotHere) {
		return m, err
	}
	_, digest, err := namesOf(r.job)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.ctx, askWithin)
	defer cancel()
	has := make(chan *transfer.Source, len(r.job.Sources))
	for _, from := range r.job.Sources {
		s.wg.Go(func() {
			if here, err := s.c.Peers.Has(ctx, from, []blob.Digest{digest}); err == nil && len(here) == 1 && here[0] {
				has <- &from
			} else {
				has <- nil
			}
		})
	}
	for range r.job.Sources {
		from := <-has
		if from == nil {
			continue
		}
		err := s.getInto(r.ctx, r, *from, digest, blob.ManifestLen(int64(r.job.File.Size)))
		if err == nil {
			m, _, err := s.open(r.job)
			if err != nil {
				s.dropChunk(digest, ownerOf(r.job)) // rubbish that a sender named
			}
			return m, err
		}
		if errors.Is(err, ErrNoRoom) || errors.Is(err, errLies) {
			return nil, err
		}
	}
	return nil, errAway
}

// missing lists the chunks that are not here, and counts the others as done.
func (s *Service) missing(m *blob.Manifest, p *progress) (out []int) {
	for at := 0; at < len(m.Chunks); at += askMany {
		part := m.Chunks[at:min(at+askMany, len(m.Chunks))]
		for i, here := range s.c.Chunks.Has(part) {
			if here {
				p.add(blob.ChunkSize)
			} else {
				out = append(out, at+i)
			}
		}
	}
	return out
}

// getInto gets one chunk into the store.
func (s *Service) getInto(ctx context.Context, r *run, from transfer.Source, d blob.Digest, size int) error {
	buf, err := r.buffers.take(ctx)
	if err != nil {
		return err
	}
	defer r.buffers.give(buf)
	within := chunkWithin
	if size <= smallChunk {
		within = askWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	chunk, err := s.c.Peers.Get(ctx, from, d, buf)
	if err != nil {
		return err
	}
	if len(chunk) != size { // it is what its digest says: the description lies, and would have us keep more than it counts
		return errLies
	}
	return fullOr(s.c.Chunks.PutHashed(d, chunk, forever, ownerOf(r.job)))
}

// from takes chunks from one source until it has no more for us.
func (f *fetching) from(i int, missing []int) {
	if !f.look(i, missing) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.plan.End(i)
		f.turn.Broadcast()
		return
	}
	var wg sync.WaitGroup
	for range width {
		wg.Go(func() { f.take(i) })
	}
	wg.Wait()
}

// look asks a source which chunks it has; false: it does not answer. Nothing is left to a source before it has answered.
func (f *fetching) look(i int, missing []int) bool {
	for at := 0; at < len(missing); at += askMany {
		part := missing[at:min(at+askMany, len(missing))]
		ds := make([]blob.Digest, len(part))
		for k, c := range part {
			ds[k] = f.manifest.Chunks[c]
		}
		ctx, cancel := context.WithTimeout(f.ctx, askWithin)
		has, err := f.s.c.Peers.Has(ctx, f.r.job.Sources[i], ds)
		if cancel(); err != nil || len(has) != len(ds) {
			return false
		}
		f.mu.Lock()
		for k, c := range part {
			if !has[k] {
				f.plan.Lacks(i, c, false)
			}
		}
		f.mu.Unlock()
	}
	return true
}

// take gets one chunk after the other from a source.
func (f *fetching) take(i int) {
	for {
		c, ok := f.next(i)
		if !ok {
			return
		}
		err := f.s.getInto(f.ctx, f.r, f.r.job.Sources[i], f.manifest.Chunks[c], f.manifest.ChunkLen(c))
		f.mu.Lock()
		switch {
		case err == nil:
			f.plan.Got(i, c)
			f.moved++
			f.r.progress.add(blob.ChunkSize)
		case errors.Is(err, blobs.ErrNotHere):
			f.plan.Lacks(i, c, true)
		case errors.Is(err, ErrNoRoom), errors.Is(err, errLies):
			f.plan.Lacks(i, c, true)
			f.cancel(err)
		default:
			f.plan.Broke(i, c)
		}
		if f.plan.Done() {
			f.cancel(nil) // nobody waits for a source that does not answer
		}
		f.turn.Broadcast()
		f.mu.Unlock()
	}
}

// next waits for a chunk for a source; false: there will be none.
func (f *fetching) next(i int) (int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.ctx.Err() == nil {
		if c, ok := f.plan.Next(i); ok {
			return c, true
		}
		if f.plan.Over(i) {
			return 0, false
		}
		f.turn.Wait()
	}
	return 0, false
}
