package mend_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/session"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

var day0 = time.Date(2031, 3, 1, 8, 0, 0, 0, time.UTC)

func gaps(d *pb.PeerDevice) (out string) {
	for _, g := range d.Gaps {
		out += fmt.Sprintf("%d-%d ", g.From, g.To)
	}
	return out
}

// What has not come is what lies below the highest counter that is known, until it comes or is gone.
func TestGaps(t *testing.T) {
	d := &pb.PeerDevice{}
	hear := func(counter, sent uint64, want string) {
		t.Helper()
		mend.Heard(d, session.Body{Generation: 1, Counter: counter, Sent: sent}, day0)
		if got := gaps(d); got != want {
			t.Errorf("after %d of %d: %q, want %q", counter, sent, got, want)
		}
	}
	hear(1, 1, "")
	hear(2, 2, "")
	hear(5, 5, "3-4 ")
	hear(0, 8, "3-4 6-8 ") // an acknowledgement tells of the last ones
	hear(7, 8, "3-4 6-6 8-8 ")
	hear(3, 8, "4-4 6-6 8-8 ")
	mend.Settle(d, 1, 6)
	hear(8, 8, "")
	hear(20, 20, "9-19 ")
	mend.Settle(d, 18, 10) // no span
	hear(20, 20, "9-19 ")
	mend.Settle(d, 9, 19)
	hear(8, 8, "") // a second copy
	block := uint64(day0.Unix()) << 32
	hear(block|2, block|2, fmt.Sprintf("21-%d ", block|1))
	mend.Settle(d, 0, 1<<63)
	hear(1<<63, 1<<63, "") // of a time that has not come: not believed
	for i := range uint64(100) {
		hear2 := session.Body{Generation: 1, Counter: block | (10 + 2*i), Sent: block | (10 + 2*i)}
		mend.Heard(d, hear2, day0)
	}
	if len(d.Gaps) != mend.MaxSpans {
		t.Errorf("%d gaps are kept", len(d.Gaps))
	}
}

// A gap is asked for when no mail has come for a minute, after an hour in any case, then ever more seldom, and not for ever.
func TestWhenAGapIsAskedFor(t *testing.T) {
	d := &pb.PeerDevice{Gaps: []*pb.Gap{{From: 1, To: 2, Since: day0.UnixMilli()}}}
	for _, c := range []struct {
		mail time.Time
		want time.Duration
	}{
		{time.Time{}, time.Minute}, {day0.Add(30 * time.Second), 90 * time.Second}, {day0.Add(59*time.Minute + 30*time.Second), time.Hour},
	} {
		if got := mend.NextAsk(d, c.mail).Sub(day0); got != c.want {
			t.Errorf("with mail at %v it is asked for after %v, want %v", c.mail, got, c.want)
		}
	}
	if got := mend.Ask(d, time.Time{}, day0.Add(59*time.Second)); len(got) != 0 {
		t.Error("asked too soon")
	}
	now, asked := day0, 0
	for now.Sub(day0) < 60*24*time.Hour {
		if len(mend.Ask(d, time.Time{}, now)) > 0 {
			asked++
		}
		now = now.Add(time.Minute)
	}
	if asked < 30 || asked > 45 || len(d.Gaps) != 0 {
		t.Errorf("asked %d times, %d gaps left", asked, len(d.Gaps))
	}
}

// Sessions that are given up open on, are bounded together with the others, and end.
func TestRetiredSessions(t *testing.T) {
	d, now := &pb.PeerDevice{}, day0
	for i := range byte(3) {
		if gone := mend.Add(d, []byte{i}, now); len(gone) != 0 {
			t.Fatal("a session goes without need")
		}
	}
	mend.Retire(d, []byte{1}, now)
	if len(d.Sessions) != 1 || len(d.Retired) != 2 {
		t.Fatalf("%d sessions, %d given up", len(d.Sessions), len(d.Retired))
	}
	var gone [][]byte
	for i := range byte(3) {
		gone = append(gone, mend.Add(d, []byte{10 + i}, now)...)
	}
	if len(gone) != 1 || gone[0][0] != 0 {
		t.Errorf("%v went, want the one that was given up first", gone)
	}
	if gone := mend.Expired(d, now.Add(32*24*time.Hour)); len(gone) != 0 {
		t.Error("it ends too soon")
	}
	if gone := mend.Expired(d, now.Add(32*24*time.Hour+time.Second)); len(gone) != 1 {
		t.Error("it does not end")
	}
}

// At most once an hour sessions are given up for want of an answer.
func TestRenewal(t *testing.T) {
	d, n := &pb.PeerDevice{}, 0
	for i := range 240 {
		if mend.MayRenew(d, day0.Add(time.Duration(i)*time.Minute)) {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d times in four hours", n)
	}
	if mend.Silent(day0, day0.Add(time.Hour), day0.Add(47*time.Hour)) || mend.Silent(day0, day0.Add(-time.Hour), day0.Add(49*time.Hour)) ||
		mend.Silent(time.Time{}, day0, day0.Add(49*time.Hour)) || !mend.Silent(day0, day0.Add(time.Hour), day0.Add(49*time.Hour)) {
		t.Error("silence is not 48 hours in which a newer bundle came")
	}
}

// What was sealed is found by its counter for 31 days, and by nobody else's; a span of any length costs what is known of it.
func TestWhatWasSealedIsFoundByItsCounter(t *testing.T) {
	disk := store.NewMemory()
	_ = disk.Update(func(tx store.Tx) error {
		one, two := &pb.PeerDevice{Device: make([]byte, 32)}, &pb.PeerDevice{Device: append(make([]byte, 31), 1)}
		id := func(i int) []byte { return append(make([]byte, 31), byte(i+1)) }
		for i := range 40 {
			mend.Count(tx, one, &pb.Delivery{Message: id(i), Kind: kindText}, day0)
		}
		one.Sent = mend.NewBlock(day0, one.Sent)
		mend.Count(tx, one, &pb.Delivery{Message: id(40), Kind: kindText}, day0.Add(20*24*time.Hour))
		find := func(d *pb.PeerDevice, from, to uint64) (found int, gone string) {
			for _, s := range mend.Find(tx, d, []*chatpb.Span{{From: from, To: to}}, func(uint64, []byte) mend.Fate { found++; return mend.Comes }) {
				gone += fmt.Sprintf("%d-%d ", s.From, s.To)
			}
			return found, gone
		}
		first := uint64(day0.Unix())<<32 | 1
		if n, gone := find(one, 1, first); n != 41 || gone != fmt.Sprintf("41-%d ", first-1) {
			t.Errorf("%d are found, %q gone", n, gone)
		}
		if n, gone := find(two, 0, 1<<64-1); n != 0 || gone != fmt.Sprintf("1-%d ", uint64(1<<64-1)) {
			t.Errorf("another device finds %d, %q are gone", n, gone)
		}
		for i := range 80 { // makes rows, so that old ones go
			mend.Count(tx, one, &pb.Delivery{Message: id(i), Kind: kindText}, day0.Add(32*24*time.Hour))
		}
		if n, _ := find(one, 1, 40); n != 0 {
			t.Errorf("%d are found after 32 days", n)
		}
		if n, _ := find(one, first, first); n != 1 {
			t.Error("control: what is 12 days old is not found")
		}
		mend.Forget(tx, one)
		rows := 0
		tx.Scan(store.BucketSealed, nil, func(_, _ []byte) bool { rows++; return true })
		if rows != 0 {
			t.Errorf("%d rows are left of a device that is forgotten", rows)
		}
		return nil
	})
}

// A peer that claims to have had what was never sent, before each message, has its rows begin anew each time: they are
// bounded all the same, and those that are left are found.
func TestAttackNewBlocksWithoutEnd(t *testing.T) {
	disk, now := store.NewMemory(), day0
	_ = disk.Update(func(tx store.Tx) error {
		d := &pb.PeerDevice{Device: make([]byte, 32)}
		behind := 0
		for i := range 1000 {
			now = now.Add(2 * time.Second)
			if mend.Heard(d, session.Body{Generation: 1, Received: uint64(now.Add(24*time.Hour).Unix()) << 32}, now).Behind {
				behind++
			}
			mend.Count(tx, d, &pb.Delivery{Message: append(make([]byte, 30), byte(i>>8), byte(i)|1), Kind: kindText}, now)
		}
		rows, found := 0, 0
		tx.Scan(store.BucketSealed, nil, func(_, _ []byte) bool { rows++; return true })
		mend.Find(tx, d, []*chatpb.Span{{From: 1, To: 1<<64 - 1}}, func(uint64, []byte) mend.Fate { found++; return mend.Comes })
		if behind != 1000 || found == 0 {
			t.Errorf("control: %d claims were taken in, %d messages found", behind, found)
		}
		if rows > mend.MaxRuns || len(d.Sealed) > mend.MaxRuns {
			t.Errorf("%d rows in %d runs", rows, len(d.Sealed))
		}
		return nil
	})
}
