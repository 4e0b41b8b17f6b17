package identity

import (
	"crypto/ed25519"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/signature"
)

// prime is 2^255-19.
var prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

func littleEndian(n *big.Int) (out [32]byte) {
	n.FillBytes(out[:])
	slices.Reverse(out[:])
	return out
}

// lowOrderEncodings are the 12 encodings of cr.yp.to/ecdh.html: the five
// small-order u-coordinates, and what else 32 bytes can say for them with and
// without reduction modulo 2^255-19.
func lowOrderEncodings() [][32]byte {
	a, _ := new(big.Int).SetString("325606250916557431795983626356110631294008115727848805560023387167927233504", 10)
	b, _ := new(big.Int).SetString("39382357235489614581723060781553021112529911719440698176882885853963445705823", 10)
	zero, one, minusOne := big.NewInt(0), big.NewInt(1), big.NewInt(-1)
	plus := func(k int64, n *big.Int) *big.Int {
		return new(big.Int).Add(new(big.Int).Mul(big.NewInt(k), prime), n)
	}
	var out [][32]byte
	for _, n := range []*big.Int{
		zero, one, a, b, plus(1, minusOne), plus(1, zero), plus(1, one), plus(1, a), plus(1, b),
		plus(2, minusOne), plus(2, zero), plus(2, one),
	} {
		out = append(out, littleEndian(n))
	}
	return out
}

func TestEveryLowOrderX25519EncodingIsUnsound(t *testing.T) {
	encodings := lowOrderEncodings()
	if len(encodings) != 12 {
		t.Fatalf("%d encodings", len(encodings))
	}
	for _, e := range encodings {
		if soundX25519(e) {
			t.Errorf("%x is taken for sound", e)
		}
		e[31] |= 0x80 // the bit that X25519 ignores
		if soundX25519(e) {
			t.Errorf("%x is taken for sound", e)
		}
	}
}

// The standard library is the judge of the list: it refuses a shared secret of
// zeros, whatever the spelling.
func TestLowOrderListsAgreeWithTheStandardLibrary(t *testing.T) {
	key := keysOf(t, "ann").IK
	zeroSecret := func(e [32]byte) bool {
		_, ok := agree.Secret(key, e[:])
		return !ok
	}
	for _, e := range lowOrderEncodings() {
		if canonical(e) && !(zeroSecret(e) && agree.LowOrder(e)) {
			t.Errorf("%x is on the list and not of low order", e)
		}
	}
	for i := range 64 {
		if e := agree.PublicOf(keysOf(t, string(rune('a'+i))).IK); zeroSecret(e) || !soundX25519(e) {
			t.Errorf("honest key %x refused", e)
		}
	}
}

// Control: with the check switched off a small-order Ed25519 key would be a
// key under which everybody can sign everything.
func TestSmallOrderEd25519KeysAreUnsoundAndWouldVerifyForgeries(t *testing.T) {
	forged := make([]byte, 64) // R = B*0 = the neutral element, S = 0
	forged[0] = 1
	neutral := fieldOne
	if !ed25519.Verify(neutral[:], []byte("never signed"), forged) {
		t.Error("control: the forgery does not verify, so the check is untested")
	}
	for _, y := range lowOrderEd25519 {
		fooled := false
		for try := uint32(0); try < 64 && !fooled; try++ {
			fooled = ed25519.Verify(y[:], binary.BigEndian.AppendUint32(nil, try), forged)
		}
		if !fooled {
			t.Errorf("control: %x verifies no forgery in 64, so it is not of small order", y)
		}
		for _, sign := range []byte{0, 0x80} {
			e := y
			e[31] |= sign
			if soundEd25519(e) {
				t.Errorf("%x is taken for sound", e)
			}
		}
	}
}

func TestOneKeyHasOneSpelling(t *testing.T) {
	for i := range int64(19) {
		e := littleEndian(new(big.Int).Add(prime, big.NewInt(i)))
		if canonical(e) || soundX25519(e) || soundEd25519(e) {
			t.Errorf("2^255-19+%d is taken for canonical", i)
		}
	}
	for i := range int64(3) {
		e := littleEndian(new(big.Int).Sub(prime, big.NewInt(i+1)))
		if !canonical(e) {
			t.Errorf("2^255-19-%d is not taken for canonical", i+1)
		}
	}
}

// everybodysSignature verifies under the neutral element, whatever was signed.
var everybodysSignature = [signatureSize]byte{1}

// TestNobodySpeaksUnderASmallOrderKey puts that key in each place where a
// record names the key of a signature.
func TestNobodySpeaksUnderASmallOrderKey(t *testing.T) {
	a := rootOf("ann").Account(0)
	honest := &DeviceList{root: a.root, account: a.pub(), cert: a.cert, f: listFields(t, "phone")}

	root := *honest
	root.root, root.cert = fieldOne, everybodysSignature
	if !ed25519.Verify(root.root[:], accountSigned(userOf(root.root), 0, root.account), root.cert[:]) {
		t.Error("control: the root's forged certificate does not verify")
	}
	if _, err := ParseDeviceList(sealList(a.key, root.encode())); err != ErrInvalid {
		t.Errorf("root: %v", err)
	}

	account := *honest
	account.account = fieldOne
	account.cert = [signatureSize]byte(signature.Sign(rootOf("ann").key, accountSigned(a.User(), 0, fieldOne)))
	if _, err := ParseDeviceList(append(account.encode(), everybodysSignature[:]...)); err != ErrInvalid {
		t.Errorf("account key: %v", err)
	}

	made, _ := newBundle(t, "phone", bundleFields(a.User()))
	bundle := made.Bytes()
	copy(bundle[offBundleSig:], fieldOne[:])
	copy(bundle[bundleSize-signatureSize:], everybodysSignature[:])
	if !ed25519.Verify(fieldOne[:], bundle[:offBundleTimes], everybodysSignature[:]) {
		t.Error("control: everybody's signature does not verify")
	}
	if _, err := ParseBundle(bundle); err != ErrInvalid {
		t.Errorf("device key: %v", err)
	}
}
