package chat_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h hexBytes) key() (k [32]byte) {
	copy(k[:], h)
	return k
}

// vectors is the file that docs/vectors/model/content.mjs writes.
type vectors struct {
	Contents []struct {
		User         hexBytes   `json:"user"`
		Device       hexBytes   `json:"device_key"`
		Kind         chat.Kind  `json:"kind"`
		Conversation hexBytes   `json:"conversation"`
		SentAt       uint64     `json:"sent_at"`
		Nonce        hexBytes   `json:"nonce"`
		Parents      []hexBytes `json:"parents"`
		Payload      hexBytes   `json:"payload"`
		Content      hexBytes   `json:"content"`
		ID           hexBytes   `json:"message_id"`
	} `json:"contents"`
	Refused []struct {
		Rule    string   `json:"rule"`
		Content hexBytes `json:"content"`
	} `json:"refused"`
	Conversations []struct {
		A  hexBytes `json:"a"`
		B  hexBytes `json:"b"`
		ID hexBytes `json:"id"`
	} `json:"conversations"`
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/vectors/content.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if min(len(v.Contents), len(v.Refused), len(v.Conversations)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	for i, c := range v.Contents {
		made := chat.Content{Kind: c.Kind, Chat: chat.ChatID(c.Conversation), SentAt: c.SentAt, Nonce: [16]byte(c.Nonce), Payload: c.Payload}
		for _, p := range c.Parents {
			made.Parents = append(made.Parents, [16]byte(p))
		}
		if got := made.Bytes(); !bytes.Equal(got, c.Content) {
			t.Errorf("content %d: the code says %x", i, got)
		}
		read, err := chat.Parse(c.Content)
		if err != nil || !bytes.Equal(read.Bytes(), c.Content) {
			t.Errorf("content %d does not parse: %v", i, err)
		}
		if id := chat.MessageID(identity.UserID(c.User.key()), c.Device.key(), c.Content); id != c.ID.key() {
			t.Errorf("content %d: the code says %x", i, id)
		}
	}
	for _, c := range v.Refused {
		if _, err := chat.Parse(c.Content); err == nil {
			t.Errorf("taken, against the rule: %s", c.Rule)
		}
	}
	for i, c := range v.Conversations {
		if id := chat.Direct(identity.UserID(c.A.key()), identity.UserID(c.B.key())); !bytes.Equal(id[:], c.ID) {
			t.Errorf("conversation %d: the code says %x", i, id)
		}
	}
}
