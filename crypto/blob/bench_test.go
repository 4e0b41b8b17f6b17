package blob

import (
	"errors"
	"io"
	"testing"
)

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func BenchmarkSeal(b *testing.B) {
	const size = 64 * ChunkSize
	buf := make([]byte, MaxChunk)
	b.SetBytes(size)
	for b.Loop() {
		s, err := NewSealer(keyOf(1), io.LimitReader(zeros{}, size), size)
		for err == nil {
			_, _, err = s.Next(buf)
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	whole := seal(b, keyOf(1), noise(1, 8*ChunkSize))
	m, err := OpenManifest(whole.key, whole.digest, whole.manifest)
	if err != nil {
		b.Fatal(err)
	}
	o, buf := NewOpener(whole.key, m), make([]byte, ChunkSize)
	b.SetBytes(8 * ChunkSize)
	for b.Loop() {
		for i, c := range whole.chunks {
			if _, err := o.Open(i, c, buf); err != nil {
				b.Fatal(err)
			}
		}
	}
}
