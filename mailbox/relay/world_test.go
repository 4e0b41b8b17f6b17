package relay

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"go.uber.org/goleak"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

func TestMain(m *testing.M) {
	if runSenders() || runFlood() {
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	overTCP  = "/ip4/127.0.0.1/tcp/0"
	overQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
)

// seedKey is a deterministic key.
func seedKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// newHost is a real libp2p host on loopback with one transport.
func newHost(t testing.TB, key ed25519.PrivateKey, listen string) host.Host {
	t.Helper()
	k, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	transport := libp2p.Transport(tcp.NewTCPTransport)
	if listen == overQUIC {
		transport = libp2p.Transport(libp2pquic.NewTransport)
	}
	h, err := libp2p.New(libp2p.Identity(k), libp2p.ListenAddrStrings(listen), transport,
		libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func peerOf(h host.Host) dht.Peer {
	p := dht.Peer{ID: []byte(h.ID())}
	for _, a := range h.Addrs() {
		p.Addrs = append(p.Addrs, a.Bytes())
	}
	return p
}

// shared makes the memory store, which is for one goroutine, fit for many.
type shared struct {
	mu   sync.Mutex
	m    mailbox.Store
	dos  int
	fail error
}

func newShared() *shared { return &shared{m: mailbox.NewMemory()} }

func (s *shared) Do(ctx context.Context, fn func(mailbox.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dos++
	if s.fail != nil {
		return s.fail
	}
	return s.m.Do(ctx, fn)
}

// count is how many transactions there were.
func (s *shared) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dos
}

func (s *shared) View(fn func(mailbox.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.View(fn)
}

// relayAt serves a relay on a host with the key of that name.
func relayAt(t testing.TB, name, listen string, cfg Config) (*Server, dht.Peer) {
	t.Helper()
	key := seedKey(name)
	h := newHost(t, key, listen)
	if cfg.Store == nil {
		cfg.Store = newShared()
	}
	if cfg.Relay == nil {
		cfg.Relay = mailbox.NewRelay(key, mailbox.Limits{})
	}
	s, err := Serve(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, peerOf(h)
}

func clientAt(t testing.TB, name, listen string) *Client {
	t.Helper()
	c := NewClient(newHost(t, seedKey(name), listen), nil)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// coreFor is a set core of one box with the given relays as members.
func coreFor(key ed25519.PrivateKey, number uint64, now time.Time, relays ...dht.Peer) dht.SetCore {
	core := dht.SetCore{
		Box: publicOf(key), Epoch: dht.EpochAt(now), Number: number,
		Issued: now.Truncate(time.Second), NotAfter: now.Truncate(time.Second).Add(20 * 24 * time.Hour),
		R: byte(len(relays)), W: 1, S: 0,
	}
	for i, r := range relays {
		core.Members = append(core.Members, dht.Member{Peer: r, Rank: byte(i)})
	}
	return core
}

// openBox leases a box at a relay over the wire and returns its set record.
func openBox(t testing.TB, c *Client, relay dht.Peer, key ed25519.PrivateKey) *dht.SetRecord {
	t.Helper()
	set, err := leaseBox(t.Context(), c, relay, key)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func leaseBox(ctx context.Context, c *Client, relay dht.Peer, key ed25519.PrivateKey) (*dht.SetRecord, error) {
	keys := []ed25519.PrivateKey{key}
	if err := c.Reserve(ctx, relay, keys); err != nil {
		return nil, err
	}
	core := coreFor(key, 1, time.Now(), relay)
	leases, err := c.Commit(ctx, relay, keys, []dht.SetCore{core})
	if err != nil {
		return nil, err
	}
	set, err := dht.SignSetRecord(key, core, leases)
	if err != nil {
		return nil, err
	}
	return set, c.PutSet(ctx, relay, set.Bytes())
}

// depositTo is the n-th envelope of size bytes for a box at the relay "relay".
func depositTo(key ed25519.PrivateKey, n, size int) mailbox.Deposit {
	return depositAt("relay", key, n, size)
}

// passes remembers the passes that tests have made.
var passes sync.Map

type passName struct {
	relay string
	box   [32]byte
	nth   int
}

// passFor is a contact's pass; each lets 5,000 envelopes in.
func passFor(relay string, box ed25519.PrivateKey, nth int) []byte {
	name := passName{relay, [32]byte(publicOf(box)), nth}
	if p, ok := passes.Load(name); ok {
		return p.([]byte)
	}
	holder := seedKey(fmt.Sprint(name))
	cert := pass.Issue(box, publicOf(holder))
	p := pass.Use(holder, cert, dht.PeerFromKey(publicOf(seedKey(relay))), mailbox.IDOf(publicOf(box)))
	passes.Store(name, p)
	return p
}

// depositAt is depositTo at another relay.
func depositAt(relay string, key ed25519.PrivateKey, n, size int) mailbox.Deposit {
	envelope := make([]byte, size)
	binary.BigEndian.PutUint64(envelope, uint64(n))
	return mailbox.Deposit{
		Pass: passFor(relay, key, n/4000),
		Box:  mailbox.IDOf(publicOf(key)), Envelope: envelope,
		Expires: time.Now().Add(time.Hour), SetNumber: 1,
	}
}

// pipeStream is one end of a stream in memory.
type pipeStream struct{ net.Conn }

func (p pipeStream) Reset() error { return p.Close() }

// pipe is a stream in memory: unbuffered, with deadlines.
func pipe() (a, b pipeStream) {
	x, y := net.Pipe()
	return pipeStream{x}, pipeStream{y}
}

func mustPeer(t testing.TB, name string) peer.ID {
	t.Helper()
	return peer.ID(dht.PeerFromKey(publicOf(seedKey(name))))
}
