package faults

import (
	"bufio"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// The lies that a relay tells on the wire, behind the back of an honest server.
const (
	forges  = "forges"  // signs nothing: its receipts carry another signature
	recalls = "recalls" // hands out its first receipt again and again
	giants  = "giants"  // answers deposits and collects with 16 MiB
	stalls  = "stalls"  // once told: takes what comes until buffers are full, and answers nothing
	drips   = "drips"   // once told: answers a byte at a time
)

const (
	giantSize  = 16 << 20
	dripEvery  = 20 * time.Millisecond
	giantClaim = 1<<21 - 1 // the largest length that three bytes of a prefix can claim
)

// crooked is a host whose relay streams lie.
type crooked struct {
	host.Host
	lie  string
	told <-chan struct{} // closed when the time has come

	mu    sync.Mutex
	first []byte // receipt
}

func (c *crooked) SetStreamHandler(p protocol.ID, serve network.StreamHandler) {
	c.Host.SetStreamHandler(p, func(s network.Stream) {
		serve(&crookedStream{Stream: s, liar: c, ended: make(chan struct{})})
	})
}

// listenTo reads what a liar or a clock is told, a line each, until stdin ends.
func listenTo(line func(string)) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line(lines.Text())
	}
	return lines.Err()
}

type crookedStream struct {
	network.Stream
	liar  *crooked
	half  []byte // of a frame
	once  sync.Once
	ended chan struct{}
}

func (s *crookedStream) Reset() error {
	s.once.Do(func() { close(s.ended) })
	return s.Stream.Reset()
}

func (s *crookedStream) Close() error {
	s.once.Do(func() { close(s.ended) })
	return s.Stream.Close()
}

// late reports whether a lie that waits to be told was.
func (c *crooked) late(lie string) bool {
	if c.lie != lie {
		return false
	}
	select {
	case <-c.told:
		return true
	default:
		return false
	}
}

func (s *crookedStream) Read(b []byte) (int, error) {
	if s.liar.late(stalls) {
		<-s.ended
		return 0, io.ErrClosedPipe
	}
	return s.Stream.Read(b)
}

func (s *crookedStream) Write(b []byte) (int, error) {
	switch {
	case s.liar.late(stalls):
		return len(b), nil
	case s.liar.late(drips):
		return s.drip(b)
	}
	s.half = append(s.half, b...)
	for {
		size, n := protowire.ConsumeVarint(s.half)
		if n < 0 || uint64(len(s.half)-n) < size {
			return len(b), nil
		}
		body := s.half[n : n+int(size)]
		if err := s.answer(body); err != nil {
			return 0, err
		}
		s.half = s.half[n+int(size):]
	}
}

func (s *crookedStream) drip(b []byte) (int, error) {
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for i := range b {
		if _, err := s.Stream.Write(b[i : i+1]); err != nil {
			return i, err
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return i, io.ErrClosedPipe
		}
	}
	return len(b), nil
}

// answer sends one frame, or what the liar makes of it.
func (s *crookedStream) answer(body []byte) error {
	var a pb.Answer
	if err := frame.Parse(body, &a); err != nil {
		return err
	}
	switch a.What.(type) {
	case *pb.Answer_Receipt:
		a.What = &pb.Answer_Receipt{Receipt: s.liar.receipt(a.GetReceipt())}
	case *pb.Answer_Items:
	default:
		return s.send(&a)
	}
	if s.liar.lie == giants {
		return s.giant()
	}
	return s.send(&a)
}

func (s *crookedStream) send(a *pb.Answer) error {
	out, err := frame.Append(nil, a)
	if err != nil {
		return err
	}
	_, err = s.Stream.Write(out)
	return err
}

func (s *crookedStream) giant() error {
	page := make([]byte, 64<<10)
	_, err := s.Stream.Write(protowire.AppendVarint(nil, giantClaim))
	for sent := 0; err == nil && sent < giantSize; sent += len(page) {
		_, err = s.Stream.Write(page)
	}
	return errors.Join(err, s.Reset())
}

// receipt is what becomes of an honest one.
func (c *crooked) receipt(honest []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.lie {
	case forges:
		forged := append([]byte(nil), honest...)
		forged[len(forged)-1] ^= 1
		return forged
	case recalls:
		if c.first == nil {
			c.first = append([]byte(nil), honest...)
		}
		return c.first
	}
	return honest
}
