package transfer

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// world is a device with a ledger in memory, what it knows, and the jobs that run.
type world struct {
	t       *testing.T
	store   store.Store
	ledger  *Ledger
	now     time.Time
	relays  []dht.Peer
	quorum  int
	sources []Source
	friends map[identity.UserID]bool
	pending bool
	jobs    []Job
	told    []view.Transfer
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: store.NewMemory(), now: time.Unix(1_800_000_000, 0), friends: map[identity.UserID]bool{}, quorum: 2}
	w.restart()
	return w
}

func (w *world) Sources(identity.UserID) []Source { return w.sources }
func (w *world) Relays() ([]dht.Peer, int, ed25519.PrivateKey) {
	return w.relays, min(w.quorum, len(w.relays)), nil
}
func (w *world) Friend(u identity.UserID) bool { return w.friends[u] }
func (w *world) Pending([]byte) bool           { return w.pending }

// restart loads the ledger anew, as after kill -9.
func (w *world) restart() {
	_ = w.store.View(func(tx store.Tx) error {
		w.ledger, w.jobs = Load(tx), nil
		return nil
	})
}

func (w *world) turn(fn func(t *Turn, l *Ledger)) {
	w.t.Helper()
	err := w.store.Update(func(tx store.Tx) error {
		t := &Turn{Now: w.now, Rand: rand.NewChaCha8([32]byte{1}), Tx: tx}
		fn(t, w.ledger)
		w.jobs, w.told = append(w.jobs, t.Jobs...), append(w.told, t.Changed...)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// job takes the one job that there is.
func (w *world) job(kind Kind) Job {
	w.t.Helper()
	if len(w.jobs) != 1 || w.jobs[0].Kind != kind {
		w.t.Fatalf("jobs: %+v, want one of kind %d", w.jobs, kind)
	}
	j := w.jobs[0]
	w.jobs = nil
	return j
}

func (w *world) ended(r Result) {
	w.t.Helper()
	w.turn(func(t *Turn, l *Ledger) { l.Ended(t, w, r) })
}

func (w *world) tick() {
	w.t.Helper()
	w.turn(func(t *Turn, l *Ledger) { l.Tick(t, w) })
}

func (w *world) file(n uint64) (v view.File) {
	w.t.Helper()
	_ = w.store.View(func(tx store.Tx) error {
		v = Files(tx, []uint64{n})[0]
		return nil
	})
	return v
}

func (w *world) came(author identity.UserID, files ...*chatpb.File) (out []uint64) {
	w.t.Helper()
	w.turn(func(t *Turn, l *Ledger) {
		out = l.Came(t, w, author, bytes.Repeat([]byte{7}, 32), files)
		l.Tick(t, w)
	})
	return out
}

func (w *world) sent(files ...*chatpb.File) (out []uint64) {
	w.t.Helper()
	w.turn(func(t *Turn, l *Ledger) {
		out = l.Sent(t, identity.UserID{1}, bytes.Repeat([]byte{8}, 32), files)
		l.Tick(t, w)
	})
	return out
}

func (w *world) save(n uint64, folder string) (err error) {
	w.t.Helper()
	w.turn(func(t *Turn, l *Ledger) { err = l.Save(t, w, n, false, folder) })
	return err
}

func relay(b byte) dht.Peer {
	return dht.Peer{ID: append([]byte{0, 36, 8, 1, 18, 32}, bytes.Repeat([]byte{b}, 32)...)}
}

func file(size uint64, of byte) *chatpb.File {
	return &chatpb.File{Key: make([]byte, 32), Manifest: bytes.Repeat([]byte{of}, 32), Size: size, Name: "a.txt"}
}

var bob, carol = identity.UserID{2}, identity.UserID{3}

func TestAFileOfAFriendIsFetchedAndOfAStrangerNot(t *testing.T) {
	w := newWorld(t)
	w.sources = []Source{{Peer: relay(1)}}
	n := w.came(bob, file(100, 1))[0]
	if len(w.jobs) != 0 || w.file(n).State != "offered" {
		t.Fatalf("a stranger's: %+v %+v", w.jobs, w.file(n))
	}
	w.friends[bob] = true
	w.turn(func(t *Turn, l *Ledger) { l.Accepted(t, w, bob) })
	w.ended(Result{Number: w.job(Fetch).Number, Kind: Fetch})
	if v := w.file(n); v.State != "here" || v.Done != 100 {
		t.Errorf("after it was accepted: %+v", v)
	}
	big := w.came(bob, file(AutoSize+1, 2))[0]
	if len(w.jobs) != 0 || w.file(big).State != "offered" {
		t.Errorf("a large one: %+v", w.jobs)
	}
	if err := w.save(big, "/tmp"); err != nil {
		t.Fatal(err)
	}
	w.ended(Result{Number: w.job(Fetch).Number, Kind: Fetch})
	w.ended(Result{Number: w.job(Save).Number, Kind: Save, Saved: "/tmp/a.txt"})
	if v := w.file(big); v.State != "here" || v.Saved != "/tmp/a.txt" {
		t.Errorf("saved: %+v", v)
	}
}

func TestAFriendDoesNotFillTheDisk(t *testing.T) {
	w := newWorld(t)
	w.friends[bob], w.sources = true, []Source{{Peer: relay(1)}}
	fetched := 0
	for i := range 2 * autoRoom / AutoSize {
		n := w.came(bob, file(AutoSize, byte(i)))[0]
		if w.file(n).State != "offered" {
			fetched++
		}
	}
	if fetched != autoRoom/AutoSize {
		t.Errorf("%d fetched by themselves", fetched)
	}
}

func TestOnePersonDoesNotTakeAllPlaces(t *testing.T) {
	w := newWorld(t)
	w.friends[bob], w.sources = true, []Source{{Peer: relay(1)}}
	var all []uint64
	for range 40 {
		all = append(all, w.came(bob, file(0, 1))...)
	}
	fetching := func() (n int) {
		for _, f := range all {
			if w.file(f).State == "fetching" {
				n++
			}
		}
		return n
	}
	if n := fetching(); n != maxUnasked || len(w.jobs) != maxGuestsOf {
		t.Fatalf("%d are fetched, %d jobs", n, len(w.jobs))
	}
	// Its sources never answer: what others send, and what a person asks for, goes on.
	w.friends[carol] = true
	theirs, asked := w.came(carol, file(0, 2))[0], all[len(all)-1]
	w.turn(func(t *Turn, l *Ledger) { _ = l.Save(t, w, asked, false, "/folder") })
	for _, n := range []uint64{theirs, asked} {
		if !slices.ContainsFunc(w.jobs, func(j Job) bool { return j.Number == n }) {
			t.Errorf("file %d has to wait", n)
		}
	}
	w.jobs = slices.DeleteFunc(w.jobs, func(j Job) bool { return j.Number == theirs || j.Number == asked })
	w.ended(Result{Number: theirs, Kind: Fetch})
	w.ended(Result{Number: asked, Kind: Fetch})
	w.ended(Result{Number: asked, Kind: Save})
	for len(w.jobs) > 0 { // as one ends, the next begins
		j := w.jobs[0]
		w.jobs = w.jobs[1:]
		w.ended(Result{Number: j.Number, Kind: Fetch})
	}
	for _, n := range all {
		if w.file(n).State != "here" {
			t.Errorf("%+v", w.file(n))
		}
	}
	// What nobody has is given up one day; a person may still ask.
	vain := w.came(bob, file(5, 2))[0]
	for range 1000 {
		if len(w.jobs) == 0 {
			break
		}
		w.jobs = nil
		w.ended(Result{Number: vain, Kind: Fetch, Err: errors.New("nobody")})
		if at := w.ledger.Deadline(); !at.IsZero() {
			w.now = w.now.Add(day)
			w.tick()
		}
	}
	if v := w.file(vain); v.State != "offered" || !w.ledger.Deadline().IsZero() {
		t.Errorf("after %v: %+v", Life, v)
	}
	if err := w.save(vain, "/tmp"); err != nil || len(w.jobs) != 1 {
		t.Error(err)
	}
}

func TestAStrangersEmptyFileAsksNobody(t *testing.T) {
	w := newWorld(t)
	w.sources = []Source{{Peer: relay(1)}}
	if n := w.came(bob, file(0, 1))[0]; len(w.jobs) != 0 || w.file(n).State != "offered" {
		t.Errorf("%+v", w.jobs)
	}
}

func TestWhatWasUnderWayGoesOnAfterACrash(t *testing.T) {
	w := newWorld(t)
	w.friends[bob], w.sources = true, []Source{{Peer: relay(1)}}
	n := w.came(bob, file(100, 1))[0]
	w.job(Fetch)
	for range 3 {
		w.restart()
		w.tick()
		w.job(Fetch)
	}
	w.ended(Result{Number: n, Kind: Fetch, Err: errors.New("no answer")})
	if v := w.file(n); v.State != "queued" || v.Error != "no answer" || len(w.jobs) != 0 {
		t.Errorf("%+v %+v", v, w.jobs)
	}
	if at := w.ledger.Deadline(); !at.After(w.now) || at.After(w.now.Add(2*retryMin)) {
		t.Errorf("the next try is at %v", at.Sub(w.now))
	}
	w.now = w.ledger.Deadline()
	w.tick()
	w.ended(Result{Number: w.job(Fetch).Number, Kind: Fetch, Err: errors.New("lies"), Final: true})
	if v := w.file(n); v.State != "failed" || !w.ledger.Deadline().IsZero() {
		t.Errorf("%+v", v)
	}
}

func TestAFileGoesToAsManyRelaysAsSign(t *testing.T) {
	w := newWorld(t)
	n := w.sent(file(100, 1))[0]
	if len(w.jobs) != 0 || w.file(n).State != "uploading" {
		t.Fatalf("without relays: %+v", w.jobs)
	}
	w.relays = []dht.Peer{relay(1), relay(2), relay(3)}
	w.now = w.now.Add(hurryAfter)
	w.turn(func(t *Turn, l *Ledger) { l.Hurry(t, w) })
	if j := w.job(Upload); len(j.Sources) != 3 || j.Need != 2 {
		t.Fatalf("%+v", j)
	}
	w.ended(Result{Number: n, Kind: Upload, Stored: [][]byte{relay(1).ID}, Err: errors.New("full")})
	w.now = w.ledger.Deadline()
	w.tick()
	if j := w.job(Upload); len(j.Sources) != 2 || j.Need != 1 {
		t.Fatalf("the relay that has it is asked again: %+v", j)
	}
	w.ended(Result{Number: n, Kind: Upload, Stored: [][]byte{relay(2).ID}})
	if v := w.file(n); v.State != "here" {
		t.Errorf("%+v", v)
	}
	w.now, w.pending = w.now.Add(Life), true
	w.tick()
	if v := w.file(n); v.State != "here" {
		t.Errorf("its message is still on its way: %+v", v)
	}
	w.now, w.pending = w.now.Add(day), false
	w.tick()
	if w.job(Drop); w.file(n).State != "gone" {
		t.Errorf("%+v", w.file(n))
	}
}

func TestForgettingKeepsChunksThatAnotherMessageNames(t *testing.T) {
	w := newWorld(t)
	w.friends[bob], w.sources = true, []Source{{Peer: relay(1)}}
	with := file(100, 1)
	with.Preview = file(10, 2)
	one, two := w.came(bob, with), w.came(bob, file(100, 1))
	w.jobs = nil
	w.turn(func(t *Turn, l *Ledger) { l.Forget(t, w, one) })
	kinds := []Kind{w.jobs[0].Kind, w.jobs[1].Kind}
	if slices.Sort(kinds); !slices.Equal(kinds, []Kind{Drop, Stop}) {
		t.Fatalf("%+v", w.jobs)
	}
	w.jobs = nil
	w.ended(Result{Number: one[0], Kind: Fetch}) // it ran when the message went
	w.turn(func(t *Turn, l *Ledger) { l.Forget(t, w, two) })
	w.job(Drop)
}

func TestDescriptionsThatCannotBeAreRefused(t *testing.T) {
	w := newWorld(t)
	w.friends[bob], w.sources = true, []Source{{Peer: relay(1)}}
	short, huge, bomb := file(1, 1), file(1<<63, 1), file(1, 1)
	short.Key = nil
	bomb.Preview = file(MaxPreview+1, 3)
	many := slices.Repeat([]*chatpb.File{file(1<<40, 1)}, MaxFiles+9)
	for _, files := range [][]*chatpb.File{{short}, {huge}, many} {
		for _, n := range w.came(bob, files...) {
			if v := w.file(n); v.State != "failed" {
				t.Errorf("%+v", v)
			}
		}
	}
	if n := w.came(bob, many...); len(n) != MaxFiles {
		t.Errorf("%d files", len(n))
	}
	if v := w.file(w.came(bob, bomb)[0]); v.Preview || v.State == "failed" {
		t.Errorf("the file with a preview that is too large: %+v", v)
	}
}

func TestCancelStopsAndSaveBeginsAgain(t *testing.T) {
	w := newWorld(t)
	w.sources = []Source{{Peer: relay(1)}}
	n := w.came(bob, file(1<<30, 1))[0]
	if err := w.save(n, "/tmp"); err != nil {
		t.Fatal(err)
	}
	w.job(Fetch)
	w.turn(func(t *Turn, l *Ledger) {
		if !l.Cancel(t, n) {
			w.t.Error("nothing to cancel")
		}
	})
	if w.job(Stop); w.file(n).State != "offered" {
		t.Errorf("%+v", w.file(n))
	}
	w.ended(Result{Number: n, Kind: Fetch, Err: errors.New("stopped")})
	if len(w.jobs) != 0 || w.file(n).State != "offered" {
		t.Error("it goes on")
	}
	if err := w.save(n, "/tmp"); err != nil {
		t.Fatal(err)
	}
	w.job(Fetch)
}
