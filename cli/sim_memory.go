package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

// Bounds of garbage, in bytes: it is never collected for less than leastGarbage, which costs nobody anything; where nothing is
// known of the machine's memory, more than mostGarbage is collected.
const leastGarbage, mostGarbage = 256 << 20, 1 << 30

// tendEvery is how often it is looked at: much less is made meanwhile than may lie about.
const tendEvery = 250 * time.Millisecond

// tend sets when garbage is collected by what lives and what the machine had to spare when we began, until it is told to stop: a
// world of engines makes much of it and keeps some hundred kilobytes of each, so that collecting it costs as much as the world
// where there is little room.
func tend() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	most := uint64(mostGarbage)
	if spare, known := spareMemory(os.DirFS("/")); known {
		most = spare / 4
	}
	go func() {
		defer close(ended)
		beat := time.NewTicker(tendEvery)
		defer beat.Stop()
		for set := 0; ; {
			select {
			case <-done:
				return
			case <-beat.C:
			}
			if percent := letGrow(most); percent > set+set/16 || percent < set-set/16 { // each change stops the world for a moment
				set = percent
				debug.SetGCPercent(set)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// letGrow says how much garbage there may be now, in percent of what lives.
func letGrow(most uint64) int {
	m := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(m)
	live := max(m[0].Value.Uint64(), 1<<20)
	return int(roomFor(live, most) / (live/100 + 1))
}

// roomFor is how much garbage may lie about: four times what lives (more gains little, and fresh memory costs, too) up to most, a
// fixed part of the machine, so that worlds side by side leave room for each other however long they run; at least a quarter of
// what lives.
func roomFor(live, most uint64) uint64 { return max(min(4*live, most), live/4, leastGarbage) }

// spareMemory is what this process may still take without taking it from anybody, by Linux's own count, or by the narrowest of the control
// groups that it is in.
func spareMemory(root fs.FS) (spare uint64, known bool) {
	raw, _ := fs.ReadFile(root, "proc/meminfo")
	kB, known := numberAfter(raw, "MemAvailable:")
	spare = kB << 10
	raw, _ = fs.ReadFile(root, "proc/self/cgroup")
	for line := range bytes.Lines(raw) {
		group, ours := bytes.CutPrefix(bytes.TrimSpace(line), []byte("0::/"))
		for at := path.Clean(string(group)); ours; at = path.Dir(at) {
			if left, limited := spareIn(root, path.Join("sys/fs/cgroup", at)); limited && (!known || left < spare) {
				spare, known = left, true
			}
			ours = at != "."
		}
	}
	return spare, known
}

// spareIn is what a control group leaves; limited: it has a limit. Pages of files that nobody looks at give way.
func spareIn(root fs.FS, group string) (left uint64, limited bool) {
	read := func(name, key string) (uint64, bool) {
		raw, _ := fs.ReadFile(root, path.Join(group, name))
		return numberAfter(raw, key)
	}
	most, limited := read("memory.max", "")
	used, _ := read("memory.current", "")
	files, _ := read("memory.stat", "inactive_file")
	used -= min(files, used)
	return most - min(used, most), limited
}

// numberAfter is the number that follows a key at the beginning of a line.
func numberAfter(text []byte, key string) (uint64, bool) {
	for line := range bytes.Lines(text) {
		if rest, found := bytes.CutPrefix(line, []byte(key)); found {
			if words := bytes.Fields(rest); len(words) > 0 {
				n, err := strconv.ParseUint(string(words[0]), 10, 53)
				return n, err == nil
			}
		}
	}
	return 0, false
}
