package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

// Errors of a store; all are found with errors.Is.
var (
	ErrMissing = errors.New("no store here")
	ErrExists  = errors.New("a store is here already")
	ErrLocked  = errors.New("another process holds the store")
	ErrNewer   = errors.New("the store was written by a newer kith")
	ErrDamaged = errors.New("the store is damaged")
	ErrFull    = errors.New("no space left for the store")
)

// Damage names one damaged place of a store. It is an ErrDamaged.
type Damage struct {
	Place string // bucket/first bytes of the stored key, or a part of the file
	Why   string
}

func (d *Damage) Error() string { return fmt.Sprintf("damaged at %s: %s", d.Place, d.Why) }

// Unwrap makes every Damage an ErrDamaged.
func (d *Damage) Unwrap() error { return ErrDamaged }

// classify gives the errors of bbolt and of the system the names that callers act on.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case errors.Is(err, fs.ErrNotExist):
		return ErrMissing
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return &Damage{Place: FileName, Why: err.Error()}
	}
	return err
}

// guard runs a step of bbolt. bbolt panics on pages that make no sense, and reading past the end of a shortened file
// faults: both are damage to report, not reasons to die.
func guard(place string, step func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &Damage{Place: place, Why: fmt.Sprint(r)}
		}
	}()
	return classify(step())
}
