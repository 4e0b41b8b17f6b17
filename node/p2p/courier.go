package p2p

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/node/host"

	"github.com/kith-im/kith/dht"
)

// courier carries envelopes between devices that are up at the same time, on
// held streams of /kith/direct/1: frames of u16 length | envelope, both ways.
// It writes on the stream that was opened or accepted last; after a
// simultaneous open there are two, and both are read.
//
// A frame that was handed to the transport counts as sent, no more: delivery
// is what the device's own acknowledgement says.
type courier struct {
	host  host.Host
	peers *host.AddressBook
	lanes *lanes
	// receive hands an envelope to the loop; release is called after its commit.
	receive func(from peer.ID, envelope []byte, release func())

	most int // streams held at once; tests lower it

	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
	held   map[peer.ID][]*heldStream // per peer, the newest last
	count  int
}

type heldStream struct {
	network.Stream
	peer   peer.ID
	active time.Time // last frame in or out; guarded by courier.mu
}

var errFrame = errors.New("direct: malformed frame")

func newCourier(h host.Host, peers *host.AddressBook, receive func(peer.ID, []byte, func())) *courier {
	c := &courier{
		host: h, peers: peers, receive: receive,
		lanes: newLanes(1, directDepth, maxDirectPeers), most: maxDirectStreams,
		held: map[peer.ID][]*heldStream{},
	}
	h.SetStreamHandler(DirectProtocol, c.accept)
	return c
}

// close ends every stream and waits for the readers and writers.
func (c *courier) close() {
	c.host.RemoveStreamHandler(DirectProtocol)
	c.mu.Lock()
	c.closed = true
	for _, streams := range c.held {
		for _, s := range streams {
			s.Reset()
		}
	}
	c.mu.Unlock()
	c.lanes.close()
	c.wg.Wait()
}

// send queues one envelope for a peer; done hears whether it went out. False
// means that the queue is full.
func (c *courier) send(p dht.Peer, envelope []byte, done func(sent bool)) bool {
	return c.lanes.submit(string(p.ID), func(ctx context.Context) {
		done(c.write(ctx, p, envelope) == nil)
	})
}

// write puts one frame on the peer's stream. A held stream may have died
// unnoticed, so a failure there is tried once more on a fresh one.
func (c *courier) write(ctx context.Context, p dht.Peer, envelope []byte) error {
	if len(envelope) == 0 || len(envelope) > maxEnvelope {
		return errFrame
	}
	info, err := c.peers.Info(p)
	if err != nil {
		return err
	}
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, frameHead+len(envelope)), uint16(len(envelope)))
	frame = append(frame, envelope...)
	if s := c.newest(info.ID); s != nil {
		if c.put(s, frame) == nil {
			return nil
		}
	}
	s, err := c.open(ctx, info)
	if err != nil {
		return err
	}
	return c.put(s, frame)
}

func (c *courier) put(s *heldStream, frame []byte) error {
	s.SetWriteDeadline(time.Now().Add(writeWithin))
	if _, err := s.Write(frame); err != nil {
		c.drop(s)
		return err
	}
	c.touch(s)
	return nil
}

// open dials and holds a new stream.
func (c *courier) open(ctx context.Context, info peer.AddrInfo) (*heldStream, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	if err := c.host.Connect(ctx, info); err != nil {
		return nil, err
	}
	stream, err := c.host.NewStream(ctx, info.ID, DirectProtocol)
	if err != nil {
		return nil, err
	}
	s := c.hold(stream)
	if s == nil {
		return nil, ErrClosed
	}
	go c.read(s)
	return s, nil
}

// accept is the handler of streams that others open.
func (c *courier) accept(stream network.Stream) {
	s := c.hold(stream)
	if s == nil {
		return
	}
	s.SetReadDeadline(time.Now().Add(firstFrameWithin))
	c.read(s)
}

// hold registers a stream as the newest of its peer, and closes the oldest
// beyond the limits. It returns nil when the courier is closed.
func (c *courier) hold(stream network.Stream) *heldStream {
	s := &heldStream{Stream: stream, peer: stream.Conn().RemotePeer(), active: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		stream.Reset()
		return nil
	}
	if c.count >= c.most {
		c.removeLocked(c.silentLocked())
	}
	if streams := c.held[s.peer]; len(streams) >= maxPeerStreams {
		c.removeLocked(streams[0])
	}
	c.held[s.peer] = append(c.held[s.peer], s)
	c.count++
	c.wg.Add(1)
	return s
}

// silentLocked is the stream without a frame for the longest time.
func (c *courier) silentLocked() *heldStream {
	var silent *heldStream
	for _, streams := range c.held {
		for _, s := range streams {
			if silent == nil || s.active.Before(silent.active) {
				silent = s
			}
		}
	}
	return silent
}

func (c *courier) removeLocked(s *heldStream) {
	s.Reset()
	streams := c.held[s.peer]
	for i, o := range streams {
		if o == s {
			rest := append(streams[:i:i], streams[i+1:]...)
			if c.held[s.peer] = rest; len(rest) == 0 {
				delete(c.held, s.peer)
			}
			c.count--
			return
		}
	}
}

func (c *courier) drop(s *heldStream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(s)
}

func (c *courier) touch(s *heldStream) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.active = now
}

func (c *courier) newest(p peer.ID) *heldStream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if streams := c.held[p]; len(streams) > 0 {
		return streams[len(streams)-1]
	}
	return nil
}

// streams counts the peers with a held stream.
func (c *courier) streams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}

// holds reports whether p has a held stream.
func (c *courier) holds(p peer.ID) bool { return c.newest(p) != nil }

// read hands the frames of one stream to the loop until the stream ends or
// breaks a rule. Between frames it waits for ever; it reads ahead of the
// commits by maxPending frames, and no faster than the pace.
func (c *courier) read(s *heldStream) {
	defer c.wg.Done()
	defer c.drop(s)
	r := bufio.NewReaderSize(s, frameHead+maxEnvelope)
	slots := make(chan struct{}, maxPending)
	pace := newPace(framesPerSecond, frameBurst)
	release := func() { <-slots }
	for {
		envelope, err := readFrame(s, r)
		if err != nil {
			return
		}
		c.touch(s)
		if !pace.wait(c.lanes.ctx) {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-c.lanes.ctx.Done():
			return
		}
		c.receive(s.peer, envelope, release)
	}
}

// deadliner is the part of a stream that readFrame needs beside its bytes.
type deadliner interface{ SetReadDeadline(time.Time) error }

// readFrame reads one frame. It waits for its first byte as long as the
// stream's deadline says, and for the rest no longer than bodyWithin.
func readFrame(s deadliner, r *bufio.Reader) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	s.SetReadDeadline(time.Now().Add(bodyWithin))
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n == 0 || n > maxEnvelope {
		return nil, errFrame
	}
	envelope := make([]byte, n)
	if _, err := io.ReadFull(r, envelope); err != nil {
		return nil, err
	}
	s.SetReadDeadline(time.Time{})
	return envelope, nil
}
