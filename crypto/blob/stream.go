package blob

import (
	"errors"
	"fmt"
	"io"
)

// Writer seals a stream of any length as it comes: in chunks of StreamChunk
// bytes, each with its index and a last-flag in the nonce, as a file's. There
// is no manifest and no padding. A Key seals one stream or one file.
type Writer struct {
	cipher *sealing
	to     io.Writer
	buf    []byte
	i      int
	err    error
}

// NewWriter seals what is written to it and writes that to to.
func NewWriter(key Key, to io.Writer) *Writer {
	return &Writer{cipher: key.cipher(streamLabel), to: to, buf: make([]byte, 0, StreamChunk+Overhead)}
}

// Write takes in the next bytes.
func (w *Writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		if len(w.buf) == StreamChunk {
			w.flush(false)
		}
		k := min(len(p), StreamChunk-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p, n = p[k:], n+k
	}
	return n, w.err
}

// Close seals the last chunk. Without it nobody takes the stream for whole.
func (w *Writer) Close() error {
	if w.flush(true); w.err == nil {
		w.err = errClosed
		return nil
	}
	return w.err
}

var errClosed = errors.New("blob: the stream is closed")

func (w *Writer) flush(last bool) {
	if w.err != nil {
		return
	}
	if _, err := w.to.Write(w.cipher.Seal(w.buf[:0], nonce(w.i, last), w.buf, nil)); err != nil {
		w.err = fmt.Errorf("blob: write: %w", err)
	}
	w.buf, w.i = w.buf[:0], w.i+1
}

// Reader opens a stream. It gives nothing of a chunk that does not
// authenticate, and io.EOF only behind the chunk that was sealed as the last.
type Reader struct {
	cipher *sealing
	from   io.Reader
	sealed []byte // of StreamChunk+Overhead+1 bytes: one more tells whether another chunk follows
	have   int
	plain  []byte
	rest   []byte // of plain, not given yet
	i      int
	err    error
}

// NewReader opens what from gives.
func NewReader(key Key, from io.Reader) *Reader {
	return &Reader{
		cipher: key.cipher(streamLabel), from: from,
		sealed: make([]byte, StreamChunk+Overhead+1), plain: make([]byte, 0, StreamChunk),
	}
}

// Chunks is how many chunks were opened: after ErrInvalid, the index of the
// one that is damaged, or of what follows where none should.
func (r *Reader) Chunks() int { return r.i }

// Read gives the next bytes; ErrInvalid says that they are not what was sealed.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.next()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next opens the next chunk.
func (r *Reader) next() {
	n, err := io.ReadFull(r.from, r.sealed[r.have:])
	r.have += n
	last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !last {
		r.err = fmt.Errorf("blob: read: %w", err)
		return
	}
	size := min(r.have, StreamChunk+Overhead)
	if size < Overhead || size == Overhead && r.i > 0 { // an empty chunk is only that of an empty stream
		r.err = ErrInvalid
		return
	}
	plain, err := r.cipher.Open(r.plain[:0], nonce(r.i, last), r.sealed[:size], nil)
	if err != nil {
		r.err = ErrInvalid
		return
	}
	r.rest, r.i = plain, r.i+1
	r.have = copy(r.sealed, r.sealed[size:r.have])
	if last {
		r.err = io.EOF
	}
}
