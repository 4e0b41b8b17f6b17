package files

import (
	"sync/atomic"
	"time"
)

// progress counts the bytes of one job.
type progress struct {
	done, size atomic.Int64
	moved      func()
}

func (p *progress) begin(size int64) { p.size.Store(size); p.done.Store(0); p.moved() }

func (p *progress) add(n int64) { p.done.Add(n); p.moved() }

// sign tells those who wait that something moved, at most once in tellEvery.
func (s *Service) sign() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil || s.closed {
		return
	}
	s.timer = time.AfterFunc(max(0, tellEvery-time.Since(s.told)), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told, s.timer = time.Now(), nil
		close(s.moved)
		s.moved = make(chan struct{})
	})
}

// Moved returns a channel that is closed at the next sign of progress, of any file.
func (s *Service) Moved() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moved
}

// Live is how far the jobs under way are: number to bytes of the file, also where it goes to several relays.
func (s *Service) Live() map[uint64]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[uint64]uint64{}
	for n, r := range s.runs {
		if size := r.progress.size.Load(); size > 0 {
			done := min(r.progress.done.Load(), size)
			out[n] = uint64(float64(r.job.File.Size) * float64(done) / float64(size))
		}
	}
	return out
}
