// Package fuzz searches for schedules under which a promise is broken: it draws a script from a seed, plays it in the
// simulated world, looks after every line whether what was promised still holds, and shortens the script of a seed that
// fails. What it leaves is a story's file, which is played again by the tests.
//
// What it guarantees: one seed gives one script and one verdict; a script with lines taken out is a script.
package fuzz

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/story"
)

// Case is a script and the chance of its world.
type Case struct {
	Seed   uint64
	Script story.Script
}

// Of is the case of a seed.
func Of(seed uint64) Case { return Case{seed, Draw(seed)} }

// Outcome is what came of a case.
type Outcome struct {
	Broken   []string // none: every promise held
	Promise  string   // the first that did not, without who and what; empty: every one held
	Trace    []string
	Messages int
	Arrived  int // deliveries that came to where they had to
	Events   int
	Time     time.Duration // virtual
}

// Play plays a case to its end. plant, if set, puts a fault in before the first line.
func (c Case) Play(plant func(*story.Play)) Outcome {
	p := story.New(c.Script, c.Seed)
	p.Lenient = true
	w := watch(p)
	if plant != nil {
		plant(p)
	}
	for len(p.Broken()) == 0 && p.Next() {
	}
	if len(p.Broken()) == 0 {
		w.settle()
	}
	return Outcome{
		Broken: p.Broken(), Promise: promise(p), Trace: p.World.Trace(), Messages: len(p.Messages), Arrived: w.arrived, Events: p.World.Events(),
		Time: p.World.Now().Sub(simnet.Start),
	}
}

// varies is what differs between two times that one promise is broken: texts, ids and times.
var varies = regexp.MustCompile(`"[^"]*"|\([^)]*\)|\S*[0-9]\S*`)

// promise is what was broken first, without who and what, so that two scripts can be asked whether they break the same.
func promise(p *story.Play) string {
	broken := p.Broken()
	if len(broken) == 0 {
		return ""
	}
	words := strings.Fields(varies.ReplaceAllString(broken[0], "…"))
	for i, w := range words {
		if name := strings.Trim(w, ":,"); slices.ContainsFunc(p.Devices(), func(d *story.Device) bool { return d.Name() == name }) {
			words[i] = "…"
		}
	}
	return strings.Join(words, " ")
}

// settle lets everybody come back who can: relays first, so that repair has its time while people are away, then devices.
func (w *watcher) settle() {
	p := w.p
	p.World.Log("fuzz", "everybody comes back")
	p.Do("heal")
	p.Do("links", "0%", "0%", "0s")
	for _, r := range p.Relays {
		p.Do("start", r.Name())
	}
	w.look()
	if w.waiting() {
		p.World.Run(mended + time.Hour)
		w.look()
	}
	for _, d := range p.Devices() {
		p.Do("back", d.Name())
		p.Do("start", d.Name())
	}
	for range 26 {
		p.World.Run(time.Hour)
		w.look()
		if !w.missing() {
			break
		}
	}
	p.World.Run(time.Hour) // none comes twice
	w.look()
	w.last()
}

// maxPlays is how many scripts shortening may play.
const maxPlays = 400

// Shrink takes lines out of a case for as long as it fails, and hands back the shortest that it found. fails says whether a case
// breaks the same promise (Outcome.Promise): a shorter one that breaks another is another find.
func (c Case) Shrink(fails func(Case) bool) Case {
	plays := 0
	for size := (len(c.Script) + 1) / 2; size > 0; {
		cut := false
		for from := 0; from < len(c.Script) && plays < maxPlays; {
			try := Case{c.Seed, slices.Concat(c.Script[:from], c.Script[min(from+size, len(c.Script)):])}
			if _, err := story.Parse("shrunk", try.Script.String()); err != nil { // it uses what the lines brought
				from++
				continue
			}
			if plays++; fails(try) {
				c, cut = try, true
				continue
			}
			from += size
		}
		if !cut || size > len(c.Script) {
			size /= 2
		}
	}
	return c
}

// File is a case as a story's file, with what it broke and the version that did.
func (c Case) File(broken, version string) []byte {
	s := story.Story{Seed: c.Seed, Script: c.Script}
	return s.Write(fmt.Sprintf("%s\n\nFound by seed %d with %s.", broken, c.Seed, version))
}
