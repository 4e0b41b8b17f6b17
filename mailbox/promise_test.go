package mailbox_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/mailbox"
)

// promised is what the receipts of one box say.
type promised map[string]*struct {
	expires time.Time
	seq     int
	acked   bool
}

// TestReceiptsAreKeptWhateverHappens deposits, acks, lets time pass, jumps the
// clock and ticks at random: a box always shows exactly what has a receipt,
// was not acknowledged and has not expired, in the order of its arrival.
func TestReceiptsAreKeptWhateverHappens(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, mailbox.Limits{BoxCount: 5, BoxTombs: 80})
		w.lease(1, epoch)
		w.tick(0)
		p, seq := promised{}, 0
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			text := fmt.Sprint(rapid.IntRange(0, 9).Draw(r, "text"))
			switch rapid.IntRange(0, 9).Draw(r, "step") {
			case 0, 1, 2, 3:
				hours := rapid.IntRange(-2, 80).Draw(r, "hours")
				c, err := w.deposit(w.byPass(1, 0, text, time.Duration(hours)*hour))
				if err == nil && (p[text] == nil || !p[text].expires.After(w.steady())) {
					seq++
					p[text] = &struct {
						expires time.Time
						seq     int
						acked   bool
					}{c.ExpiresAt, seq, false}
				}
			case 4, 5:
				wantCode(t, w.ack(1, text), 0)
				if p[text] != nil {
					p[text].acked = true
				}
			case 6, 7, 8:
				w.tick(time.Duration(rapid.IntRange(0, 59).Draw(r, "minutes")) * time.Minute)
			case 9:
				w.tick(time.Duration(rapid.IntRange(-100, 100).Draw(r, "jump")) * hour)
			}
			if got, want := w.fetch(1), p.shown(w.steady()); !slices.Equal(got, want) {
				r.Fatalf("shows %q, want %q", got, want)
			}
		}
	})
}

// shown are the texts that a box has to show at a time.
func (p promised) shown(now time.Time) (texts []string) {
	for text, x := range p {
		if !x.acked && x.expires.After(now) {
			texts = append(texts, text)
		}
	}
	slices.SortFunc(texts, func(a, b string) int { return p[a].seq - p[b].seq })
	return texts
}

// steady is the time that the relay takes it to be.
func (w *world) steady() time.Time {
	at := w.now
	_ = w.store.View(func(tx mailbox.Tx) error {
		if trusted := tx.Clock().Trusted; trusted.After(at) {
			at = trusted
		}
		return nil
	})
	return at
}
