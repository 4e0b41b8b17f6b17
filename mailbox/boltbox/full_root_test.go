//go:build root

package boltbox

import (
	"context"
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
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ok(t, syscall.Unmount(folder, 0)) })
	ballast := filepath.Join(folder, "ballast")
	ok(t, os.WriteFile(ballast, make([]byte, 10<<20), 0o600))
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
	e, _ := mailboxtest.Envelope(0, 1)
	ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error { return tx.Bury(mailboxtest.Box(0), e.ID) }))
	overflow(t, s)
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
	holds(s, stored-1)
	ok(t, os.Remove(ballast))
	ok(t, addOne(s, 0, stored))
	holds(s, stored)
	ok(t, s.Close())
	s = mustOpen(t, path)
	holds(s, stored)
	ok(t, s.Close())
}

// overflow writes what no reserve holds back, until the file system itself
// says that it is full.
func overflow(t *testing.T, s *Store) {
	t.Helper()
	var err error
	for n := 0; err == nil && n < 1000; n++ {
		err = s.Do(context.Background(), func(tx mailbox.Tx) error {
			return tx.PutSet(mailboxtest.Box(1000+n), make([]byte, 100_000))
		})
	}
	if !errors.Is(err, mailbox.ErrDiskFull) {
		t.Errorf("an overflowing file system: %v", err)
	}
}
