package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/node/backup/pb"
)

// Summary says what is in a backup.
type Summary struct {
	User          [32]byte
	Name          string
	Made          time.Time
	Contacts      int
	Groups        int
	Conversations int
	Messages      int
}

// tally counts records as they pass, and holds them to their order: a head, what there is, an end that agrees.
type tally struct {
	sum   Summary
	begun bool
	ended bool
	group string
}

// take counts one record; false says that it may not stand here.
func (t *tally) take(r *pb.Record) bool {
	if head := r.Head; head != nil || !t.begun {
		if head == nil || t.begun || len(head.User) != 32 {
			return false
		}
		t.begun = true
		t.sum.User, t.sum.Name, t.sum.Made = [32]byte(head.User), head.Name, time.UnixMilli(head.Made).UTC()
		return true
	}
	if t.ended {
		return false
	}
	switch {
	case r.Contact != nil:
		t.sum.Contacts++
	case r.Log != nil:
		if g := string(r.Log.Group); g != t.group {
			t.group = g
			t.sum.Groups++
		}
	case r.Ends != nil:
		t.sum.Conversations++
	case r.Past != nil:
		for _, row := range r.Past.Rows {
			if len(row.Content) > 0 { // others say more of what became of one
				t.sum.Messages++
			}
		}
	case r.End != nil:
		t.ended = true
		return proto.Equal(r.End, t.end())
	}
	return true
}

func (t *tally) end() *pb.End {
	return &pb.End{
		Contacts: uint32(t.sum.Contacts), Groups: uint32(t.sum.Groups),
		Conversations: uint32(t.sum.Conversations), Messages: uint64(t.sum.Messages),
	}
}

// Writer writes a backup.
type Writer struct {
	stream *blob.Writer
	tally
}

// Create begins a backup that keys lock.
func Create(rng io.Reader, to io.Writer, k Keys) (*Writer, error) {
	head, key, err := lock(rng, k)
	if err != nil {
		return nil, err
	}
	if _, err := to.Write(head); err != nil {
		return nil, fmt.Errorf("backup: write: %w", err)
	}
	return &Writer{stream: blob.NewWriter(key, to)}, nil
}

// Write takes in the records of a page.
func (w *Writer) Write(page []byte) error {
	err := Each(page, func(r *pb.Record) error {
		if r.End != nil || !w.take(r) {
			return ErrDamaged
		}
		return nil
	})
	if err == nil {
		_, err = w.stream.Write(page)
	}
	return err
}

// Close ends the backup, and says what is in it. Without it nobody takes it for whole.
func (w *Writer) Close() (Summary, error) {
	if !w.begun || w.ended {
		return Summary{}, ErrDamaged
	}
	if _, err := w.stream.Write(frame(nil, &pb.Record{End: w.end()})); err != nil {
		return Summary{}, err
	}
	w.ended = true
	return w.sum, w.stream.Close()
}

// frame appends a record: length u32 | record.
func frame(to []byte, r *pb.Record) []byte {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil || len(raw) == 0 || len(raw) > MaxRecord {
		panic(fmt.Sprintf("backup: a record of %d bytes: %v", len(raw), err)) // what goes in is bounded, row by row
	}
	return append(binary.BigEndian.AppendUint32(to, uint32(len(raw))), raw...)
}

// Each calls fn with the records of a page.
func Each(page []byte, fn func(*pb.Record) error) error {
	for len(page) > 0 {
		if len(page) < lengthSize {
			return ErrDamaged
		}
		n := binary.BigEndian.Uint32(page)
		if n == 0 || n > MaxRecord || int(n) > len(page)-lengthSize {
			return ErrDamaged
		}
		r := &pb.Record{}
		if proto.Unmarshal(page[lengthSize:lengthSize+n], r) != nil {
			return ErrDamaged
		}
		if err := fn(r); err != nil {
			return err
		}
		page = page[lengthSize+n:]
	}
	return nil
}

// Damage is ErrDamaged with its place.
type Damage struct{ Chunk int }

func (d *Damage) Error() string {
	return fmt.Sprintf("backup: damaged in its %d. piece of 64 KiB, or cut off there", d.Chunk+1)
}

// Is makes every Damage an ErrDamaged.
func (d *Damage) Is(target error) bool { return target == ErrDamaged }

// Reader reads a backup.
type Reader struct {
	stream *blob.Reader
	tally
	buf []byte
}

// Open begins to read a backup. Its errors are those above.
func Open(from io.Reader, k Keys) (*Reader, error) {
	key, err := unlock(from, k)
	if err != nil {
		return nil, err
	}
	return newReader(from, key), nil
}

func newReader(from io.Reader, key blob.Key) *Reader {
	return &Reader{stream: blob.NewReader(key, from), buf: make([]byte, lengthSize+MaxRecord)}
}

// Next gives the next record, which the caller may keep, and io.EOF behind the end. The page is the same as bytes, good
// until the next call.
func (r *Reader) Next() (rec *pb.Record, page []byte, err error) {
	n, err := io.ReadFull(r.stream, r.buf[:lengthSize])
	if errors.Is(err, io.EOF) && n == 0 && r.ended {
		return nil, nil, io.EOF
	}
	if err != nil {
		return nil, nil, r.named(err)
	}
	size := binary.BigEndian.Uint32(r.buf)
	if size == 0 || size > MaxRecord {
		return nil, nil, r.damage()
	}
	page = r.buf[:lengthSize+size]
	if _, err := io.ReadFull(r.stream, page[lengthSize:]); err != nil {
		return nil, nil, r.named(err)
	}
	rec = &pb.Record{}
	if proto.Unmarshal(page[lengthSize:], rec) != nil || !r.take(rec) {
		return nil, nil, r.damage()
	}
	return rec, page, nil
}

// Summary says what was in the records so far.
func (r *Reader) Summary() Summary { return r.sum }

func (r *Reader) damage() error { return &Damage{Chunk: r.stream.Chunks()} }

func (r *Reader) named(err error) error {
	if errors.Is(err, blob.ErrInvalid) || short(err) {
		return r.damage()
	}
	return err
}
