package boltbox

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

// sector is what a disk writes whole, in bytes.
const sector = 512

// metaPages come first in the file; each commit writes one of them.
const metaPages = 2

// moment is the file and the state after a commit.
type moment struct {
	file  []byte
	state mailboxtest.State
}

// record runs random transactions and keeps every moment.
func record(t *testing.T, path string, rng *rand.Rand, commits int) []moment {
	t.Helper()
	s := mustOpen(t, path)
	defer func() {
		_ = s.Close()
		if r, err := Check(path); err != nil || len(r.Damaged) > 0 {
			t.Errorf("left behind: %+v, %v", r, err)
		}
	}()
	var moments []moment
	for range commits {
		err := s.Do(context.Background(), func(tx mailbox.Tx) error {
			for range 1 + rng.IntN(8) {
				scribble(tx, rng)
			}
			return tx.SetClock(mailbox.Clock{Trusted: mailboxtest.T0})
		})
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		moments = append(moments, moment{file[:usedPages(file)], mailboxtest.Look(t, s, storyBoxes, storyEnvelopes)})
	}
	return moments
}

const imageEnvelopes = 40

// scribble does something; misuse is refused and does not matter.
func scribble(tx mailbox.Tx, rng *rand.Rand) {
	e, body := mailboxtest.Envelope(rng.IntN(imageEnvelopes), rng.IntN(3))
	n := rng.IntN(3)
	box := mailboxtest.Box(n)
	switch rng.IntN(20) {
	case 0:
		_, _ = tx.DropDay(e.Day())
	case 1, 2, 3, 4, 5:
		_ = tx.Bury(box, e.ID)
	case 6:
		_ = tx.PutBox(box, mailbox.Box{Number: rng.Uint64()})
		_ = tx.PutSet(box, bytes.Repeat(body, 50))
	case 7:
		cert := mailboxtest.Cert(n, 1+rng.IntN(2))
		_ = tx.PutPass(box, cert)
		e.ByPass, e.Admit = true, cert.ID()
		_ = tx.Add(box, e, body)
	case 8:
		_ = tx.SetLeaving(mailboxtest.T0)
		_ = tx.Mend(box, e, body)
	default:
		e.Copied = n == 1
		_ = tx.Add(box, e, body)
	}
}

// diff lists the offsets of the pages that a commit wrote, meta pages apart.
func diff(old, new []byte) (data, meta []int) {
	for at := 0; at < len(new); at += pageSize {
		if at < len(old) && bytes.Equal(old[at:at+pageSize], new[at:at+pageSize]) {
			continue
		}
		if at >= len(old) && len(bytes.Trim(new[at:at+pageSize], "\x00")) == 0 {
			continue // grown, not written
		}
		if at < metaPages*pageSize {
			meta = append(meta, at)
		} else {
			data = append(data, at)
		}
	}
	return data, meta
}

// torn returns old with a random part of the pages of new: some pages whole,
// some up to a sector, in no order.
func torn(old, new []byte, pages []int, rng *rand.Rand) []byte {
	image := make([]byte, max(len(old), len(new)))
	copy(image, old)
	for _, at := range pages {
		n := pageSize
		switch rng.IntN(3) {
		case 0:
			continue
		case 1:
			n = sector * rng.IntN(pageSize/sector)
		}
		copy(image[at:at+n], new[at:at+n])
	}
	return image
}

// show opens an image and looks at it.
func show(t *testing.T, path string, image []byte) (state mailboxtest.State, damaged int64, err error) {
	t.Helper()
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		return state, 0, err
	}
	defer func() { _ = s.Close() }()
	quiet := &quietly{T: t}
	state = mailboxtest.Look(quiet, s, storyBoxes, storyEnvelopes)
	return state, s.Stats().Damaged + quiet.complaints, nil
}

// quietly counts what Look complains of.
type quietly struct {
	*testing.T
	complaints int64
}

func (q *quietly) Errorf(string, ...any) { q.complaints++ }

func TestCrashImagesShowTheStateBeforeOrAfter(t *testing.T) {
	folder := t.TempDir()
	made := 0
	for seed := uint64(3); made < images(); seed++ {
		rng := rand.New(rand.NewPCG(seed, 3))
		moments := record(t, filepath.Join(folder, fmt.Sprintf("%d.db", seed)), rng, 20)
		for i := 1; i < len(moments); i++ {
			made += crashBetween(t, folder, moments[i-1], moments[i], 14, rng)
		}
	}
	t.Logf("%d images", made)
}

// crashBetween opens images of crashes in the middle of one commit, n of them
// before its first sync, and returns how many it made.
func crashBetween(t *testing.T, folder string, old, new moment, n int, rng *rand.Rand) int {
	t.Helper()
	data, meta := diff(old.file, new.file)
	for range n {
		wantImage(t, folder, torn(old.file, new.file, data, rng), old.state)
	}
	image := torn(old.file, new.file, nil, rng)
	for _, at := range append(data, meta...) { // crashed after the second
		copy(image[at:at+pageSize], new.file[at:at+pageSize])
	}
	wantImage(t, folder, image, new.state)
	for _, at := range meta { // between: the meta's own sector did not arrive
		copy(image[at:at+sector], old.file[at:at+sector])
	}
	wantImage(t, folder, image, old.state)
	return n + 2
}

// TestCrashImagesOfAnUpgradeLoseNothing: what was of the first format is so
// still, or of this one, wherever the crash came.
func TestCrashImagesOfAnUpgradeLoseNothing(t *testing.T) {
	folder := t.TempDir()
	path, raw := kept(t, folder, "v1.db")
	state := storyState(t)
	ok(t, mustOpen(t, path).Close())
	after, err := os.ReadFile(path)
	ok(t, err)
	rng := rand.New(rand.NewPCG(7, 7))
	old, new := moment{raw, state}, moment{after[:usedPages(after)], state}
	if bytes.Equal(old.file, new.file) {
		t.Fatal("nothing was upgraded")
	}
	_ = crashBetween(t, folder, old, new, images()/10, rng)
}

func wantImage(t *testing.T, folder string, image []byte, want mailboxtest.State) {
	t.Helper()
	got, damaged, err := show(t, filepath.Join(folder, "image.db"), image)
	if err != nil || damaged != 0 {
		t.Fatalf("%d damaged, %v", damaged, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("state (-want +got):\n%s", d)
	}
}

// TestControlWithoutSyncImagesBreak lets the meta page overtake the data, as a
// store without fsync would: some image has to be wrong or broken.
func TestControlWithoutSyncImagesBreak(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	folder := t.TempDir()
	moments := record(t, filepath.Join(folder, "box.db"), rng, 10)
	wrong := 0
	for i := 1; i < len(moments); i++ {
		old, new := moments[i-1], moments[i]
		data, meta := diff(old.file, new.file)
		image := torn(old.file, new.file, data, rng)
		for _, at := range meta {
			copy(image[at:at+pageSize], new.file[at:at+pageSize])
		}
		got, damaged, err := show(t, filepath.Join(folder, "image.db"), image)
		if err != nil || damaged != 0 || !cmp.Equal(got, new.state) && !cmp.Equal(got, old.state) {
			wrong++
		}
	}
	if wrong == 0 {
		t.Error("no image without sync was wrong: the test above shows nothing")
	}
	t.Logf("%d of %d images wrong", wrong, len(moments)-1)
}

// TestControlReceiptBeforeSyncIsLostInImages: what an early answer promises is
// the new state, and a crash before the first sync shows the old one.
func TestControlReceiptBeforeSyncIsLostInImages(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	folder := t.TempDir()
	moments := record(t, filepath.Join(folder, "box.db"), rng, 5)
	old, new := moments[3], moments[4]
	data, _ := diff(old.file, new.file)
	got, _, err := show(t, filepath.Join(folder, "image.db"), torn(old.file, new.file, data, rng))
	if err != nil || cmp.Equal(got, new.state) {
		t.Errorf("the image holds what was promised early: %v", err)
	}
}

// usedPages is the size of the file up to its last written page.
func usedPages(file []byte) int {
	n := len(bytes.TrimRight(file, "\x00"))
	return (n + pageSize - 1) / pageSize * pageSize
}

func equalStates(a, b mailboxtest.State) bool { return cmp.Equal(a, b) }
