package chat_test

import (
	"bytes"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/node/chat"
)

// vectors is the file that docs/vectors/model/content.mjs writes.
type vectors struct {
	Contents []struct {
		User         vectortest.Hex   `json:"user"`
		Device       vectortest.Hex   `json:"device_key"`
		Kind         chat.Kind        `json:"kind"`
		Conversation vectortest.Hex   `json:"conversation"`
		SentAt       uint64           `json:"sent_at"`
		Nonce        vectortest.Hex   `json:"nonce"`
		Parents      []vectortest.Hex `json:"parents"`
		Payload      vectortest.Hex   `json:"payload"`
		Content      vectortest.Hex   `json:"content"`
		ID           vectortest.Hex   `json:"message_id"`
	} `json:"contents"`
	Refused []struct {
		Rule    string         `json:"rule"`
		Content vectortest.Hex `json:"content"`
	} `json:"refused"`
	Conversations []struct {
		A  vectortest.Hex `json:"a"`
		B  vectortest.Hex `json:"b"`
		ID vectortest.Hex `json:"id"`
	} `json:"conversations"`
}

func TestVectors(t *testing.T) {
	var v vectors
	vectortest.Read(t, "../../docs/vectors/content.json", &v)
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
		if id := chat.MessageID(identity.UserID(c.User.Key()), c.Device.Key(), c.Content); id != c.ID.Key() {
			t.Errorf("content %d: the code says %x", i, id)
		}
	}
	for _, c := range v.Refused {
		if _, err := chat.Parse(c.Content); err == nil {
			t.Errorf("taken, against the rule: %s", c.Rule)
		}
	}
	for i, c := range v.Conversations {
		if id := chat.Direct(identity.UserID(c.A.Key()), identity.UserID(c.B.Key())); !bytes.Equal(id[:], c.ID) {
			t.Errorf("conversation %d: the code says %x", i, id)
		}
	}
}
