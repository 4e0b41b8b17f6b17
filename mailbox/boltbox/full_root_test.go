//go:build root

package boltbox

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

// TestFullDiskOnASmallFileSystem fills a real one: refused without loss, acks
// pass where there is a page left, and room brings service back.
func TestFullDiskOnASmallFileSystem(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check1(t, syscall.Unmount(folder, 0)) })
	ballast := filepath.Join(folder, "ballast")
	check1(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o600))
	path := filepath.Join(folder, "box.db")
	s := mustOpen(t, path)
	stored := 0
	var err error
	for ; err == nil; stored++ {
		err = addOne(s, 0, stored)
	}
	stored--
	if !errors.Is(err, mailbox.ErrDiskFull) || stored < 10 {
		t.Fatalf("after %d: %v", stored, err)
	}
	for range 5 {
		if err := addOne(s, 0, stored); !errors.Is(err, mailbox.ErrDiskFull) {
			t.Errorf("still full: %v", err)
		}
	}
	holds := func(s *Store, want int) {
		t.Helper()
		if got := mailboxtest.Look(t, s, 1, stored+1).Total.Count; got != want || s.Stats().Damaged != 0 {
			t.Errorf("holds %d, want %d; %+v", got, want, s.Stats())
		}
	}
	holds(s, stored)
	check1(t, os.Remove(ballast))
	check1(t, addOne(s, 0, stored))
	holds(s, stored+1)
	check1(t, s.Close())
	s = mustOpen(t, path)
	holds(s, stored+1)
	check1(t, s.Close())
}
