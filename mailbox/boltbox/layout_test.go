package boltbox

import (
	"bytes"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

func FuzzValues(f *testing.F) {
	e, _ := mailboxtest.Envelope(1, 1)
	f.Add(seqBytes(7), appendEntry(nil, mailboxtest.Box(1), e))
	e.ByPass, e.Admit = true, [8]byte{1}
	f.Add(seqBytes(8), appendEntry(nil, mailboxtest.Box(1), e))
	e.ByPass, e.Copied = false, true
	f.Add(seqBytes(9), appendEntry(nil, mailboxtest.Box(1), e))
	f.Add([]byte{}, appendBox(nil, mailbox.Box{Number: 2, Key: [32]byte{3}}))
	f.Add([]byte{}, appendBox(nil, mailbox.Box{Number: 1, Rank: 2, Member: true, End: time.Unix(1, 0)}))
	f.Add([]byte{}, appendClock(nil, mailbox.Clock{Trusted: time.Unix(1, 0)}))
	f.Add([]byte("i\x00\x00\x51\x61"), appendSum(nil, sum{1, 2}))
	f.Fuzz(func(t *testing.T, key, raw []byte) {
		defer fuzztest.Limit(t, len(key)+len(raw))()
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
		if box, c, ok := parsePass(key, raw); ok && !bytes.Equal(sealed(passBucket, passKey(box, c.ID()), bytes.Clone(c[:])), raw) {
			t.Errorf("pass %x", raw)
		}
		if at, ok := parseLeaving(raw); ok && !bytes.Equal(sealed(metaBucket, leaveKey, appendTime(nil, at)), raw) {
			t.Errorf("leaving %x", raw)
		}
		if kind, d, ok := parseDay(key); ok && !bytes.Equal(append([]byte{kind}, dayKey(d)...), key) {
			t.Errorf("day %x", key)
		}
		if value, ok := opened(boxBucket, key, raw); ok && !bytes.Equal(sealed(boxBucket, key, bytes.Clone(value)), raw) {
			t.Errorf("check %x", raw)
		}
	})
}
