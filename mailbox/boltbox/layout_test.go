package boltbox

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

func FuzzValues(f *testing.F) {
	e, _ := mailboxtest.Envelope(1, 1)
	f.Add(seqBytes(7), appendEntry(nil, mailboxtest.Box(1), e))
	f.Add([]byte{}, appendBox(nil, mailbox.Box{Number: 1, Rank: 2, Member: true, End: time.Unix(1, 0)}))
	f.Add([]byte{}, appendClock(nil, mailbox.Clock{Trusted: time.Unix(1, 0)}))
	f.Add([]byte("i\x00\x00\x51\x61"), appendSum(nil, sum{1, 2}))
	f.Fuzz(func(t *testing.T, key, raw []byte) {
		if box, e, ok := parseEntry(key, raw); ok && !bytes.Equal(appendEntry(nil, box, e), raw) {
			t.Errorf("entry %x", raw)
		}
		if b, ok := parseBox(raw); ok && !bytes.Equal(appendBox(nil, b), raw) {
			t.Errorf("box %x", raw)
		}
		if c, ok := parseClock(raw); ok && !bytes.Equal(appendClock(nil, c), raw) {
			t.Errorf("clock %x", raw)
		}
		if s, ok := parseSum(raw); ok && !bytes.Equal(appendSum(nil, s), raw) {
			t.Errorf("sum %x", raw)
		}
		if kind, d, ok := parseDay(key); ok && !bytes.Equal(append([]byte{kind}, dayKey(d)...), key) {
			t.Errorf("day %x", key)
		}
		if value, ok := opened(boxBucket, key, raw); ok && !bytes.Equal(sealed(boxBucket, key, bytes.Clone(value)), raw) {
			t.Errorf("check %x", raw)
		}
	})
}

// FuzzPages changes a real file at will: whatever the walk lets pass, the
// store opens without ending the process.
func FuzzPages(f *testing.F) {
	folder := f.TempDir()
	path := filepath.Join(folder, "seed.db")
	s := mustOpen(f, path)
	for n := range 5 {
		if err := addOne(s, n%2, n); err != nil {
			f.Fatal(err)
		}
	}
	_ = s.Close()
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	raw = raw[:usedPages(raw)]
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0x40, 0, 8, 1})
	f.Add([]byte{0x80, 0, 24, 0x80, 0xc0, 0, 8, 7})
	f.Fuzz(func(t *testing.T, edits []byte) {
		image := bytes.Clone(raw)
		for ; len(edits) >= 4; edits = edits[4:] { // page, offset, xor
			at := (int(edits[0])%(len(raw)/pageSize))*pageSize + (int(edits[1])<<8+int(edits[2]))%pageSize
			image[at] ^= edits[3]
		}
		path := filepath.Join(t.TempDir(), "image.db")
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(path); err == nil {
			mailboxtest.Look(&quietly{T: t}, s, 2, 5)
			_ = s.Close()
		}
	})
}
