package faults

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

// fileMemory is how much a transfer may add to what a node takes, whatever the file.
const fileMemory = 64 << 20

// fileSize is how large the file is: FILE_SIZE ("1 GiB"), or small.
func fileSize(t testing.TB) int64 {
	t.Helper()
	size := config.Size(40 << 20)
	if text := os.Getenv("FILE_SIZE"); text != "" {
		check(t, size.UnmarshalText([]byte(text)))
	}
	return int64(size)
}

// TestAFileArrivesWhoeverIsKilled sends a file from Alice to Bob, with one relay, and kills all three twice on the way. Then
// it has the relay give out what its sender, who is gone, has left there.
func TestAFileArrivesWhoeverIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	c := assemble(t, ctx, company{honest: 1, prepare: func(m *machine) { m.args = append(m.args, "--log-level", "debug") }})
	f := newCourse(c, fileSize(t))
	began := time.Now()
	id := f.send(ctx)
	sealed := time.Since(began)
	n, _, err := blob.Chunks(f.size)
	check(t, err)
	dir := filepath.Join(c.dir, "saved")
	check(t, os.Mkdir(dir, 0o700))
	saving := f.saves(ctx, id, dir)
	relay, alice, bob := c.relays[0], c.alice.machine, c.bob.machine
	for i, order := range [][]*machine{{bob, alice, relay}, {relay, alice, bob}} {
		if have := f.wait(ctx, bob, (2*i+1)*n/6); have >= n {
			t.Errorf("round %d: nothing was on its way any more", i)
		}
		for _, m := range order {
			f.note(m)
			m.kill()
		}
		check(t, c.up(ctx, order...))
	}
	path := <-saving
	took := time.Since(began)
	if got := sumOf(t, path); got != f.sum {
		t.Errorf("%s is another file", path)
	}
	f.uploaded(ctx)
	f.atMostTwice("chunk given out", n, alice, relay)
	f.atMostTwice("chunk brought to a relay", n, alice)
	for _, m := range []*machine{relay, alice, bob} {
		f.note(m)
		if grown := f.peak[m] - f.idle[m]; grown > fileMemory {
			t.Errorf("%s: the file took %d MiB of memory", m.name, grown>>20)
		}
		t.Logf("%s: %d MiB idle, %d MiB at most", m.name, f.idle[m]>>20, f.peak[m]>>20)
	}
	undisturbed(ctx, c, min(f.size, 256<<20)) // a relay keeps 2 GiB for a box
	fromRelay(ctx, c)
	t.Logf("%d MiB: sealed in %v, saved after %v with six kills", f.size>>20, sealed.Round(time.Millisecond), took.Round(time.Millisecond))
}

// undisturbed prints how fast a file goes when nobody is killed, and what that costs.
func undisturbed(ctx context.Context, c *cast, size int64) {
	t := c.t
	t.Helper()
	f := newCourse(c, size)
	all := []*machine{c.relays[0], c.alice.machine, c.bob.machine}
	before := make([]float64, len(all))
	for i, m := range all {
		before[i] = secondsOf(t, m)
	}
	began := time.Now()
	id := f.send(ctx)
	sealed := time.Since(began)
	path := <-f.saves(ctx, id, filepath.Dir(f.path))
	saved := time.Since(began)
	f.uploaded(ctx)
	uploaded := time.Since(began)
	if got := sumOf(t, path); got != f.sum {
		t.Error("undisturbed it is another file")
	}
	rate := func(d time.Duration) float64 { return float64(f.size) / 1e6 / d.Seconds() }
	t.Logf("undisturbed: sealed at %.0f MB/s, fetched and saved at %.0f MB/s, from send to saved %.0f MB/s, at the relay after %v",
		rate(sealed), rate(saved-sealed), rate(saved), uploaded.Round(time.Millisecond))
	for i, m := range all {
		spent := secondsOf(t, m) - before[i]
		t.Logf("%s: %.2f s of a processor, %.1f ms for a MB", m.name, spent, 1e9*spent/float64(f.size))
	}
}

// secondsOf is how much of a processor a process has used.
func secondsOf(t testing.TB, m *machine) float64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	if err != nil {
		return 0 // no Linux
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	check(t, err)
	system, err := strconv.ParseFloat(fields[12], 64)
	check(t, err)
	return (user + system) / 100
}

// fromRelay has a relay give Bob a file of Alice, who is gone.
func fromRelay(ctx context.Context, c *cast) {
	t := c.t
	t.Helper()
	c.bob.kill()
	f := newCourse(c, 3<<20)
	id := f.send(ctx)
	f.uploaded(ctx)
	check(t, c.alice.asks(ctx, "custody of the message", func() bool {
		s, err := c.alice.status(ctx, id)
		return err == nil && s.Stage == view.StageCustody
	}))
	c.alice.kill()
	check(t, c.up(ctx, c.bob.machine))
	if got := sumOf(t, <-f.saves(ctx, id, filepath.Dir(f.path))); got != f.sum {
		t.Error("without its sender it is another file")
	}
}

// uploaded waits until nothing of Alice's is on its way to relays any more.
func (f *course) uploaded(ctx context.Context) {
	f.c.t.Helper()
	check(f.c.t, f.c.alice.asks(ctx, "the end of the upload", func() bool {
		var list api.Transfers
		return f.c.alice.call(ctx, "transfers", api.TransfersRequest{}, &list) == nil && len(list.Transfers) == 0
	}))
}

// course is one file on its way from Alice to Bob.
type course struct {
	c          *cast
	size       int64
	path       string
	sum        [32]byte
	idle, peak map[*machine]int64 // bytes of memory
}

func newCourse(c *cast, size int64) *course {
	c.t.Helper()
	f := &course{c: c, size: size, path: filepath.Join(c.dir, "holiday.bin"), idle: map[*machine]int64{}, peak: map[*machine]int64{}}
	out, err := os.Create(f.path)
	check(c.t, err)
	_, err = io.CopyN(out, rand.NewChaCha8([32]byte{7}), size)
	check(c.t, err)
	check(c.t, out.Close())
	f.sum = sumOf(c.t, f.path)
	for _, m := range c.machines() {
		if m.up() {
			f.idle[m] = memoryOf(c.t, m)
		}
	}
	return f
}

func (f *course) send(ctx context.Context) (id string) {
	f.c.t.Helper()
	var sent api.Sent
	check(f.c.t, f.c.alice.call(ctx, "send", api.SendRequest{To: "bob", Text: "look", Files: []api.FileRequest{{Path: f.path}}}, &sent))
	return sent.Message.ID
}

// saves asks Bob's daemon for the file until it is saved, however often the daemon ends meanwhile.
func (f *course) saves(ctx context.Context, id, dir string) <-chan string {
	out := make(chan string, 1)
	go func() {
		var saved api.Saved
		var why error
		err := asking(ctx, func() bool {
			why = f.c.bob.call(ctx, "file_save", api.SaveRequest{ID: id, Dir: dir}, &saved)
			return why == nil
		})
		if err != nil {
			f.c.t.Errorf("save: %v", why)
		}
		out <- saved.Path
	}()
	return out
}

// here is how many chunks a machine has.
func (f *course) here(m *machine) (n int) {
	_ = filepath.WalkDir(filepath.Join(m.home, "files", "blobs"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && len(e.Name()) == 64 {
			n++
		}
		return nil
	})
	return n
}

// wait returns when a machine has so many chunks, and how many it has then.
func (f *course) wait(ctx context.Context, m *machine, least int) int {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if n := f.here(m); n >= least {
			return n
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.c.t.Fatalf("%s has no %d chunks", m.name, least)
		}
	}
}

// note keeps the most memory that a process had.
func (f *course) note(m *machine) { f.peak[m] = max(f.peak[m], memoryOf(f.c.t, m)) }

// memoryOf is the most memory that a process had so far (VmHWM).
func memoryOf(t testing.TB, m *machine) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		return 0 // no Linux
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	line, _, _ := strings.Cut(rest, "kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	check(t, err)
	return kib << 10
}

var chunkName = regexp.MustCompile(`baf[a-z2-7]{50,}`)

// atMostTwice reads from the logs of machines, which a kill does not shorten, how often each chunk was sent to its end.
func (f *course) atMostTwice(what string, chunks int, by ...*machine) {
	f.c.t.Helper()
	times := map[string]int{}
	for _, m := range by {
		raw, err := os.ReadFile(m.log())
		check(f.c.t, err)
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, what) {
				times[chunkName.FindString(line)]++
			}
		}
	}
	again := 0
	for name, n := range times {
		if n > 2 {
			f.c.t.Errorf("%s %d times: %s", what, n, name)
		}
		if n > 1 {
			again++
		}
	}
	if len(times) < chunks-8 { // the log of one that was sent in the last moment is lost
		f.c.t.Errorf("%s: %d chunks of %d", what, len(times), chunks)
	}
	f.c.t.Logf("%s: %d once, %d twice", what, len(times)-again, again)
}

func sumOf(t testing.TB, path string) (sum [32]byte) {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return sum
	}
	defer in.Close()
	h := sha256.New()
	_, err = io.Copy(h, in)
	check(t, err)
	return [32]byte(h.Sum(nil))
}
