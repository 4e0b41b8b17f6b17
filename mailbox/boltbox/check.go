package boltbox

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
)

// whyLeft is what is wrong with an envelope that has a tombstone.
const whyLeft = "an acknowledged envelope"

// ErrNotAStore says that a file is not one of this package.
var ErrNotAStore = errors.New("not a mailbox store")

// Damage is one stored value, or page, that does not hold.
type Damage struct {
	Place    string             // bucket/key in hex, "file", "file/page7" or "file/meta0"
	Box      mailbox.ID         // zero: not known
	Envelope mailbox.EnvelopeID // zero: not known, or no envelope's
	Why      string
}

// Report is what Check found.
type Report struct {
	Format         uint32
	Boxes, Sets    int
	Envelopes      int    // live ones whose bytes are whole
	Buried, Passes int    // tombstones, certificates of passes
	Bytes          uint64 // of the envelopes counted
	Damaged        []Damage
	Unnamed        int // damaged places beyond those named
}

// Check reads the whole store at path without changing it or trusting its
// index: it verifies every value that can be reached, and compares index,
// envelopes and sums. A file whose pages are damaged is read as far as it goes.
// The error is an fs.ErrNotExist, a boltfile.ErrLocked (a running node has it
// open), ErrNotAStore, ErrNewer, or one of the system; damage is none.
func Check(path string) (Report, error) {
	a := newAudit()
	o := fileOptions
	o.Wait = checkWait
	found, err := boltfile.Scan(path, o, a.row)
	if err != nil {
		return Report{}, fmt.Errorf("mailbox store: check: %w", err)
	}
	if a.report.Format > formatVersion {
		return a.report, fmt.Errorf("mailbox store: check: %w: %d", ErrNewer, a.report.Format)
	}
	if a.rows == 0 {
		return a.report, fmt.Errorf("mailbox store: check: %w", ErrNotAStore)
	}
	spoilt, err := boltfile.SpoiltMetas(path)
	if err != nil {
		return Report{}, fmt.Errorf("mailbox store: check: %w", err)
	}
	for _, d := range append(spoilt, found...) {
		a.page(d)
	}
	if a.report.Format == 0 {
		a.damage(metaBucket, formatKey, "no format")
	}
	a.compare()
	for day := range a.days {
		a.compareSum(day)
	}
	return a.report, nil
}

// audit takes in rows of a store and says which do not hold.
type audit struct {
	report  Report
	rows    int // of tables that only a store has
	entries map[uint64]audited
	bodies  map[uint64]stored
	days    map[mailbox.Day]*dayTally
}

// audited is an index entry that holds.
type audited struct {
	box   mailbox.ID
	entry mailbox.Entry
}

// stored is an envelope, by its hash.
type stored struct {
	id   mailbox.EnvelopeID
	day  mailbox.Day
	size int
}

// dayTally compares a day's index with its sum.
type dayTally struct {
	found, want sum
	known       bool // want is there and holds
}

func newAudit() *audit {
	return &audit{entries: map[uint64]audited{}, bodies: map[uint64]stored{}, days: map[mailbox.Day]*dayTally{}}
}

// day is what is compared of a day.
func (a *audit) day(d mailbox.Day) *dayTally {
	if a.days[d] == nil {
		a.days[d] = &dayTally{}
	}
	return a.days[d]
}

// place names a row.
func place(table, key []byte) string {
	if _, _, isDay := parseDay(table); isDay {
		return fmt.Sprintf("%c%x/%x", table[0], table[1:], key)
	}
	return fmt.Sprintf("%s/%x", table, key)
}

func (a *audit) damage(table, key []byte, why string) {
	a.add(Damage{Place: place(table, key), Why: why})
}

func (a *audit) page(d *boltfile.Damage) { a.add(Damage{Place: d.Place, Why: d.Why}) }

func (a *audit) add(d Damage) {
	if len(a.report.Damaged) == maxNamed {
		a.report.Unnamed++
		return
	}
	a.report.Damaged = append(a.report.Damaged, d)
}

// row verifies one row.
func (a *audit) row(table, key, raw []byte) {
	kind, day, isDay := parseDay(table)
	switch {
	case isDay && kind == 'i':
		a.index(day, table, key, raw)
	case isDay:
		a.envelope(day, table, key, raw)
	case bytes.Equal(table, metaBucket):
		a.meta(key, raw)
	case bytes.Equal(table, boxBucket):
		value, ok := opened(boxBucket, key, raw)
		_, parsed := parseBox(value)
		a.count(&a.report.Boxes, table, key, ok && parsed && len(key) == len(mailbox.ID{}))
	case bytes.Equal(table, setBucket):
		_, ok := opened(setBucket, key, raw)
		a.count(&a.report.Sets, table, key, ok && len(key) == len(mailbox.ID{}))
	case bytes.Equal(table, passBucket):
		_, _, ok := parsePass(key, raw)
		a.count(&a.report.Passes, table, key, ok)
	case bytes.Equal(table, sumBucket):
		a.sum(key, raw)
	default:
		a.rows-- // somebody else's
	}
	a.rows++
}

func (a *audit) count(n *int, table, key []byte, ok bool) {
	if ok {
		*n++
		return
	}
	d := Damage{Place: place(table, key), Why: "the check is wrong"}
	if len(key) >= len(d.Box) {
		d.Box = mailbox.ID(key[:len(d.Box)])
	}
	a.add(d)
}

func (a *audit) meta(key, raw []byte) {
	var ok bool
	switch {
	case bytes.Equal(key, formatKey):
		if ok = len(raw) == 4; ok {
			a.report.Format = binary.BigEndian.Uint32(raw)
		}
	case bytes.Equal(key, seqKey):
		value, checked := opened(metaBucket, seqKey, raw)
		ok = checked && len(value) == seqSize
	case bytes.Equal(key, clockKey):
		value, checked := opened(metaBucket, clockKey, raw)
		_, parsed := parseClock(value)
		ok = checked && parsed
	case bytes.Equal(key, leaveKey):
		_, ok = parseLeaving(raw)
	}
	if !ok {
		a.damage(metaBucket, key, "the check is wrong")
	}
}

func (a *audit) index(day mailbox.Day, table, key, raw []byte) {
	value, ok := opened(table, key, raw)
	box, e, parsed := parseEntry(key, value)
	if !ok || !parsed || e.Day() != day {
		a.damage(table, key, "the check is wrong")
		return
	}
	if e.Buried {
		a.report.Buried++
	}
	a.entries[e.Seq] = audited{box, e}
	t := a.day(day)
	t.found = t.found.add([checkSize]byte(raw[len(value):]), 1)
}

func (a *audit) envelope(day mailbox.Day, table, key, raw []byte) {
	if len(key) != seqSize {
		a.damage(table, key, "no arrival number")
		return
	}
	a.bodies[binary.BigEndian.Uint64(key)] = stored{mailbox.EnvelopeIDOf(raw), day, len(raw)}
}

func (a *audit) sum(key, raw []byte) {
	value, ok := opened(sumBucket, key, raw)
	want, parsed := parseSum(value)
	if !ok || !parsed || len(key) != 4 {
		a.damage(sumBucket, key, "the check is wrong")
		return
	}
	t := a.day(mailbox.Day(binary.BigEndian.Uint32(key)))
	t.want, t.known = want, true
}

// compare holds envelopes against index entries, by arrival.
func (a *audit) compare() {
	for _, at := range sortedKeys(a.entries) {
		x := a.entries[at]
		body, there := a.bodies[at]
		d := Damage{Place: place(envelopeBucket(x.entry.Day()), seqBytes(at)), Box: x.box, Envelope: x.entry.ID}
		switch {
		case x.entry.Buried && there:
			d.Why = whyLeft
		case x.entry.Buried:
			continue
		case !there:
			d.Why = "the envelope is missing"
		case body.id != x.entry.ID || body.day != x.entry.Day():
			d.Why = "the hash is wrong"
		default:
			a.report.Envelopes++
			a.report.Bytes += uint64(body.size)
			continue
		}
		a.add(d)
	}
	for _, at := range sortedKeys(a.bodies) {
		if _, known := a.entries[at]; !known {
			body := a.bodies[at]
			a.add(Damage{Place: place(envelopeBucket(body.day), seqBytes(at)), Envelope: body.id, Why: "no index entry"})
		}
	}
}

func sortedKeys[V any](m map[uint64]V) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare)
	return keys
}

// compareSum holds a day's index against its sum, and says whether it does.
func (a *audit) compareSum(d mailbox.Day) bool {
	t := a.day(d)
	if t.known && t.found == t.want || t.found == (sum{}) && !t.known {
		return true
	}
	a.damage(sumBucket, dayKey(d), fmt.Sprintf("%d entries of %d", t.found.entries, t.want.entries))
	return false
}
