package acts_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
)

const noon = 1_900_000_000_000

func user(n int) identity.UserID { return identity.UserID{byte(n >> 8), byte(n)} }

func stamp(after time.Duration, id int) acts.Stamp {
	return acts.Stamp{At: uint64(noon + after.Milliseconds()), ID: chat.ID{byte(id >> 16), byte(id >> 8), byte(id)}}
}

func here() *acts.State {
	s := &acts.State{}
	s.Arrive(user(1), noon)
	return s
}

func texts(s *acts.State) string {
	var out []string
	for _, e := range s.Show().Edits {
		out = append(out, string(e.Body))
	}
	return strings.Join(out, " ")
}

// Both ends of a window belong to it, also for clocks that nobody has. An unsend cannot come too early.
func TestWindows(t *testing.T) {
	for _, c := range []struct {
		after        time.Duration
		edit, unsend bool
	}{
		{-time.Millisecond, false, true},
		{0, true, true},
		{acts.UnsendWindow, true, true},
		{acts.UnsendWindow + 1e6, true, false},
		{acts.EditWindow, true, false},
		{acts.EditWindow + 1e6, false, false},
	} {
		e, u := here(), here()
		e.Edit(user(1), stamp(c.after, 1), []byte("new"))
		u.Unsend(user(1), stamp(c.after, 1))
		if got := e.Show(); (len(got.Edits) == 1) != c.edit || (got.Refused == 0) != c.edit {
			t.Errorf("an edit %v after its message: %+v", c.after, got)
		}
		if u.Show().Unsent != c.unsend {
			t.Errorf("an unsend %v after its message: %+v", c.after, u.Show())
		}
	}
	s := &acts.State{}
	s.Arrive(user(1), ^uint64(0)-5)
	s.Edit(user(1), acts.Stamp{At: 3}, []byte("the clock went round"))
	if len(s.Show().Edits) != 0 {
		t.Error("an edit before its message counts")
	}
}

func TestEditsOfOthersAreRefused(t *testing.T) {
	for _, first := range []bool{true, false} {
		s := &acts.State{}
		if first {
			s.Arrive(user(1), noon)
		}
		s.Edit(user(2), stamp(time.Second, 1), []byte("forged"))
		s.Unsend(user(2), stamp(time.Second, 2))
		s.Arrive(user(1), noon)
		if got := s.Show(); len(got.Edits) != 0 || got.Refused != 1 || got.Unsent {
			t.Errorf("message first %v: %+v", first, got)
		}
	}
}

func TestFiveEditsCount(t *testing.T) {
	s := here()
	for i := 7; i > 0; i-- {
		s.Edit(user(1), stamp(time.Duration(i)*time.Second, i), []byte(fmt.Sprint(i)))
	}
	if got := s.Show(); texts(s) != "1 2 3 4 5" || got.Refused != 2 || s.EditsLeft(noon+8000) != 0 {
		t.Errorf("%q, %d refused, %d left", texts(s), got.Refused, s.EditsLeft(noon+8000))
	}
}

// What was taken back, or is over, leaves no text in the stored bytes, and no later act brings any.
func TestGoneLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(*acts.State){
		"unsent": func(s *acts.State) { s.Unsend(user(1), stamp(time.Minute, 9)) },
		"erased": (*acts.State).Erase,
	} {
		s := here()
		s.Edit(user(1), stamp(time.Second, 1), []byte("secret"))
		s.React(user(2), stamp(time.Second, 2), "👍")
		end(s)
		s.Edit(user(1), stamp(2*time.Second, 3), []byte("secret"))
		s.React(user(3), stamp(time.Second, 4), "👍")
		raw := s.Marshal()
		if bytes.Contains(raw, []byte("secret")) || bytes.Contains(raw, []byte("👍")) || len(s.Show().Edits)+len(s.Show().Reactions) > 0 {
			t.Errorf("%s: something is left", name)
		}
	}
}

// A million reactions of a few, and as many people as there may be, cost one register each.
func TestReactionsAreBounded(t *testing.T) {
	s := here()
	for i := range 1_000_000 / 50 { // each is merged on its own; the rest would only repeat
		s.React(user(i%3), stamp(time.Duration(i)*time.Millisecond, i), "❤️")
	}
	if n := len(s.Marshal()); n > 500 {
		t.Errorf("reactions of three people take %d bytes", n)
	}
	crowd := here()
	for i := 2 * acts.MaxUsers; i > 0; i-- {
		crowd.React(user(i), stamp(0, i), strings.Repeat("x", acts.MaxEmoji))
		crowd.Edit(user(i), stamp(0, i), make([]byte, acts.MaxBody))
	}
	if n := len(crowd.Marshal()); n > 200*acts.MaxUsers || len(crowd.Show().Reactions) != acts.MaxUsers {
		t.Errorf("reactions of %d people take %d bytes", len(crowd.Show().Reactions), n)
	}
}

func TestEmoji(t *testing.T) {
	for _, good := range []string{"👍", "❤️", "👨‍👩‍👧", "🏴\U000E0067\U000E0062\U000E007F", "1️⃣", "ok", "+1"} {
		if !acts.ValidEmoji(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", " ", "a b", "\x1b[2J", "\u202e", "\u200d", "\n", "\xff", strings.Repeat("x", 33)} {
		if acts.ValidEmoji(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
	s := here()
	s.React(user(2), stamp(0, 1), "\x1b[2J")
	if len(s.Show().Reactions) > 0 {
		t.Error("a reaction that moves the cursor is shown")
	}
}

// What Parse takes encodes to the same bytes, so that nobody can hide anything in a state; each cut and each changed
// byte is refused, or is another state.
func TestParse(t *testing.T) {
	s := here()
	for i := range 3 {
		s.Edit(user(i), stamp(time.Duration(i)*time.Second, i), []byte("text"))
		s.React(user(i), stamp(0, i), "👍")
	}
	s.Delete(noon+5, true)
	s.Read(noon + 9)
	raw := s.Marshal()
	if got, err := acts.Parse(raw); err != nil || !bytes.Equal(got.Marshal(), raw) {
		t.Fatalf("a state is not read back: %v", err)
	}
	for n := 1; n < len(raw); n++ {
		if _, err := acts.Parse(raw[:n]); err == nil {
			t.Errorf("cut to %d bytes it is taken", n)
		}
	}
	for i := range raw {
		spoiled := bytes.Clone(raw)
		spoiled[i] ^= 0x40
		if got, err := acts.Parse(spoiled); err == nil && !bytes.Equal(got.Marshal(), spoiled) {
			t.Errorf("byte %d changed: taken for something else", i)
		}
	}
	if _, err := acts.Parse(make([]byte, acts.MaxState+1)); err == nil {
		t.Error("too large a state is taken")
	}
}

func FuzzParse(f *testing.F) {
	s := here()
	s.React(user(2), stamp(0, 1), "👍")
	f.Add(s.Marshal())
	s.Edit(user(1), stamp(time.Second, 1), []byte("text"))
	f.Add(s.Marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		got, err := acts.Parse(raw)
		if err == nil && len(raw) > 0 && !bytes.Equal(got.Marshal(), raw) {
			t.Error("parsed to another state")
		}
	})
}
