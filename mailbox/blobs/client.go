package blobs

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs/pb"
	"github.com/kith-im/kith/mailbox/relay/frame"
)

// Client asks servers for chunks. Its methods may be called from any goroutine;
// further calls to one server wait while streamsPerServer are under way. A call
// holds no memory beside the chunk that it was given or returns.
type Client struct {
	open func(ctx context.Context, server dht.Peer) (stream, error)
	self context.Context // ends with Close
	stop context.CancelFunc
	late time.Duration // answerWithin

	mu   sync.Mutex
	each map[string]*lanes // by peer id
	wg   sync.WaitGroup
}

// lanes are the streams to one server.
type lanes struct {
	free  chan struct{} // one place per stream that may be in use
	users int
	idle  []*lane
}

// lane is one stream that is not in use.
type lane struct {
	wire
	rest *time.Timer // ends it
}

// NewClient returns a client that dials with h.
func NewClient(h host.Host) *Client {
	c := &Client{
		open: func(ctx context.Context, server dht.Peer) (stream, error) {
			return frame.Open(ctx, h, server, Protocol)
		},
		late: answerWithin, each: make(map[string]*lanes),
	}
	c.self, c.stop = context.WithCancel(context.Background())
	return c
}

// Close ends all streams and waits for the calls on them.
func (c *Client) Close() {
	c.stop()
	c.mu.Lock()
	for _, l := range c.each {
		for _, i := range l.idle {
			i.rest.Stop()
			_ = i.st.Reset()
		}
		l.idle = nil
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// Put has a relay keep a chunk until a time, for a box that it leases and whose
// private key signs. It returns nil when the relay says that it is on its disk;
// a *mailbox.Refusal is its answer otherwise.
func (c *Client) Put(ctx context.Context, relay dht.Peer, box ed25519.PrivateKey, d Digest, chunk []byte, expires time.Time) error {
	size, millis := uint32(len(chunk)), uint64(expires.UnixMilli())
	ask := &pb.Ask{What: &pb.Ask_Put{Put: &pb.Put{
		Digest: d[:], Size: size, ExpiresMs: millis, Key: box.Public().(ed25519.PublicKey),
		Sig: mailbox.SignRequest(box, relay.ID, mailbox.VerbPutChunk, putContent(d, size, millis)),
	}}}
	return c.call(ctx, relay, ask, func(w wire, a *pb.Answer) error {
		if _, ready := a.What.(*pb.Answer_Go); ready {
			if _, err := (pour{w, time.Now().Add(chunkWithin)}).Write(chunk); err != nil {
				return err
			}
			var err error
			if a, err = c.read(w); err != nil {
				return err
			}
		}
		return done(a)
	})
}

// Drop ends a box's claims at a relay.
func (c *Client) Drop(ctx context.Context, relay dht.Peer, box ed25519.PrivateKey, ds []Digest) error {
	content := join(ds)
	return c.call(ctx, relay, &pb.Ask{What: &pb.Ask_Drop{Drop: &pb.Drop{
		Digests: content, Key: box.Public().(ed25519.PublicKey),
		Sig: mailbox.SignRequest(box, relay.ID, mailbox.VerbDropChunks, content),
	}}}, func(_ wire, a *pb.Answer) error { return done(a) })
}

// Get fetches a chunk, into buf where it fits. ErrNotHere: the server has it
// not. ErrInvalid: the server sent something else.
func (c *Client) Get(ctx context.Context, from dht.Peer, d Digest, buf []byte) ([]byte, error) {
	var chunk []byte
	ask := &pb.Ask{What: &pb.Ask_Get{Get: &pb.Get{Digest: d[:]}}}
	err := c.call(ctx, from, ask, func(w wire, a *pb.Answer) error {
		switch what := a.What.(type) {
		case *pb.Answer_Missing:
			return ErrNotHere
		case *pb.Answer_Chunk:
			if what.Chunk == 0 || what.Chunk > blob.MaxChunk {
				return frame.ErrInvalid
			}
			if chunk = buf[:0]; cap(chunk) < int(what.Chunk) {
				chunk = make([]byte, what.Chunk)
			}
			chunk = chunk[:what.Chunk]
			_, err := io.ReadFull(drink{w, time.Now().Add(chunkWithin)}, chunk)
			return err
		}
		return frame.ErrInvalid
	})
	if err != nil {
		return nil, err
	}
	if blob.DigestOf(chunk) != d {
		return nil, fmt.Errorf("%w: another chunk", ErrInvalid)
	}
	return chunk, nil
}

// Has asks which chunks a server has, at most MaxDigests.
func (c *Client) Has(ctx context.Context, from dht.Peer, ds []Digest) ([]bool, error) {
	here := make([]bool, len(ds))
	ask := &pb.Ask{What: &pb.Ask_Has{Has: &pb.Has{Digests: join(ds)}}}
	err := c.call(ctx, from, ask, func(_ wire, a *pb.Answer) error {
		has, ok := a.What.(*pb.Answer_Has)
		if !ok || len(has.Has) != len(ds) {
			return frame.ErrInvalid
		}
		for i, b := range has.Has {
			here[i] = b == 1
		}
		return nil
	})
	return here, err
}

func done(a *pb.Answer) error {
	if _, ok := a.What.(*pb.Answer_Done); !ok {
		return frame.ErrInvalid
	}
	return nil
}

// read waits for an answer; a refusal is its error.
func (c *Client) read(w wire) (*pb.Answer, error) {
	body, err := w.in.Next(c.late)
	if err != nil {
		return nil, err
	}
	a := &pb.Answer{}
	if err := frame.Parse(body, a); err != nil {
		return nil, err
	}
	if r := a.GetRefusal(); r != nil {
		return nil, refused(r)
	}
	return a, nil
}

// call asks one question on a stream of its own and hears the answer with then.
// A stream that had been resting may have died: then the question, which does
// no harm twice, is asked on a new one.
func (c *Client) call(ctx context.Context, server dht.Peer, ask *pb.Ask, then func(wire, *pb.Answer) error) error {
	if _, err := checkAsk(ask); err != nil {
		return fmt.Errorf("%w: the question", ErrInvalid)
	}
	l, err := c.enter(ctx, server)
	if err != nil {
		return err
	}
	defer c.leave(server, l)
	for {
		w, rested, err := c.take(ctx, server, l)
		if err != nil {
			return err
		}
		heard, err := c.ask(ctx, w, ask, then)
		var refusal *mailbox.Refusal
		if err == nil || errors.As(err, &refusal) || errors.Is(err, ErrNotHere) {
			c.give(l, w)
			return err
		}
		_ = w.st.Reset()
		w.in.Release()
		if errors.Is(err, frame.ErrInvalid) {
			return fmt.Errorf("%w: the answer", ErrInvalid)
		}
		if !rested || heard || ctx.Err() != nil || c.self.Err() != nil {
			return fmt.Errorf("blobs: ask: %w", err)
		}
	}
}

// ask says whether anything was heard.
func (c *Client) ask(ctx context.Context, w wire, ask *pb.Ask, then func(wire, *pb.Answer) error) (heard bool, err error) {
	defer context.AfterFunc(ctx, func() { _ = w.st.Reset() })()
	defer context.AfterFunc(c.self, func() { _ = w.st.Reset() })()
	if err = w.send(ask); err != nil {
		return false, err
	}
	a, err := c.read(w)
	if err != nil {
		return false, err
	}
	if err = then(w, a); err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return true, err
}

// enter waits for a stream's place.
func (c *Client) enter(ctx context.Context, server dht.Peer) (*lanes, error) {
	key := string(server.ID)
	c.mu.Lock()
	if c.self.Err() != nil {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	l := c.each[key]
	if l == nil {
		l = &lanes{free: make(chan struct{}, streamsPerServer)}
		c.each[key] = l
	}
	l.users++
	c.wg.Add(1)
	c.mu.Unlock()
	var err error
	select {
	case l.free <- struct{}{}:
		return l, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.self.Done():
		err = ErrClosed
	}
	c.drop(key, l)
	return nil, err
}

func (c *Client) leave(server dht.Peer, l *lanes) {
	<-l.free
	c.drop(string(server.ID), l)
}

// drop counts a user out and forgets servers of which nothing is left.
func (c *Client) drop(key string, l *lanes) {
	c.mu.Lock()
	l.users--
	c.tidy(key, l)
	c.mu.Unlock()
	c.wg.Done()
}

// tidy is called with c.mu held.
func (c *Client) tidy(key string, l *lanes) {
	if l.users == 0 && len(l.idle) == 0 && c.each[key] == l {
		delete(c.each, key)
	}
}

// take is a stream that rests, or a new one.
func (c *Client) take(ctx context.Context, server dht.Peer, l *lanes) (w wire, rested bool, err error) {
	c.mu.Lock()
	for n := len(l.idle); n > 0; n = len(l.idle) {
		i := l.idle[n-1]
		l.idle = l.idle[:n-1]
		if i.rest.Stop() {
			c.mu.Unlock()
			return i.wire, true, nil
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	defer context.AfterFunc(c.self, cancel)()
	st, err := c.open(ctx, server)
	if err != nil {
		return wire{}, false, err
	}
	return newWire(st), false, nil
}

// give lets a stream rest for the next call.
func (c *Client) give(l *lanes, w wire) {
	w.in.Release()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.self.Err() != nil {
		_ = w.st.Reset()
		return
	}
	i := &lane{wire: w}
	i.rest = time.AfterFunc(restWithin, func() { c.end(l, i) })
	l.idle = append(l.idle, i)
}

// end closes a stream that has rested for long.
func (c *Client) end(l *lanes, i *lane) {
	_ = i.st.Close()
	_ = i.st.Reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, other := range l.idle {
		if other == i {
			l.idle = append(l.idle[:at], l.idle[at+1:]...)
			break
		}
	}
	for key, of := range c.each {
		if of == l {
			c.tidy(key, l)
		}
	}
}
