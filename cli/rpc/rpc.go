// Package rpc speaks JSON-RPC 2.0 with a program on its standard streams, one JSON value a line, over the methods of a
// node's local API. Three methods are its own: subscribe, unsubscribe and end.
//
// What it guarantees: every line is answered as the specification says, whatever it holds, and no line ends the
// conversation; a line, a batch, what runs at a time and what is held of answers are bounded; the quick methods of a
// program run in the order in which it asked for them, while those that wait for the network or for people run beside
// them; an event is written before the next one is read, so that a program that does not read holds up nobody but itself.
//
// What it does not: it does not authenticate (who runs it may open the node's socket), it keeps no cursor (consumer_set
// does), and it does not wait for a node to come back: a subscription that ends says so and with which cursor to go on.
package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/kith-im/kith/cli/lines"
	"github.com/kith-im/kith/node/api"
)

const (
	// MaxLine is the size in bytes of a line from the program, without its end.
	MaxLine = 1 << 20
	// MaxBatch is how many requests fit in a batch.
	MaxBatch = 64
	// maxBeside is how many lines with slow methods run at a time.
	maxBeside = 16
	// maxSubscriptions is how many streams a program has at a time.
	maxSubscriptions = 16
	// maxHeld is the size in bytes of the answers of a batch after which the rest of it is refused.
	maxHeld = api.MaxResponse
)

// Codes of errors, of the specification and of the node: nodeError less the exit code that a command would end with.
const (
	parseError     = -32700
	invalidRequest = -32600
	unknownMethod  = -32601
	invalidParams  = -32602
	nodeError      = -32000
)

// Server answers one program.
type Server struct {
	node  Node
	write func(line []byte) // writes a JSON document and a line break; safe for concurrent use

	beside chan struct{} // a slot for each line with slow methods
	work   sync.WaitGroup
	subs   subscriptions
	over   chan struct{} // closed: the program wants no more
	finish func()        // closes it
}

// New makes a server for one program. write prints one JSON document as a line.
func New(n Node, write func(line []byte)) *Server {
	s := &Server{node: n, write: write, beside: make(chan struct{}, maxBeside), over: make(chan struct{})}
	s.finish = sync.OnceFunc(func() { close(s.over) })
	return s
}

// Serve answers the lines of in until it ends or the program says end; then it lets slow methods finish and ends the
// subscriptions. It returns nil then, or else why it ended before.
func (s *Server) Serve(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.subs.wait()
	streams, end := context.WithCancel(ctx)
	defer end()
	s.subs.init(streams)
	defer s.work.Wait()

	from := lines.Read(ctx, in, MaxLine)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.over:
			return nil
		case l := <-from:
			if errors.Is(l.Err, io.EOF) {
				return nil
			}
			if l.Err != nil {
				return fmt.Errorf("standard input: %w", l.Err)
			}
			s.line(ctx, l)
		}
	}
}

func (s *Server) line(ctx context.Context, l lines.Line) {
	if l.Long {
		s.write(failure(nil, invalidRequest, fmt.Sprintf("a line has at most %d bytes", MaxLine)))
		return
	}
	if text := bytes.TrimSpace(l.Text); len(text) > 0 {
		s.answer(ctx, text)
	}
}

// answer deals with one line: at once, or beside the next ones if it waits for the network or for people.
func (s *Server) answer(ctx context.Context, line []byte) {
	calls, batch, problem := parse(line)
	if problem != nil {
		s.write(problem)
		return
	}
	if !slow(calls) {
		s.run(ctx, calls, batch)
		return
	}
	select {
	case s.beside <- struct{}{}:
	default:
		s.refuse(calls, batch)
		return
	}
	s.work.Go(func() {
		defer func() { <-s.beside }()
		s.run(ctx, calls, batch)
	})
}

func slow(calls []call) bool {
	for _, c := range calls {
		if m, ok := api.Find(c.method); ok && m.Slow {
			return true
		}
	}
	return false
}

// run calls one after the other and writes what they answer.
func (s *Server) run(ctx context.Context, calls []call, batch bool) {
	held := 0
	var then []func()
	s.each(calls, batch, func(c call) []byte {
		if held > maxHeld {
			return failure(c.id, nodeError-api.ExitRefused, "the answers of this batch are too long: it was not run")
		}
		answer, next := s.one(ctx, c)
		held += len(answer)
		if next != nil {
			then = append(then, next)
		}
		return answer
	})
	for _, next := range then {
		next()
	}
}

// refuse answers a line that is one too many.
func (s *Server) refuse(calls []call, batch bool) {
	s.each(calls, batch, func(c call) []byte {
		if c.problem != nil {
			return c.problem
		}
		return failure(c.id, nodeError-api.ExitRefused, fmt.Sprintf("%d methods that wait are running already", maxBeside))
	})
}

// each writes the answers of a line: those of a batch together, none for a notification.
func (s *Server) each(calls []call, batch bool, answer func(call) []byte) {
	var answers [][]byte
	for _, c := range calls {
		if a := answer(c); !c.notification {
			answers = append(answers, a)
		}
	}
	switch {
	case len(answers) == 0:
	case batch:
		s.write(append(append([]byte{'['}, bytes.Join(answers, []byte{','})...), ']'))
	default:
		s.write(answers[0])
	}
}

// one runs a call and returns its answer, and what begins when the answer is written.
func (s *Server) one(ctx context.Context, c call) (answer []byte, then func()) {
	if c.problem != nil {
		return c.problem, nil
	}
	var result json.RawMessage
	var err error
	switch c.method {
	case "subscribe":
		result, then, err = s.subscribe(c.params)
	case "unsubscribe":
		result, err = s.unsubscribe(c.params)
	case "end":
		result, err = api.Object("ended", api.None{})
		then = s.finish
	default:
		if _, ok := api.Find(c.method); !ok {
			return failure(c.id, unknownMethod, fmt.Sprintf("there is no method %q", c.method)), nil
		}
		result, err = s.node.Raw(ctx, c.method, c.params)
	}
	if err != nil {
		return refusal(c.id, err), nil
	}
	return success(c.id, result), then
}
