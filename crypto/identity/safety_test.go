package identity

import (
	"crypto/sha512"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
)

func TestSafetyNumberIsTheSameForBoth(t *testing.T) {
	a, b := rootOf("ann").User(), rootOf("bob").User()
	n := SafetyNumber(a, b)
	if n != SafetyNumber(b, a) {
		t.Error("the two people see different numbers")
	}
	if !regexp.MustCompile(`^(\d{5} ){11}\d{5}$`).MatchString(n) {
		t.Errorf("%q is not 12 groups of 5 digits", n)
	}
}

func TestSafetyNumberChangesWithEitherUser(t *testing.T) {
	seen := map[string]string{}
	people := []string{"ann", "bob", "cleo", "dan"}
	for i, x := range people {
		for _, y := range people[i:] {
			n := SafetyNumber(rootOf(x).User(), rootOf(y).User())
			if seen[n] != "" {
				t.Errorf("%s and %s have the number of %s", x, y, seen[n])
			}
			seen[n] = x + " and " + y
		}
	}
}

func TestSafetyNumberIsTheDocumentedOne(t *testing.T) {
	half := func(u UserID) (out []string) {
		h := append([]byte("kith1 safety"), u[:]...)
		for i := range 5200 {
			if i > 0 {
				h = append(h, u[:]...)
			}
			sum := sha512.Sum512(h)
			h = sum[:]
		}
		for i := range 6 {
			v := new(big.Int).SetBytes(h[5*i : 5*i+5])
			out = append(out, fmt.Sprintf("%05d", v.Mod(v, big.NewInt(100000))))
		}
		return out
	}
	for _, pair := range [][2]string{{"ann", "bob"}, {"bob", "cleo"}, {"cleo", "ann"}} {
		a, b := rootOf(pair[0]).User(), rootOf(pair[1]).User()
		x, y := strings.Join(half(a), " "), strings.Join(half(b), " ")
		if want := min(x+" "+y, y+" "+x); SafetyNumber(a, b) != want {
			t.Errorf("got %s, want %s", SafetyNumber(a, b), want)
		}
	}
}
