//go:build standin

package p2p

import (
	"os"
	"testing"
	"time"

	"github.com/kith-im/kith/node/store"
)

// A simulator is no messenger, whoever calls it: it makes no identity, opens none, and joins none.
func TestStandInIsNoNode(t *testing.T) {
	dir := t.TempDir()
	n, started := Start(t.Context(), Config{Home: dir, Loopback: true})
	_, _, made := Init(dir, InitParams{Name: "Ada", DeviceName: "phone"})
	_, linked := Link(t.Context(), dir, LinkParams{})
	viewed, worked := View(dir, nil, func(store.Tx) error { return nil }), Work(dir, nil, func(Turns) error { return nil })
	_, relocked := Relock(t.Context(), dir, nil, nil, time.Now())
	for what, err := range map[string]error{
		"start": started, "init": made, "link": linked, "view": viewed, "work": worked, "relock": relocked,
	} {
		if err == nil || err.Error() != errSimulator().Error() {
			t.Errorf("%s: %v", what, err)
		}
	}
	if entries, err := os.ReadDir(dir); n != nil || err != nil || len(entries) > 0 {
		t.Errorf("%v, %d files, %v", n, len(entries), err)
	}
}
