package relay

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kith-im/kith/mailbox/relay/pb"
)

func TestFramesComeOutAsTheyWentIn(t *testing.T) {
	var all []byte
	for _, size := range []int{1, 127, 128, readStep - 1, readStep, readStep + 1, readBuffer, MaxFrame} {
		all = append(all, frameOf(uint64(size), bytes.Repeat([]byte{byte(size)}, size))...)
	}
	for name, src := range map[string]io.Reader{
		"at once": bytes.NewReader(all),
		"halves":  iotest.HalfReader(bytes.NewReader(all)),
		"bytes":   iotest.OneByteReader(bytes.NewReader(all)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newFrameReader(&tape{Reader: src}, time.Second)
			for _, size := range []int{1, 127, 128, readStep - 1, readStep, readStep + 1, readBuffer, MaxFrame} {
				body, err := r.next(0)
				if err != nil || !bytes.Equal(body, bytes.Repeat([]byte{byte(size)}, size)) {
					t.Fatalf("frame of %d: %d bytes, %v", size, len(body), err)
				}
			}
			if _, err := r.next(0); err != io.EOF {
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
	claim := protowire.AppendVarint(nil, MaxFrame)
	for sent, most := range map[int]int{10: readBuffer, MaxFrame: MaxFrame} { // the second is the control
		src := &asked{Reader: bytes.NewReader(append(claim, make([]byte, sent)...))}
		r := newFrameReader(&tape{Reader: src}, time.Second)
		body, err := r.next(0)
		if (err == nil) != (sent == MaxFrame) || err == nil && len(body) != MaxFrame {
			t.Fatal(err)
		}
		if src.most > most || sent == MaxFrame && src.most <= readBuffer {
			t.Fatalf("%d bytes of memory for %d sent", src.most, sent)
		}
		r.release()
	}
}

func TestTooLargeAnswerIsNotSent(t *testing.T) {
	big := &pb.Answer{What: &pb.Answer_Set{Set: make([]byte, MaxFrame)}}
	if _, err := appendFrame(nil, big); !errors.Is(err, errFrame) {
		t.Fatal(err)
	}
	page := &pb.Items{Box: make([]byte, idSize)}
	for range pageItems {
		page.Items = append(page.Items, &pb.Item{Seq: 1 << 62, Envelope: make([]byte, pageBytes/pageItems)})
	}
	if _, err := appendFrame(nil, &pb.Answer{What: &pb.Answer_Items{Items: page}}); err != nil {
		t.Fatal("a full page does not fit a frame")
	}
}
