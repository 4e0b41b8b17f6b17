package mend_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/mend"
)

// spanOf reads "block:number-block:number"; a device that begins a block then counts in it so.
func spanOf(t *testing.T, text string) *chatpb.Span {
	t.Helper()
	var block [2]int64
	var number [2]uint64
	if _, err := fmt.Sscanf(text, "%d:%d-%d:%d", &block[0], &number[0], &block[1], &number[1]); err != nil {
		t.Fatal(err)
	}
	for i := range block {
		if block[i] != 0 { // the first is not begun
			number[i] += mend.NewBlock(time.Unix(block[i], 0), 0)
		}
	}
	return &chatpb.Span{From: number[0], To: number[1]}
}

// TestVectors holds questions for what is missing, and their answers, against docs/vectors/model/content.mjs.
func TestVectors(t *testing.T) {
	var v struct {
		Spans []struct {
			What    string         `json:"what"`
			User    vectortest.Hex `json:"user"`
			Device  vectortest.Hex `json:"device_key"`
			Kind    chat.Kind      `json:"kind"`
			Chat    vectortest.Hex `json:"conversation"`
			SentAt  uint64         `json:"sent_at"`
			Nonce   vectortest.Hex `json:"nonce"`
			Content vectortest.Hex `json:"content"`
			ID      vectortest.Hex `json:"message_id"`
			Spans   []string       `json:"spans"`
		} `json:"spans"`
	}
	vectortest.Read(t, "../../docs/vectors/content.json", &v)
	kinds := map[chat.Kind]int{}
	for _, c := range v.Spans {
		kinds[c.Kind] = max(kinds[c.Kind], len(c.Spans))
		var spans []*chatpb.Span
		for _, s := range c.Spans {
			spans = append(spans, spanOf(t, s))
		}
		var payload proto.Message = &chatpb.Missing{Spans: spans}
		if c.Kind == chat.KindGone {
			payload = &chatpb.Gone{Spans: spans}
		}
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		made := chat.Content{Kind: c.Kind, Chat: chat.ChatID(c.Chat), SentAt: c.SentAt, Nonce: [16]byte(c.Nonce), Payload: b}
		if got := made.Bytes(); !bytes.Equal(got, c.Content) {
			t.Errorf("%s: the code says %x", c.What, got)
		}
		if id := chat.MessageID(identity.UserID(c.User), [32]byte(c.Device), c.Content); !bytes.Equal(id[:], c.ID) {
			t.Errorf("%s: the code says %x", c.What, id)
		}
	}
	if kinds[chat.KindMissing] != mend.MaxSpans || kinds[chat.KindGone] != mend.MaxSpans {
		t.Errorf("the longest have %v spans", kinds)
	}
}
