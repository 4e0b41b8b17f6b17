package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/signature"
)

// A tiny universe: Ann has devices, Bob is another user.

var day0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func entropy(name string) io.Reader {
	return rand.NewChaCha8(sha256.Sum256([]byte(name)))
}

func rootOf(name string) *Root { return NewRootFromSeed(sha256.Sum256([]byte(name))) }

func keysOf(t testing.TB, name string) *DeviceKeys {
	t.Helper()
	k, err := NewDeviceKeys(entropy(name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// listFields are the first list of a user whose devices have these names; the
// first is the admin device.
func listFields(t testing.TB, names ...string) ListFields {
	f := ListFields{Seq: 1, Issued: day0, NotAfter: day0.Add(ListLifetime)}
	for i, name := range names {
		var flags byte
		if i == 0 {
			flags = FlagAdmin
		}
		f.Devices = append(f.Devices, keysOf(t, name).Public(flags, 1))
	}
	return f
}

func signList(t testing.TB, a *Account, f ListFields) *DeviceList {
	t.Helper()
	l, err := a.SignList(f)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func bundleFields(user UserID) BundleFields {
	return BundleFields{User: user, Generation: 1, Number: 1, Issued: day0, NotAfter: day0.Add(BundleLifetime)}
}

func newBundle(t testing.TB, name string, f BundleFields) (*Bundle, *Prekey) {
	t.Helper()
	b, p, err := NewBundle(entropy(name+" prekey"), keysOf(t, name), f)
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

// forgeList signs whatever the fields say, without the rules: what a hostile
// owner of an account key can do.
func (a *Account) forgeList(f ListFields) []byte {
	l := &DeviceList{root: a.root, epoch: a.epoch, account: a.pub(), cert: a.cert, f: f}
	return sealList(a.key, l.encode())
}

func sealList(key ed25519.PrivateKey, body []byte) []byte {
	return append(body, signature.Sign(key, append([]byte(labelListSig), body...))...)
}

// forgeBundle signs whatever the edit leaves of a good bundle's body: what a
// hostile owner of a device key can do.
func forgeBundle(keys *DeviceKeys, good *Bundle, edit func(body []byte)) []byte {
	body := good.Bytes()[:bundleSize-signatureSize]
	edit(body)
	return append(body, signature.Sign(keys.Sign, append([]byte(labelBundleSig), body...))...)
}

// Offsets in a bundle, from the drawing in docs/protocol.md.
const (
	offBundleSuite = 1
	offBundleUser  = 3
	offBundleSig   = 35
	offBundleIK    = 67
	offBundleTimes = 115
	offBundleSPK   = 131
	offBundlePQ    = 163
	offBundleFlags = 1347
)

// flips calls each with every copy of raw that differs in one bit.
func flips(raw []byte, each func(bit int, flipped []byte)) {
	for bit := range len(raw) * 8 {
		raw[bit/8] ^= 1 << (bit % 8)
		each(bit, raw)
		raw[bit/8] ^= 1 << (bit % 8)
	}
}
