package dht_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

func TestASetThatMakesNoSenseIsNotSigned(t *testing.T) {
	p := person(t)
	other := dhttest.NewPerson(t, "other", now)
	for name, change := range map[string]func(*dht.SetCore){
		"no member":               func(c *dht.SetCore) { c.Members = nil },
		"only standbys":           func(c *dht.SetCore) { c.W = 1; setStandby(c, 0, 1, 2) },
		"W is zero":               func(c *dht.SetCore) { c.W = 0 },
		"W above the members":     func(c *dht.SetCore) { c.W = 4; c.R = 5 },
		"W above without standby": func(c *dht.SetCore) { c.W = 3; setStandby(c, 2) },
		"more members than R":     func(c *dht.SetCore) { c.R = 2 },
		"more standbys than S":    func(c *dht.SetCore) { c.S = 0; setStandby(c, 2) },
		"one relay twice":         func(c *dht.SetCore) { c.Members[2].Peer.ID = c.Members[0].Peer.ID },
		"one rank twice":          func(c *dht.SetCore) { c.Members[1].Rank = 0 },
		"falling ranks":           func(c *dht.SetCore) { c.Members[0].Rank = 9 },
		"another owner's box":     func(c *dht.SetCore) { c.Box = other.Box.Public().(ed25519.PublicKey) },
		"a short box key":         func(c *dht.SetCore) { c.Box = c.Box[:31] },
		"ends before it begins":   func(c *dht.SetCore) { c.NotAfter = c.Issued.Add(-time.Second) },
		"too many members":        func(c *dht.SetCore) { c.Members = make([]dht.Member, dht.MaxMembers+1) },
		"a relay without a key":   func(c *dht.SetCore) { c.Members[0].Peer.ID = []byte("not a peer id") },
	} {
		core := p.Set(t, 7, 1, 0).Core()
		change(&core)
		if _, err := dht.SignSetCore(p.Box, core); !errors.Is(err, dht.ErrInvalid) {
			t.Errorf("core with %s: %v", name, err)
		}
		if _, err := dht.SignSetRecord(p.Box, core, nil); !errors.Is(err, dht.ErrInvalid) {
			t.Errorf("record with %s: %v", name, err)
		}
	}
}

func setStandby(c *dht.SetCore, at ...int) {
	for _, i := range at {
		c.Members[i].Standby = true
	}
}

func TestALeaseBindsItsRelaySetAndRank(t *testing.T) {
	p := person(t)
	core := p.Set(t, 7, 1, 0).Core()
	later := p.Set(t, 7, 2, 0).Core()
	end := now.Add(time.Hour)
	good := dht.SignLease(p.Relays[0], core.Hash(), 0, end)
	for name, lease := range map[string]dht.Lease{
		"of another set":   dht.SignLease(p.Relays[0], later.Hash(), 0, end),
		"of another relay": dht.SignLease(p.Relays[1], core.Hash(), 0, end),
		"of another rank":  {Rank: 1, End: good.End, Sig: good.Sig},
		"of no member":     dht.SignLease(p.Relays[0], core.Hash(), 9, end),
		"with a later end": {Rank: 0, End: good.End.Add(time.Second), Sig: good.Sig},
		"without an end":   dht.SignLease(p.Relays[0], core.Hash(), 0, time.Time{}),
	} {
		if _, err := dht.SignSetRecord(p.Box, core, []dht.Lease{lease}); !errors.Is(err, dht.ErrInvalid) {
			t.Errorf("a lease %s: %v", name, err)
		}
	}
	if _, err := dht.SignSetRecord(p.Box, core, []dht.Lease{good, good}); !errors.Is(err, dht.ErrInvalid) {
		t.Errorf("one lease twice: %v", err)
	}
	if _, err := dht.SignSetRecord(p.Box, core, []dht.Lease{good}); err != nil {
		t.Errorf("the control, a good lease: %v", err)
	}
	if !good.Verify(p.Relays[0].Public().(ed25519.PublicKey), core.Hash()) || good.Verify(nil, core.Hash()) {
		t.Error("Verify")
	}
}

func TestLeasesAreSortedSoThatOrderDoesNotMatter(t *testing.T) {
	p := person(t)
	rec := p.Set(t, 7, 1, 0)
	leases := rec.Leases()
	leases[0], leases[2] = leases[2], leases[0]
	again, err := dht.SignSetRecord(p.Box, rec.Core(), leases)
	if err != nil || !bytes.Equal(again.Bytes(), rec.Bytes()) {
		t.Errorf("%v", err)
	}
}

func TestASetIsUsableWithWLeasesInItsEpoch(t *testing.T) {
	p := person(t)
	epoch := dht.EpochAt(now)
	for _, c := range []struct {
		name     string
		epoch    uint32
		leases   int // how many of three members
		standby  []int
		leaseEnd time.Duration
		want     bool
	}{
		{"this epoch", epoch, 3, nil, time.Hour, true},
		{"the next epoch", epoch + 1, 3, nil, time.Hour, true},
		{"the last epoch", epoch - 1, 3, nil, time.Hour, true},
		{"two epochs ahead", epoch + 2, 3, nil, time.Hour, false},
		{"two epochs ago", epoch - 2, 3, nil, time.Hour, false},
		{"the front door", dht.FrontDoorEpoch, 3, nil, time.Hour, true},
		{"W leases", epoch, 2, nil, time.Hour, true},
		{"fewer than W", epoch, 1, nil, time.Hour, false},
		{"a standby does not count", epoch, 3, []int{1, 2}, time.Hour, false},
		{"leases that end now", epoch, 3, nil, 0, false},
	} {
		core := p.Set(t, c.epoch, 1, 0).Core()
		setStandby(&core, c.standby...)
		if c.standby != nil {
			core.W = 1
		}
		var leases []dht.Lease
		for i := range c.leases {
			if c.standby == nil || i > 0 {
				leases = append(leases, dht.SignLease(p.Relays[i], core.Hash(), byte(i), now.Add(c.leaseEnd)))
			}
		}
		rec, err := dht.SignSetRecord(p.Box, core, leases)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if rec.Usable(now) != c.want {
			t.Errorf("%s: usable is %v", c.name, !c.want)
		}
	}
}

func TestASealedSetOpensOnlyWithItsKeyAndShowsNoSize(t *testing.T) {
	p := person(t)
	value := p.Sealed(t, 3, 0)
	rec, err := dht.OpenSet(p.RecordKey, value)
	if err != nil || rec.Number() != 3 {
		t.Fatalf("%v", err)
	}
	if _, err := dht.OpenSet([32]byte{1}, value); !errors.Is(err, dht.ErrInvalid) {
		t.Errorf("another key: %v", err)
	}
	for _, m := range rec.Members() {
		if bytes.Contains(value, m.Peer.ID[6:]) {
			t.Error("a relay shows in the sealed copy")
		}
	}
	one := rec.Core()
	one.Members, one.W = one.Members[:2], 1
	small, err := dht.SignSetRecord(p.Box, one, nil)
	if err != nil {
		t.Fatal(err)
	}
	large, err := dht.SignSetRecord(p.Box, one, []dht.Lease{dht.SignLease(p.Relays[0], one.Hash(), 0, now)})
	if err != nil {
		t.Fatal(err)
	}
	a, b := seal(t, p, small), seal(t, p, large)
	if len(small.Bytes()) == len(large.Bytes()) || len(a) != len(b) {
		t.Errorf("sealed sizes %d and %d", len(a), len(b))
	}
}

func TestSealingAgainGivesTheSameBytes(t *testing.T) {
	p := person(t)
	if !bytes.Equal(p.Sealed(t, 3, 0), p.Sealed(t, 3, 0)) {
		t.Error("a republish would look like equivocation")
	}
	a, b := p.Sealed(t, 3, 0), p.Sealed(t, 3, 1)
	if bytes.Equal(a[53:77], b[53:77]) {
		t.Error("two records were sealed with one nonce")
	}
}

func TestOnlyTheOwnerSeals(t *testing.T) {
	p, mallory := person(t), dhttest.NewPerson(t, "mallory", now)
	if _, err := dht.SealSet(mallory.Box, p.RecordKey, p.Set(t, 7, 1, 0)); !errors.Is(err, dht.ErrInvalid) {
		t.Errorf("%v", err)
	}
	forged := p.Sealed(t, 3, 0)
	forged[33+7] = 9 // the number
	body := forged[:len(forged)-64]
	copy(forged[len(body):], signature.Sign(p.Box, append([]byte("kith1 sealed set sig"), body...)))
	if _, err := dht.OpenSet(p.RecordKey, forged); !errors.Is(err, dht.ErrInvalid) {
		t.Errorf("outside and inside disagree: %v", err)
	}
}

func seal(tb testing.TB, p *dhttest.Person, rec *dht.SetRecord) []byte {
	tb.Helper()
	value, err := dht.SealSet(p.Box, p.RecordKey, rec)
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// SetNames says of every record what its members say, and nothing of what is cut.
func TestSetNames(t *testing.T) {
	p := person(t)
	rec := p.Set(t, 7, 1, 0)
	members, leased, ok := dht.SetMembers(rec.Bytes())
	if !ok || len(members) != len(rec.Members()) || len(leased) != len(rec.Leases()) {
		t.Fatalf("%d members", len(members))
	}
	for _, m := range members {
		if !dht.SetNames(rec.Bytes(), m.Peer.ID) {
			t.Errorf("%x is not named", m.Peer.ID)
		}
	}
	stranger := dht.PeerFromKey(p.Box.Public().(ed25519.PublicKey))
	last := members[len(members)-1].Peer.ID
	for n := range rec.Bytes() {
		cut := rec.Bytes()[:n]
		if dht.SetNames(cut, stranger) || dht.SetNames(cut, nil) || n < 100 && dht.SetNames(cut, last) {
			t.Fatalf("a record cut at %d names somebody", n)
		}
	}
}

// A record is read from bytes of its own: what it came with may change, and need not stay.
func TestARecordKeepsBytesOfItsOwn(t *testing.T) {
	p := person(t)
	set, device := p.Set(t, 7, 1, 0).Bytes(), p.Record(t, 1, 0)
	cameSet, cameDevice := bytes.Clone(set), bytes.Clone(device)
	s, err := dht.ParseSetRecord(cameSet)
	d, err2 := dht.ParseDeviceRecord(cameDevice)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	clear(cameSet)
	clear(cameDevice)
	core := s.Core()
	if !s.Is(set) || !bytes.HasPrefix(set, core.Bytes()) || s.Is(cameSet) {
		t.Error("what the set came with has changed it")
	}
	if !d.Is(device) || !bytes.Contains(device, d.Bundle().Bytes()) || d.Is(cameDevice) {
		t.Error("what the record came with has changed it")
	}
}
