package boltbox

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

// The child's role and file travel in its environment.
const (
	roleVar  = "KITH_BOLTBOX_ROLE"
	pathVar  = "KITH_BOLTBOX_PATH"
	firstVar = "KITH_BOLTBOX_FIRST"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		child(os.Getenv(pathVar), role)
		return
	}
	goleak.VerifyTestMain(m)
}

// Events that a child reports, 9 bytes each: kind and number.
const (
	deposited = 'd' // has a receipt
	trying    = 't' // an ack was sent
	acked     = 'a' // an ack was confirmed
)

// child deposits and acks from many goroutines until it is killed.
func child(path, role string) {
	if role == "create" || role == "bare" {
		create(path, role == "bare")
		return
	}
	s, err := open(path, controls{answerEarly: role == "early"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var first uint64
	_, _ = fmt.Sscan(os.Getenv(firstVar), &first)
	for g := range uint64(16) {
		go func() {
			for n := first + g; ; n += 16 {
				if err := cycle(s, n); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		}()
	}
	select {}
}

// cycle deposits envelope n and, for every third, acks it.
func cycle(s *Store, n uint64) error {
	r := testRelay(mailbox.Limits{BoxCount: 1 << 30})
	key, box := mailboxtest.Key(int(n%4)), mailboxtest.Box(int(n%4))
	var receipt *mailbox.Receipt
	err := s.Do(context.Background(), func(tx mailbox.Tx) (err error) {
		if err := tx.PutBox(box, mailbox.Box{Member: true, End: crashNow.Add(time.Hour)}); err != nil {
			return err
		}
		receipt, err = r.Deposit(tx, crashNow, mailbox.Deposit{Box: box, Envelope: crashEnvelope(n), Expires: crashNow.Add(time.Duration(1+n%3) * 24 * time.Hour)})
		return err
	})
	if err != nil {
		return err
	}
	ids := []mailbox.EnvelopeID{mailbox.EnvelopeIDOf(crashEnvelope(n))}
	if err := receipt.Verify(r.Peer(), box, ids[0]); err != nil {
		return err
	}
	report9(deposited, n)
	if n%3 != 0 {
		return nil
	}
	report9(trying, n)
	sig := mailbox.SignRequest(key, r.Peer(), mailbox.VerbAck, mailbox.AckContent(ids))
	err = s.Do(context.Background(), func(tx mailbox.Tx) error {
		return r.Ack(tx, crashNow, key.Public().(ed25519.PublicKey), ids, sig)
	})
	if err == nil {
		report9(acked, n)
	}
	return err
}

var crashNow = mailboxtest.T0

func crashEnvelope(n uint64) []byte {
	body := make([]byte, 700)
	binary.BigEndian.PutUint64(body, n)
	return body
}

// report9 writes one event; a pipe takes nine bytes whole.
func report9(kind byte, n uint64) {
	_, _ = os.Stdout.Write(binary.BigEndian.AppendUint64([]byte{kind}, n))
}

// ledger is what the parent was told.
type ledger map[uint64]byte

// life runs a child until it has reported some events, kills it, and reads
// what was still in the pipe.
func (l ledger) life(t *testing.T, path, role string, events int) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), roleVar+"="+role, pathVar+"="+path, fmt.Sprintf("%s=%d", firstVar, l.next()))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	for i := 0; ; i++ {
		if i == events {
			_ = c.Process.Kill()
		}
		var e [9]byte
		if _, err := io.ReadFull(in, e[:]); err != nil {
			break
		}
		l[binary.BigEndian.Uint64(e[1:])] = e[0]
	}
	_ = c.Wait()
}

// next is a number that no child has used; children count in steps.
func (l ledger) next() uint64 {
	var most uint64
	for n := range l {
		most = max(most, n)
	}
	return most + 1000
}

// lost counts what the store does not hold as it was reported.
func (l ledger) lost(t *testing.T, path string) (lost int) {
	t.Helper()
	s := mustOpen(t, path)
	defer func() { _ = s.Close() }()
	if d := s.Stats().Damaged; d != 0 {
		t.Errorf("%d values are damaged", d)
	}
	_ = s.View(func(tx mailbox.Tx) error {
		for n, kind := range l {
			box, want := mailboxtest.Box(int(n%4)), crashEnvelope(n)
			e, ok := tx.Find(box, mailbox.EnvelopeIDOf(want))
			switch {
			case !ok:
				lost++
			case kind == acked && !e.Buried, kind == deposited && e.Buried:
				lost++
			case !e.Buried:
				if body, err := tx.Body(box, e); err != nil || string(body) != string(want) {
					lost++
				}
			}
		}
		return nil
	})
	return lost
}

func TestWhatHasAReceiptSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box.db")
	rng := rand.New(rand.NewPCG(1, uint64(kills())))
	l := ledger{}
	for i := range kills() {
		l.life(t, path, "honest", 1+rng.IntN(200))
		if i%5 == 4 {
			if lost := l.lost(t, path); lost > 0 {
				t.Fatalf("after %d kills: %d of %d lost", i+1, lost, len(l))
			}
		}
	}
	if lost := l.lost(t, path); lost > 0 || len(l) < kills() {
		t.Errorf("%d of %d lost", lost, len(l))
	}
	t.Logf("%d kills, %d envelopes with receipts, none lost", kills(), len(l))
}

// TestControlReceiptBeforeCommitIsLost shows that the test above can fail.
func TestControlReceiptBeforeCommitIsLost(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 40 {
		path := filepath.Join(t.TempDir(), "box.db")
		mustClose(t, path) // so that the file exists
		l := ledger{}
		l.life(t, path, "early", 1+rng.IntN(50))
		if l.lost(t, path) > 0 {
			return
		}
	}
	t.Error("receipts before the commit, forty kills, and nothing was lost")
}

func mustClose(t *testing.T, path string) {
	t.Helper()
	if err := mustOpen(t, path).Close(); err != nil {
		t.Fatal(err)
	}
}

// create makes stores until it is killed, and says each time when it is about
// to have laid the tables. bare makes them in place, without the rename.
func create(path string, bare bool) {
	for n := uint64(0); ; n++ {
		laying := func(tx *boltTx) error {
			err := lay(tx)
			report9(trying, n)
			return err
		}
		at, err := fmt.Sprintf("%s.%d", path, n), error(nil)
		if bare {
			var db *bolt.DB
			if db, err = bolt.Open(at, 0o600, nil); err == nil {
				err = errors.Join(db.Update(laying), db.Close())
			}
		} else {
			err = boltfile.Create(at, fileOptions, laying)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// tornBirths kills children that create stores and counts the files that
// cannot be opened then.
func tornBirths(t *testing.T, role string, kills int) (torn int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	for range kills {
		folder := t.TempDir()
		l := ledger{}
		l.life(t, filepath.Join(folder, "box"), role, 1+rng.IntN(12))
		names, err := filepath.Glob(filepath.Join(folder, "*"))
		ok(t, err)
		for _, name := range names {
			if filepath.Ext(name) == ".new" {
				name = strings.TrimSuffix(name, ".new")
			}
			s, err := Open(name)
			if err != nil {
				torn++
				continue
			}
			ok(t, s.Close())
		}
	}
	return torn
}

func TestKillDuringTheFirstCreationLeavesNoTornFile(t *testing.T) {
	if torn := tornBirths(t, "create", max(10, kills()/4)); torn != 0 {
		t.Errorf("%d files cannot be opened", torn)
	}
}

// TestControlCreationInPlaceIsTorn shows that the test above can fail.
func TestControlCreationInPlaceIsTorn(t *testing.T) {
	if tornBirths(t, "bare", 20) == 0 {
		t.Error("twenty kills of a creation without the rename, and each file could be opened")
	}
}
