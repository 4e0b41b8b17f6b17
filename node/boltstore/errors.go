package boltstore

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/kith-im/kith/dht/boltfile"
)

// Errors of a store; all are found with errors.Is.
var (
	ErrMissing = errors.New("no store here")
	ErrExists  = errors.New("a store is here already")
	ErrLocked  = errors.New("another process holds the store")
	ErrNewer   = errors.New("the store was written by a newer kith")
	ErrDamaged = errors.New("the store is damaged")
	ErrFull    = errors.New("no space left for the store")
	ErrApart   = errors.New("node.db and vault.key do not belong together: one of them is another device's or an older copy")
	// ErrRestored: what only Forget ends.
	ErrRestored = errors.New("the store was put back from an older copy: start the node once")
)

// Damage names one damaged place of a store. It is an ErrDamaged.
type Damage struct {
	Place string // bucket/first bytes of the stored key, or a part of the file
	Why   string
}

func (d *Damage) Error() string { return fmt.Sprintf("damaged at %s: %s", d.Place, d.Why) }

// Unwrap makes every Damage an ErrDamaged.
func (d *Damage) Unwrap() error { return ErrDamaged }

// named gives the errors of the file the names that callers of a store act on.
func named(err error) error {
	var where *boltfile.Damage
	switch {
	case errors.As(err, &where):
		return &Damage{Place: where.Place, Why: where.Why}
	case errors.Is(err, boltfile.ErrFull):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, boltfile.ErrLocked):
		return ErrLocked
	case errors.Is(err, fs.ErrNotExist):
		return ErrMissing
	}
	return err
}

// guard runs a step of bbolt; what bbolt trips over is damage at place.
func guard(place string, step func() error) error { return named(boltfile.Guard(place, step)) }
