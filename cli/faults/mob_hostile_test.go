//go:build hostile

package faults

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// roleMob is a crowd of peers that hold streams and flood a relay: mob ADDR PEERS FLOODERS BOX…
const roleMob = "mob"

func init() { roles[roleMob] = mob }

// What a relay does not say no to.
const (
	mobStreams = relay.MaxStreamsPerPeer // held by each peer
	mobDials   = 32                      // at once
	mobBatch   = 128                     // frames of one write
)

// mob is the process. It says ready when all streams stand; the lines "flood" and "rest" on stdin begin and end the flood.
func mob(args []string) int {
	if err := mobAt(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func mobAt(args []string) error {
	at, err := peer.AddrInfoFromString(args[0])
	if err != nil {
		return err
	}
	peers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	flooders, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	m := &rabble{relay: *at, boxes: args[3:]}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := m.gather(ctx, peers); err != nil {
		return err
	}
	for range flooders {
		m.all.Go(func() { m.flood(ctx) })
	}
	if err := m.report(os.Stdout, "ready"); err != nil {
		return err
	}
	err = listenTo(func(line string) {
		m.flooding.Store(line == "flood")
		_ = m.report(os.Stderr, line)
	})
	cancel()
	m.all.Wait()
	return err
}

// rabble is the crowd.
type rabble struct {
	relay    peer.AddrInfo
	boxes    []string // of others
	all      sync.WaitGroup
	flooding atomic.Bool

	held, asked, refused, lost atomic.Int64
}

func (m *rabble) report(to io.Writer, state string) error {
	return json.NewEncoder(to).Encode(map[string]any{
		"state": state, "held": m.held.Load(), "asked": m.asked.Load(), "refused": m.refused.Load(), "lost": m.lost.Load(),
	})
}

// gather makes the peers, each with its own key and connection, and their streams.
func (m *rabble) gather(ctx context.Context, peers int) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		next atomic.Int64
	)
	for range mobDials {
		wg.Go(func() {
			for next.Add(1) <= int64(peers) {
				if err := m.hold(ctx); err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("with %d streams held: %w", m.held.Load(), err))
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// hold is one peer with its streams, which asked one thing and then stay.
func (m *rabble) hold(ctx context.Context) error {
	c, err := m.connect(ctx)
	if err != nil {
		return err
	}
	for range mobStreams {
		s, err := open(ctx, c)
		if err != nil {
			return err
		}
		ask, err := frame.Append(nil, &pb.Ask{Id: 1, What: &pb.Ask_Advert{Advert: &pb.Advert{}}})
		if err != nil {
			return err
		}
		if _, err := s.Write(ask); err != nil {
			return err
		}
		m.held.Add(1)
		m.all.Go(func() {
			_, _ = io.Copy(io.Discard, s)
			m.held.Add(-1)
		})
	}
	m.all.Go(func() {
		<-ctx.Done()
		_ = c.Close()
	})
	return nil
}

// connect is a connection of a new peer, without any of a host's weight.
func (m *rabble) connect(ctx context.Context) (transport.CapableConn, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	secure, err := noise.New(noise.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	free := &network.NullResourceManager{}
	up, err := upgrader.New([]sec.SecureTransport{secure}, muxers, nil, free, nil)
	if err != nil {
		return nil, err
	}
	over, err := tcp.NewTCPTransport(up, free, nil)
	if err != nil {
		return nil, err
	}
	c, err := over.Dial(ctx, m.relay.Addrs[0], m.relay.ID)
	if err != nil {
		return nil, err
	}
	m.all.Go(func() {
		for {
			s, err := c.AcceptStream()
			if err != nil {
				return
			}
			_ = s.Reset() // nobody is told who this is
		}
	})
	return c, nil
}

// open is a stream of the relay protocol, agreed on in multistream's own words.
func open(ctx context.Context, c transport.CapableConn) (network.MuxedStream, error) {
	s, err := c.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	var words []byte
	for _, w := range []string{"/multistream/1.0.0", relay.Protocol} {
		words = append(append(words, byte(len(w)+1)), w+"\n"...)
	}
	if _, err := s.Write(words); err != nil {
		return nil, err
	}
	answer := make([]byte, len(words))
	if _, err := io.ReadFull(s, answer); err != nil {
		return nil, err
	}
	if string(answer) != string(words) {
		return nil, fmt.Errorf("the relay answers %q", answer)
	}
	return s, nil
}

// flood is one peer that asks as fast as it is read, while that is wanted. Whoever throws it out gets another.
func (m *rabble) flood(ctx context.Context) {
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		if m.flooding.Load() {
			if err := m.rush(ctx); err != nil {
				m.lost.Add(1)
			}
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// rush lasts until the relay ends the stream.
func (m *rabble) rush(ctx context.Context) error {
	c, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := open(ctx, c)
	if err != nil {
		return err
	}
	go func() { // what it is answered does not matter
		in := frame.NewReader(deadless{s}, time.Hour, nil)
		for {
			if _, err := in.Next(0); err != nil {
				return
			}
			m.refused.Add(1)
		}
	}()
	batch, err := m.batch()
	if err != nil {
		return err
	}
	for m.flooding.Load() && ctx.Err() == nil {
		if _, err := s.Write(batch); err != nil {
			return err
		}
		m.asked.Add(mobBatch)
	}
	return nil
}

// deadless is a stream whose reader waits for ever.
type deadless struct{ network.MuxedStream }

func (deadless) SetReadDeadline(time.Time) error { return nil }

// batch is a write full of what costs a relay most: passes that look right, work that is none, boxes of others and of
// nobody.
func (m *rabble) batch() (out []byte, err error) {
	envelope := make([]byte, 1024)
	if _, err := rand.Read(envelope); err != nil {
		return nil, err
	}
	for i := range mobBatch {
		box, err := hex.DecodeString(m.boxes[i%len(m.boxes)])
		if err != nil {
			return nil, err
		}
		d := &pb.Deposit{Box: box, Envelope: envelope, ExpiresMs: uint64(time.Now().Add(time.Hour).UnixMilli()), SetNumber: 1}
		switch i % 4 {
		case 0:
			d.Pass = make([]byte, pass.Size)
			_, _ = rand.Read(d.Pass)
			d.Pass[0] = 1
		case 1:
			d.Work = make([]byte, mailbox.WorkSize)
		case 2:
			d.Box = make([]byte, len(box))
		}
		if out, err = frame.Append(out, &pb.Ask{Id: uint64(i + 1), What: &pb.Ask_Deposit{Deposit: d}}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
