package p2p

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

// device is a home with an identity, and no passphrase.
func device(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if _, _, err := Init(dir, InitParams{Name: "Ada", DeviceName: "desk"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func opened(t *testing.T, dir string) *home {
	t.Helper()
	h, err := openHome(dir, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	return h
}

// marks name the keys that the file in dir has now.
func marks(t *testing.T, dir string) (out [2]string) {
	t.Helper()
	v, err := boltstore.ReadKeys(dir, nil)
	if err != nil || v.Rotating(vault.Fleeting) || v.Rotating(vault.Lasting) {
		t.Fatalf("%v, or keys that wait", err)
	}
	return [2]string{string(v.Mark(vault.Lasting)), string(v.Mark(vault.Fleeting))}
}

func renewed(t *testing.T, h *home, log *bytes.Buffer) {
	t.Helper()
	if err := h.settle(t.Context(), time.Now(), rand.Reader, slog.New(slog.NewTextHandler(log, nil))); err != nil {
		t.Fatal(err)
	}
}

func TestEachStartBringsAFreshKeyForWhatIsForgotten(t *testing.T) {
	dir := device(t)
	before := marks(t, dir)
	var log bytes.Buffer
	renewed(t, opened(t, dir), &log)
	if after := marks(t, dir); after[vault.Fleeting] == before[vault.Fleeting] || after[vault.Lasting] != before[vault.Lasting] || log.Len() > 0 {
		t.Errorf("keys as they were, or too many new ones; log %q", log.String())
	}
}

// TestAStoreThatWasPutBackBeginsAnew copies the store while no node runs, and puts it back after the next start.
func TestAStoreThatWasPutBackBeginsAnew(t *testing.T) {
	dir := device(t)
	path := filepath.Join(dir, storeFile)
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, back := range []bool{false, true} { // the first is the control
		if back {
			if err := os.WriteFile(path, copied, fileMode); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		h := opened(t, dir)
		if h.store.Restored() != back {
			t.Errorf("put back %v, noticed %v", back, h.store.Restored())
		}
		renewed(t, h, &log)
		if bytes.Contains(log.Bytes(), []byte("put back beside newer keys")) != back {
			t.Errorf("put back %v, log %q", back, log.String())
		}
		var told []byte
		if err := h.store.View(func(tx store.Tx) error { _, told = tx.Last(store.BucketEvents); return nil }); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(told, []byte("older copy")) != back {
			t.Errorf("put back %v, the person was told %q", back, told)
		}
		var e *node.Engine
		err := h.store.Update(func(tx store.Tx) (err error) {
			e, err = node.Load(&node.Turn{Now: time.Now(), Rand: rand.Reader, Tx: tx, Out: &node.Effects{}}, node.Config{})
			return err
		})
		if err != nil || e == nil {
			t.Errorf("put back %v: the engine does not load: %v", back, err)
		}
		if err := errors.Join(h.store.Check(), h.store.Close()); err != nil {
			t.Errorf("put back %v: %v", back, err)
		}
	}
}

func TestADamagedPrekeyHasTheDeviceBeginAnew(t *testing.T) {
	dir := device(t)
	db, err := bbolt.Open(filepath.Join(dir, storeFile), fileMode, nil)
	if err == nil {
		err = errors.Join(db.Update(func(tx *bbolt.Tx) error {
			rows := tx.Bucket([]byte{byte(store.BucketPrekeys)})
			k, v := rows.Cursor().First()
			bad := bytes.Clone(v)
			bad[len(bad)-1] ^= 1
			return rows.Put(k, bad)
		}), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	h := opened(t, dir)
	var log bytes.Buffer
	renewed(t, h, &log)
	if !bytes.Contains(log.Bytes(), []byte("damaged at bucket 5/")) && !bytes.Contains(log.Bytes(), []byte("damaged at 5/")) {
		t.Errorf("log %q", log.String())
	}
	err = h.store.Update(func(tx store.Tx) error {
		_, err := node.Load(&node.Turn{Now: time.Now(), Rand: rand.Reader, Tx: tx, Out: &node.Effects{}}, node.Config{})
		return err
	})
	if err := errors.Join(err, h.store.Check()); err != nil {
		t.Error(err)
	}
}

func TestKeysAreRenewedWhileANodeRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := device(t)
		h := opened(t, dir)
		n := &Node{home: h, cfg: Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)}}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { n.keepKeys(ctx); close(ended) }()
		sealed, err := os.ReadFile(filepath.Join(dir, hostFile))
		if err != nil {
			t.Fatal(err)
		}
		before := marks(t, dir)
		after := func(d time.Duration, lasting, fleeting bool) {
			t.Helper()
			<-time.After(d) // of the bubble
			synctest.Wait()
			now := marks(t, dir)
			if got := [2]bool{now[0] != before[0], now[1] != before[1]}; got != [2]bool{lasting, fleeting} {
				t.Errorf("after %v more: changed %v", d, got)
			}
			before = now
		}
		after(boltstore.FleetingEvery-2*keysEvery, false, false)
		after(3*keysEvery, false, true)
		after(boltstore.FleetingEvery, false, true)
		after(boltstore.LastingEvery, true, true)
		end()
		<-ended
		if again, err := os.ReadFile(filepath.Join(dir, hostFile)); err != nil || bytes.Equal(sealed, again) {
			t.Errorf("the host key lies under the old keys: %v", err)
		}
		h.store.Close()
		if again := opened(t, dir); !again.key.Equal(h.key) {
			t.Error("the host key changed")
		}
	})
}

// TestReadersBesideNewKeysFindThemOrALock reads a home again and again while its keys change.
func TestReadersBesideNewKeysFindThemOrALock(t *testing.T) {
	dir := device(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 10 {
			for {
				changed, err := Relock(t.Context(), dir, nil, nil, time.Now())
				if errors.Is(err, ErrLocked) {
					continue // a reader was there first
				}
				if err != nil || !changed {
					t.Errorf("changed %v, %v", changed, err)
				}
				break
			}
		}
	}()
	reads := 0
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
		}
		err := View(dir, nil, func(tx store.Tx) error { _, err := node.Identity(tx); return err })
		if err != nil && !errors.Is(err, ErrLocked) {
			t.Fatal(err)
		}
		if err == nil {
			reads++
		}
	}
	if reads == 0 {
		t.Error("nothing was read")
	}
}
