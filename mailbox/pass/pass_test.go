package pass_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/pass"
)

func key(n byte) ed25519.PrivateKey {
	return signature.NewKey(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func peer(n byte) []byte { return dht.PeerFromKey(pub(key(n))) }

// some is a pass of holder secret 3 for box 1 at relay 2 in epoch 5.
func some() (raw []byte, c pass.Cert) {
	holder := pass.HolderKey(bytes.Repeat([]byte{3}, pass.SecretSize), 5)
	c = pass.Issue(key(1), pub(holder))
	return pass.Use(holder, c, peer(2), dht.BoxID(pub(key(1)))), c
}

func TestAPassLetsInWhereItWasMadeFor(t *testing.T) {
	raw, c := some()
	if got, ok := pass.Check(raw, pub(key(1)), peer(2)); !ok || got != c || len(raw) != pass.Size {
		t.Fatal("a good pass is refused")
	}
	if joined := pass.Join(c.Holder(), c.Sig()); joined != c {
		t.Error("Join does not undo Holder and Sig")
	}
	if c.ID() == (pass.ID{}) {
		t.Error("the id is that of no pass")
	}
}

func TestAPassLetsInNowhereElse(t *testing.T) {
	raw, c := some()
	refused := func(what string, raw []byte, box ed25519.PublicKey, relay []byte) {
		t.Helper()
		if got, ok := pass.Check(raw, box, relay); ok || got != (pass.Cert{}) {
			t.Errorf("%s lets in", what)
		}
	}
	refused("another relay's pass", raw, pub(key(1)), peer(4))
	refused("another box's pass", raw, pub(key(4)), peer(2))
	refused("no box", raw, nil, peer(2))
	refused("no pass", nil, pub(key(1)), peer(2))
	refused("a longer pass", append(bytes.Clone(raw), 0), pub(key(1)), peer(2))
	for i := range len(raw) * 8 {
		bad := bytes.Clone(raw)
		bad[i/8] ^= 1 << (i % 8)
		refused("a pass with a flipped bit", bad, pub(key(1)), peer(2))
	}
	thief := pass.Use(key(9), c, peer(2), dht.BoxID(pub(key(1))))
	refused("a certificate used by another key", thief, pub(key(1)), peer(2))
	forged := pass.Issue(key(9), pub(key(9)))
	refused("a certificate by another key", pass.Use(key(9), forged, peer(2), dht.BoxID(pub(key(1)))), pub(key(1)), peer(2))
}

func TestHolderKeysOfTwoEpochsDiffer(t *testing.T) {
	secret := bytes.Repeat([]byte{3}, pass.SecretSize)
	if !pass.HolderKey(secret, 5).Equal(pass.HolderKey(secret, 5)) {
		t.Error("one epoch has two keys")
	}
	if pass.HolderKey(secret, 5).Equal(pass.HolderKey(secret, 6)) {
		t.Error("two epochs have one key")
	}
}

func FuzzCheck(f *testing.F) {
	raw, _ := some()
	f.Add(raw)
	f.Add(raw[:pass.CertSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, other []byte) {
		defer fuzztest.Limit(t, len(other))()
		c, ok := pass.Check(other, pub(key(1)), peer(2))
		if ok && (!bytes.Equal(other, raw) || !bytes.Equal(c[:], raw[:pass.CertSize])) {
			t.Errorf("forged a pass: %x", other)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	raw, _ := some()
	for range b.N {
		if _, ok := pass.Check(raw, pub(key(1)), peer(2)); !ok {
			b.Fatal("refused")
		}
	}
}
