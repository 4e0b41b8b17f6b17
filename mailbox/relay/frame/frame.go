package frame

import (
	"bufio"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ErrInvalid is the one error for a frame that breaks the rules.
var ErrInvalid = errors.New("frame: invalid")

// deadlineReader is a stream as the frame reader needs it.
type deadlineReader interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// maxHeader is the longest length prefix of a frame, in bytes: 65536 takes 3.
const maxHeader = 3

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// Reader reads length-prefixed frames: a minimal unsigned varint of at
// most 3 bytes with the length 1..Max, then the body. While the stream
// idles it holds no buffer, because a relay holds thousands of idle streams.
type Reader struct {
	src    deadlineReader
	within time.Duration // from a frame's first byte to its last
	load   *Load
	frame  begun
	ended  atomic.Bool
	buf    *bufio.Reader // nil while idle
	armed  bool          // a read deadline is set
	one    [1]byte
}

// NewReader returns a reader whose buffers count in load, which may be nil.
func NewReader(src deadlineReader, within time.Duration, load *Load) *Reader {
	return &Reader{src: src, within: within, load: load}
}

// Stop makes Next fail with a timeout once it waits for bytes that are not
// here. What was read stays good; any goroutine may call it.
func (r *Reader) Stop() {
	r.ended.Store(true)
	_ = r.src.SetReadDeadline(past)
}

// Next returns the body of the next frame, which is good until Next is called
// again. It waits without a deadline for the first byte (unless first > 0) and
// with one for the rest.
// io.EOF means that the stream ended between two frames.
func (r *Reader) Next(first time.Duration) ([]byte, error) {
	lead, err := r.lead(first)
	if err != nil {
		return nil, err
	}
	size, err := r.size(lead)
	if err != nil {
		return nil, err
	}
	r.need(size)
	body, err := r.body(size)
	if err != nil {
		return nil, cut(err)
	}
	r.disarm()
	return body, nil
}

// Read gives bytes that follow the frame which Next returned last, outside of
// frames. Some have to come within the time of a frame.
func (r *Reader) Read(b []byte) (int, error) {
	if r.more() {
		return r.buf.Read(b)
	}
	r.Release()
	r.arm(r.within)
	defer r.disarm()
	return r.src.Read(b)
}

// more says whether a further frame has begun in the buffer.
func (r *Reader) more() bool { return r.buf != nil && r.buf.Buffered() > 0 }

// lead waits for the first byte of a frame.
func (r *Reader) lead(first time.Duration) (byte, error) {
	if r.more() {
		return r.buf.ReadByte()
	}
	r.Release()
	if first > 0 {
		r.arm(first)
	}
	if _, err := io.ReadFull(r.src, r.one[:]); err != nil {
		return 0, err
	}
	r.buf = readers.Get().(*bufio.Reader)
	r.buf.Reset(r.src)
	r.load.take(readBuffer)
	return r.one[0], nil
}

// size reads the rest of a length prefix that begins with b.
func (r *Reader) size(b byte) (int, error) {
	size := uint(b & 0x7f)
	for shift := uint(7); b >= 0x80; shift += 7 {
		if shift == 7*maxHeader {
			return 0, ErrInvalid
		}
		r.need(1)
		var err error
		if b, err = r.buf.ReadByte(); err != nil {
			return 0, cut(err)
		}
		if b == 0 {
			return 0, ErrInvalid // not the shortest form
		}
		size |= uint(b&0x7f) << shift
	}
	if size == 0 || size > Max {
		return 0, ErrInvalid
	}
	return int(size), nil
}

// body reads size bytes: a small body stays in the buffer, a larger one gets
// memory of its own, which follows the bytes that have come.
func (r *Reader) body(size int) ([]byte, error) {
	if size <= readBuffer {
		body, err := r.buf.Peek(size)
		_, _ = r.buf.Discard(len(body))
		return body, err
	}
	body := make([]byte, readBuffer)
	r.load.take(len(body))
	defer func() { r.load.give(len(body)) }()
	for have := 0; ; {
		if _, err := io.ReadFull(r.buf, body[have:]); err != nil {
			return nil, err
		}
		if have = len(body); have == size {
			return body, nil
		}
		more := make([]byte, min(size, 2*have))
		r.load.take(len(more) - have)
		copy(more, body)
		body = more
	}
}

// need sets the frame's deadline if n bytes are not here yet.
func (r *Reader) need(n int) {
	if r.buf.Buffered() < n {
		r.arm(r.within)
	}
}

func (r *Reader) arm(d time.Duration) {
	if r.armed {
		return
	}
	r.armed = true
	r.frame.begin()
	r.deadline(time.Now().Add(d))
}

// deadline sets a read deadline, unless the reader was stopped meanwhile.
func (r *Reader) deadline(t time.Time) {
	_ = r.src.SetReadDeadline(t)
	if r.ended.Load() {
		_ = r.src.SetReadDeadline(past)
	}
}

func (r *Reader) disarm() {
	if r.armed {
		r.armed = false
		r.frame.end()
		r.deadline(time.Time{})
	}
}

// Release gives the buffer back; what is still in it is lost.
func (r *Reader) Release() {
	if r.buf != nil {
		r.buf.Reset(nil)
		readers.Put(r.buf)
		r.buf = nil
		r.load.give(readBuffer)
	}
}

// cut turns an end inside a frame into the framing error.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrInvalid
	}
	return err
}

// Append appends the frame of m to b.
func Append(b []byte, m proto.Message) ([]byte, error) {
	size := proto.Size(m)
	if size == 0 || size > Max {
		return b, ErrInvalid
	}
	b = protowire.AppendVarint(b, uint64(size))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
}

// Parse decodes a body into m after it has counted the fields.
func Parse(body []byte, m proto.Message) error {
	left := MaxFields
	if !sparse(body, m.ProtoReflect().Descriptor(), &left) {
		return ErrInvalid
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, m); err != nil {
		return ErrInvalid
	}
	return nil
}

// sparse says whether b, a message as d describes it, is well formed and has
// at most *left fields, those of nested messages included. Two bytes on the
// wire can ask for a hundred in memory; this is why fields are counted first.
func sparse(b []byte, d protoreflect.MessageDescriptor, left *int) bool {
	for len(b) > 0 {
		if *left--; *left < 0 {
			return false
		}
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ == protowire.StartGroupType {
			return false
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		f := d.Fields().ByNumber(num)
		if f != nil && f.Message() != nil && typ == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(b)
			if !sparse(inner, f.Message(), left) {
				return false
			}
		}
		b = b[n:]
	}
	return true
}
