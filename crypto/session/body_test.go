package session

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func padded(fields ...byte) []byte {
	raw := append([]byte{bodyVersion}, fields...)
	return append(raw, make([]byte, 256-len(raw))...)
}

func TestABodyReadsBackAndIsPaddedToItsClass(t *testing.T) {
	for _, b := range []Body{
		{},
		{Counter: 1},
		{Content: []byte("c")},
		{Counter: 1 << 60, OwnHead: [12]byte{1}, YourHead: [12]byte{2}, Token: []byte("t"), Content: bytes.Repeat([]byte("x"), 600)},
		{OwnHead: [12]byte{1}, YourHead: [12]byte{2}, Counter: 3, Token: make([]byte, MaxToken), Content: make([]byte, MaxContent)},
	} {
		raw, err := fields{Body: b}.encode()
		if err != nil {
			t.Fatal(err)
		}
		if ClassOf(len(raw)) != len(raw) {
			t.Fatalf("%d bytes", len(raw))
		}
		got, ok := parseBody(raw)
		if diff := cmp.Diff(b, got.Body); diff != "" || !ok {
			t.Fatal(ok, diff)
		}
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	raw := padded(tlvPQKey, 0, 1, 9, tlvPQCipher, 0, 0, tlvContent, 0, 1, 'c', 200, 0, 2, 'n', 'e')
	got, ok := parseBody(raw)
	if diff := cmp.Diff(Body{Content: []byte("c")}, got.Body); diff != "" || !ok || got.pqKey != nil || got.pqCipher != nil {
		t.Fatal(ok, diff)
	}
}

func TestMalformedBodiesAreRefused(t *testing.T) {
	for name, raw := range map[string][]byte{
		"empty":               {},
		"other version":       append([]byte{2}, make([]byte, 255)...),
		"dirty padding":       append(padded(tlvContent, 0, 1, 'c')[:255], 1),
		"fields out of order": padded(tlvContent, 0, 1, 'c', tlvCounter, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1),
		"field twice":         padded(tlvToken, 0, 1, 'a', tlvToken, 0, 1, 'b'),
		"short counter":       padded(tlvCounter, 0, 1, 1),
		"short digest":        padded(tlvOwnHead, 0, 1, 1),
		"long digest":         padded(append([]byte{tlvYourHead, 0, 13}, make([]byte, 13)...)...),
		"long token":          padded(append([]byte{tlvToken, 0, MaxToken + 1}, make([]byte, MaxToken+1)...)...),
		"past the end":        padded(tlvContent, 1, 0),
		"cut head":            {bodyVersion, tlvContent, 0},
	} {
		if b, ok := parseBody(raw); ok {
			t.Errorf("%s: read as %+v", name, b)
		}
	}
}

// How the sender stands goes with every body that has room for it, and makes none larger.
func TestStandingTravelsWhereThereIsRoom(t *testing.T) {
	for _, c := range []struct {
		content int
		travels bool
	}{{1, true}, {256 - 1 - tlvHead - tlvHead - standingSize, true}, {256 - tlvHead - tlvHead - standingSize, false}, {256 - 1 - tlvHead, false}, {300, true}} {
		b := fields{Body: Body{Content: make([]byte, c.content), Generation: 7, Received: 8, Sent: 9}}
		raw, err := b.encode()
		if err != nil || len(raw) != ClassOf(b.size()) {
			t.Fatalf("%d bytes of content in %d: %v", c.content, len(raw), err)
		}
		got, ok := parseBody(raw)
		if travels := got.Generation == 7 && got.Received == 8 && got.Sent == 9; !ok || travels != c.travels {
			t.Errorf("%d bytes of content: the standing travels %t", c.content, travels)
		}
	}
}
