package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// copyStore is a copy of a device's files, as a person may put one back.
func (d *device) copyStore() store.Store {
	d.w.t.Helper()
	copied := store.NewMemory()
	d.w.must(d.store.View(func(from store.Tx) error {
		return copied.Update(func(to store.Tx) error {
			for _, b := range store.Buckets() {
				from.Scan(b, nil, func(k, v []byte) bool { to.Put(b, k, v); return true })
			}
			return nil
		})
	}))
	return copied
}

// putBack puts an older copy back and starts the device with it.
func (d *device) putBack(s store.Store) {
	d.stop()
	d.store = s
	d.notices = nil
	d.start()
}

func (d *device) tookNote(part string) bool {
	return slices.ContainsFunc(d.notices, func(n view.Notice) bool { return n.Type == "device" && contains(n.Text, part) })
}

// A device whose store was put back from an older copy notices it by its own record in the directory, begins anew, and gets
// again what it had: from the outboxes, and by the counters what it had acknowledged.
func TestARestoredDeviceGetsBackWhatItHad(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"r1", "r2", "r3"} {
		w.relay(n)
	}
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	w.pass(time.Minute)
	a.send(b, "before the copy")
	b.send(a, "an answer")
	w.pass(time.Minute)
	old := b.copyStore()
	for i := range 5 {
		a.send(b, "after it "+text(i))
		b.send(a, "said after it "+text(i))
		w.pass(time.Minute)
	}
	w.pass(30 * time.Hour) // bob's bundle is renewed
	want := b.texts(a)
	b.putBack(old)
	w.pass(2 * time.Hour)
	if !b.tookNote("older copy") {
		t.Error("nobody was told")
	}
	got := b.texts(a)
	for _, text := range want {
		if !contains(text, "said after") && !slices.Contains(got, text) {
			t.Errorf("%q has not come back", text)
		}
	}
	a.send(b, "and on")
	b.send(a, "on as well")
	w.pass(time.Minute)
	if got := b.texts(a); !slices.Contains(got, "and on") {
		t.Errorf("bob does not hear alice: %q", got)
	}
	if got := a.texts(b); !slices.Contains(got, "on as well") {
		t.Errorf("alice does not hear bob: %q", got)
	}
	_ = node.Retention
}
