package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
)

// linkServer answers /kith/link/1 on the device that offered a link: hello ->
// welcome, record -> listed, each a frame of u32 length | bytes. What the
// frames hold, and whether they are genuine, is the engine's.
type linkServer struct {
	host  host.Host
	steps []linkStep

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	pace   *pace
	open   int
}

// linkStep is one question and how it is answered, after the commit.
type linkStep struct {
	most   int // size of the question, bytes
	answer func(ctx context.Context, frame []byte) ([]byte, error)
}

var errLinkFrame = errors.New("link: malformed frame")

// newLinkServer answers with the engine; turn runs a closure in a turn of it.
func newLinkServer(h host.Host, turn func(context.Context, func(*node.Engine, *node.Turn) error) error) *linkServer {
	ask := func(method func(*node.Engine, *node.Turn, []byte) ([]byte, error)) func(context.Context, []byte) ([]byte, error) {
		return func(ctx context.Context, frame []byte) (answer []byte, err error) {
			err = turn(ctx, func(e *node.Engine, t *node.Turn) (err error) {
				answer, err = method(e, t, frame)
				return err
			})
			return answer, err
		}
	}
	return serveLinks(h, []linkStep{
		{maxLinkHello, ask((*node.Engine).LinkHello)},
		{maxLinkRecord, ask((*node.Engine).LinkRecord)},
	})
}

func serveLinks(h host.Host, steps []linkStep) *linkServer {
	s := &linkServer{host: h, steps: steps, pace: newPaceEvery(time.Minute/linkPerMinute, linkBurst)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	h.SetStreamHandler(LinkProtocol, s.accept)
	return s
}

func (s *linkServer) close() {
	s.host.RemoveStreamHandler(LinkProtocol)
	s.cancel()
	s.wg.Wait()
}

// admit bounds the streams at once and the tries per minute, of all peers
// together: a link is used once, by a person who waits for it.
func (s *linkServer) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || s.open >= maxLinkStreams || !s.pace.has(time.Now()) {
		return false
	}
	s.open++
	s.wg.Add(1)
	return true
}

func (s *linkServer) release() {
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	s.wg.Done()
}

func (s *linkServer) accept(stream network.Stream) {
	if !s.admit() {
		stream.Reset()
		return
	}
	defer s.release()
	defer context.AfterFunc(s.ctx, func() { stream.Reset() })()
	if s.serve(stream) != nil {
		stream.Reset()
		return
	}
	stream.Close()
}

// linkStream is what the two halves of the protocol need of a stream.
type linkStream interface {
	io.ReadWriter
	SetDeadline(time.Time) error
}

func (s *linkServer) serve(stream linkStream) error {
	for _, step := range s.steps {
		stream.SetDeadline(time.Now().Add(linkWithin))
		frame, err := readLinkFrame(stream, step.most)
		if err != nil {
			return err
		}
		answer, err := step.answer(s.ctx, frame)
		if err != nil {
			return err
		}
		if err := writeLinkFrame(stream, answer); err != nil {
			return err
		}
	}
	return nil
}

// readLinkFrame reads u32 length | bytes, and takes memory only as they come.
func readLinkFrame(r io.Reader, most int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > uint32(most) {
		return nil, errLinkFrame
	}
	frame, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return nil, err
	}
	if len(frame) != int(n) {
		return nil, io.ErrUnexpectedEOF
	}
	return frame, nil
}

func writeLinkFrame(w io.Writer, frame []byte) error {
	if len(frame) == 0 {
		return errLinkFrame
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(frame)), uint32(len(frame)))
	_, err := w.Write(append(out, frame...))
	return err
}

// LinkParams of a device that joins an existing identity. Link and DeviceName
// must be set.
type LinkParams struct {
	Link       string
	DeviceName string
	Passphrase []byte
	MDNS       bool // look for the other device on the local network too
	Loopback   bool
	Listen     []string
	Now        func() time.Time
	Rand       io.Reader
	Progress   func(step string) // hears what happens; nil: nobody
}

// Link makes the home folder of a further device of the identity that offered
// the link. It tries the link's hints, and the local network, until ctx ends.
// An interrupted Link leaves no identity; run it again with the same link. If
// it was interrupted after the other device had listed this one, that entry
// stays in the list until it is removed there.
func Link(ctx context.Context, dir string, p LinkParams) (id node.IdentityView, err error) {
	p.Now, p.Rand = defaults(p.Now, p.Rand)
	if p.Progress == nil {
		p.Progress = func(string) {}
	}
	linker, err := node.NewLinker(p.Now(), p.Rand, p.Link, p.DeviceName)
	if err != nil {
		return id, err
	}
	b, err := newBuild(dir, p.Passphrase, p.Rand)
	if err != nil {
		return id, err
	}
	if err = linkInto(ctx, b, linker, p); err != nil {
		b.abandon()
		return id, err
	}
	err = b.store.View(func(tx node.Tx) error {
		id, err = node.Identity(tx)
		return err
	})
	if err != nil {
		b.abandon()
		return id, err
	}
	return id, b.finish()
}

func linkInto(ctx context.Context, b *build, linker *node.Linker, p LinkParams) error {
	h, err := newHost(b.key, hostConfig{listen: p.Listen, loopback: p.Loopback})
	if err != nil {
		return err
	}
	defer h.Close()
	j := &joiner{host: h, book: &addressBook{host: h, loopback: p.Loopback}, build: b, linker: linker, params: p}
	found := make(chan peer.AddrInfo, maxLinkStreams)
	for _, hint := range linker.Hints() {
		if info, err := j.book.info(hint); err == nil && len(found) < cap(found) {
			found <- info
		}
	}
	if p.MDNS {
		lan := startLAN(h, func(info peer.AddrInfo) {
			select {
			case found <- info:
			default:
			}
		}, slog.New(slog.DiscardHandler))
		defer lan.close()
	}
	return j.search(ctx, found)
}

// joiner is one run of Link.
type joiner struct {
	host   host.Host
	book   *addressBook
	build  *build
	linker *node.Linker
	params LinkParams
}

// search tries peers as they are found, again and again, until one answers.
func (j *joiner) search(ctx context.Context, found chan peer.AddrInfo) error {
	known := map[peer.ID]peer.AddrInfo{}
	var last error
	for {
		select {
		case info := <-found:
			known[info.ID] = info
		case <-ctx.Done():
			return j.gaveUp(len(known), last)
		case <-time.After(linkRetry):
		}
		for _, info := range known {
			err := j.try(ctx, info)
			if err == nil {
				return nil
			}
			if problem := (*node.Problem)(nil); errors.As(err, &problem) {
				return err
			}
			last = err
		}
	}
}

func (j *joiner) gaveUp(known int, last error) error {
	p := &node.Problem{
		Class:   node.ErrNotFound,
		Message: "the other device was not found",
		Hint:    "run `kith daemon` on the other device, on the same network if you can, and this command again",
	}
	if known > 0 {
		p.Message = fmt.Sprintf("the other device did not answer: %v", last)
	}
	return p
}

// try runs the protocol with one peer.
func (j *joiner) try(ctx context.Context, info peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, linkWithin)
	defer cancel()
	j.params.Progress("looking for the other device")
	if err := j.host.Connect(ctx, info); err != nil {
		return err
	}
	stream, err := j.host.NewStream(ctx, info.ID, LinkProtocol)
	if err != nil {
		return err
	}
	defer stream.Reset()
	defer context.AfterFunc(ctx, func() { stream.Reset() })()
	return j.talk(stream)
}

func (j *joiner) talk(stream linkStream) error {
	stream.SetDeadline(time.Now().Add(linkWithin))
	welcome, err := j.ask(stream, j.linker.Hello(), maxLinkWelcome)
	if err != nil {
		return err
	}
	j.params.Progress("the other device answered")
	var record []byte
	err = j.turn(func(t *node.Turn) error {
		record, err = j.linker.Welcome(t, welcome, j.self())
		return err
	})
	if err != nil {
		return err
	}
	listed, err := j.ask(stream, record, maxLinkListed)
	if err != nil {
		return err
	}
	return j.turn(func(t *node.Turn) error { return j.linker.Finish(t, listed) })
}

func (j *joiner) ask(stream linkStream, frame []byte, most int) ([]byte, error) {
	if err := writeLinkFrame(stream, frame); err != nil {
		return nil, err
	}
	return readLinkFrame(stream, most)
}

func (j *joiner) turn(fn func(t *node.Turn) error) error {
	return j.build.store.Update(func(tx node.Tx) error {
		return fn(&node.Turn{Now: j.params.Now(), Rand: j.params.Rand, Tx: tx, Out: &node.Effects{}})
	})
}

func (j *joiner) self() dht.Peer { return j.book.self() }
