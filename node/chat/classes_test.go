package chat_test

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
)

// TestSizeClasses holds the table of docs/protocol.md, 2.4: in which class an envelope ends, at its largest.
func TestSizeClasses(t *testing.T) {
	id, text := bytes.Repeat([]byte{7}, 32), func(n int) string { return strings.Repeat("x", n) }
	heads := [][]byte{id[:16], id[:16], id[:16], id[:16]} // of a group that is at odds with itself
	ids := func(n int) *chatpb.Ids { return &chatpb.Ids{Ids: slicesOf(id, n)} }
	longest := strings.Repeat("é", 16) // the longest emoji, in bytes
	for _, c := range []struct {
		what    string
		kind    chat.Kind
		parents int
		payload proto.Message
		class   int
	}{
		{"acknowledgement of 4", chat.KindAck, 0, ids(4), 256},
		{"acknowledgement of 5", chat.KindAck, 0, ids(5), 512},
		{"acknowledgement of 26", chat.KindAck, 0, ids(26), 1024},
		{"acknowledgement of 57", chat.KindAck, 0, ids(chat.ToldIDs), 2048},
		{"acknowledgement of 58", chat.KindAck, 0, ids(chat.ToldIDs + 1), 4096},
		{"receipt of 4", chat.KindRead, 0, ids(4), 256},
		{"reaction", chat.KindReact, 0, &chatpb.React{Target: id, Emoji: longest}, 256},
		{"reaction in a group", chat.KindReact, 0, &chatpb.React{Target: id, Emoji: longest, Heads: heads}, 256},
		{"unsend in a group", chat.KindUnsend, 0, &chatpb.Unsend{Target: id, Heads: heads}, 256},
		{"typing", chat.KindTyping, 0, &chatpb.Typing{On: true}, 256},
		{"edit to 130 bytes", chat.KindEdit, 0, &chatpb.Edit{Target: id, Text: text(130)}, 256},
		{"text of 117 bytes after 3 others", chat.KindText, 3, &chatpb.Text{Text: text(117)}, 256},
		{"text of 118 bytes after 3 others", chat.KindText, 3, &chatpb.Text{Text: text(118)}, 512},
		{"text of 148 bytes in turn", chat.KindText, 1, &chatpb.Text{Text: text(148)}, 256},
		{"text of 1 KiB", chat.KindText, 1, &chatpb.Text{Text: text(1024)}, 1536},
		{"text of 1 KiB in a group, after 3 others, disappearing", chat.KindText, 3, &chatpb.Text{Text: text(1024), Heads: heads, TtlSeconds: 1 << 31}, 1536},
		{"the longest text", chat.KindText, 3, &chatpb.Text{Text: text(chat.MaxText), Heads: heads, TtlSeconds: 1 << 31}, 4096},
	} {
		payload, err := proto.Marshal(c.payload)
		if err != nil {
			t.Fatal(err)
		}
		content := sample(c.parents)
		content.Kind, content.Payload = c.kind, payload
		if got := session.EnvelopeSize(len(content.Bytes()), false) - session.EnvelopeSize(0, false) + 256; got != c.class {
			t.Errorf("%s: %d bytes of content, class %d, want %d", c.what, len(content.Bytes()), got, c.class)
		}
	}
}

func slicesOf(id []byte, n int) (all [][]byte) {
	for range n {
		all = append(all, id)
	}
	return all
}
