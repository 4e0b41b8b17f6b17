package agree_test

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/kith-im/kith/crypto/agree"
)

func seed(n byte, size int) []byte {
	sum := sha256.Sum256([]byte{n})
	return bytes.Repeat(sum[:], 2)[:size]
}

func private(t testing.TB, n byte) *agree.Private {
	t.Helper()
	k, err := agree.NewPrivate(seed(n, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Both builds have to pass these tests: what stands for the real thing refuses what that refuses, and has its sizes.

func TestBothSidesHaveASecretThatNobodyElseHas(t *testing.T) {
	seen := map[string]bool{}
	for a := range byte(8) {
		for b := range a {
			ka, kb := private(t, a), private(t, b)
			pa, pb := agree.PublicOf(ka), agree.PublicOf(kb)
			x, ok := agree.Secret(ka, pb[:])
			y, ok2 := agree.Secret(kb, pa[:])
			if !ok || !ok2 || len(x) != 32 || !bytes.Equal(x, y) {
				t.Fatalf("%d and %d: %x %x", a, b, x, y)
			}
			if seen[string(x)] {
				t.Errorf("%d and %d: the secret of others", a, b)
			}
			seen[string(x)] = true
			for bit := range 255 / (a * a) { // of the first pair all
				other := pb
				other[bit/8] ^= 1 << (bit % 8)
				if z, ok := agree.Secret(ka, other[:]); ok && bytes.Equal(x, z) {
					t.Errorf("bit %d of the public key does not matter", bit)
				}
			}
			pb[31] |= 0x80 // the bit that X25519 ignores
			if z, ok := agree.Secret(ka, pb[:]); !ok || !bytes.Equal(x, z) {
				t.Error("the highest bit matters")
			}
		}
	}
	if len(seen) != 28 {
		t.Errorf("control: %d secrets", len(seen))
	}
	k := private(t, 1)
	if again := private(t, 1); agree.ScalarOf(k) != [32]byte(seed(1, 32)) || agree.PublicOf(k) != agree.PublicOf(again) || agree.PublicOf(k)[31] >= 0x80 {
		t.Error("one scalar, one key")
	}
}

func TestKeysThatAreNoneAreRefused(t *testing.T) {
	k := private(t, 1)
	for _, size := range []int{0, 31, 33} {
		if _, err := agree.NewPrivate(make([]byte, size)); err == nil {
			t.Errorf("a scalar of %d bytes", size)
		}
		if _, ok := agree.Secret(k, make([]byte, size)); ok {
			t.Errorf("a public key of %d bytes", size)
		}
	}
	last := bytes.Repeat([]byte{0xff}, 32) // 2^255-19 and one more are other spellings of 0 and 1
	last[31] = 0x7f
	spelled := func(n byte) []byte { p := slices.Clone(last); p[0] = n; return p }
	low := [][]byte{
		make([]byte, 32), append([]byte{1}, make([]byte, 31)...), spelled(0xec), spelled(0xed), spelled(0xee),
		{
			0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
			0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
		},
		{
			0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
			0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
		},
	}
	for _, p := range low {
		high := slices.Clone(p)
		high[31] |= 0x80
		if _, ok := agree.Secret(k, p); ok {
			t.Errorf("%x is of low order", p)
		}
		if _, ok := agree.Secret(k, high); ok {
			t.Errorf("%x is of low order", high)
		}
	}
	for _, n := range []byte{0xeb, 0xef, 0xff} {
		if _, ok := agree.Secret(k, spelled(n)); !ok {
			t.Errorf("control: %x is refused", spelled(n))
		}
	}
}

func TestAnEncapsulationIsForOneKey(t *testing.T) {
	dk, err := agree.NewDecapsulator(seed(1, agree.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := agree.NewDecapsulator(seed(2, agree.SeedSize))
	again, _ := agree.NewDecapsulator(seed(1, agree.SeedSize))
	public := agree.EncapsulationKey(dk)
	if !bytes.Equal(public, agree.EncapsulationKey(again)) || bytes.Equal(public, agree.EncapsulationKey(other)) || len(public) != agree.EncapsulationKeySize {
		t.Fatalf("a public key of %d bytes", len(public))
	}
	ek, err := agree.NewEncapsulator(public)
	if err != nil {
		t.Fatal(err)
	}
	ss, ct := agree.Encapsulate(ek)
	if len(ss) != 32 || len(ct) != agree.CiphertextSize {
		t.Fatalf("%d and %d bytes", len(ss), len(ct))
	}
	if got, err := agree.Decapsulate(again, ct); err != nil || !bytes.Equal(got, ss) {
		t.Errorf("%v, %x and not %x", err, got, ss)
	}
	if got, err := agree.Decapsulate(other, ct); err != nil || bytes.Equal(got, ss) {
		t.Errorf("another key: %v, %x", err, got)
	}
	for i := range ct {
		ct[i] ^= 1
		if got, err := agree.Decapsulate(dk, ct); err != nil || bytes.Equal(got, ss) {
			t.Errorf("byte %d: %v, %x", i, err, got)
		}
		ct[i] ^= 1
	}
	for _, size := range []int{0, 1, agree.CiphertextSize - 1, agree.CiphertextSize + 1} {
		if _, err := agree.Decapsulate(dk, make([]byte, size)); err == nil {
			t.Errorf("a ciphertext of %d bytes", size)
		}
	}
}

func TestEncapsulationKeysThatAreNoneAreRefused(t *testing.T) {
	dk, _ := agree.NewDecapsulator(seed(1, agree.SeedSize))
	good := agree.EncapsulationKey(dk)
	for _, size := range []int{0, 32, agree.SeedSize - 1, agree.SeedSize + 1} {
		if _, err := agree.NewDecapsulator(make([]byte, size)); err == nil {
			t.Errorf("a seed of %d bytes", size)
		}
	}
	for what, raw := range map[string][]byte{"short": good[:agree.EncapsulationKeySize-1], "long": append(slices.Clone(good), 0), "nothing": nil} {
		if _, err := agree.NewEncapsulator(raw); err == nil {
			t.Error(what)
		}
	}
	for _, first := range []bool{true, false} { // of a pair of numbers in three bytes
		for number := 3327; number < 4096; number++ {
			raw := slices.Clone(good)
			if first {
				raw[300], raw[301] = byte(number), raw[301]&0xf0|byte(number>>8)
			} else {
				raw[301], raw[302] = raw[301]&0xf|byte(number<<4), byte(number>>4)
			}
			if _, err := agree.NewEncapsulator(raw); (err == nil) != (number < 3329) {
				t.Errorf("%d in a key: %v", number, err)
			}
		}
	}
}

func BenchmarkSecret(b *testing.B) {
	k, peer := private(b, 1), agree.PublicOf(private(b, 2))
	for b.Loop() {
		agree.Secret(k, peer[:])
	}
}

func BenchmarkEncapsulator(b *testing.B) {
	dk, _ := agree.NewDecapsulator(seed(1, agree.SeedSize))
	raw := agree.EncapsulationKey(dk)
	for b.Loop() {
		_, _ = agree.NewEncapsulator(raw)
	}
}
