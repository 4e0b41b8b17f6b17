package live

import (
	"flag"
	"os"
	"testing"
	"testing/synctest"
)

// Bubble runs fn in virtual time, outside of a test. Such time has no other source than testing/synctest, which wants a
// test: this makes one. It may be called once in a process, which must not be a test itself. What panics in fn, or stays
// behind after it, ends the process with the goroutines named.
func Bubble(fn func()) {
	over := make(chan struct{})
	_ = flag.CommandLine.Parse(nil) // or testing would take the process's arguments for its own
	name := func(string, string) (bool, error) { return true, nil }
	go testing.Main(name, []testing.InternalTest{{Name: "live", F: func(t *testing.T) {
		synctest.Test(t, func(*testing.T) { fn() })
		close(over)
		select {} // testing.Main would end the process
	}}}, nil, nil)
	<-over
}

// Folder makes one for the nodes' files: in memory where the machine has such a folder, for a sync takes no virtual time on
// any disk, and on a slow one most of the real time.
func Folder() (string, error) {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return os.MkdirTemp(shm, "livesim")
	}
	return os.MkdirTemp("", "livesim")
}
