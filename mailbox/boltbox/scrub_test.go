package boltbox

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/pass"
)

// copied is an envelope and where it belongs.
type copied struct {
	box  mailbox.ID
	body []byte
}

// populate fills a store with boxes, sets, passes and n envelopes of up to 4 KiB
// over six days, every fifth of them acknowledged, and returns the live ones.
func populate(t testing.TB, s *Store, n int, rng *rand.Rand) map[mailbox.EnvelopeID]copied {
	t.Helper()
	live := map[mailbox.EnvelopeID]copied{}
	certs := make([]pass.Cert, storyBoxes)
	for b := range storyBoxes {
		core, raw := storySet(t, b)
		holder := pass.HolderKey(bytes.Repeat([]byte{byte(b)}, pass.SecretSize), 1)
		certs[b] = pass.Issue(mailboxtest.Key(b), holder.Public().(ed25519.PublicKey))
		row := mailbox.Box{Number: core.Number, Core: core.Hash(), Member: true, End: mailboxtest.T0.Add(time.Hour), Key: [32]byte(core.Box)}
		ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
			return errors.Join(tx.PutBox(mailboxtest.Box(b), row), tx.PutSet(mailboxtest.Box(b), raw), tx.PutPass(mailboxtest.Box(b), certs[b]))
		}))
	}
	for i := 0; i < n; {
		ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
			for range 20 {
				body := make([]byte, 100+rng.IntN(4000))
				for at := 0; at+8 <= len(body); at += 8 {
					binary.BigEndian.PutUint64(body[at:], rng.Uint64())
				}
				b := rng.IntN(storyBoxes)
				e := mailbox.Entry{
					ID: mailbox.EnvelopeIDOf(body), Stored: mailboxtest.T0.UnixMilli(), Size: uint32(len(body)),
					Expires: mailboxtest.T0.Add(time.Duration(1+i%6) * 24 * time.Hour).UnixMilli(), ByPass: i%2 == 0, Admit: certs[b].ID(),
				}
				if err := tx.Add(mailboxtest.Box(b), e, body); err != nil {
					return err
				}
				if i++; i%5 != 0 {
					live[e.ID] = copied{mailboxtest.Box(b), body}
				} else if err := tx.Bury(mailboxtest.Box(b), e.ID); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return live
}

// dump is every row of a file, and whether its pages hold.
func dump(t testing.TB, path string) (rows map[string]string, sound bool) {
	t.Helper()
	rows = map[string]string{}
	found, err := boltfile.Scan(path, fileOptions, func(table, key, value []byte) {
		rows[string(table)+"/"+string(key)] = string(value)
	})
	ok(t, err)
	return rows, len(found) == 0
}

// mend puts good copies in the place of what a scrub named, and returns how
// many envelopes that were.
func mend(t testing.TB, s *Store, damaged []Damage, good map[mailbox.EnvelopeID]copied) (n int) {
	t.Helper()
	for _, d := range damaged {
		c, known := good[d.Envelope]
		if !known {
			continue
		}
		ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
			e, found := tx.Find(c.box, d.Envelope)
			if !found || e.Buried {
				return nil
			}
			if _, err := tx.Body(c.box, e); !errors.Is(err, mailbox.ErrDamaged) {
				return err
			}
			n++
			return tx.Mend(c.box, e, c.body)
		}))
	}
	return n
}

// TestEveryFlippedBitIsFoundAndEnvelopesAreHealed flips bits all over a
// populated file. What neither opening nor the scrub nor the check finds has to
// be harmless: every row is what it was.
func TestEveryFlippedBitIsFoundAndEnvelopesAreHealed(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	path := filepath.Join(t.TempDir(), "box.db")
	s := mustOpen(t, path)
	good := populate(t, s, 300, rng)
	ok(t, s.Close())
	whole, err := os.ReadFile(path)
	ok(t, err)
	whole = whole[:usedPages(whole)]
	was, _ := dump(t, path)
	var refused, opening, scrubbed, healed, harmless int
	for refused+opening+scrubbed < flips() {
		image := bytes.Clone(whole)
		at := rng.IntN(len(image))
		image[at] ^= 1 << rng.IntN(8)
		ok(t, os.WriteFile(path, image, 0o600))
		rows, sound := dump(t, path)
		spoilt, err := boltfile.SpoiltMetas(path)
		ok(t, err)
		intact := sound && len(spoilt) == 0 && maps.Equal(rows, was)
		report, err := Check(path)
		if clean := err == nil && len(report.Damaged) == 0; clean != intact {
			t.Fatalf("byte %d of page %d: check says %+v, %v; intact %v", at%pageSize, at/pageSize, report.Damaged, err, intact)
		}
		s, err := Open(path)
		if err != nil {
			refused++
			continue
		}
		atOpen := s.Stats().Damaged > 0
		damaged, err := s.Scrub(context.Background(), 0)
		ok(t, err)
		switch {
		case len(damaged) > 0:
			scrubbed++
			healed += mend(t, s, damaged, good)
			if again, err := s.Scrub(context.Background(), 0); err != nil || !slices.Equal(again, withoutHealed(damaged, good)) {
				t.Errorf("byte %d of page %d: after mending %+v: %+v, %v", at%pageSize, at/pageSize, damaged, again, err)
			}
		case atOpen:
			opening++
		case intact:
			harmless++
		default:
			t.Errorf("byte %d of page %d: unnoticed", at%pageSize, at/pageSize)
		}
		ok(t, s.Close())
	}
	t.Logf("%d flips found: %d refused at open, %d counted at open alone, %d by the scrub, %d envelopes healed; %d others hit nothing",
		refused+opening+scrubbed, refused, opening, scrubbed, healed, harmless)
	if healed == 0 || scrubbed == 0 {
		t.Error("nothing was healed")
	}
}

// withoutHealed is what no copy heals: all but envelopes' bytes.
func withoutHealed(damaged []Damage, good map[mailbox.EnvelopeID]copied) (rest []Damage) {
	for _, d := range damaged {
		if _, known := good[d.Envelope]; !known || d.Place[0] != 'e' || d.Box == (mailbox.ID{}) {
			rest = append(rest, d)
		}
	}
	return rest
}

// TestAScrubBesideDepositsFindsWhatRotsUnderIt flips bits of envelopes in the
// file of a store that goes on working: each is named, nothing else is, and a
// good copy heals it.
func TestAScrubBesideDepositsFindsWhatRotsUnderIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	s, path := controlled(t, controls{})
	good := populate(t, s, 400, rng)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	defer func() { _ = file.Close() }()
	raw, err := os.ReadFile(path)
	ok(t, err)
	raw = raw[:usedPages(raw)]
	var spoilt []mailbox.EnvelopeID
	for _, id := range slices.SortedFunc(maps.Keys(good), func(a, b mailbox.EnvelopeID) int { return bytes.Compare(a[:], b[:]) }) {
		if rng.IntN(8) != 0 {
			continue
		}
		spoilt = append(spoilt, id)
		for from := 0; ; { // older pages hold copies of it
			at := bytes.Index(raw[from:], good[id].body)
			if at < 0 {
				break
			}
			_, err := file.WriteAt([]byte{good[id].body[50] ^ 4}, int64(from+at+50))
			ok(t, err)
			from += at + 1
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { // beside it: deposits, acks, a dropped day
		for n := 0; ctx.Err() == nil; n++ {
			e, body := mailboxtest.Envelope(n, n%9)
			ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
				if err := tx.Add(mailboxtest.Box(1), e, body); err != nil || n%2 == 0 {
					return err
				}
				if n%50 == 1 {
					_, err := tx.DropDay(e.Day() + 20)
					return err
				}
				return tx.Bury(mailboxtest.Box(1), e.ID)
			}))
		}
	})
	damaged, err := s.Scrub(context.Background(), 0)
	cancel()
	wg.Wait()
	ok(t, err)
	var named []mailbox.EnvelopeID
	for _, d := range damaged {
		named = append(named, d.Envelope)
	}
	slices.SortFunc(named, func(a, b mailbox.EnvelopeID) int { return bytes.Compare(a[:], b[:]) })
	if !slices.Equal(named, spoilt) || len(spoilt) < 10 {
		t.Fatalf("%d rotten, %d named", len(spoilt), len(named))
	}
	if n := mend(t, s, damaged, good); n != len(spoilt) {
		t.Errorf("%d of %d healed", n, len(spoilt))
	}
	if again, err := s.Scrub(context.Background(), 0); err != nil || len(again) != 0 {
		t.Errorf("after mending: %+v, %v", again, err)
	}
	ok(t, s.Close())
	if _, err := s.Scrub(context.Background(), 0); !errors.Is(err, mailbox.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestAScrubKeepsToItsContext(t *testing.T) {
	s, _ := controlled(t, controls{})
	_ = populate(t, s, 20, rand.New(rand.NewPCG(1, 2)))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Scrub(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCheckSaysWhatItIs(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "box.db")
	s := mustOpen(t, path)
	good := populate(t, s, 60, rand.New(rand.NewPCG(3, 3)))
	if _, err := Check(path); !errors.Is(err, boltfile.ErrLocked) {
		t.Errorf("beside a node: %v", err)
	}
	ok(t, s.Close())
	r, err := Check(path)
	if err != nil || r.Format != formatVersion || r.Boxes != storyBoxes || r.Sets != storyBoxes || r.Passes != storyBoxes ||
		r.Envelopes != len(good) || r.Buried != 12 || r.Bytes == 0 || len(r.Damaged) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	old, _ := kept(t, folder, "v1.db")
	if r, err := Check(old); err != nil || r.Format != firstFormat || len(r.Damaged) != 0 {
		t.Errorf("the first format: %+v, %v", r, err)
	}
	other := filepath.Join(folder, "other")
	ok(t, boltfile.Create(other, fileOptions, func(tx *boltTx) error { _, err := tx.CreateBucket([]byte("x")); return err }))
	garbage := filepath.Join(folder, "garbage")
	ok(t, os.WriteFile(garbage, []byte("not a store"), 0o600))
	for _, path := range []string{other, garbage} {
		if _, err := Check(path); !errors.Is(err, ErrNotAStore) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	if _, err := Check(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	setFormat(t, path, formatVersion+1)
	if _, err := Check(path); !errors.Is(err, ErrNewer) {
		t.Errorf("a later format: %v", err)
	}
	if _, err := Open(path); !errors.Is(err, ErrNewer) {
		t.Errorf("opening a later format: %v", err)
	}
}

// setFormat says that a file has another format.
func setFormat(t testing.TB, path string, format uint32) {
	t.Helper()
	db, err := boltfile.Open(path, fileOptions)
	if err != nil {
		t.Fatal(err)
	}
	ok(t, db.Update(func(tx *boltTx) error {
		return tx.Bucket(metaBucket).Put(formatKey, binary.BigEndian.AppendUint32(nil, format))
	}))
	ok(t, db.Close())
}

// TestCheckReadsPastADamagedIndex spoils the index of one day: the other days
// are counted, and what is left of this one is named.
func TestCheckReadsPastADamagedIndex(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box.db")
	s := mustOpen(t, path)
	good := populate(t, s, 600, rand.New(rand.NewPCG(4, 4)))
	day := mailbox.DayOf(mailboxtest.T0.UnixMilli()) + 2
	root := int64(0)
	ok(t, s.db.View(func(tx *boltTx) error { root = int64(tx.Bucket(indexBucket(day)).Root()); return nil }))
	ok(t, s.Close())
	if root == 0 {
		t.Fatal("the index has no page of its own")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 512), root*pageSize)
	ok(t, errors.Join(err, f.Close()))
	if _, err := Open(path); !errors.Is(err, mailbox.ErrDamaged) {
		t.Errorf("open: %v", err)
	}
	r, err := Check(path)
	if err != nil || r.Envelopes < len(good)/2 || len(r.Damaged) < 50 || r.Damaged[0].Place[:9] != "file/page" {
		t.Errorf("%d of %d envelopes, %d damaged, %v", r.Envelopes, len(good), len(r.Damaged), err)
	}
}
