//go:build root

package blobs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kith-im/kith/crypto/blob"
)

// TestAFullDiskLosesNothing fills a real file system, below the floor too: what
// was acknowledged stays, what was not leaves nothing, and room brings service back.
func TestAFullDiskLosesNothing(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=12m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(folder, "store")
	s := newStoreWith(t, dir, Options{}, controls{free: func() uint64 { return 1 << 40 }}) // the floor does not hold it back
	stored := 0
	var err error
	for ; err == nil && stored < 100; stored++ {
		d, b := chunk(stored, blob.MaxChunk)
		err = s.Put(d, b, later, alice)
	}
	stored--
	if !errors.Is(err, ErrFull) || stored < 3 {
		t.Fatalf("after %d: %v", stored, err)
	}
	if files(t, dir) != stored || s.Usage(alice) != int64(stored)*costOf(blob.MaxChunk) {
		t.Errorf("%d files, %d claimed of %d", files(t, dir), s.Usage(alice), stored)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	put(t, s, stored, blob.MaxChunk, later, alice)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = newStore(t, dir, Options{})
	for i := range stored + 1 {
		if !holds(t, s, i, blob.MaxChunk) {
			t.Errorf("chunk %d is gone", i)
		}
	}
	if got := s.Stats(); got.Damaged+got.Left != 0 {
		t.Errorf("%+v", got)
	}
}
