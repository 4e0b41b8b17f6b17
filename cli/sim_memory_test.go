package cli

import (
	"testing"
	"testing/fstest"
)

// Garbage has a fixed part of what a machine, or the control group that we are in, had to spare, and no more than four times what lives.
func TestGarbageTakesAPartOfWhatThereIs(t *testing.T) {
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
	for _, c := range []struct{ live, most, room uint64 }{
		{gb / 1024, 4 * gb, gb / 4}, // little lives: collecting it over and over would cost more than the room does
		{gb / 2, 4 * gb, 2 * gb},
		{2 * gb, 4 * gb, 4 * gb}, // it does not matter how much garbage there is already
		{12 * gb, 4 * gb, 4 * gb},
		{20 * gb, 4 * gb, 5 * gb}, // less would be collecting all the time
	} {
		if room := roomFor(c.live, c.most); room != c.room {
			t.Errorf("%d bytes live, at most %d of garbage: room for %d, want %d", c.live, c.most, room, c.room)
		}
	}
}
