// Package demo plays a story of three people, four devices and five relays on one machine, over loopback, with the real
// parts: relays are processes of their own, each device has its own sealed store and its own libp2p host.
//
// What it guarantees: it touches no network but loopback and no folder but its own temporary one; OK means that every
// step held and that each message reached each of its devices exactly once, as their own stores and events say; nothing
// of it runs on when it ends, however it ends. All waiting is for events.
//
// What it does not: it measures one machine with nothing else in the way; its timings are not those of the internet.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	relays    = 5
	longText  = 3000             // bytes
	budget    = 60 * time.Second // for the whole story; it takes a few
	closeTime = 5 * time.Second
)

// Config of a run.
type Config struct {
	Exe  string       // the kith binary, for the relays
	Keep bool         // leave everything running until ctx ends
	Step func(Step)   // hears each step as it is done
	Kept func(Result) // hears that the story is over and everything runs on
}

// Step is one thing that happened.
type Step struct {
	Number  int      `json:"n"`
	Name    string   `json:"name"`
	Text    string   `json:"text"`
	TookMS  float64  `json:"took_ms"`
	Seconds float64  `json:"seconds"` // since the beginning
	Try     []string `json:"try,omitempty"`
}

// Result is how it ended. Sent and Delivered count pairs of message and device, the author's own other devices included.
type Result struct {
	OK         bool     `json:"ok"`
	Sent       int      `json:"sent"`
	Delivered  int      `json:"delivered"`
	Duplicates int      `json:"duplicates"`
	Lost       int      `json:"lost"`
	Seconds    float64  `json:"seconds"`
	Why        string   `json:"why,omitempty"` // what did not hold
	Folder     string   `json:"folder,omitempty"`
	Homes      []string `json:"-"`
}

// Run plays the story. The result is valid also with an error.
func Run(ctx context.Context, c Config) (Result, error) {
	dir, err := os.MkdirTemp("", "kith-demo-")
	if err != nil {
		return Result{Why: err.Error()}, err
	}
	s := &story{cfg: c, dir: dir, begun: time.Now()}
	play, cancel := context.WithTimeout(ctx, budget)
	err = s.play(play)
	cancel()
	r := s.result(err)
	if c.Keep && err == nil {
		r.Folder, r.Homes = dir, s.homes()
		c.Kept(r)
		<-ctx.Done()
	}
	s.end()
	if c.Keep && err != nil {
		r.Folder = dir // to look at
		return r, err
	}
	return r, errors.Join(err, os.RemoveAll(dir))
}

// result counts what the devices themselves say.
func (s *story) result(err error) Result {
	r := Result{Seconds: round(time.Since(s.begun))}
	for _, m := range s.sent {
		for _, d := range m.devices {
			shown := d.shown(m.id)
			r.Sent++
			switch {
			case shown == 0:
				r.Lost++
			default:
				r.Delivered++
				r.Duplicates += shown - 1
			}
		}
	}
	switch {
	case err != nil:
		r.Why = err.Error()
	case r.Lost > 0 || r.Duplicates > 0:
		r.Why = fmt.Sprintf("%d lost, %d doubled", r.Lost, r.Duplicates)
	default:
		r.OK = true
	}
	return r
}

func round(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// homes are the folders of the devices, for commands.
func (s *story) homes() []string {
	var out []string
	for _, d := range []*device{s.laptop, s.phone, s.bob, s.carol} {
		out = append(out, d.home)
	}
	return out
}

// say ends a step that began at s.since.
func (s *story) say(name, format string, args ...any) {
	s.number++
	now := time.Now()
	s.cfg.Step(Step{
		Number: s.number, Name: name, Text: fmt.Sprintf(format, args...),
		TookMS: float64(now.Sub(s.since).Microseconds()) / 1000, Seconds: round(now.Sub(s.begun)),
	})
	s.since = now
}

func (s *story) path(name string) string { return filepath.Join(s.dir, name) }
