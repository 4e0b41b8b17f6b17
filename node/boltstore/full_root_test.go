//go:build root

package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

// smallDisk is a home on a file system of its own, with a file to remove when space is wanted.
func smallDisk(t *testing.T) (h home, ballast string) {
	t.Helper()
	h = newHome(t)
	if err := syscall.Mount("tmpfs", h.dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(h.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast = filepath.Join(h.dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	return h, ballast
}

func TestAFullDiskIsSaidAndLosesNothing(t *testing.T) {
	h, ballast := smallDisk(t)
	s := h.create()
	durable, err := fill(s)
	if !errors.Is(err, boltstore.ErrFull) {
		t.Fatalf("the failure: %v", err)
	}
	if durable == 0 {
		t.Fatal("nothing fitted")
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if got := uint64(len(rowsOf(t, s, store.BucketOutbox, nil))); got != durable {
		t.Fatalf("%d rows, %d were durable", got, durable)
	}
	// It comes back by itself when there is space.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx store.Tx) { tx.Put(store.BucketMeta, []byte("after"), []byte("space")) })
	s = h.reopen(s)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if got := uint64(len(rowsOf(t, s, store.BucketOutbox, nil))); got != durable {
		t.Fatalf("after reopening %d rows, %d were durable", got, durable)
	}
}

func TestAFullDiskRefusesANewStore(t *testing.T) {
	h, _ := smallDisk(t)
	more := filepath.Join(h.dir, "more")
	_ = os.WriteFile(more, make([]byte, 1<<20), 0o600)
	if _, err := boltstore.Create(h.dir, h.vault); !errors.Is(err, boltstore.ErrFull) {
		t.Fatalf("create: %v", err)
	}
	if err := os.Remove(more); err != nil {
		t.Fatal(err)
	}
	h.create()
}
