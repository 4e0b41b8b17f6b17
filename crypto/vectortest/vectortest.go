// Package vectortest reads the files of docs/vectors, which second implementations write too.
package vectortest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"testing"
)

// Hex are bytes that JSON shows as hex.
type Hex []byte

// MarshalText is the hex, in lower case.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText reads hex in either case.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// Key is the first 32 bytes, filled up with zeros.
func (h Hex) Key() (k [32]byte) {
	copy(k[:], h)
	return k
}

// Read decodes what v has fields for; the rest of the file is other packages'.
func Read(t testing.TB, file string, v any) {
	t.Helper()
	decode(t, file, v, false)
}

// ReadWhole decodes a file that v has all fields of.
func ReadWhole(t testing.TB, file string, v any) {
	t.Helper()
	decode(t, file, v, true)
}

func decode(t testing.TB, file string, v any, whole bool) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if whole {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("%s goes on after its end", file)
	}
}
