package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/node/transfer"
)

// Peers are those who have chunks, or take them.
type Peers interface {
	// Has says which chunks a peer has.
	Has(ctx context.Context, at transfer.Source, ds []blob.Digest) ([]bool, error)
	// Get returns a chunk of a peer that hashes to d, in buf if it fits; blobs.ErrNotHere: it has none.
	Get(ctx context.Context, from transfer.Source, d blob.Digest, buf []byte) ([]byte, error)
	// Put brings a relay a chunk, for the box of job.
	Put(ctx context.Context, to transfer.Source, job transfer.Job, d blob.Digest, chunk []byte) error
	// Drop has a relay forget chunks of the box of job.
	Drop(ctx context.Context, at transfer.Source, job transfer.Job, ds []blob.Digest) error
}

// Config of a service. Every field but Log must be set.
type Config struct {
	Dir    string // the home folder
	Chunks *blobs.Store
	Peers  Peers
	Rand   io.Reader
	Answer func(transfer.Result)      // into the engine; may block
	Known  func(manifest []byte) bool // whether a message names a file; only New asks
	Log    *slog.Logger
}

// Service does the jobs of a ledger.
type Service struct {
	c       Config
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	pool    sync.Pool // of buffers that a chunk fits
	sealing buffers
	places  map[class]chan struct{} // one for each job that runs

	mu     sync.Mutex
	closed bool
	runs   map[uint64]*run
	moved  chan struct{} // closed at the next sign of progress
	told   time.Time
	timer  *time.Timer
}

// class is jobs that wait for each other. What others hold up, a fetch, holds up nothing of ours; a small job no large one.
type class struct{ fetch, small bool }

func classOf(j transfer.Job) class {
	return class{fetch: j.Kind == transfer.Fetch, small: j.File.Size <= transfer.AutoSize}
}

// run is one job under way.
type run struct {
	job      transfer.Job
	ctx      context.Context
	cancel   context.CancelFunc
	done     chan struct{}
	buffers  buffers
	progress progress
}

// New returns a service, and drops what was being sealed when the process ended.
func New(c Config) (*Service, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		c: c, runs: map[uint64]*run{}, moved: make(chan struct{}), places: map[class]chan struct{}{},
		pool: sync.Pool{New: func() any { return make([]byte, blob.MaxChunk) }},
	}
	for of, jobs := range classJobs {
		s.places[of] = make(chan struct{}, jobs)
	}
	s.sealing = s.newBuffers(sealChunks)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, s.sweep(c.Known)
}

// Close ends every job and waits for it. What was under way is begun again after the next start.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// Do takes jobs; it does not block. A job that runs already is not begun a second time.
func (s *Service) Do(jobs []transfer.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range jobs {
		if s.closed {
			return
		}
		old := s.runs[j.Number]
		if old != nil && old.job.Kind == j.Kind && old.ctx.Err() == nil {
			continue
		}
		r := &run{job: j, done: make(chan struct{})}
		r.progress.moved = s.sign
		if r.buffers = s.newBuffers(largeChunks); classOf(j).small {
			r.buffers = s.newBuffers(smallChunks)
		}
		r.ctx, r.cancel = context.WithCancel(s.ctx)
		if old != nil {
			old.cancel()
		}
		s.runs[j.Number] = r
		s.wg.Go(func() { s.work(r, old) })
	}
}

// work does one job, after the one that had its number before.
func (s *Service) work(r, before *run) {
	defer close(r.done)
	defer s.forget(r)
	if before != nil {
		<-before.done
	}
	switch r.job.Kind {
	case transfer.Stop:
		return
	case transfer.Drop:
		s.drop(r)
		return
	}
	place := s.places[classOf(r.job)]
	select {
	case place <- struct{}{}:
		defer func() { <-place }()
	case <-r.ctx.Done():
		return
	}
	result := s.result(r)
	stopped := r.ctx.Err() != nil
	s.forget(r) // the answer may bring the next job of this number at once
	if !stopped {
		s.c.Answer(result)
	}
}

func (s *Service) result(r *run) transfer.Result {
	out := transfer.Result{Number: r.job.Number, Kind: r.job.Kind}
	switch r.job.Kind {
	case transfer.Fetch:
		out.Moved, out.Err = s.fetch(r)
	case transfer.Upload:
		out.Stored, out.Moved, out.Err = s.upload(r)
	case transfer.Save:
		out.Saved, out.Lost, out.Err = s.save(r.ctx, r)
	}
	out.Final = errors.Is(out.Err, errLies) || errors.Is(out.Err, errSize)
	if out.Err != nil {
		s.c.Log.Debug("file", "job", r.job.Kind, "number", r.job.Number, "err", out.Err)
	}
	return out
}

func (s *Service) forget(r *run) {
	r.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs[r.job.Number] == r {
		delete(s.runs, r.job.Number)
	}
}

// drop lets the chunks of a file go, here and, as far as they answer, at our relays.
func (s *Service) drop(r *run) {
	m, _, err := s.open(r.job)
	if err != nil {
		return // without its manifest nothing of it was fetched
	}
	all := append(m.Chunks, blob.Digest(r.job.File.Manifest))
	for _, d := range all {
		s.dropChunk(d, ownerOf(r.job))
	}
	for _, at := range r.job.Sources {
		for part := range slices.Chunk(all, askMany) {
			ctx, cancel := context.WithTimeout(r.ctx, askWithin)
			err := s.c.Peers.Drop(ctx, at, r.job, part)
			if cancel(); err != nil {
				s.c.Log.Debug("a relay keeps the chunks until they expire", "err", err)
				break
			}
		}
	}
}

// ownerOf is who claims the chunks of a file in our store. What a fetched file names belongs to its manifest, so that
// nobody has us drop chunks of another file by naming them in one of his own. Of a file that is being sealed there is no
// manifest yet, but nobody else has its key.
func ownerOf(j transfer.Job) [32]byte {
	if j.Up {
		return sealedBy(blob.Key(j.File.Key))
	}
	return [32]byte(j.File.Manifest)
}

func sealedBy(k blob.Key) [32]byte { return sha256.Sum256(append([]byte("kith1 own file"), k[:]...)) }

func (s *Service) dropChunk(d blob.Digest, owner [32]byte) {
	if err := s.c.Chunks.Drop(d, owner); err != nil && !errors.Is(err, blobs.ErrNotHere) {
		s.c.Log.Warn("a chunk was not dropped", "err", err)
	}
}

// buffers are the chunks that one piece of work holds in memory at once: who takes one waits for a place.
type buffers struct {
	places chan struct{}
	pool   *sync.Pool
}

func (s *Service) newBuffers(n int) buffers { return buffers{make(chan struct{}, n), &s.pool} }

func (b buffers) take(ctx context.Context) ([]byte, error) {
	select {
	case b.places <- struct{}{}:
		return b.pool.Get().([]byte), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (b buffers) give(buf []byte) {
	b.pool.Put(buf) //nolint:staticcheck // a header of 24 bytes beside a chunk
	<-b.places
}
