package dht_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

func TestValidateJudgesTheClock(t *testing.T) {
	for _, kind := range dhttest.Kinds(t, person(t)) {
		value := kind.Make(1, 0)
		for at, want := range map[time.Duration]bool{
			0: true, dhttest.Life: true, dhttest.Life + dht.Grace: true, dhttest.Life + dht.Grace + time.Second: false,
			-dht.MaxSkew: true, -dht.MaxSkew - time.Second: kind.Name == "set", // a sealed set does not say when it was issued
		} {
			if err := dht.Validate(kind.Key, value, now.Add(at)); (err == nil) != want {
				t.Errorf("%s at %v: %v", kind.Name, at, err)
			}
		}
	}
}

func TestValidateTiesAValueToItsKey(t *testing.T) {
	mine, others := dhttest.Kinds(t, person(t)), dhttest.Kinds(t, dhttest.NewPerson(t, "other", now))
	for _, kind := range mine {
		if err := dht.Validate(kind.Key, kind.Make(1, 0), now); err != nil {
			t.Errorf("%s: %v", kind.Name, err)
		}
		for _, other := range append(others, mine...) {
			if other.Key != kind.Key && dht.Validate(other.Key, kind.Make(1, 0), now) == nil {
				t.Errorf("%s passes under the key of another %s", kind.Name, other.Name)
			}
		}
		for _, bad := range [][]byte{nil, dhttest.Forged(kind.Make(1, 0)), make([]byte, dht.MaxRecord+1)} {
			if err := dht.Validate(kind.Key, bad, now); !errors.Is(err, dht.ErrInvalid) {
				t.Errorf("%s: %d bad bytes pass", kind.Name, len(bad))
			}
		}
	}
}

func TestSelectTakesTheHighestInAnyOrder(t *testing.T) {
	for _, kind := range dhttest.Kinds(t, person(t)) {
		values := [][]byte{kind.Make(1, 0), kind.Make(2, 0), kind.Make(9, 0), kind.Make(9, 1), dhttest.Forged(kind.Make(10, 0)), nil}
		rapid.Check(t, func(rt *rapid.T) {
			order := rapid.Permutation([]int{0, 1, 2, 3, 4, 5}).Draw(rt, "order")
			var shuffled [][]byte
			for _, i := range order {
				shuffled = append(shuffled, values[i])
			}
			at, err := dht.Select(kind.Key, shuffled)
			if err != nil || (order[at] != 2 && order[at] != 3) {
				rt.Fatalf("%s: took %d, %v", kind.Name, order[at], err)
			}
			for _, i := range order[:at] {
				if i == 2 || i == 3 {
					rt.Fatal("not the lowest index among equals")
				}
			}
		})
		if _, err := dht.Select(kind.Key, values[4:]); !errors.Is(err, dht.ErrInvalid) {
			t.Errorf("%s: nothing valid: %v", kind.Name, err)
		}
	}
}

func TestNewerTellsRollbackAndFork(t *testing.T) {
	for _, kind := range dhttest.Kinds(t, person(t)) {
		known := kind.Make(5, 0)
		for name, c := range map[string]struct {
			old, new []byte
			want     dht.Verdict
		}{
			"first":          {nil, known, dht.VerdictNewer},
			"again":          {known, kind.Make(5, 0), dht.VerdictSame},
			"higher":         {known, kind.Make(7, 0), dht.VerdictNewer},
			"rollback":       {known, kind.Make(4, 0), dht.VerdictOlder},
			"fork":           {known, kind.Make(5, 1), dht.VerdictFork},
			"forged":         {known, dhttest.Forged(kind.Make(7, 0)), dht.VerdictInvalid},
			"nothing":        {known, nil, dht.VerdictInvalid},
			"over a damaged": {dhttest.Forged(known), kind.Make(1, 0), dht.VerdictNewer},
		} {
			if got := dht.Newer(kind.Key, c.old, c.new); got != c.want {
				t.Errorf("%s, %s: %v, want %v", kind.Name, name, got, c.want)
			}
		}
	}
}

// The control: Validate alone believes a rollback, so readers need Newer.
func TestControlValidateAloneBelievesARollback(t *testing.T) {
	for _, kind := range dhttest.Kinds(t, person(t)) {
		if dht.Validate(kind.Key, kind.Make(4, 0), now) != nil || dht.Newer(kind.Key, kind.Make(5, 0), kind.Make(4, 0)) != dht.VerdictOlder {
			t.Errorf("%s: the control sees no difference", kind.Name)
		}
	}
}

func TestAListThatDoesNotContinueTheKnownOneIsAFork(t *testing.T) {
	kind := dhttest.Kinds(t, person(t))[0] // its lists name no real predecessor
	if got := dht.Newer(kind.Key, kind.Make(5, 0), kind.Make(6, 0)); got != dht.VerdictFork {
		t.Errorf("%v", got)
	}
}

func TestNothingOfAnEpochComesAfterItsTombstone(t *testing.T) {
	p := person(t)
	sign := func(a *identity.Account, seq uint64, flags byte, devices ...identity.Device) []byte {
		list, err := a.SignList(identity.ListFields{
			Seq: seq, Prev: [32]byte{1}, Issued: now, NotAfter: now.Add(time.Hour), Flags: flags, Devices: devices,
		})
		if err != nil {
			t.Fatal(err)
		}
		return list.Bytes()
	}
	root := identity.NewRootFromSeed([32]byte{9})
	key := dht.UserKey(root.User())
	end := sign(root.Account(1), 3, identity.FlagTombstone)
	after := sign(root.Account(1), 8, 0, p.Keys.Public(0, 1))
	next := sign(root.Account(2), 1, 0, p.Keys.Public(0, 1))
	if at, err := dht.Select(key, [][]byte{after, end}); err != nil || at != 1 {
		t.Errorf("a list after the tombstone was selected: %v", err)
	}
	if got := dht.Newer(key, end, after); got != dht.VerdictOlder {
		t.Errorf("verdict %v", got)
	}
	if at, err := dht.Select(key, [][]byte{end, next}); err != nil || at != 1 || dht.Newer(key, end, next) != dht.VerdictNewer {
		t.Errorf("a new epoch does not begin: %v", err)
	}
}

func TestANewGenerationOfADeviceWins(t *testing.T) {
	p := person(t)
	key := dht.DeviceKey(p.Keys.ID())
	bundle, _, err := identity.NewBundle(rand.NewChaCha8([32]byte{}), p.Keys, identity.BundleFields{
		User: p.Account.User(), Generation: 2, Number: 1, Issued: now, NotAfter: now.Add(dhttest.Life),
	})
	if err != nil {
		t.Fatal(err)
	}
	reborn, err := dht.SignDeviceRecord(p.Keys, dht.DeviceFields{Bundle: bundle, Number: 1, Issued: now, NotAfter: now, Peer: p.Peer("device", 0)})
	if err != nil {
		t.Fatal(err)
	}
	if got := dht.Newer(key, p.Record(t, 99, 0), reborn.Bytes()); got != dht.VerdictNewer {
		t.Errorf("verdict %v: a device that lost its state cannot publish", got)
	}
}

func TestPublicationsAreSpread(t *testing.T) {
	rng := rand.NewChaCha8([32]byte{1})
	seen := map[time.Duration]int{}
	for range 2000 {
		at, err := dht.NextPublish(rng, now, 3, 0)
		if err != nil {
			t.Fatal(err)
		}
		d := at.Sub(now)
		if d < dht.PublishEvery-dht.PublishJitter || d >= dht.PublishEvery+dht.PublishJitter {
			t.Fatalf("after %v", d)
		}
		seen[d/(10*time.Minute)]++
	}
	for slot, n := range seen {
		if n > 2000/12*3/2 {
			t.Errorf("%d of 2000 publish within the same ten minutes (%d)", n, slot)
		}
	}
}

func TestAPutThatReachedNobodyIsRetriedSoonAndThenSeldom(t *testing.T) {
	rng := rand.NewChaCha8([32]byte{2})
	for failures := range 100 {
		at, err := dht.NextPublish(rng, now, 0, failures)
		if d := at.Sub(now); err != nil || d < dht.RetryMin || d > dht.RetryMax || (failures < 2 && d > 2*dht.RetryMin) {
			t.Errorf("after %d failures: %v, %v", failures, d, err)
		}
	}
	if _, err := dht.NextPublish(bytes.NewReader(nil), now, 1, 0); err == nil {
		t.Error("no entropy and no error")
	}
}
