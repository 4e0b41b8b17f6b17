package host

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

const within = 20 * time.Second

func testOwn(t *testing.T, name string) *Own {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	o, err := New(ed25519.NewKeyFromSeed(seed), Config{
		Loopback: true, Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func TestAPortThatAnotherNodeHasIsRefused(t *testing.T) {
	first := testOwn(t, "first")
	var at string
	for _, a := range first.Addrs() {
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			at = a.String()
		}
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if o, err := New(key, Config{Loopback: true, Listen: []string{at}}); err == nil {
		o.Close()
		t.Fatalf("two nodes listen on %s", at)
	}
	first.Close()
	o, err := New(key, Config{Loopback: true, Listen: []string{at}})
	if err != nil {
		t.Fatalf("control: the port is free again: %v", err)
	}
	o.Close()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

func connect(t *testing.T, from, to Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := from.Connect(ctx, peer.AddrInfo{ID: to.ID(), Addrs: to.Addrs()}); err != nil {
		t.Fatal(err)
	}
}

// conn is a connection from an address.
type conn struct {
	network.Conn
	from string
}

func (c conn) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast(c.from) }

func TestAPersonHasRoomForFewFromOneAddress(t *testing.T) {
	for _, c := range []struct {
		others, from string // %d: of 16 connections
		full         bool
	}{
		{"/ip4/203.0.113.7/tcp/%d", "/ip4/203.0.113.7/tcp/99", true},
		{"/ip4/203.0.113.7/tcp/%d", "/ip4/203.0.113.8/tcp/99", false},
		{"/ip6/2001:db8:0:1:%x::1/tcp/1", "/ip6/2001:db8:0:1::2/udp/9/quic-v1", true},
		{"/ip6/2001:db8:0:1:%x::1/tcp/1", "/ip6/2001:db8:0:100::2/tcp/1", false},
		{"/ip4/127.0.0.1/tcp/%d", "/ip4/127.0.0.1/tcp/99", false},
	} {
		var conns []network.Conn
		for i := range personConnsPerIP {
			conns = append(conns, conn{from: fmt.Sprintf(c.others, i+1)})
		}
		if got := crowded(conns, ma.StringCast(c.from)); got != c.full {
			t.Errorf("%s after %s: full %t", c.from, c.others, got)
		}
		if crowded(conns[1:], ma.StringCast(c.from)) { // the control
			t.Errorf("%s after one less: full", c.from)
		}
	}
}

// The room of a relay comes and goes while the host runs.
func TestTheRoomFollowsTheRole(t *testing.T) {
	o := testOwn(t, "own")
	most := func() (n int) {
		o.limits.ViewSystem(func(s network.ResourceScope) error {
			n = s.(rcmgr.ResourceScopeLimiter).Limit().GetConnLimit(network.DirInbound)
			return nil
		})
		return n
	}
	for _, c := range []struct {
		relay bool
		want  int
	}{{false, personConns}, {true, relayConns}, {false, personConns}} {
		if err := o.Serve(c.relay); err != nil {
			t.Fatal(err)
		}
		if n := most(); n != c.want {
			t.Errorf("relay %t: room for %d connections, want %d", c.relay, n, c.want)
		}
	}
	small := rcmgr.BaseLimit{} // what the limit says is what happens
	o.limits.ViewSystem(func(s network.ResourceScope) error { s.(rcmgr.ResourceScopeLimiter).SetLimit(&small); return nil })
	other := testOwn(t, "other")
	if other.Connect(t.Context(), peer.AddrInfo{ID: o.ID(), Addrs: o.Addrs()}) == nil && len(o.Network().Conns()) > 0 {
		t.Error("a host without room took a connection")
	}
}

func TestAPersonsHostIsTrimmedAndARelaysIsNot(t *testing.T) {
	for _, relay := range []bool{true, false} {
		o := testOwn(t, "own")
		o.low, o.high, o.grace = 2, 4, 0
		if err := o.Serve(relay); err != nil {
			t.Fatal(err)
		}
		friend := testOwn(t, "friend")
		connect(t, friend, o)
		o.ConnManager().Protect(friend.ID(), "friend")
		for i := range 4 {
			connect(t, testOwn(t, fmt.Sprint("peer", i)), o)
		}
		if relay {
			if n := len(o.Network().Peers()); n != 5 {
				t.Errorf("a relay keeps %d of 5 peers", n)
			}
			continue
		}
		eventually(t, "trimmed", func() bool { return len(o.Network().Peers()) == 2 })
		if o.Network().Connectedness(friend.ID()) != network.Connected {
			t.Error("a protected peer was let go")
		}
	}
}

// Each stream over TCP takes its whole receive window of what libp2p lets a host have, full or not. A relay has room for
// many thousands; the control is a person's host, which needs few.
func TestARelayHasRoomForTenThousandStreams(t *testing.T) {
	const window, streams = 256 << 10, 10_000
	o := testOwn(t, "own")
	for _, relay := range []bool{true, false} {
		if err := o.Serve(relay); err != nil {
			t.Fatal(err)
		}
		for name, view := range map[string]func(func(network.ResourceScope) error) error{
			"all": o.limits.ViewSystem, "not yet identified": o.limits.ViewTransient,
		} {
			view(func(s network.ResourceScope) error {
				l := s.(rcmgr.ResourceScopeLimiter).Limit()
				if fits := l.GetMemoryLimit() >= window*streams && l.GetStreamLimit(network.DirInbound) >= streams; fits != relay {
					t.Errorf("%s: relay %t, %d bytes, %d streams", name, relay, l.GetMemoryLimit(), l.GetStreamLimit(network.DirInbound))
				}
				return nil
			})
		}
	}
}

// A host apart can be found by nobody, says nothing of where it is, and is another each time.
func TestAHostApart(t *testing.T) {
	before := goleak.IgnoreCurrent()
	relay := testOwn(t, "relay")
	a, err := NewApart(true, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewApart(true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.ID() == b.ID() {
		t.Error("two hosts with one key")
	}
	asked, err := relay.EventBus().Subscribe(new(event.EvtPeerIdentificationFailed))
	if err != nil {
		t.Fatal(err)
	}
	connect(t, a, relay)
	select {
	case <-asked.Out():
	case <-time.After(within):
		t.Fatal("the relay did not ask who it is")
	}
	asked.Close()
	if p, err := relay.Peerstore().GetProtocols(a.ID()); err != nil || len(p) > 0 {
		t.Errorf("it says that it speaks %v (%v)", p, err)
	}
	if told := relay.Peerstore().Addrs(a.ID()); len(a.Addrs()) != 0 || len(a.Network().ListenAddresses()) != 0 || len(told) > 1 {
		t.Errorf("listens on %v, tells %v, and the relay knows %v", a.Addrs(), a.Network().ListenAddresses(), told)
	}
	if c := a.Network().ConnsToPeer(relay.ID()); len(c) != 1 || transportOf(c[0]) != ma.P_TCP {
		t.Errorf("not one connection over TCP: %v", c)
	}
	a.Close()
	b.Close()
	relay.Close()
	goleak.VerifyNone(t, before)
}

// The first stream asks whether the protocol is spoken, a later one says it with its first bytes; who waits for an answer that does
// not come waits no longer than he wants.
func TestAHostApartOpensStreams(t *testing.T) {
	relay := testOwn(t, "relay")
	relay.SetStreamHandler("/echo", func(s network.Stream) {
		_, _ = io.Copy(s, s)
		s.Close()
	})
	a, err := NewApart(true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	connect(t, a, relay)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for i := range 3 {
		s, err := a.NewStream(ctx, relay.ID(), "/echo")
		if err != nil {
			t.Fatal(err)
		}
		if _, late := s.(*assumed); late != (i > 0) || s.Protocol() != "/echo" {
			t.Errorf("stream %d: %T, %s", i, s, s.Protocol())
		}
		_ = s.SetDeadline(time.Now().Add(within))
		_, _ = s.Write([]byte("hello"))
		_ = s.CloseWrite()
		if got, err := io.ReadAll(s); err != nil || string(got) != "hello" {
			t.Errorf("stream %d: %q, %v", i, got, err)
		}
		s.Close()
	}
	if s, err := a.NewStream(ctx, relay.ID(), "/other"); err == nil {
		t.Errorf("a stream of a protocol that is not spoken: %v", s.Protocol())
	}
	relay.RemoveStreamHandler("/echo")
	s, err := a.NewStream(ctx, relay.ID(), "/echo")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, _ = s.Write([]byte("hello"))
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("an answer from nobody")
	}
	over, end := context.WithCancel(ctx)
	end()
	if _, err := a.NewStream(over, relay.ID(), "/third"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the wait: %v", err)
	}
}

func transportOf(c network.Conn) int {
	for _, p := range c.RemoteMultiaddr().Protocols() {
		if p.Code == ma.P_TCP || p.Code == ma.P_QUIC_V1 {
			return p.Code
		}
	}
	return 0
}

// Where nobody answers on TCP, QUIC is dialled.
func TestAHostApartFallsBackToQUIC(t *testing.T) {
	seed := make([]byte, ed25519.SeedSize)
	o, err := New(ed25519.NewKeyFromSeed(seed), Config{Loopback: true, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	a, err := NewApart(true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	dead := ma.StringCast("/ip4/127.0.0.1/tcp/1")
	if err := a.Connect(ctx, peer.AddrInfo{ID: o.ID(), Addrs: append(o.Addrs(), dead)}); err != nil {
		t.Fatal(err)
	}
	if c := a.Network().ConnsToPeer(o.ID()); len(c) == 0 || transportOf(c[0]) != ma.P_QUIC_V1 {
		t.Errorf("%v", c)
	}
}

// A peer that opens one stream after the other is stopped by libp2p, before any protocol is agreed on.
func TestAPeerOpensFewStreams(t *testing.T) {
	o, peer := testOwn(t, "own"), testOwn(t, "peer")
	o.SetStreamHandler("/hold", func(network.Stream) {})
	connect(t, peer, o)
	open := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		s, err := peer.NewStream(ctx, o.ID(), "/hold")
		if err == nil {
			s.SetDeadline(time.Now().Add(within))
			_, err = s.Write([]byte("x"))
		}
		return err
	}
	for i := range peerStreamsIn / 2 { // the control: room for what honest peers need
		if err := open(); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	for range 2 * peerStreamsIn {
		open()
	}
	n := 0
	for _, c := range o.Network().ConnsToPeer(peer.ID()) {
		n += len(c.GetStreams())
	}
	if n > peerStreamsIn {
		t.Errorf("a peer holds %d streams open", n)
	}
}
