package frame

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kith-im/kith/crypto/fuzztest"
)

// tape is a source that has already said everything.
type tape struct{ io.Reader }

func (tape) SetReadDeadline(time.Time) error { return nil }

// frameOf is a frame with any body and any claimed length.
func frameOf(claim uint64, body []byte) []byte {
	return append(protowire.AppendVarint(nil, claim), body...)
}

// word is a small message.
func word(n uint64) proto.Message { return wrapperspb.UInt64(n) }

func mustAppend(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFieldsAreCountedBeforeTheyAreDecoded(t *testing.T) {
	list := func(n int) []byte {
		m := new(fieldmaskpb.FieldMask)
		m.Paths = make([]string, n)
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := Parse(list(MaxFields+1), new(fieldmaskpb.FieldMask)); !errors.Is(err, ErrInvalid) {
		t.Fatalf("a crowded frame: %v", err)
	}
	if err := Parse(list(MaxFields), new(fieldmaskpb.FieldMask)); err != nil {
		t.Fatalf("control: %v", err)
	}
}

func TestFramesComeOutAsTheyWentIn(t *testing.T) {
	var all []byte
	for _, size := range []int{1, 127, 128, readBuffer - 1, readBuffer, readBuffer + 1, 2*readBuffer + 1, Max} {
		all = append(all, frameOf(uint64(size), bytes.Repeat([]byte{byte(size)}, size))...)
	}
	for name, src := range map[string]io.Reader{
		"at once": bytes.NewReader(all),
		"halves":  iotest.HalfReader(bytes.NewReader(all)),
		"bytes":   iotest.OneByteReader(bytes.NewReader(all)),
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(&tape{Reader: src}, time.Second, nil)
			for _, size := range []int{1, 127, 128, readBuffer - 1, readBuffer, readBuffer + 1, 2*readBuffer + 1, Max} {
				body, err := r.Next(0)
				if err != nil || !bytes.Equal(body, bytes.Repeat([]byte{byte(size)}, size)) {
					t.Fatalf("frame of %d: %d bytes, %v", size, len(body), err)
				}
			}
			if _, err := r.Next(0); err != io.EOF {
				t.Fatalf("at the end: %v", err)
			}
			if r.buf != nil {
				t.Fatal("an idle stream holds a buffer")
			}
		})
	}
}

// asked is a source that notes the largest memory that it is asked to fill.
type asked struct {
	io.Reader
	most int
}

func (a *asked) Read(b []byte) (int, error) {
	a.most = max(a.most, len(b))
	return a.Reader.Read(b)
}

func TestClaimAloneTakesLittleMemory(t *testing.T) {
	claim := protowire.AppendVarint(nil, Max)
	for sent, most := range map[int]int{10: readBuffer, Max: Max} { // the second is the control
		src := &asked{Reader: bytes.NewReader(append(claim, make([]byte, sent)...))}
		r := NewReader(&tape{Reader: src}, time.Second, nil)
		body, err := r.Next(0)
		if (err == nil) != (sent == Max) || err == nil && len(body) != Max {
			t.Fatal(err)
		}
		if src.most > most || sent == Max && src.most <= readBuffer {
			t.Fatalf("%d bytes of memory for %d sent", src.most, sent)
		}
		r.Release()
	}
}

func TestFlushGathersWhatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		f := NewFlusher(near, time.Minute, func() {}, nil)
		for id := range uint64(100) {
			if err := f.Send(word(id + 1)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // the first write waits for its reader
		writes := 0
		buf := make([]byte, 1<<20)
		for total := 0; total < 100*len(mustAppend(t, word(100))); writes++ {
			n, err := far.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
		if writes > 2 {
			t.Fatalf("%d writes for 100 frames", writes)
		}
		f.Wait()
		if f.pending != nil {
			t.Fatal("an idle flusher holds a buffer")
		}
		_ = far.Close()
		_ = f.Send(word(1))
		f.Wait()
		if err := f.Send(word(2)); !errors.Is(err, ErrGone) {
			t.Fatalf("after a failed write: %v", err)
		}
	})
}

func FuzzReader(f *testing.F) {
	one := mustAppend(f, word(7))
	f.Add(one)
	f.Add(one[:len(one)/2])
	f.Add(append(bytes.Clone(one), mustAppend(f, wrapperspb.Bytes(make([]byte, 300)))...))
	f.Add([]byte{0x80, 0x80, 0x04})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzztest.Limit(t, len(b))()
		r := NewReader(&tape{Reader: bytes.NewReader(b)}, time.Second, nil)
		used := 0
		for {
			body, err := r.Next(0)
			if err != nil {
				r.Release()
				return
			}
			if len(body) == 0 || len(body) > Max {
				t.Fatalf("a body of %d bytes", len(body))
			}
			if used += len(body) + 1; used > len(b) {
				t.Fatal("more came out than went in")
			}
		}
	})
}
