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
	folderName = "livesim"
	folderRest = time.Minute // so old is a folder that was surely marked by whoever made it
)

// Folder makes one for the nodes' files: in memory where the machine has such a folder, for a sync takes no virtual time on
// any disk, and on a slow one most of the real time. remove takes it away. A process that is killed cannot do that, so that whoever
// is next does: a folder is marked as its process's by a lock on it, which ends with the process.
func Folder() (dir string, remove func() error, err error) {
	parent := os.TempDir()
	if info, err := os.Stat(inMemory); err == nil && info.IsDir() {
		parent = inMemory
	}
	return folderIn(parent)
}

func folderIn(parent string) (dir string, remove func() error, err error) {
	left, _ := filepath.Glob(filepath.Join(parent, folderName+"[0-9]*"))
	for _, dir := range left {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < folderRest {
			continue
		}
		if mark, err := lock(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = mark.Close()
		}
	}
	if dir, err = os.MkdirTemp(parent, folderName); err != nil {
		return "", nil, err
	}
	mark, err := lock(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(dir))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), mark.Close()) }, nil
}

// lock marks a folder as this process's, unless it is another's.
func lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
