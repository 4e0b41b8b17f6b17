// Package lines reads the standard input of a command that talks with a person or a program, a line at a time.
//
// What it guarantees: a line takes at most so many bytes of memory, however long it is; the reader can be given up while
// it waits for a line.
//
// What it does not: a read that was given up ends only with its input; a command does that when it ends.
package lines

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

// Line is one line, or the end.
type Line struct {
	Text []byte // without its end
	Long bool   // had more bytes than allowed: there is no text
	Err  error  // why there are no more lines; io.EOF at the end of the input
}

// Read sends the lines of in, each of at most so many bytes, and then one with the reason of the end. When ctx ends there
// are no more: whoever waits for a line waits for ctx too.
func Read(ctx context.Context, in io.Reader, most int) <-chan Line {
	out := make(chan Line)
	go func() {
		defer close(out)
		r := bufio.NewReaderSize(in, most+2) // with its end, of one byte or two
		for {
			l := next(r, most)
			last := l.Err
			if last != nil && (len(l.Text) > 0 || l.Long) {
				l.Err = nil // the last line has no end of its own
			}
			for {
				select {
				case out <- l:
				case <-ctx.Done():
					return
				}
				if last == nil || l.Err != nil {
					break
				}
				l = Line{Err: last}
			}
			if last != nil {
				return
			}
		}
	}()
	return out
}

func next(r *bufio.Reader, most int) Line {
	text, err := r.ReadSlice('\n')
	long := false
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = r.ReadSlice('\n')
	}
	if long {
		return Line{Long: true, Err: err}
	}
	if line, ended := bytes.CutSuffix(text, []byte{'\n'}); ended {
		text = bytes.TrimSuffix(line, []byte{'\r'})
	}
	if len(text) > most {
		return Line{Long: true, Err: err}
	}
	return Line{Text: bytes.Clone(text), Err: err}
}
