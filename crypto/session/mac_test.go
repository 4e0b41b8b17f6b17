package session

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"testing"
)

// Our MAC, and what is made with it, is the standard library's, and takes no memory.
func TestMacIsTheStandards(t *testing.T) {
	key, long := [keySize]byte{1, 2, 3, 31: 4}, bytes.Repeat([]byte("kith"), 24)
	for n := range len(long) + 1 {
		h := hmac.New(sha256.New, key[:])
		h.Write(long[:n])
		if got := mac(&key, long[:n/3], long[n/3:n]); !bytes.Equal(got[:], h.Sum(nil)) {
			t.Fatalf("%d bytes: %x", n, got)
		}
	}
	info := string(long[:45])
	for n := 1; n <= 4*keySize; n++ {
		want, err := hkdf.Expand(sha256.New, key[:], info, n)
		if got := expand(key[:], info, n); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d bytes: %x, want %x: %v", n, got, want, err)
		}
	}
	if n := testing.AllocsPerRun(10, func() { stepChain(key) }); n != 0 {
		t.Errorf("a step takes %.0f pieces of memory", n)
	}
	if n := testing.AllocsPerRun(10, func() { hmac.New(sha256.New, key[:]) }); n == 0 {
		t.Error("control: nothing takes memory")
	}
	defer func() {
		if recover() == nil {
			t.Error("more than there is room for is cut off")
		}
	}()
	mac(&key, long, []byte{1})
}
