// Package api is the local control interface of a running node: HTTP/1.1 and JSON on a Unix socket, for the person's own programs.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/kith-im/kith/node"
)

// Backend is the node behind the API. The fields above the blank line are required; a nil field below it makes its methods answer "no node".
type Backend struct {
	// Look runs fn in a read transaction on the goroutine that owns the engine. e is nil when no engine runs (a store opened read-only).
	Look func(ctx context.Context, fn func(tx node.Tx, e *node.Engine, now time.Time) error) error

	// Do runs fn in a turn and returns after its commit.
	Do func(ctx context.Context, fn func(e *node.Engine, t *node.Turn) error) error
	// Changed returns a channel that is closed after the next commit that wrote events.
	Changed  func() <-chan struct{}
	State    func() State
	Peers    func() []Peer
	Ping     func(ctx context.Context, to string) ([]Ping, error)
	Netcheck func(ctx context.Context) ([]Check, error)
	Relay    func() Relay
	// SetRelay turns serving as a relay on or off, now and after a restart.
	SetRelay func(ctx context.Context, on bool) (Relay, error)
	Explain  func(ctx context.Context) (Explanation, error)
}

// State is what the process itself knows.
type State struct {
	State   string    `json:"state"` // ready (the API answers, no peers), online
	Peer    string    `json:"peer"`
	Addrs   []string  `json:"addrs"`
	Peers   int       `json:"peers"`
	Started time.Time `json:"started"`
	Relay   bool      `json:"relay"`
	Hint    string    `json:"hint,omitempty"` // the next step, if one is useful
}

// Peer is one libp2p connection.
type Peer struct {
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs"`
	Inbound   bool     `json:"inbound"`
	Relay     bool     `json:"relay"`
	Who       string   `json:"who,omitempty"` // handle, if it is a contact's device
	LatencyMS float64  `json:"latency_ms,omitempty"`
}

// Ping is one answer to a ping.
type Ping struct {
	Device string  `json:"device,omitempty"`
	Peer   string  `json:"peer"`
	Addr   string  `json:"addr,omitempty"`
	OK     bool    `json:"ok"`
	RTTMS  float64 `json:"rtt_ms,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Check is one line of netcheck and doctor: ok, warn or fail.
type Check struct {
	Result string `json:"result"`
	What   string `json:"what"`
	Why    string `json:"why"`
	Fix    string `json:"fix,omitempty"`
}

// Relay is the state of this node as a relay.
type Relay struct {
	Serving   bool   `json:"serving"`
	Boxes     int    `json:"boxes"`
	Envelopes int    `json:"envelopes"`
	Bytes     int64  `json:"bytes"`
	MaxBytes  int64  `json:"max_bytes"`
	Deposits  uint64 `json:"deposits"`
	Refused   uint64 `json:"refused"`
}

// Explanation says why our relays were elected.
type Explanation struct {
	Epoch      uint32      `json:"epoch"`
	Recomputed bool        `json:"recomputed"` // the same election was run again here and gave the same relays
	Thin       bool        `json:"thin"`
	Lines      []Candidate `json:"candidates"`
}

// Candidate is one relay of an Explanation.
type Candidate struct {
	Peer   string  `json:"peer"`
	Chosen string  `json:"chosen"` // member, standby, no
	Why    string  `json:"why"`
	Weight float64 `json:"weight"`
}

// Options of Serve.
type Options struct {
	Log     *slog.Logger
	Version string
}

// Server answers on the socket.
type Server struct{}

var errSketch = errors.New("not built yet")

// Serve starts answering on the Unix socket at path (mode 0600).
func Serve(path string, b Backend, o Options) (*Server, error) { return nil, errSketch }

// Close ends every stream and removes the socket.
func (s *Server) Close() error { return errSketch }

// Client talks to a Server.
type Client struct{}

// Dial connects to the socket at path; ErrNoNode if nothing answers there.
func Dial(path string) (*Client, error) { return nil, errSketch }

// ErrNoNode says that no node answers on the socket.
var ErrNoNode = errors.New("no node is running")

// Call runs one method.
func (c *Client) Call(ctx context.Context, method string, req, resp any) error { return errSketch }

// Events calls fn with each event after since, in order, until fn returns an error or ctx ends.
func (c *Client) Events(ctx context.Context, since uint64, fn func(node.Notice) error) error {
	return errSketch
}

// Raw runs one method with the bytes of a JSON request.
func (c *Client) Raw(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error) {
	return nil, errSketch
}
