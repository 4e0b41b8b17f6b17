package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Client talks to the node behind a socket. It is safe for concurrent use.
type Client struct {
	http *http.Client
}

// Dial makes a client for the socket at path. It returns ErrNoNode if nothing answers there.
func Dial(path string) (*Client, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout}
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := dial(context.Background(), "", "")
	if err != nil {
		return nil, ErrNoNode
	}
	conn.Close()
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}}, nil
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call runs a method. An error that the node answered is an *Error.
func (c *Client) Call(ctx context.Context, method string, req, resp any) error {
	return callTyped(ctx, c, method, req, resp)
}

// Raw runs a method with the JSON of its request and returns its object.
func (c *Client) Raw(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error) {
	body, err := c.do(ctx, http.MethodPost, "/v1/"+url.PathEscape(method), req)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, MaxResponse+1))
	switch {
	case err != nil:
		return nil, unanswered(err)
	case len(raw) > MaxResponse:
		return nil, fmt.Errorf("%s: the answer is longer than %d bytes", method, MaxResponse)
	}
	return bytes.TrimSpace(raw), nil
}

// Events calls fn with each event after since, in order, until fn returns an error, ctx ends or the node stops. It
// returns that error; ErrNoNode when the node stopped.
func (c *Client) Events(ctx context.Context, since uint64, fn func(view.Notice) error) error {
	return c.stream(ctx, url.Values{"since": {strconv.FormatUint(since, 10)}}, fn)
}

// Now is Events from the next event on.
func (c *Client) Now(ctx context.Context, fn func(view.Notice) error) error {
	return c.stream(ctx, url.Values{"since": {"now"}}, fn)
}

// Consume is Events from the cursor that the node keeps for a named consumer. fn's success does not move it: call
// consumer_set.
func (c *Client) Consume(ctx context.Context, consumer string, fn func(view.Notice) error) error {
	return c.stream(ctx, url.Values{"consumer": {consumer}}, fn)
}

func (c *Client) stream(ctx context.Context, q url.Values, fn func(view.Notice) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/events?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, MaxRequest), MaxResponse)
	for lines.Scan() {
		var n view.Notice
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return fmt.Errorf("event: %w", err)
		}
		if err := fn(n); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrNoNode
}

// do sends a request and turns an answer that is an error into one.
func (c *Client) do(ctx context.Context, verb, path string, body []byte) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, verb, "http://kith"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, unanswered(err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	var e Error
	if err := json.NewDecoder(io.LimitReader(answer.Body, MaxRequest)).Decode(&e); err != nil || e.Exit == 0 {
		return nil, fmt.Errorf("the node answered %s", answer.Status)
	}
	return nil, &e
}

// unanswered keeps the caller's own end apart from a node that went away.
func unanswered(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ErrNoNode
}

// Local runs the methods that need no node on a store that is open read-only.
type Local struct {
	// Open runs fn in a read transaction of the store.
	Open func(fn func(store.Tx) error) error
}

// Raw runs a method in this process.
func (l Local) Raw(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error) {
	b := &Backend{View: l.Open, Now: time.Now}
	return call(ctx, b, method, req)
}

// Call runs a method in this process.
func (l Local) Call(ctx context.Context, method string, req, resp any) error {
	return callTyped(ctx, l, method, req, resp)
}

type rawCaller interface {
	Raw(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error)
}

func callTyped(ctx context.Context, c rawCaller, method string, req, resp any) error {
	raw, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if req == nil {
		raw = nil
	}
	answer, err := c.Raw(ctx, method, raw)
	if err != nil || resp == nil {
		return err
	}
	return json.Unmarshal(answer, resp)
}
