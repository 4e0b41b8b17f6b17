package live

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a killed process left behind goes with the next start, and what belongs to a living one, or to nobody of ours, stays.
func TestFoldersThatWereLeftBehindGo(t *testing.T) {
	parent := t.TempDir()
	old := time.Now().Add(-time.Hour)
	make := func(name string, marked bool) string {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(filepath.Join(dir, "1", "u0"), 0o700); err != nil {
			t.Fatal(err)
		}
		if marked {
			if err := os.WriteFile(filepath.Join(dir, folderMark), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	left, other := make("kith-livesim-123", true), make("another", true)
	byHand, before := make("kith-livesim-124", false), make("livesim12345", false)
	link := make("kith-livesim-125", false) // a mark is a file of its own
	if err := os.Symlink(filepath.Join(left, folderMark), filepath.Join(link, folderMark)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(link, old, old); err != nil {
		t.Fatal(err)
	}
	mine, remove, err := folderIn(parent)
	if err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(parent, "kith-livesim-456") // its process has not marked it yet
	if err := os.Mkdir(fresh, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(mine, old, old); err != nil {
		t.Fatal(err)
	}
	_, again, err := folderIn(parent)
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{left: false, other: true, byHand: true, before: true, link: true, mine: true, fresh: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", filepath.Base(dir), err == nil, want)
		}
	}
	for _, remove := range []func() error{remove, again} {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(mine); err == nil {
		t.Error("a folder is there after it was removed")
	}
}
