package dht_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

// seed adds a record, a cut one and one with a changed head.
func seed(f *testing.F, raw []byte) {
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	changed := bytes.Clone(raw)
	changed[len(changed)/3] ^= 0xFF
	f.Add(changed)
	f.Add([]byte{})
}

// signed replaces the last 64 bytes by a good signature, so that what is fuzzed
// gets past it.
func signed(raw []byte, label string, key ed25519.PrivateKey) []byte {
	body := raw[:max(0, len(raw)-ed25519.SignatureSize)]
	return append(bytes.Clone(body), signature.Sign(key, append([]byte(label), body...))...)
}

func FuzzParseSetCore(f *testing.F) {
	seed(f, samples(f)[0].raw)
	p := person(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		for _, raw := range [][]byte{raw, signed(raw, "kith1 set core sig", p.Box)} {
			core, err := dht.ParseSetCore(raw)
			if err == nil && !bytes.Equal(core.Bytes(), raw[:len(raw)-64]) {
				t.Error("a second encoding")
			}
		}
	})
}

func FuzzParseSetRecord(f *testing.F) {
	seed(f, samples(f)[1].raw)
	p := person(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		for _, raw := range [][]byte{raw, signed(raw, "kith1 set sig", p.Box)} {
			rec, err := dht.ParseSetRecord(raw)
			if err != nil {
				continue
			}
			rec.Usable(now)
			again, err := dht.SignSetRecord(p.Box, rec.Core(), rec.Leases())
			if err != nil || !bytes.Equal(again.Bytes(), raw) || !bytes.Equal(rec.Bytes(), raw) {
				t.Error("a second encoding")
			}
		}
	})
}

func FuzzOpenSet(f *testing.F) {
	p := person(f)
	seed(f, samples(f)[2].raw)
	f.Fuzz(func(t *testing.T, value []byte) {
		defer fuzztest.Limit(t, len(value))()
		rec, err := dht.OpenSet(p.RecordKey, value)
		if err == nil && len(rec.Bytes()) > dht.MaxSetRecord {
			t.Error("past the limit")
		}
	})
}

func FuzzParseDeviceRecord(f *testing.F) {
	seed(f, samples(f)[3].raw)
	p := person(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		for _, raw := range [][]byte{raw, signed(raw, "kith1 device record sig", p.Keys.Sign)} {
			rec, err := dht.ParseDeviceRecord(raw)
			if err == nil && (!bytes.Equal(rec.Bytes(), raw) || len(raw) > dht.MaxDeviceRecord) {
				t.Error("not as received")
			}
		}
	})
}

func FuzzParseAdvert(f *testing.F) {
	seed(f, samples(f)[4].raw)
	relay := person(f).Relays[0]
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		for _, raw := range [][]byte{raw, signed(raw, "kith1 advert sig", relay)} {
			a, err := dht.ParseAdvert(raw)
			if err != nil {
				continue
			}
			again, err := dht.SignAdvert(relay, *a)
			if err != nil || !bytes.Equal(again.Bytes(), raw) {
				t.Error("a second encoding")
			}
		}
	})
}

func FuzzInspect(f *testing.F) {
	for _, kind := range dhttest.Kinds(f, person(f)) {
		f.Add(kind.Key, kind.Make(1, 0), kind.Make(2, 0))
		f.Add(kind.Key, []byte{}, kind.Make(1, 0))
	}
	f.Add("/kith-u/", []byte{1}, []byte{})
	f.Fuzz(func(t *testing.T, key string, old, new []byte) {
		defer fuzztest.Limit(t, len(key)+len(old)+len(new))()
		_, err := dht.Inspect(key, new)
		if verdict := dht.Newer(key, old, new); (verdict == dht.VerdictInvalid) != (err != nil) {
			t.Errorf("verdict %v, error %v", verdict, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, kind := range dhttest.Kinds(f, person(f)) {
		f.Add(kind.Key)
	}
	f.Add("/kith-u//")
	f.Fuzz(func(t *testing.T, key string) {
		defer fuzztest.Limit(t, len(key))()
		kind, id, err := dht.ParseKey(key)
		if err == nil && "/kith-"+string(kind)+"/"+string(id) != key {
			t.Errorf("%q is %c %x", key, kind, id)
		}
	})
}

func FuzzPeerKey(f *testing.F) {
	f.Add(person(f).Peer("a", 0).ID)
	f.Fuzz(func(t *testing.T, id []byte) {
		defer fuzztest.Limit(t, len(id))()
		if key, ok := dht.PeerKey(id); ok && !bytes.Equal(dht.PeerFromKey(key), id) {
			t.Errorf("%x", id)
		}
	})
}
