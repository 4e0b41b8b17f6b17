package vault

import (
	"fmt"
	"testing"
)

func BenchmarkOpenFile(b *testing.B) {
	v, err := Create(entropy("bench"), []byte("correct horse"), born)
	if err != nil {
		b.Fatal(err)
	}
	file := fileOf(b, v)
	for b.Loop() {
		if _, err := Open(file, []byte("correct horse")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, size := range []int{512, 4096} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			_, v := newVault(b, "")
			rng, plain := entropy("bench"), make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Seal(rng, Fleeting, []byte("sessions\x00bob"), plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenValue(b *testing.B) {
	_, v := newVault(b, "")
	sealed := seal(b, v, "sessions\x00bob", string(make([]byte, 512)))
	b.SetBytes(512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Open(Fleeting, []byte("sessions\x00bob"), sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBlind(b *testing.B) {
	_, v := newVault(b, "")
	for b.Loop() {
		v.Blind([]byte("contacts\x00bob"))
	}
}
