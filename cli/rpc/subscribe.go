package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

// Node is a running node; *api.Client is one.
type Node interface {
	Raw(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error)
	Events(ctx context.Context, since uint64, fn func(view.Notice) error) error
	Consume(ctx context.Context, consumer string, fn func(view.Notice) error) error
}

// subscriptions are the streams of a program.
type subscriptions struct {
	mu   sync.Mutex
	ctx  context.Context // of all streams
	end  map[uint64]context.CancelFunc
	last uint64
	work sync.WaitGroup
}

func (s *subscriptions) init(ctx context.Context) {
	s.ctx, s.end = ctx, map[uint64]context.CancelFunc{}
}

func (s *subscriptions) wait() { s.work.Wait() }

// begin makes room for a stream.
func (s *subscriptions) begin() (ctx context.Context, number uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.end) == maxSubscriptions {
		return nil, 0, api.Fail(api.ExitRefused, fmt.Sprintf("there are %d subscriptions already", maxSubscriptions), "kith api --help")
	}
	s.last++
	ctx, s.end[s.last] = context.WithCancel(s.ctx)
	return ctx, s.last, nil
}

// stop ends a stream; it reports whether there was one.
func (s *subscriptions) stop(number uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.end[number]
	if ok {
		end()
		delete(s.end, number)
	}
	return ok
}

// subscribeRequest says which events. Without since and consumer the stream begins with the next event.
type subscribeRequest struct {
	Since    json.RawMessage `json:"since"`    // the cursor of the last event that the program has, or "now"
	Consumer string          `json:"consumer"` // or go on after the cursor that the node keeps under this name
	Types    []string        `json:"types"`    // only events of these types; default: all
}

// subscription names a stream, in answers and in requests.
type subscription struct {
	Subscription uint64 `json:"subscription"`
}

// subscribe makes a stream, which begins only when its answer is written: a program learns the number first.
func (s *Server) subscribe(params json.RawMessage) (answer json.RawMessage, then func(), err error) {
	var q subscribeRequest
	if err := strict(params, &q); err != nil {
		return nil, nil, err
	}
	from, err := s.start(q)
	if err != nil {
		return nil, nil, err
	}
	ctx, number, err := s.subs.begin()
	if err != nil {
		return nil, nil, err
	}
	then = func() {
		s.subs.work.Go(func() {
			defer s.subs.stop(number)
			s.stream(ctx, number, q, from)
		})
	}
	answer, err = api.Object("subscribed", subscription{number})
	return answer, then, err
}

// start is the cursor from which a stream begins; a consumer's is known to the node.
func (s *Server) start(q subscribeRequest) (uint64, error) {
	since := string(bytes.TrimSpace(q.Since))
	switch {
	case q.Consumer != "" && since != "":
		return 0, api.Fail(api.ExitUsage, "a stream begins at since or where the consumer is, not both", "kith api --help")
	case q.Consumer != "":
		return 0, nil
	case since == "", since == `"now"`:
		raw, err := s.node.Raw(s.subs.ctx, "events", json.RawMessage(`{"since":`+strconv.FormatUint(1<<63, 10)+`}`))
		var page api.EventsPage
		if err == nil {
			err = json.Unmarshal(raw, &page)
		}
		return page.Newest, err
	}
	cursor, err := strconv.ParseUint(since, 10, 64)
	if err != nil {
		return 0, api.Fail(api.ExitUsage, `since is the cursor of an event, or "now"`, "kith api --help")
	}
	return cursor, nil
}

// ended says that a stream is over although nobody ended it.
type ended struct {
	Subscription uint64   `json:"subscription"`
	Cursor       uint64   `json:"cursor,omitempty"` // go on after this; absent: nothing was passed on
	Error        *problem `json:"error"`
}

type event struct {
	Subscription uint64          `json:"subscription"`
	Event        json.RawMessage `json:"event"`
}

// stream writes events until the program wants no more or the node is gone. A node drops a reader who does not read;
// such a one goes on where it was.
func (s *Server) stream(ctx context.Context, number uint64, q subscribeRequest, cursor uint64) {
	var got bool
	each := func(n view.Notice) error {
		got, cursor = true, max(cursor, n.Cursor) // what is not kept, as typing, has none
		if len(q.Types) > 0 && !slices.Contains(q.Types, n.Type) {
			return nil
		}
		line, err := api.Object("", n)
		if err != nil {
			return err
		}
		s.write(encode(notice{"2.0", "event", event{number, line}}))
		return ctx.Err()
	}
	run := func() error { return s.node.Events(ctx, cursor, each) }
	if q.Consumer != "" {
		run = func() error { return s.node.Consume(ctx, q.Consumer, each) }
	}
	err := run()
	for got && errors.Is(err, api.ErrNoNode) && ctx.Err() == nil {
		got = false
		err = s.node.Events(ctx, cursor, each)
	}
	if ctx.Err() != nil {
		return
	}
	s.write(encode(notice{"2.0", "subscription_end", ended{number, cursor, problemOf(err)}}))
}

func (s *Server) unsubscribe(params json.RawMessage) (json.RawMessage, error) {
	var q subscription
	if err := strict(params, &q); err != nil {
		return nil, err
	}
	if !s.subs.stop(q.Subscription) {
		return nil, api.Fail(api.ExitNotFound, fmt.Sprintf("there is no subscription %d", q.Subscription), "kith api --help")
	}
	return api.Object("unsubscribed", q)
}

// strict refuses unknown fields, as the node does.
func strict(raw json.RawMessage, into any) error {
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return api.Fail(api.ExitUsage, "the request: "+err.Error(), "kith api --help")
	}
	return nil
}
