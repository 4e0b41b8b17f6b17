package prekeys

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

// Whoever answers for one-time bundles, a relay or the network, cannot choose with whom a session begins, nor take it back
// behind a generation or a freshness mark: what is not good is as if nothing had come.
func TestAttackBundlesOfALyingRelay(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	root := func(n byte) *identity.Root { return identity.NewRootFromSeed([32]byte{n}) }
	keys := func(n byte) *identity.DeviceKeys {
		k, err := identity.NewDeviceKeys(rand.NewChaCha8([32]byte{n}))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	draw := rand.NewChaCha8([32]byte{9})
	bundle := func(k *identity.DeviceKeys, f identity.BundleFields) *identity.Bundle {
		b, _, err := identity.NewBundle(draw, k, f)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ann, mallory := keys(1), keys(2)
	list, err := root(1).Account(1).SignList(identity.ListFields{
		Seq: 1, Issued: now, NotAfter: now.Add(24 * time.Hour), Devices: []identity.Device{ann.Public(identity.FlagAdmin, 1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	good := identity.BundleFields{User: list.User(), Generation: 5, Number: 1, Issued: now, NotAfter: now.Add(7 * 24 * time.Hour), Flags: identity.FlagOneTime}
	change := func(fn func(*identity.BundleFields)) identity.BundleFields { f := good; fn(&f); return f }
	known := bundle(ann, change(func(f *identity.BundleFields) { f.Flags = 0 }))
	honest := bundle(ann, good)
	flipped := bytes.Clone(honest.Bytes())
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		raw  []byte
		used bool
	}{
		"control: an honest one":      {honest.Bytes(), true},
		"nothing":                     {nil, false},
		"zeros":                       {make([]byte, len(flipped)), false},
		"one bit of it changed":       {flipped, false},
		"a bundle of the relay's own": {bundle(mallory, good).Bytes(), false},
		"with ann's identity key":     {bundle(&identity.DeviceKeys{Sign: mallory.Sign, IK: ann.IK}, good).Bytes(), false},
		"for another user":            {bundle(ann, change(func(f *identity.BundleFields) { f.User = root(2).User() })).Bytes(), false},
		"with another identity key":   {bundle(&identity.DeviceKeys{Sign: ann.Sign, IK: mallory.IK}, good).Bytes(), false},
		"of an older generation":      {bundle(ann, change(func(f *identity.BundleFields) { f.Generation = 4 })).Bytes(), false},
		"one that all may use":        {bundle(ann, change(func(f *identity.BundleFields) { f.Flags = 0 })).Bytes(), false},
		"past its mark": {bundle(ann, change(func(f *identity.BundleFields) {
			f.Issued, f.NotAfter = now.Add(-8*24*time.Hour), now.Add(-time.Second)
		})).Bytes(), false},
		"of the day after tomorrow": {bundle(ann, change(func(f *identity.BundleFields) {
			f.Issued, f.NotAfter = now.Add(49*time.Hour), now.Add(80*time.Hour)
		})).Bytes(), false},
	} {
		openings := Openings{}
		o, isNew := openings.Of(known.Device(), now)
		if !isNew {
			t.Fatal("not new")
		}
		o.Ask(now)
		openings.Came(known.Device(), c.raw, now)
		openings.Came(known.Device(), honest.Bytes(), now) // a second answer is none
		got := openings.Take(known, list, now)
		if want := honest.Hash(); (got.Hash() == want) != c.used || !c.used && got.Hash() != known.Hash() {
			t.Errorf("%s: the session begins with it %t", name, !c.used)
		}
		if len(openings) != 0 {
			t.Errorf("%s: the opening stays", name)
		}
	}
}
