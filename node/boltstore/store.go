// Package boltstore keeps a device's store in one sealed bbolt file.
package boltstore

import (
	"errors"
	"time"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node"
)

// FileName is the name of the store's file inside the home folder.
const FileName = "node.db"

// Errors of a store; all are found with errors.Is.
var (
	ErrMissing = errors.New("no store here")
	ErrExists  = errors.New("a store is here already")
	ErrLocked  = errors.New("another process holds the store")
	ErrNewer   = errors.New("the store was written by a newer kith")
	ErrDamaged = errors.New("damaged")
	ErrFull    = errors.New("disk full")
)

// Options of Open.
type Options struct {
	ReadOnly bool
	Timeout  time.Duration // how long to wait for another process; zero: DefaultTimeout
}

// Store is a node.Store on disk.
type Store struct{}

var errSketch = errors.New("not built yet")

// Create makes a new store in dir, which must exist.
func Create(dir string, v *vault.Vault) (*Store, error) { return nil, errSketch }

// Open opens the store in dir.
func Open(dir string, v *vault.Vault, o Options) (*Store, error) { return nil, errSketch }

// Update runs fn in a read-write transaction; durable when it returns nil.
func (s *Store) Update(fn func(node.Tx) error) error { return errSketch }

// View runs fn in a read transaction.
func (s *Store) View(fn func(node.Tx) error) error { return errSketch }

// Check reads everything and returns an error that names each damaged place.
func (s *Store) Check() error { return errSketch }

// Close closes the file.
func (s *Store) Close() error { return errSketch }
