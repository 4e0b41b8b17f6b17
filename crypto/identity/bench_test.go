package identity

import (
	"fmt"
	"testing"
)

func BenchmarkSignList(b *testing.B) {
	a := rootOf("ann").Account(0)
	f := listFields(b, "phone", "laptop", "desk", "tablet", "work")
	for b.Loop() {
		signList(b, a, f)
	}
}

func BenchmarkParseDeviceList(b *testing.B) {
	for _, n := range []int{1, 5, maxDevices} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			var names []string
			for i := range n {
				names = append(names, fmt.Sprint("device ", i))
			}
			raw := signList(b, rootOf("ann").Account(0), listFields(b, names...)).Bytes()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseDeviceList(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNewBundle(b *testing.B) {
	rng, keys, f := entropy("bench"), keysOf(b, "phone"), bundleFields(UserID{7})
	for b.Loop() {
		if _, _, err := NewBundle(rng, keys, f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseBundle(b *testing.B) {
	made, _ := newBundle(b, "phone", bundleFields(UserID{7}))
	raw := made.Bytes()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseBundle(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrekeyExpand(b *testing.B) {
	_, p := newBundle(b, "phone", bundleFields(UserID{7}))
	for b.Loop() {
		p.PQ()
	}
}

func BenchmarkPhraseToRoot(b *testing.B) {
	p := phraseOf([phraseEntropy]byte{1})
	for b.Loop() {
		p.Root()
	}
}

func BenchmarkSafetyNumber(b *testing.B) {
	x, y := rootOf("ann").User(), rootOf("bob").User()
	for b.Loop() {
		SafetyNumber(x, y)
	}
}
