package boltfile

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

// Errors of a file; all are found with errors.Is.
var (
	ErrLocked  = errors.New("another process holds the file")
	ErrDamaged = errors.New("the file is damaged")
	ErrFull    = errors.New("no space left for the file")
)

// Damage names one damaged place. It is an ErrDamaged.
type Damage struct {
	Place string // "file", "file/meta0", "file/page7", or as Guard was told
	Why   string
}

func (d *Damage) Error() string { return fmt.Sprintf("damaged at %s: %s", d.Place, d.Why) }

// Unwrap makes every Damage an ErrDamaged.
func (d *Damage) Unwrap() error { return ErrDamaged }

// Guard runs a step of bbolt at a place. bbolt panics on pages that make no
// sense, and reading past the end of a shortened file faults: both become a
// *Damage. The step's own error is classified. After damage in the middle of a
// step bbolt may still hold its locks: to Close can then wait for ever.
func Guard(place string, step func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &Damage{Place: place, Why: fmt.Sprint(p)}
		}
	}()
	return Classify(step())
}

// Classify gives an error of bbolt or of the system the name that callers act
// on, and returns any other as it is.
func Classify(err error) error {
	switch {
	case err == nil:
		return nil
	case full(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return &Damage{Place: wholeFile, Why: err.Error()}
	}
	return err
}

// full says that a write found no room: nothing has changed, and the next may
// succeed. A sync that fails, for want of room too, is not among these: after
// it nobody knows what is on the disk.
func full(err error) bool {
	var path *fs.PathError
	for _, room := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.As(err, &path) && path.Op != "sync" && errors.Is(path, room) {
			return true
		}
		// bbolt flattens the error of the truncate that grows the file.
		if text := err.Error(); strings.Contains(text, "file resize error") && strings.Contains(text, room.Error()) {
			return true
		}
	}
	return false
}
