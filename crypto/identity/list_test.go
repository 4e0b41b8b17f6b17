package identity

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestListReadsAsItWasSigned(t *testing.T) {
	a := rootOf("ann").Account(3)
	f := listFields(t, "phone", "laptop")
	f.Seq, f.Prev, f.Devices[1].AddedSeq = 7, [32]byte{9}, 5
	f.Issued = f.Issued.Add(400 * time.Millisecond).Local() // kept in whole seconds, UTC
	signed := signList(t, a, f)
	l, err := ParseDeviceList(signed.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(signed, l, cmp.AllowUnexported(DeviceList{})); diff != "" {
		t.Errorf("parsed list differs (-signed +parsed):\n%s", diff)
	}
	if l.User() != rootOf("ann").User() || l.Epoch() != 3 || l.Seq() != 7 || l.Prev() != f.Prev || l.Tombstone() ||
		!l.Issued().Equal(day0) || !l.NotAfter().Equal(f.NotAfter) {
		t.Errorf("fields: %+v", l)
	}
	if diff := cmp.Diff(f.Devices, l.Devices()); diff != "" {
		t.Error(diff)
	}
	d, ok := l.Find(keysOf(t, "laptop").ID())
	if !ok || d != f.Devices[1] || d.Admin() || !l.Devices()[0].Admin() {
		t.Errorf("found %+v, %v", d, ok)
	}
	if _, ok := l.Find(keysOf(t, "stranger").ID()); ok {
		t.Error("found a device that is not listed")
	}
	if len(l.Bytes()) != listFixedSize+2*deviceEntrySize {
		t.Errorf("%d bytes", len(l.Bytes()))
	}
}

func TestLargestListFitsItsLimit(t *testing.T) {
	var names []string
	for i := range maxDevices {
		names = append(names, fmt.Sprint("device ", i))
	}
	l := signList(t, rootOf("ann").Account(0), listFields(t, names...))
	if len(l.Bytes()) != maxListSize || maxListSize != 1456 {
		t.Errorf("%d bytes, limit %d", len(l.Bytes()), maxListSize)
	}
	if _, err := ParseDeviceList(l.Bytes()); err != nil {
		t.Error(err)
	}
}

// brokenLists are edits of a good list that break one rule each.
var brokenLists = []struct {
	rule string
	edit func(t *testing.T, f *ListFields)
}{
	{"numbered from 1", func(_ *testing.T, f *ListFields) { f.Seq = 0 }},
	{"no hash of the list before", func(_ *testing.T, f *ListFields) { f.Seq = 2 }},
	{"unknown flags 0x2", func(_ *testing.T, f *ListFields) { f.Flags = 2 }},
	{"a tombstone, and nothing else", func(_ *testing.T, f *ListFields) { f.Devices = nil }},
	{"a tombstone, and nothing else", func(_ *testing.T, f *ListFields) { f.Flags = FlagTombstone }},
	{"17 devices, at most 16", func(t *testing.T, f *ListFields) {
		for i := range 15 {
			f.Devices = append(f.Devices, keysOf(t, fmt.Sprint("extra ", i)).Public(0, 1))
		}
	}},
	{"device 1: key used twice", func(_ *testing.T, f *ListFields) { f.Devices[1] = f.Devices[0] }},
	{"device 1: key used twice", func(_ *testing.T, f *ListFields) { f.Devices[1].SigPub = f.Devices[0].SigPub }},
	{"device 1: key used twice", func(_ *testing.T, f *ListFields) { f.Devices[1].IKPub = f.Devices[0].IKPub }},
	{"device 1: key used twice", func(_ *testing.T, f *ListFields) { f.Devices[1].IKPub = f.Devices[0].SigPub }},
	{"device 0: key used twice", func(_ *testing.T, f *ListFields) { f.Devices[0].SigPub = f.Devices[0].IKPub }},
	{"device 0: key used twice", func(_ *testing.T, f *ListFields) { f.Devices[0].SigPub = rootOf("ann").Account(0).root }},
	{"device 0: key used twice", func(_ *testing.T, f *ListFields) { f.Devices[0].SigPub = rootOf("ann").Account(0).pub() }},
	{"device 1: unsound key", func(_ *testing.T, f *ListFields) { f.Devices[1].IKPub = [32]byte{1} }},
	{"device 1: unsound key", func(_ *testing.T, f *ListFields) { f.Devices[1].SigPub = [32]byte{1} }},
	{"device 1: unknown flags 0x80", func(_ *testing.T, f *ListFields) { f.Devices[1].Flags = 0x80 }},
	{"2 admin devices, at most one", func(_ *testing.T, f *ListFields) { f.Devices[1].Flags = FlagAdmin }},
	{"device 1: added by list 0 of 1", func(_ *testing.T, f *ListFields) { f.Devices[1].AddedSeq = 0 }},
	{"device 1: added by list 2 of 1", func(_ *testing.T, f *ListFields) { f.Devices[1].AddedSeq = 2 }},
	{"time out of range", func(_ *testing.T, f *ListFields) { f.Issued = time.Unix(-1, 0) }},
	{"time out of range", func(_ *testing.T, f *ListFields) { f.NotAfter = time.Unix(maxUnixSeconds+1, 0) }},
	{"not-after before issued", func(_ *testing.T, f *ListFields) { f.NotAfter = f.Issued.Add(-time.Second) }},
	{"not-after too far ahead", func(_ *testing.T, f *ListFields) { f.NotAfter = f.Issued.Add(maxLifetime + time.Second) }},
}

// Every rule holds on both sides: the signer is told the reason, and a reader
// refuses the same fields under perfectly good signatures.
func TestListRulesHoldForSignerAndReader(t *testing.T) {
	a := rootOf("ann").Account(0)
	if _, err := ParseDeviceList(a.forgeList(listFields(t, "phone", "laptop"))); err != nil {
		t.Fatal("control: the forger's good list is refused, so its bad ones prove nothing")
	}
	for _, c := range brokenLists {
		t.Run(c.rule, func(t *testing.T) {
			f := listFields(t, "phone", "laptop")
			c.edit(t, &f)
			if _, err := a.SignList(f); err == nil || !strings.Contains(err.Error(), c.rule) {
				t.Errorf("signer: got %v, want …%s…", err, c.rule)
			}
			if _, err := ParseDeviceList(a.forgeList(f)); err != ErrInvalid {
				t.Errorf("reader: got %v, want ErrInvalid", err)
			}
		})
	}
}

func TestLowOrderDeviceKeysAreRefused(t *testing.T) {
	a := rootOf("ann").Account(0)
	for _, e := range lowOrderEncodings() {
		f := listFields(t, "phone")
		f.Devices[0].IKPub = e
		if _, err := ParseDeviceList(a.forgeList(f)); err != ErrInvalid {
			t.Errorf("%x: got %v", e, err)
		}
	}
}

func TestEveryBitOfAListIsSigned(t *testing.T) {
	raw := signList(t, rootOf("ann").Account(0), listFields(t, "phone", "laptop")).Bytes()
	unsigned := 0
	flips(raw, func(bit int, flipped []byte) {
		if _, err := ParseDeviceList(flipped); err != ErrInvalid {
			t.Errorf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
		}
		if l, err := decodeList(flipped); err == nil && l.check() == nil {
			unsigned++
		}
	})
	if unsigned < len(raw)*8/2 {
		t.Errorf("control: without signatures only %d of %d flips pass, so the rules hide what the signatures do", unsigned, len(raw)*8)
	}
}

// What version 1 does not know is refused even under good signatures.
func TestListOfAnotherVersionIsRefused(t *testing.T) {
	a := rootOf("ann").Account(0)
	body := signList(t, a, listFields(t, "phone")).Bytes()
	body = body[:len(body)-signatureSize]
	if _, err := ParseDeviceList(sealList(a.key, bytes.Clone(body))); err != nil {
		t.Fatalf("control: %v", err)
	}
	for name, at := range map[string]int{"version": 0, "root algorithm": 1, "commitment": 34, "its last byte": 65} {
		other := bytes.Clone(body)
		other[at] ^= 2
		if _, err := ParseDeviceList(sealList(a.key, other)); err != ErrInvalid {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestListHasNoOtherLength(t *testing.T) {
	raw := signList(t, rootOf("ann").Account(0), listFields(t, "phone", "laptop")).Bytes()
	for n := range raw {
		if _, err := ParseDeviceList(raw[:n]); err != ErrInvalid {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	for _, tail := range [][]byte{{0}, make([]byte, deviceEntrySize), make([]byte, 64<<10)} {
		if _, err := ParseDeviceList(append(bytes.Clone(raw), tail...)); err != ErrInvalid {
			t.Errorf("%d bytes more: %v", len(tail), err)
		}
	}
}

// TestPartsOfListsCannotBeCombined takes what honest users signed and puts it
// together anew.
func TestPartsOfListsCannotBeCombined(t *testing.T) {
	ann, bob := rootOf("ann"), rootOf("bob")
	a0, a1, b0 := ann.Account(0), ann.Account(1), bob.Account(0)
	f := listFields(t, "phone")
	good := &DeviceList{root: a0.root, epoch: 0, account: a0.pub(), cert: a0.cert, f: f}
	if _, err := ParseDeviceList(sealList(a0.key, good.encode())); err != nil {
		t.Fatal("control: the untouched list is refused")
	}
	for _, c := range []struct {
		name string
		edit func(l *DeviceList)
		key  *Account
	}{
		{"Bob's list under Ann's root", func(l *DeviceList) { l.account, l.cert = b0.pub(), b0.cert }, b0},
		{"Bob's key with Ann's certificate", func(l *DeviceList) { l.account = b0.pub() }, b0},
		{"Ann's account under Bob's root", func(l *DeviceList) { l.root = b0.root }, a0},
		{"an old account key in a new epoch", func(l *DeviceList) { l.epoch = 1 }, a0},
		{"a new epoch's certificate for an old key", func(l *DeviceList) { l.epoch, l.cert = 1, a1.cert }, a0},
		{"a list signed by the root itself", func(*DeviceList) {}, &Account{key: ann.key}},
		{"a list signed by a listed device", func(*DeviceList) {}, &Account{key: keysOf(t, "phone").Sign}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := *good
			c.edit(&l)
			if _, err := ParseDeviceList(sealList(c.key.key, l.encode())); err != ErrInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestListIsNotOfTheUserWhoWasAskedFor(t *testing.T) {
	// The parser cannot know who was asked for; the id that it reports is the
	// hash of the root that certified, which no server can choose.
	l := signList(t, rootOf("bob").Account(0), listFields(t, "phone"))
	if l.User() == rootOf("ann").User() {
		t.Error("Bob's list passes for Ann's")
	}
}

func TestListOwnsItsBytes(t *testing.T) {
	f := listFields(t, "phone", "laptop")
	raw := rootOf("ann").Account(0).forgeList(f)
	l, err := ParseDeviceList(raw)
	if err != nil {
		t.Fatal(err)
	}
	before := l.Bytes()
	clear(raw)
	l.Bytes()[0] ^= 1
	l.Devices()[0].Flags = 0
	if !bytes.Equal(l.Bytes(), before) || !l.Devices()[0].Admin() {
		t.Error("a caller changed a list from outside")
	}
	signed := signList(t, rootOf("ann").Account(0), f)
	f.Devices[0].Flags = 0
	if !signed.Devices()[0].Admin() {
		t.Error("a signer changed a list from outside")
	}
}

func TestFreshnessIsNotDeath(t *testing.T) {
	l := signList(t, rootOf("ann").Account(0), listFields(t, "phone"))
	b, _ := newBundle(t, "phone", bundleFields(l.User()))
	for _, c := range []struct {
		name          string
		at            time.Duration // after issue; the list's mark is at 14 days, the bundle's at 7
		listFresh     bool
		bundleFresh   bool
		list, bundled bool
	}{
		{"two days before issue", -2 * day, true, true, false, false},
		{"a day before issue", -day, true, true, true, true},
		{"issue", 0, true, true, true, true},
		{"bundle's mark", 7 * day, true, true, true, true},
		{"past the bundle's mark", 7*day + 1, true, false, true, true},
		{"list's mark", 14 * day, true, false, true, true},
		{"past the list's mark", 14*day + 1, false, false, true, true},
		{"end of the bundle's grace", 38 * day, false, false, true, true},
		{"past the bundle's grace", 38*day + 1, false, false, true, false},
		{"end of the list's grace", 45 * day, false, false, true, false},
		{"past the list's grace", 45*day + 1, false, false, false, false},
	} {
		now := day0.Add(c.at)
		got := []bool{l.Fresh(now), b.Fresh(now), l.Usable(now), b.Usable(now)}
		if want := []bool{c.listFresh, c.bundleFresh, c.list, c.bundled}; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", c.name, got, want)
		}
	}
}

func TestAccountIsARootsAndAnEpochs(t *testing.T) {
	ann := rootOf("ann")
	if !bytes.Equal(ann.Account(4).Marshal(), rootOf("ann").Account(4).Marshal()) {
		t.Error("one root and epoch gave two accounts")
	}
	if ann.Account(4).pub() == ann.Account(5).pub() || ann.Account(4).pub() == rootOf("bob").Account(4).pub() {
		t.Error("two epochs or two roots share an account key")
	}
	raw := ann.Account(4).Marshal()
	a, err := ParseAccount(raw)
	if err != nil || a.User() != ann.User() || a.Epoch() != 4 || !bytes.Equal(a.Marshal(), raw) || len(raw) != accountSize {
		t.Errorf("account %+v, %v", a, err)
	}
	flips(raw, func(bit int, flipped []byte) {
		if _, err := ParseAccount(flipped); err != ErrInvalid {
			t.Errorf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
		}
	})
	for _, n := range []int{0, 1, len(raw) - 1} {
		if _, err := ParseAccount(raw[:n]); err != ErrInvalid {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	if _, err := ParseAccount(append(raw, 0)); err != ErrInvalid {
		t.Errorf("a byte left over: %v", err)
	}
}

func TestDeviceKeysReadAsWritten(t *testing.T) {
	k := keysOf(t, "phone")
	raw := k.Marshal()
	got, err := ParseDeviceKeys(raw)
	if err != nil || got.ID() != k.ID() || got.Public(0, 1) != k.Public(0, 1) || !bytes.Equal(got.Marshal(), raw) {
		t.Errorf("got %+v, %v", got, err)
	}
	if d := k.Public(FlagAdmin, 9); d.ID() != k.ID() || !d.Admin() || d.AddedSeq != 9 {
		t.Errorf("entry %+v", d)
	}
	for _, bad := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0), append([]byte{2}, raw[1:]...)} {
		if _, err := ParseDeviceKeys(bad); err != ErrInvalid {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func TestIdsReadAsHex(t *testing.T) {
	u, d := UserID{0xab, 0x01}, DeviceID{0xcd, 0x02}
	if u.String() != "ab01"+strings.Repeat("0", 60) || u.Short() != "ab010000" ||
		d.String() != "cd02"+strings.Repeat("0", 60) || d.Short() != "cd020000" {
		t.Error(u, u.Short(), d, d.Short())
	}
}

// TestReaderNeverGoesBack is a reader against a model: lists of one user, of
// several epochs and with forks and a tombstone among them, arrive in any
// order and any number of times. The reader keeps what Order calls Newer.
func TestReaderNeverGoesBack(t *testing.T) {
	lists := history(t)
	rapid.Check(t, func(t *rapid.T) {
		var known *DeviceList
		for range rapid.IntRange(1, 40).Draw(t, "arrivals") {
			l := rapid.SampledFrom(lists).Draw(t, "list")
			order := l.Order(known)
			switch {
			case known == nil:
				if order != Newer {
					t.Fatalf("first list is %v", order)
				}
			case order == Newer && (l.Epoch() < known.Epoch() || l.Epoch() == known.Epoch() && (l.Seq() <= known.Seq() || known.Tombstone())):
				t.Fatalf("%v of %v is newer than %v", l.Seq(), l.Epoch(), known.Seq())
			case (order == Same) != (l.Hash() == known.Hash()):
				t.Fatalf("%v, hashes %x %x", order, l.Hash(), known.Hash())
			case l.Epoch() > known.Epoch() && order != Newer:
				t.Fatalf("a later epoch is %v", order)
			case order == Fork && known.Order(l) != Fork && !(l.Seq() == known.Seq()+1 && l.Prev() != known.Hash()):
				t.Fatalf("fork seen without evidence: %+v %+v", l.Head(), known.Head())
			}
			if order == Newer {
				known = l
			}
		}
	})
}

// history is two epochs of Ann's lists: 1, 2, 3 and the tombstone 4 of epoch 0,
// another 2 and 3 that fork, and 1 and 2 of epoch 1.
func history(t *testing.T) []*DeviceList {
	e0, e1 := rootOf("ann").Account(0), rootOf("ann").Account(1)
	next := func(a *Account, before *DeviceList, names ...string) *DeviceList {
		f := listFields(t, names...)
		if len(names) == 0 {
			f.Flags = FlagTombstone
		}
		f.Prev = before.Hash()
		if before.Epoch() == a.Epoch() {
			f.Seq = before.Seq() + 1
		}
		return signList(t, a, f)
	}
	one := signList(t, e0, listFields(t, "phone"))
	two := next(e0, one, "phone", "laptop")
	three := next(e0, two, "phone", "laptop", "desk")
	four := next(e0, three)
	fork2 := next(e0, one, "phone", "thief")
	fork3 := next(e0, fork2, "phone", "thief", "desk")
	new1 := next(e1, two, "laptop")
	return []*DeviceList{one, two, three, four, fork2, fork3, new1, next(e1, new1, "laptop", "phone")}
}

func TestErrorsOfParsersAreOne(t *testing.T) {
	for name, parse := range map[string]func([]byte) error{
		"device list": func(b []byte) error { _, err := ParseDeviceList(b); return err },
		"bundle":      func(b []byte) error { _, err := ParseBundle(b); return err },
		"account":     func(b []byte) error { _, err := ParseAccount(b); return err },
		"device keys": func(b []byte) error { _, err := ParseDeviceKeys(b); return err },
		"prekey":      func(b []byte) error { _, err := ParsePrekey(b); return err },
	} {
		for _, raw := range [][]byte{nil, {}, {1}, []byte("kith1"), make([]byte, bundleSize), make([]byte, maxListSize)} {
			if err := parse(raw); !errors.Is(err, ErrInvalid) || err.Error() != ErrInvalid.Error() {
				t.Errorf("%s of %d bytes: %v", name, len(raw), err)
			}
		}
	}
}
