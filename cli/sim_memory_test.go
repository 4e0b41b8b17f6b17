package cli

import (
	"testing"
	"testing/fstest"
)

// Garbage may take half of what a machine, or the control group that we are in, has beside what lives.
func TestGarbageTakesHalfOfWhatThereIs(t *testing.T) {
	const gb = 1 << 30
	meminfo := &fstest.MapFile{Data: []byte("MemTotal:       24000000 kB\nMemFree:          100 kB\nMemAvailable:   8388608 kB\n")}
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		root  fstest.MapFS
		spare uint64
		known bool
	}{
		"a system that does not say":   {fstest.MapFS{}, 0, false},
		"a machine":                    {fstest.MapFS{"proc/meminfo": meminfo}, 8 * gb, true},
		"a file that is not of Linux":  {fstest.MapFS{"proc/meminfo": file("MemAvailable: lots\n")}, 0, false},
		"a group without a limit":      {fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/a\n"), "sys/fs/cgroup/a/memory.max": file("max\n")}, 8 * gb, true},
		"a group of its own namespace": {fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("3221225472\n"), "sys/fs/cgroup/memory.current": file("1073741824\n")}, 2 * gb, true},
		"files give way": {fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("3221225472\n"),
			"sys/fs/cgroup/a/b/memory.current": file("3221225472\n"), "sys/fs/cgroup/a/b/memory.stat": file("anon 1\ninactive_file 1073741824\n"),
		}, gb, true},
		"a group above is narrower": {fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("3221225472\n"),
			"sys/fs/cgroup/a/memory.max": file("2147483648\n"), "sys/fs/cgroup/a/memory.current": file("3221225472\n"),
		}, 0, true},
	} {
		if spare, known := spareMemory(c.root); spare != c.spare || known != c.known {
			t.Errorf("%s: %d %t, want %d %t", name, spare, known, c.spare, c.known)
		}
	}
	for _, c := range []struct{ live, ours, spare, room uint64 }{
		{gb, gb, 8 * gb, 4 * gb},
		{gb, 5 * gb, 4 * gb, 4 * gb}, // what we have taken already does not make it less, or more
		{6 * gb, 7 * gb, 0, gb / 2},
		{6 * gb, 5 * gb, 2 * gb, gb}, // it was measured at two moments
	} {
		if room := roomFor(c.live, c.ours, c.spare); room != c.room {
			t.Errorf("%d bytes live of %d, %d to spare: room for %d, want %d", c.live, c.ours, c.spare, room, c.room)
		}
	}
}
