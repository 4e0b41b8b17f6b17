package boltstore_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

const (
	childHome  = "KITH_TEST_CRASH_HOME"
	childLying = "KITH_TEST_CRASH_LYING"
	crashes    = 12
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childHome); dir != "" {
		if err := writeUntilKilled(dir, os.Getenv(childLying) != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled commits a row and its double in two buckets, and says each number once it is durable. Lying, it says
// so before the commit.
func writeUntilKilled(dir string, lying bool) error {
	file, err := os.ReadFile(filepath.Join(dir, "vault.key"))
	if err != nil {
		return err
	}
	v, err := vault.Open(file, nil)
	if err != nil {
		return err
	}
	s, err := boltstore.Open(dir, v, boltstore.Options{})
	if err != nil {
		return err
	}
	for {
		err := s.Update(func(tx store.Tx) error {
			last, _ := tx.Last(store.BucketOutbox)
			n := uint64(1)
			if last != nil {
				n = binary.BigEndian.Uint64(last) + 1
			}
			if lying {
				fmt.Println(n)
			}
			key := binary.BigEndian.AppendUint64(nil, n)
			tx.Put(store.BucketOutbox, key, make([]byte, n*37%5000))
			tx.Put(store.BucketMessages, key, key)
			return nil
		})
		if err != nil {
			return err
		}
		if !lying {
			if err := sayLast(s); err != nil {
				return err
			}
		}
	}
}

func sayLast(s *boltstore.Store) error {
	return s.View(func(tx store.Tx) error {
		last, _ := tx.Last(store.BucketOutbox)
		fmt.Println(binary.BigEndian.Uint64(last))
		return nil
	})
}

// killOnce runs a writer until it has said a random count of numbers, kills it and returns the last number it said.
func killOnce(t *testing.T, dir string, lying bool) uint64 {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childHome+"="+dir)
	if lying {
		cmd.Env = append(cmd.Env, childLying+"=1")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said uint64
	lines := bufio.NewScanner(out)
	for left := 1 + rand.IntN(30); lines.Scan(); left-- {
		if said, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			// Whatever it says between the signal and its end counts as well.
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	return said
}

// crashHome is a home with its vault's file and a store.
func crashHome(t *testing.T) home {
	h := newHome(t)
	file, err := h.vault.File(zeros{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "vault.key"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	h.create().Close()
	return h
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// lastIn opens the store after a crash, checks it, and returns the last number in it.
func lastIn(t *testing.T, h home) uint64 {
	t.Helper()
	s := h.open(boltstore.Options{})
	defer s.Close()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	outbox, messages := rowsOf(t, s, store.BucketOutbox, nil), rowsOf(t, s, store.BucketMessages, nil)
	if len(outbox) != len(messages) {
		t.Fatalf("half a transaction: %d and %d rows", len(outbox), len(messages))
	}
	for i, r := range outbox {
		if n := binary.BigEndian.Uint64([]byte(r.Key)); n != uint64(i+1) {
			t.Fatalf("row %d is number %d", i, n)
		}
	}
	return uint64(len(outbox))
}

func TestWhatWasCommittedSurvivesKill9(t *testing.T) {
	h := crashHome(t)
	for range crashes {
		said := killOnce(t, h.dir, false)
		if have := lastIn(t, h); have < said {
			t.Fatalf("%d was durable, the store ends at %d", said, have)
		}
	}
}

// TestAWriterThatSpeaksTooEarlyIsCaught is the control.
func TestAWriterThatSpeaksTooEarlyIsCaught(t *testing.T) {
	h := crashHome(t)
	for range crashes {
		if said := killOnce(t, h.dir, true); lastIn(t, h) < said {
			return
		}
	}
	t.Error("a writer that speaks before its commit was never caught")
}
