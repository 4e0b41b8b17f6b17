package p2p

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
)

// Errors of the home folder and of the node, each with an exit code of its own.
var (
	// ErrNoHome: no identity in this home folder (exit 10).
	ErrNoHome = errors.New("no identity here")
	// ErrExists: Init or Link would overwrite an identity (exit 1).
	ErrExists = errors.New("an identity is here already")
	// ErrPermissions: the folder or a key file is readable by others (exit 1).
	ErrPermissions = errors.New("unsafe permissions")
	// ErrLocked: another process owns the store (exit 11).
	ErrLocked = errors.New("store locked")
	// ErrClosed: the node is shutting down (exit 5).
	ErrClosed = errors.New("node closed")
	// ErrCannotStore: the disk refuses writes, e.g. it is full (exit 1).
	ErrCannotStore = errors.New("cannot store")
)

// Config of a node. Home is the only field that must be set.
type Config struct {
	Home       string
	Passphrase []byte     // nil when the vault has none
	Listen     []string   // multiaddrs; nil: TCP and QUIC on all interfaces, any port
	Relay      bool       // serve as a relay
	Bootstrap  []dht.Peer // directory peers to begin with
	Pins       []dht.Peer // relays that the person chose
	MDNS       bool       // find peers on the local network
	Loopback   bool       // tests, demo, one machine: loopback addresses count, election caps off
	Now        func() time.Time
	Rand       io.Reader
	Log        *slog.Logger
}

// Node is one running device.
type Node struct{}

var errSketch = errors.New("p2p: not built yet")

// Start opens the home folder and brings the device up. It returns when the
// node can take requests; peers come later.
func Start(ctx context.Context, c Config) (*Node, error) { return nil, errSketch }

// Close stops everything and waits for it.
func (n *Node) Close() error { return nil }

// Do runs fn in a turn of the engine and returns after its commit: nil means
// durable. fn runs on the loop's goroutine and must not block.
func (n *Node) Do(ctx context.Context, fn func(e *node.Engine, t *node.Turn) error) error {
	return errSketch
}

// View runs fn in a read transaction, beside the loop. fn must not keep tx.
func (n *Node) View(fn func(tx node.Tx) error) error { return errSketch }

// Events waits until there are notices after cursor since, or ctx ends, and
// returns up to max of them in order.
func (n *Node) Events(ctx context.Context, since uint64, max int) ([]node.Notice, error) {
	return nil, errSketch
}

// PeerID is the node's libp2p peer id as text.
func (n *Node) PeerID() string { return "" }

// Addrs are the node's addresses with the peer id, as text.
func (n *Node) Addrs() []string { return nil }

// Self is the node as others dial it.
func (n *Node) Self() dht.Peer { return dht.Peer{} }

// Now is the node's clock.
func (n *Node) Now() time.Time { return time.Time{} }

// PeerView is one connected peer.
type PeerView struct {
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs"`
	Transport string   `json:"transport"` // quic, tcp
	Direct    bool     `json:"direct"`    // a held direct stream
	Relay     bool     `json:"relay"`     // it serves the relay protocol
	Agent     string   `json:"agent"`
	Since     string   `json:"since"`
}

// Peers lists the connected peers in order of their id.
func (n *Node) Peers() []PeerView { return nil }

// Ping measures round trips to a peer (its id or a full multiaddr).
func (n *Node) Ping(ctx context.Context, peer string) (time.Duration, error) { return 0, errSketch }

// NetView is the state of the network as this node sees it.
type NetView struct {
	State        string   `json:"state"` // offline, online
	Peer         string   `json:"peer"`
	Addrs        []string `json:"addrs"`
	Reachability string   `json:"reachability"` // unknown, public, private
	Peers        int      `json:"peers"`
	Directory    int      `json:"directory"` // peers in the routing table
	Relays       int      `json:"relays"`    // connected relays
	Direct       int      `json:"direct"`    // held direct streams
	Relay        bool     `json:"relay"`     // serving as a relay
	Stuck        string   `json:"stuck,omitempty"`
	Hint         string   `json:"hint,omitempty"`
}

// Net is a summary for status and netcheck.
func (n *Node) Net() NetView { return NetView{} }

// RelayState is the state of this node's own relay.
type RelayState struct {
	Enabled     bool   `json:"enabled"`
	Deposits    int64  `json:"deposits"`
	Refused     int64  `json:"refused"`
	Pushed      int64  `json:"pushed"`
	Acked       int64  `json:"acked"`
	Collectors  int64  `json:"collectors"`
	RateLimited int64  `json:"rate_limited"`
	Detail      string `json:"detail,omitempty"`
}

// Relay reports the relay role.
func (n *Node) Relay() RelayState { return RelayState{} }

// SetRelay turns the relay role on or off at run time (the caller keeps the
// choice in the configuration).
func (n *Node) SetRelay(on bool) error { return errSketch }

// InitParams of a new identity.
type InitParams struct {
	Name       string
	DeviceName string
	Passphrase []byte
	Phrase     string // empty: a new one is drawn; else the person's own
	Now        func() time.Time
	Rand       io.Reader
}

// Init makes the home folder and a new identity in it. It returns the recovery
// phrase, which is kept nowhere.
func Init(home string, p InitParams) (phrase string, id node.IdentityView, err error) {
	return "", node.IdentityView{}, errSketch
}

// LinkParams of a device that joins an existing identity.
type LinkParams struct {
	Link       string
	DeviceName string
	Passphrase []byte
	MDNS       bool
	Loopback   bool
	Listen     []string
	Bootstrap  []dht.Peer
	Now        func() time.Time
	Rand       io.Reader
	Progress   func(step string)
}

// Link makes the home folder of a further device of the identity that offered
// the link. It may be run again after it was interrupted.
func Link(ctx context.Context, home string, p LinkParams) (node.IdentityView, error) {
	return node.IdentityView{}, errSketch
}

// View opens the store of a home folder read-only, for commands that run
// without a daemon. ErrLocked says that a daemon owns it.
func View(home string, passphrase []byte, fn func(tx node.Tx) error) error { return errSketch }

// SocketPath is where the daemon of a home folder listens.
func SocketPath(home string) string { return home + "/api.sock" }
