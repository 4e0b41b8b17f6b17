//go:build root

package boltbox

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
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
	folder := small(t, "size=24m")
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

// small mounts a file system of a size for the test.
func small(t *testing.T, size string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ok(t, syscall.Unmount(folder, 0)) })
	return folder
}

// stuff fills what is left of a file system, and returns the file to remove.
func stuff(t *testing.T, folder string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(folder, "ballast")
	f, err := os.Create(ballast)
	ok(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if ok(t, f.Close()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return ballast
}

// TestAnUpgradeNeedsNoRoom: its one page is one that bbolt had free, on a full
// disk too, and acks go on passing there.
func TestAnUpgradeNeedsNoRoom(t *testing.T) {
	folder := small(t, "size=2m")
	path, _ := kept(t, folder, "v1.db")
	ballast := stuff(t, folder)
	for range 2 {
		s := mustOpen(t, path)
		wantStory(t, s, storyState(t))
		if err := addOne(s, 1, storyEnvelopes); !errors.Is(err, mailbox.ErrDiskFull) {
			t.Errorf("an envelope on a full disk: %v", err)
		}
		ok(t, s.Close())
	}
	ok(t, os.Remove(ballast))
}

// TestACopyThatFindsNoRoomIsNotMissed: the store opens as it is, the rest of
// the copy is gone, and with room it is made.
func TestACopyThatFindsNoRoomIsNotMissed(t *testing.T) {
	folder := small(t, "size=24m")
	path := filepath.Join(folder, "box.db")
	s := mustOpen(t, path)
	_ = populate(t, s, 600, rand.New(rand.NewPCG(5, 5)))
	ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
		_, err := tx.DropDay(tx.Days()[0])
		for _, day := range tx.Days()[2:] {
			if err == nil {
				_, err = tx.DropDay(day)
			}
		}
		return err
	}))
	ok(t, s.Close())
	size := func() int64 {
		info, err := os.Stat(path)
		ok(t, err)
		return info.Size()
	}
	large := size()
	want, _ := dump(t, path)
	ballast := stuff(t, folder)
	s, err := open(path, controls{compact: 1})
	if err != nil {
		t.Fatal(err)
	}
	ok(t, s.Close())
	if got, sound := dump(t, path); size() != large || !sound || !maps.Equal(got, want) {
		t.Errorf("%d bytes of %d, sound %v", size(), large, sound)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the rest of the copy: %v", err)
	}
	ok(t, os.Remove(ballast))
	s, err = open(path, controls{compact: 1})
	if err != nil {
		t.Fatal(err)
	}
	ok(t, s.Close())
	if got, sound := dump(t, path); size() >= large/2 || !sound || !maps.Equal(got, want) {
		t.Errorf("%d bytes of %d, sound %v", size(), large, sound)
	}
}
