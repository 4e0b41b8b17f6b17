package dht_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

var now = dhttest.Start

func person(tb testing.TB) *dhttest.Person { return dhttest.NewPerson(tb, "alice", now) }

// sample is one record in bytes and its parser.
type sample struct {
	name  string
	raw   []byte
	parse func([]byte) error
}

func samples(tb testing.TB) []sample {
	p := person(tb)
	core, err := dht.SignSetCore(p.Box, p.Set(tb, 7, 1, 0).Core())
	if err != nil {
		tb.Fatal(err)
	}
	return []sample{
		{"set core", core, func(b []byte) error { _, err := dht.ParseSetCore(b); return err }},
		{"set record", p.Set(tb, 7, 1, 0).Bytes(), func(b []byte) error { _, err := dht.ParseSetRecord(b); return err }},
		{"sealed set", p.Sealed(tb, 1, 0), func(b []byte) error { _, err := dht.OpenSet(p.RecordKey, b); return err }},
		{"device record", p.Record(tb, 1, 0), func(b []byte) error { _, err := dht.ParseDeviceRecord(b); return err }},
		{"advert", advert(tb).Bytes(), func(b []byte) error { _, err := dht.ParseAdvert(b); return err }},
	}
}

func advert(tb testing.TB) *dht.Advert {
	a, err := dht.SignAdvert(person(tb).Relays[0], advertFields(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func advertFields(tb testing.TB) dht.Advert {
	p := person(tb)
	return dht.Advert{
		Peer: p.Set(tb, 7, 1, 0).Members()[0].Peer, Number: 3, Issued: now, NotAfter: now.Add(dht.MaxAdvertLife),
		MaxEnvelope: 6000, BoxBytes: 64 << 20, BoxCount: 10_000, RetentionDays: 30, WorkBits: 18,
		Family: [8]byte{'f', 'a', 'm'}, LeavingAt: now.Add(240 * time.Hour),
	}
}

func TestEveryChangedByteIsRefused(t *testing.T) {
	for _, s := range samples(t) {
		if err := s.parse(s.raw); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		for i := range s.raw {
			bad := bytes.Clone(s.raw)
			bad[i] ^= 1 << (i % 8)
			if err := s.parse(bad); !errors.Is(err, dht.ErrInvalid) || err.Error() != dht.ErrInvalid.Error() {
				t.Errorf("%s with byte %d changed: %v", s.name, i, err)
			}
		}
	}
}

func TestEveryCutAndEveryTrailingByteIsRefused(t *testing.T) {
	for _, s := range samples(t) {
		for n := range s.raw {
			if err := s.parse(s.raw[:n]); !errors.Is(err, dht.ErrInvalid) {
				t.Errorf("%s cut to %d: %v", s.name, n, err)
			}
		}
		if err := s.parse(append(bytes.Clone(s.raw), 0)); !errors.Is(err, dht.ErrInvalid) {
			t.Errorf("%s with a trailing byte: %v", s.name, err)
		}
	}
}

func TestARecordOfOneKindIsNotOfAnother(t *testing.T) {
	for _, a := range samples(t) {
		for _, b := range samples(t) {
			if a.name != b.name && b.parse(a.raw) == nil {
				t.Errorf("a %s was taken for a %s", a.name, b.name)
			}
		}
	}
}

func TestRecordsComeBackAsTheyWereSigned(t *testing.T) {
	p := person(t)
	want := p.Set(t, 7, 5, 0)
	got, err := dht.ParseSetRecord(want.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Core(), got.Core()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Leases(), got.Leases()); diff != "" {
		t.Error(diff)
	}
	if got.Number() != 5 || got.Epoch() != 7 || got.BoxID() != dht.BoxID(got.Box()) || got.R() != 3 || got.W() != 2 || got.S() != 2 ||
		!got.Issued().Equal(now) || !got.NotAfter().Equal(now.Add(dhttest.Life)) || len(got.Members()) != 3 {
		t.Errorf("fields differ: %+v", got.Core())
	}
	signed, err := dht.SignSetCore(p.Box, want.Core())
	if err != nil {
		t.Fatal(err)
	}
	core, err := dht.ParseSetCore(signed)
	if err != nil || core.Hash() != want.Core().Hash() {
		t.Errorf("core: %v", err)
	}
	a := advert(t)
	back, err := dht.ParseAdvert(a.Bytes())
	if err != nil || !cmp.Equal(a.Bytes(), back.Bytes()) || back.Family != a.Family || back.LeavingAt != a.LeavingAt || back.WorkBits != 18 {
		t.Errorf("advert: %v", err)
	}
}

func TestADeviceRecordComesBackAsItWasSigned(t *testing.T) {
	p := person(t)
	d, err := dht.ParseDeviceRecord(p.Record(t, 4, 9))
	if err != nil {
		t.Fatal(err)
	}
	if d.Device() != p.Keys.ID() || d.User() != p.Account.User() || d.Number() != 4 || d.Head().Seq != 1 ||
		d.Bundle().Hash() != p.Bundle.Hash() || !d.Issued().Equal(now) || !d.NotAfter().Equal(now.Add(dhttest.Life)) {
		t.Error("fields differ")
	}
	if diff := cmp.Diff(p.Peer("device", 9), d.Peer()); diff != "" {
		t.Error(diff)
	}
	if d.FrontDoor() == nil || d.FrontDoor().Epoch() != dht.FrontDoorEpoch {
		t.Error("no front door")
	}
	bare, err := dht.SignDeviceRecord(p.Keys, dht.DeviceFields{Bundle: p.Bundle, Issued: now, NotAfter: now, Peer: p.Peer("device", 0)})
	if err != nil || bare.FrontDoor() != nil {
		t.Errorf("without a front door: %v", err)
	}
}

func TestADeviceRecordIsSignedByTheKeyOfItsBundle(t *testing.T) {
	p, mallory := person(t), dhttest.NewPerson(t, "mallory", now)
	f := dht.DeviceFields{Bundle: p.Bundle, Issued: now, NotAfter: now.Add(time.Hour), Peer: p.Peer("device", 0)}
	if _, err := dht.SignDeviceRecord(mallory.Keys, f); !errors.Is(err, dht.ErrInvalid) {
		t.Errorf("another device's bundle was published: %v", err)
	}
	f.FrontDoor = p.Set(t, 7, 1, 0)
	if _, err := dht.SignDeviceRecord(p.Keys, f); !errors.Is(err, dht.ErrInvalid) {
		t.Errorf("a set of an epoch was taken for a front door: %v", err)
	}
}

func TestTheLargestDeviceRecordFits(t *testing.T) {
	p := person(t)
	crowded := func(peer dht.Peer) dht.Peer {
		peer.Addrs = nil
		for range dht.MaxAddrs {
			peer.Addrs = append(peer.Addrs, bytes.Repeat([]byte{7}, dht.MaxAddr))
		}
		return peer
	}
	core := p.Set(t, dht.FrontDoorEpoch, 1, 0).Core()
	core.Members[0].Peer = crowded(core.Members[0].Peer)
	core.Members[1].Peer = crowded(core.Members[1].Peer)
	door, err := dht.SignSetRecord(p.Box, core, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := dht.SignDeviceRecord(p.Keys, dht.DeviceFields{
		Bundle: p.Bundle, Issued: now, NotAfter: now, Peer: crowded(p.Peer("device", 0)), FrontDoor: door,
	})
	if err != nil || len(rec.Bytes()) > dht.MaxDeviceRecord {
		t.Errorf("%v", err)
	}
	core.Members[2].Peer = crowded(core.Members[2].Peer)
	core.Members = append(core.Members, dht.Member{Peer: crowded(p.Peer("fourth", 0)), Rank: 3, Standby: true})
	if _, err := dht.SignSetRecord(p.Box, core, nil); !errors.Is(err, dht.ErrInvalid) {
		t.Errorf("a set past its limit: %v", err)
	}
}

func TestAdvertsThatClaimTooMuchAreRefused(t *testing.T) {
	relay := person(t).Relays[0]
	for name, change := range map[string]func(*dht.Advert){
		"of another key":     func(a *dht.Advert) { a.Peer.ID = person(t).Peer("other", 0).ID },
		"longer than a day":  func(a *dht.Advert) { a.NotAfter = a.NotAfter.Add(time.Second) },
		"five addresses":     func(a *dht.Advert) { a.Peer.Addrs = [][]byte{{1}, {2}, {3}, {4}, {5}} },
		"an empty address":   func(a *dht.Advert) { a.Peer.Addrs = [][]byte{{}} },
		"a long address":     func(a *dht.Advert) { a.Peer.Addrs = [][]byte{make([]byte, dht.MaxAddr+1)} },
		"ends before it is":  func(a *dht.Advert) { a.NotAfter = a.Issued.Add(-time.Second) },
		"never issued":       func(a *dht.Advert) { a.Issued = time.Time{} },
		"before the epoch":   func(a *dht.Advert) { a.LeavingAt = time.Unix(-5, 0) },
		"not an Ed25519 key": func(a *dht.Advert) { a.Peer.ID = a.Peer.ID[1:] },
	} {
		a := advertFields(t)
		change(&a)
		if _, err := dht.SignAdvert(relay, a); !errors.Is(err, dht.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := advert(t)
	for at, want := range map[time.Duration]bool{
		-dht.MaxSkew - time.Second: false, -dht.MaxSkew: true, dht.MaxAdvertLife: true, dht.MaxAdvertLife + time.Second: false,
	} {
		if a.Fresh(now.Add(at)) != want {
			t.Errorf("fresh at %v: %v", at, !want)
		}
	}
}

func TestPeerKeyIsTheKeyOfAnEd25519Host(t *testing.T) {
	pub := person(t).Relays[0].Public().(ed25519.PublicKey)
	id := dht.PeerFromKey(pub)
	if key, ok := dht.PeerKey(id); !ok || !key.Equal(pub) || len(id) != 38 {
		t.Errorf("%x", id)
	}
	for i := range id {
		bad := bytes.Clone(id)
		bad[i] ^= 1
		if _, ok := dht.PeerKey(bad); ok != (i >= 6) {
			t.Errorf("prefix byte %d is not checked", i)
		}
	}
	if _, ok := dht.PeerKey(append(id, 0)); ok {
		t.Error("a long id passes")
	}
	if _, ok := dht.PeerKey(nil); ok {
		t.Error("no id passes")
	}
}

func TestKeysParseBackAndNothingElseParses(t *testing.T) {
	user, device, box := identity.UserID{1, '/', 3}, identity.DeviceID{4, '/'}, [32]byte{'/', 6}
	for key, want := range map[string]string{
		dht.UserKey(user): fmt.Sprintf("u %x", user[:20]), dht.DeviceKey(device): fmt.Sprintf("d %x", device[:]),
		dht.MailboxKey(box): fmt.Sprintf("m %x", box[:]), dht.UserKeyFromPrefix([20]byte(user[:20])): fmt.Sprintf("u %x", user[:20]),
	} {
		kind, id, err := dht.ParseKey(key)
		if got := fmt.Sprintf("%c %x", kind, id); err != nil || got != want {
			t.Errorf("%q: %s, %v", key, got, err)
		}
		for _, bad := range []string{key[1:], key[:len(key)-1], key + "x", "/kith-x" + key[7:], "/kith_" + key[6:], key[:7] + key[8:]} {
			if _, _, err := dht.ParseKey(bad); !errors.Is(err, dht.ErrInvalid) {
				t.Errorf("%q parses", bad)
			}
		}
	}
}
