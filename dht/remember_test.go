package dht

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"
)

// What was read before is no other record because it is remembered: each byte counts, and who changes an advert changes his own.
func TestRememberedRecordsAreTheirBytes(t *testing.T) {
	Remember(4)
	defer Remember(0)
	at := time.Unix(1_700_000_000, 0)
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	signed, err := SignAdvert(key, Advert{Peer: Peer{ID: PeerFromKey(key.Public().(ed25519.PublicKey))}, Number: 1, Issued: at, NotAfter: at.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	raw := signed.Bytes()
	for range 2 {
		a, err := ParseAdvert(raw)
		if err != nil || a.Number != 1 || !bytes.Equal(a.Bytes(), raw) {
			t.Fatal(a, err)
		}
		a.Number = 7
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if a, err := ParseAdvert(bad); err == nil {
			t.Errorf("byte %d may be another: %v", i, a)
		}
	}
	Remember(4)
	one, two := *signed, *signed
	if _, err := adverts.Of(raw, func([]byte) (*Advert, error) { return &one, nil }); err != nil {
		t.Fatal(err)
	}
	if a, err := adverts.Of(raw, func([]byte) (*Advert, error) { return &two, nil }); err != nil || a != &one {
		t.Error("control: it is not remembered", err)
	}
}
