package blobs

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs/pb"
	"github.com/kith-im/kith/mailbox/relay/frame"
)

// Protocol is the libp2p protocol of chunks.
const Protocol = "/kith/blob/1"

// stream is what one stream needs of libp2p's; a test brings its own.
type stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Reset() error
}

// wire is one end of a stream. One goroutine uses it at a time.
type wire struct {
	st stream
	in *frame.Reader
}

func newWire(st stream) wire { return wire{st: st, in: frame.NewReader(st, pieceWithin, nil)} }

// send writes a frame.
func (w wire) send(m proto.Message) error {
	b, err := frame.Append(nil, m)
	if err != nil {
		return err
	}
	return w.write(b, time.Now().Add(pieceWithin))
}

// write writes bytes by a deadline.
func (w wire) write(b []byte, by time.Time) error {
	_ = w.st.SetWriteDeadline(by)
	_, err := w.st.Write(b)
	return err
}

// pour writes a chunk piece by piece: each has pieceWithin, all have until.
type pour struct {
	w     wire
	until time.Time
}

func (p pour) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		piece := b[n:min(len(b), n+copyBuffer)]
		by := time.Now().Add(pieceWithin)
		if by.After(p.until) {
			by = p.until
		}
		err = p.w.write(piece, by)
		n += len(piece)
	}
	return n, err
}

// drink reads the bytes that follow a frame until a moment.
type drink struct {
	w     wire
	until time.Time
}

func (d drink) Read(b []byte) (int, error) {
	if time.Now().After(d.until) {
		return 0, context.DeadlineExceeded
	}
	return d.w.in.Read(b)
}

// putContent is what VerbPutChunk signs: digest | size u32 | expires ms u64.
func putContent(d Digest, size uint32, expiresMillis uint64) []byte {
	b := binary.BigEndian.AppendUint32(d[:len(d):len(d)], size)
	return binary.BigEndian.AppendUint64(b, expiresMillis)
}

// checkAsk says whether a question is of the right sizes, and what it costs.
func checkAsk(ask *pb.Ask) (cost int, err error) {
	ok := false
	switch w := ask.What.(type) {
	case *pb.Ask_Put:
		p := w.Put
		cost = 1
		ok = len(p.GetDigest()) == len(Digest{}) && p.GetSize() > 0 && p.GetSize() <= blob.MaxChunk &&
			p.GetExpiresMs() <= maxMillis && len(p.GetKey()) == ed25519.PublicKeySize && len(p.GetSig()) == ed25519.SignatureSize
	case *pb.Ask_Get:
		cost, ok = 1, len(w.Get.GetDigest()) == len(Digest{})
	case *pb.Ask_Has:
		cost, ok = digestsCost(w.Has.GetDigests())
	case *pb.Ask_Drop:
		if cost, ok = digestsCost(w.Drop.GetDigests()); ok {
			ok = len(w.Drop.GetKey()) == ed25519.PublicKeySize && len(w.Drop.GetSig()) == ed25519.SignatureSize
		}
	}
	if !ok {
		return 0, frame.ErrInvalid
	}
	return cost, nil
}

func digestsCost(digests []byte) (int, bool) {
	n := len(digests) / len(Digest{})
	return 1 + n/digestsPerToken, n > 0 && n <= MaxDigests && len(digests)%len(Digest{}) == 0
}

// maxMillis is the latest time in a frame: the year 9999.
const maxMillis = 253402300799999

// split is the digests of a question.
func split(b []byte) []Digest {
	ds := make([]Digest, len(b)/len(Digest{}))
	for i := range ds {
		copy(ds[i][:], b[i*len(Digest{}):])
	}
	return ds
}

func join(ds []Digest) []byte {
	b := make([]byte, 0, len(ds)*len(Digest{}))
	for i := range ds {
		b = append(b, ds[i][:]...)
	}
	return b
}

// refusal turns what the store or the relay's rules said into what the asker hears.
func refusal(err error) *mailbox.Refusal {
	var r *mailbox.Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, ErrFull):
		return &mailbox.Refusal{Code: mailbox.Full, Detail: err.Error()}
	case errors.Is(err, ErrInvalid):
		return &mailbox.Refusal{Code: mailbox.Malformed}
	}
	return &mailbox.Refusal{Code: mailbox.NotServing}
}

func refusalFrame(r *mailbox.Refusal) *pb.Answer {
	detail := r.Detail
	if len(detail) > maxDetail {
		detail = detail[:maxDetail]
	}
	return &pb.Answer{What: &pb.Answer_Refusal{Refusal: &pb.Refusal{Code: uint32(r.Code), Detail: detail}}}
}

// refused reads a refusal. What it says is for logs: no more than a code is believed.
func refused(r *pb.Refusal) error {
	if r.GetCode() == 0 || r.GetCode() > 255 || len(r.GetDetail()) > maxDetail {
		return fmt.Errorf("blobs: %w", frame.ErrInvalid)
	}
	return &mailbox.Refusal{Code: mailbox.Code(r.GetCode()), Detail: r.GetDetail()}
}
