package boltbox

import (
	"path/filepath"
	"testing"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

// opener opens a store in a fresh folder; it is closed with the test.
func opener(t testing.TB) (mailbox.Store, func() mailbox.Store) {
	path := filepath.Join(t.TempDir(), "box.db")
	s := mustOpen(t, path)
	t.Cleanup(func() { _ = s.Close() })
	return s, func() mailbox.Store {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, path)
		return s
	}
}

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreConforms(t *testing.T) { mailboxtest.Conform(t, opener) }

func TestStoreEqualsTheModel(t *testing.T) { mailboxtest.Compare(t, opener) }
