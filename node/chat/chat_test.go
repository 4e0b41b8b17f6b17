package chat_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
)

func sample(parents int) chat.Content {
	c := chat.Content{Kind: chat.KindText, Chat: chat.ChatID{7}, SentAt: 1_800_000_000_000, Nonce: [16]byte{9}, Payload: []byte("payload")}
	for i := range parents {
		c.Parents = append(c.Parents, [16]byte{byte(i + 1)})
	}
	return c
}

func TestContentRoundTrip(t *testing.T) {
	for parents := range chat.MaxParents + 1 {
		raw := sample(parents).Bytes()
		got, err := chat.Parse(raw)
		if err != nil {
			t.Fatalf("%d parents: %v", parents, err)
		}
		if !bytes.Equal(got.Bytes(), raw) {
			t.Errorf("%d parents: bytes changed on the way", parents)
		}
	}
}

func TestContentRefused(t *testing.T) {
	raw := sample(3).Bytes()
	for n := range 44 + 48 {
		if _, err := chat.Parse(raw[:n]); err == nil {
			t.Errorf("content cut to %d bytes was accepted", n)
		}
	}
	for name, spoil := range map[string]func([]byte){
		"another version": func(b []byte) { b[0] = 2 },
		"four parents":    func(b []byte) { b[43] = 4 },
	} {
		b := bytes.Clone(raw)
		spoil(b)
		if _, err := chat.Parse(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A message id commits to its author, the author's device and each byte of the content.
func TestMessageIDCommits(t *testing.T) {
	raw := sample(1).Bytes()
	user, device := identity.UserID{1}, [32]byte{2}
	id := chat.MessageID(user, device, raw)
	if chat.MessageID(identity.UserID{3}, device, raw) == id || chat.MessageID(user, [32]byte{3}, raw) == id {
		t.Error("another author, same id")
	}
	for i := range raw {
		b := bytes.Clone(raw)
		b[i] ^= 1
		if chat.MessageID(user, device, b) == id {
			t.Errorf("byte %d is not in the id", i)
		}
	}
	if chat.MessageID(user, device, raw) != id {
		t.Error("same content, another id")
	}
}

func TestDirectIsSymmetric(t *testing.T) {
	a, b := identity.UserID{1}, identity.UserID{2}
	if chat.Direct(a, b) != chat.Direct(b, a) {
		t.Error("the two people name their conversation differently")
	}
	if chat.Direct(a, b) == chat.Direct(a, a) {
		t.Error("another pair, same conversation")
	}
}

func TestCleanName(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"Bob", "Bob"},
		{"B\x1b[31mob\n", "B[31mob"},
		{"a\u202eb\u200bc", "abc"},
		{"Zoë 🦊", "Zoë 🦊"},
		{"\xff\xfe", ""},
		{strings.Repeat("ü", 40), strings.Repeat("ü", 32)},
	} {
		if got := chat.CleanName(c.in); got != c.want {
			t.Errorf("CleanName(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample(0).Bytes())
	f.Add(sample(3).Bytes())
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		c, err := chat.Parse(raw)
		if err == nil && !bytes.Equal(c.Bytes(), raw) {
			t.Fatal("parsed content encodes to other bytes")
		}
	})
}

func FuzzCleanName(f *testing.F) {
	f.Add("Bob\x1b]0;x\a")
	f.Fuzz(func(t *testing.T, s string) {
		defer fuzztest.Limit(t, len(s))()
		got := chat.CleanName(s)
		if len(got) > chat.MaxName || strings.ContainsFunc(got, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			t.Fatalf("CleanName(%q) = %q", s, got)
		}
		if chat.CleanName(got) != got {
			t.Fatal("cleaning twice changes the name")
		}
	})
}
