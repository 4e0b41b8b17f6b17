package live

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Where nodes' files are, and what a folder of them is called.
const (
	inMemory   = "/dev/shm"
	folderName = "kith-livesim-*"
	folderMark = "livesim.lock" // in each: what has none is not ours
	folderRest = time.Minute    // so old is a folder that was surely marked by whoever made it
)

// Folder makes one for the nodes' files: in memory where the machine has such a folder, for a sync takes no virtual time on
// any disk, and on a slow one most of the real time. remove takes it away. A process that is killed cannot do that, so that whoever
// is next does: a folder is marked as its process's by a file with a lock on it, which ends with the process.
func Folder() (dir string, remove func() error, err error) {
	parent := os.TempDir()
	if info, err := os.Stat(inMemory); err == nil && info.IsDir() {
		parent = inMemory
	}
	return folderIn(parent)
}

func folderIn(parent string) (dir string, remove func() error, err error) {
	left, _ := filepath.Glob(filepath.Join(parent, folderName))
	for _, dir := range left {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < folderRest {
			continue
		}
		if info, err := os.Lstat(filepath.Join(dir, folderMark)); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if mark, err := lock(dir, 0); err == nil {
			_ = errors.Join(removeMarked(dir), mark.Close())
		}
	}
	if dir, err = os.MkdirTemp(parent, folderName); err != nil {
		return "", nil, err
	}
	mark, err := lock(dir, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return errors.Join(removeMarked(dir), mark.Close()) }, nil
}

// removeMarked takes a folder away, its mark last: what could not be removed is whoever is next's to remove.
func removeMarked(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != folderMark {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// lock marks a folder as this process's, unless it is another's; how is for a mark that is not there yet.
func lock(dir string, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, folderMark), os.O_RDWR|how, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
