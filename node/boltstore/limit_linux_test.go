package boltstore_test

import (
	"encoding/binary"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

// fill commits rows until an update fails; it returns how many are durable and the failure.
func fill(s *boltstore.Store) (rows uint64, err error) {
	for ; ; rows++ {
		err := s.Update(func(tx store.Tx) error {
			tx.Put(store.BucketOutbox, binary.BigEndian.AppendUint64(nil, rows), make([]byte, 8000))
			return nil
		})
		if err != nil {
			return rows, err
		}
	}
}

// allowFiles lets files of this process grow up to a size, in bytes.
func allowFiles(t *testing.T, size uint64) (restore func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	}
}

// TestACommitThatFailsForAnotherReasonEndsTheWriting: only a full disk is known to have changed nothing.
func TestACommitThatFailsForAnotherReasonEndsTheWriting(t *testing.T) {
	h := newHome(t)
	s := h.create()
	info, err := os.Stat(h.path())
	if err != nil {
		t.Fatal(err)
	}
	restore := allowFiles(t, uint64(info.Size()))
	_, err = fill(s)
	restore()
	if err == nil || errors.Is(err, boltstore.ErrFull) || errors.Is(err, boltstore.ErrDamaged) {
		t.Fatalf("past the limit: %v", err)
	}
	durable := len(rowsOf(t, s, store.BucketOutbox, nil))
	if err := s.Update(func(tx store.Tx) error { tx.Put(store.BucketMeta, []byte("k"), nil); return nil }); err == nil {
		t.Error("it went on writing")
	}
	s = h.reopen(s)
	update(t, s, func(tx store.Tx) { tx.Put(store.BucketMeta, []byte("k"), nil) })
	if err := s.Check(); err != nil || len(rowsOf(t, s, store.BucketOutbox, nil)) != durable {
		t.Errorf("opened again: %v", err)
	}
}
