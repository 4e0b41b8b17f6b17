package live

import (
	"flag"
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
