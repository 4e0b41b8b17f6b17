package kad

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	kadpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"
)

// sender carries the DHT's requests. kad-dht's own sender has one stream per
// peer, on which a silent peer holds every later request for 10 s, twice; this
// one bounds each request by requestTimeout, each answer by maxMessage, and
// never lets one request wait for another.
type sender struct {
	host   host.Host
	protos []protocol.ID

	mu     sync.Mutex
	idle   map[peer.ID][]*wire
	busy   map[*wire]bool
	closed bool
}

// wire is one stream that carries one request at a time.
type wire struct {
	s network.Stream
	r *bufio.Reader
}

var _ kadpb.MessageSenderWithDisconnect = (*sender)(nil)

func newSender(h host.Host, protos []protocol.ID) *sender {
	return &sender{host: h, protos: protos, idle: map[peer.ID][]*wire{}, busy: map[*wire]bool{}}
}

// SendRequest sends a message and waits for its answer, at most requestTimeout
// after the dial.
func (s *sender) SendRequest(ctx context.Context, p peer.ID, m *kadpb.Message) (*kadpb.Message, error) {
	start := time.Now()
	if w := s.take(p); w != nil {
		answer, err := s.exchange(ctx, p, w, m)
		if err == nil || ctx.Err() != nil || time.Since(start) >= requestTimeout {
			return answer, err
		} // else the stream was stale: once more on a new one
	}
	w, err := s.open(ctx, p)
	if err != nil {
		return nil, err
	}
	answer, err := s.exchange(ctx, p, w, m)
	if err == nil {
		s.host.Peerstore().RecordLatency(p, time.Since(start))
	}
	return answer, err
}

// SendMessage would carry provider records, which kith does not have.
func (s *sender) SendMessage(context.Context, peer.ID, *kadpb.Message) error {
	return errors.ErrUnsupported
}

// OnDisconnect forgets the streams of a peer that went away.
func (s *sender) OnDisconnect(_ context.Context, p peer.ID) {
	s.mu.Lock()
	gone := s.idle[p]
	delete(s.idle, p)
	s.mu.Unlock()
	for _, w := range gone {
		_ = w.s.Reset()
	}
}

func (s *sender) close() {
	s.mu.Lock()
	s.closed = true
	all := slices.Collect(maps.Keys(s.busy))
	for _, ws := range s.idle {
		all = append(all, ws...)
	}
	s.idle = map[peer.ID][]*wire{}
	s.mu.Unlock()
	for _, w := range all {
		_ = w.s.Reset()
	}
}

func (s *sender) open(ctx context.Context, p peer.ID) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+requestTimeout)
	defer cancel()
	stream, err := s.host.NewStream(network.WithDialPeerTimeout(ctx, dialTimeout), p, s.protos...)
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	w := &wire{s: stream, r: bufio.NewReader(stream)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = stream.Reset()
		return nil, errClosed
	}
	s.busy[w] = true
	return w, nil
}

func (s *sender) take(p peer.ID) *wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	ws := s.idle[p]
	if len(ws) == 0 {
		return nil
	}
	w := ws[len(ws)-1]
	s.idle[p] = ws[:len(ws)-1]
	s.busy[w] = true
	return w
}

func (s *sender) keep(p peer.ID, w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, w)
	if s.closed || len(s.idle[p]) >= maxIdle {
		_ = w.s.Reset()
		return
	}
	s.idle[p] = append(s.idle[p], w)
}

func (s *sender) drop(w *wire) {
	s.mu.Lock()
	delete(s.busy, w)
	s.mu.Unlock()
	_ = w.s.Reset()
}

// exchange runs one request. When ctx ends first the answer is still read in
// the background, within the deadline, so that the stream can be used again:
// a lookup that stops at the first value ends many requests early.
func (s *sender) exchange(ctx context.Context, p peer.ID, w *wire, m *kadpb.Message) (*kadpb.Message, error) {
	_ = w.s.SetDeadline(time.Now().Add(requestTimeout))
	if err := w.write(m); err != nil {
		s.drop(w)
		return nil, err
	}
	type result struct {
		m   *kadpb.Message
		err error
	}
	done := make(chan result, 1)
	go func() {
		answer, err := w.read()
		if err != nil {
			s.drop(w)
		} else {
			s.keep(p, w)
		}
		done <- result{answer, err}
	}()
	select {
	case r := <-done:
		return r.m, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// write sends uvarint length | protobuf, in one call.
func (w *wire) write(m *kadpb.Message) error {
	buf := make([]byte, binary.MaxVarintLen64, 512)
	buf, err := proto.MarshalOptions{}.MarshalAppend(buf, m)
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}
	var head [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], uint64(len(buf)-binary.MaxVarintLen64))
	frame := buf[binary.MaxVarintLen64-n:]
	copy(frame, head[:n])
	_, err = w.s.Write(frame)
	return err
}

var (
	errTooLong = errors.New("answer too long")
	errClosed  = errors.New("directory closed")
)

func (w *wire) read() (*kadpb.Message, error) {
	n, err := binary.ReadUvarint(w.r)
	if err != nil {
		return nil, err
	}
	if n > maxMessage {
		return nil, errTooLong
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(w.r, buf); err != nil {
		return nil, err
	}
	m := new(kadpb.Message)
	return m, proto.Unmarshal(buf, m)
}
