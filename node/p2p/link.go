package p2p

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/crypto/hkdf"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/host"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
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
	askers map[string]*linkAsker // by peer id, and by address
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
	s := &linkServer{host: h, steps: steps, pace: newPaceEvery(time.Minute/linkPerMinute, linkBurst), askers: map[string]*linkAsker{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	h.SetStreamHandler(LinkProtocol, s.accept)
	return s
}

func (s *linkServer) close() {
	s.host.RemoveStreamHandler(LinkProtocol)
	s.cancel()
	s.wg.Wait()
}

// admit bounds the streams at once and the tries per minute, of each peer and
// address and of all together. One asker alone comes nowhere near the whole, so
// that a stranger does not keep a person's new device out.
func (s *linkServer) admit(keys []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.ctx.Err() != nil || s.open >= maxLinkStreams {
		return false
	}
	var by []*linkAsker
	for _, k := range keys {
		a := s.asker(k, now)
		if a == nil || a.open >= maxLinkOpen || !a.pace.has(now) {
			return false
		}
		by = append(by, a)
	}
	if !s.pace.has(now) {
		return false
	}
	for _, a := range by {
		a.open++
	}
	s.open++
	s.wg.Add(1)
	return true
}

// asker remembers those who have streams, or tried lately; nil: there are too
// many of them.
func (s *linkServer) asker(key string, now time.Time) *linkAsker {
	if a := s.askers[key]; a != nil {
		return a
	}
	if len(s.askers) >= maxLinkAskers {
		maps.DeleteFunc(s.askers, func(_ string, a *linkAsker) bool { return a.open == 0 && a.pace.full(now) })
	}
	if len(s.askers) >= maxLinkAskers {
		return nil
	}
	a := &linkAsker{pace: newPaceEvery(time.Minute/linkEachMinute, linkEachBurst)}
	s.askers[key] = a
	return a
}

func (s *linkServer) release(keys []string) {
	s.mu.Lock()
	s.open--
	for _, k := range keys {
		s.askers[k].open--
	}
	s.mu.Unlock()
	s.wg.Done()
}

func (s *linkServer) accept(stream network.Stream) {
	keys := askersOf(stream.Conn())
	if !s.admit(keys) {
		stream.Reset()
		return
	}
	defer s.release(keys)
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
	for i, step := range s.steps {
		within := linkWithin
		if i == 0 {
			within = linkHelloIn
		}
		stream.SetDeadline(time.Now().Add(within))
		frame, err := readLinkFrame(stream, step.most)
		if err != nil {
			return err
		}
		answer, err := step.answer(s.ctx, frame)
		if err != nil {
			return err
		}
		stream.SetDeadline(time.Now().Add(linkWithin))
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
	Network    host.Network // as in Config
	Now        func() time.Time
	Rand       io.Reader
	Progress   func(step string) // hears what happens; nil: nobody
}

// Link makes the home folder of a further device of the identity that offered
// the link. It tries the link's hints, and the local network, until ctx ends.
//
// An interrupted Link leaves no identity, but remembers who it was: run it
// again with the same link and it goes on as the same device, which the other
// side may have listed already.
func Link(ctx context.Context, dir string, p LinkParams) (id view.Identity, err error) {
	if agree.StandIn {
		return id, errSimulator()
	}
	p.Now, p.Rand = defaults(p.Now, p.Rand)
	if p.Progress == nil {
		p.Progress = func(string) {}
	}
	if _, err := node.NewLinker(p.Now(), p.Rand, p.Link, p.DeviceName); err != nil {
		return id, err // before anything is written
	}
	b, seed, err := linkBuild(dir, p)
	if err != nil {
		return id, err
	}
	linker, err := node.NewLinker(p.Now(), seed.stream("keys"), p.Link, p.DeviceName)
	if err == nil {
		err = linkInto(ctx, b, &joiner{build: b, linker: linker, seed: seed, params: p})
	}
	if err == nil {
		err = b.store.View(func(tx store.Tx) (err error) {
			id, err = node.Identity(tx)
			return err
		})
	}
	if err != nil {
		b.store.Close()
		return view.Identity{}, err
	}
	return id, b.finish()
}

// linkSeed is what makes an interrupted linking go on as the same device: all
// keys of the device follow from it, so it is sealed by the vault and goes when
// the device is linked.
type linkSeed struct {
	secret [32]byte
	begun  time.Time // also the time that the identity is made at
	link   [32]byte  // hash of the link's text
}

// stream is entropy for one purpose, the same in every try.
func (s *linkSeed) stream(purpose string) io.Reader {
	return hkdf.New(sha256.New, s.secret[:], nil, []byte("kith1 linking "+purpose))
}

var linkSeedPlace = []byte("kith1 link seed")

func (s *linkSeed) marshal() []byte {
	out := append([]byte{}, s.secret[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(s.begun.UnixMilli()))
	return append(out, s.link[:]...)
}

func parseLinkSeed(raw []byte) (*linkSeed, bool) {
	if len(raw) != 32+8+32 {
		return nil, false
	}
	return &linkSeed{
		secret: [32]byte(raw[:32]),
		begun:  time.UnixMilli(int64(binary.BigEndian.Uint64(raw[32:]))).UTC(),
		link:   [32]byte(raw[40:]),
	}, true
}

// linkBuild goes on with a linking that the same link began, or begins one.
func linkBuild(dir string, p LinkParams) (*build, *linkSeed, error) {
	hash := sha256.Sum256([]byte(p.Link))
	b := buildFor(dir)
	if sealed, err := os.ReadFile(filepath.Join(b.dir, seedFile)); err == nil && !Exists(dir) {
		if b.vault, err = boltstore.ReadKeys(b.dir, p.Passphrase); err != nil {
			return nil, nil, keysProblem(b.dir, err)
		}
		if b.key, err = readHostKey(b.dir, b.vault); err != nil {
			return nil, nil, err
		}
		raw, err := b.vault.Open(vault.Lasting, linkSeedPlace, sealed)
		if seed, ok := parseLinkSeed(raw); err == nil && ok && seed.link == hash {
			return b, seed, b.emptyStore()
		}
	}
	b, err := newBuild(dir, p.Passphrase, p.Now(), p.Rand)
	if err != nil {
		return nil, nil, err
	}
	seed := &linkSeed{begun: p.Now(), link: hash}
	if err := b.keepSeed(seed, p.Rand); err != nil {
		b.abandon()
		return nil, nil, err
	}
	return b, seed, nil
}

func (b *build) keepSeed(seed *linkSeed, rng io.Reader) error {
	if _, err := io.ReadFull(rng, seed.secret[:]); err != nil {
		return fmt.Errorf("entropy: %w", err)
	}
	sealed, err := b.vault.Seal(rng, vault.Lasting, linkSeedPlace, seed.marshal())
	if err != nil {
		return fmt.Errorf("%s: %w", seedFile, err)
	}
	return writeFile(filepath.Join(b.dir, seedFile), sealed)
}

func linkInto(ctx context.Context, b *build, j *joiner) error {
	p := j.params
	h, err := host.New(b.key, host.Config{Listen: p.Listen, Loopback: p.Loopback, Network: p.Network})
	if err != nil {
		return err
	}
	defer h.Close()
	j.host, j.book = h, &host.AddressBook{Host: h, Loopback: p.Loopback}
	found := make(chan peer.AddrInfo, maxLinkFound)
	for _, hint := range j.linker.Hints() {
		if info, err := j.book.Info(hint); err == nil && len(found) < cap(found) {
			found <- info
		}
	}
	if p.MDNS {
		lan := host.StartLAN(h, func(info peer.AddrInfo) {
			select {
			case found <- info:
			default:
			}
		}, slog.New(slog.DiscardHandler))
		defer lan.Close()
	}
	return j.search(ctx, found)
}

// joiner is one run of Link.
type joiner struct {
	host   host.Host
	book   *host.AddressBook
	build  *build
	linker *node.Linker
	seed   *linkSeed
	params LinkParams
	dirty  bool // an earlier try wrote to the store

	declined int // how often the other side ended the stream
}

// search tries peers as they are found, again and again, until one answers.
func (j *joiner) search(ctx context.Context, found chan peer.AddrInfo) error {
	known := map[peer.ID]peer.AddrInfo{}
	var last error
	j.params.Progress("looking for the other device")
	for failures := 0; ; failures++ {
		select {
		case info := <-found:
			known[info.ID] = info
		case <-ctx.Done():
			return j.gaveUp(len(known), last)
		case <-time.After(fullJitter(linkRetry, linkRetryMax, failures)):
		}
		for _, info := range known {
			err := j.try(ctx, info)
			if err == nil {
				return nil
			}
			if problem := (*view.Problem)(nil); errors.As(err, &problem) {
				return err
			}
			if last = err; errors.Is(err, errNotWelcome) {
				if j.declined++; j.declined == maxLinkDeclined {
					return errDeclined
				}
			}
		}
	}
}

// errDeclined: the device that made the link says no to whoever may not use it, and never why.
var errDeclined = &view.Problem{
	Class:   view.ErrRefused,
	Message: "the other device does not take this link: it was used already, or has expired; kith device add makes a new one there",
	Hint:    "kith init --link LINK",
}

// errNotWelcome says that the other side ended the stream instead of answering the first frame. Later a broken stream is
// nothing but that: the linking goes on.
var errNotWelcome = errors.New("not welcome")

func (j *joiner) gaveUp(known int, last error) error {
	p := &view.Problem{
		Class:   view.ErrNotFound,
		Message: "the other device was not found",
		Hint:    "run `kith daemon` on the other device, on the same network if you can, and this command again",
	}
	if errors.Is(last, errNotWelcome) {
		return errDeclined
	}
	if known > 0 {
		p.Message = fmt.Sprintf("the other device did not answer (is its daemon running?): %v", last)
	}
	return p
}

// try runs the protocol with one peer.
func (j *joiner) try(ctx context.Context, info peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, linkWithin)
	defer cancel()
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
	if ended, ok := errors.AsType[*network.StreamError](err); ok && ended.Remote {
		return fmt.Errorf("%w: %w", errNotWelcome, err)
	}
	if err != nil {
		return err
	}
	j.params.Progress("the other device answered")
	record, err := j.welcome(welcome)
	if err != nil {
		return err
	}
	listed, err := j.ask(stream, record, maxLinkListed)
	if err != nil {
		return err
	}
	return j.turn(j.params.Now(), j.params.Rand, func(t *node.Turn) error { return j.linker.Finish(t, listed) })
}

// welcome writes the identity. Its time and entropy are those of the first
// try, so that every try makes the same device with the same record.
func (j *joiner) welcome(frame []byte) (record []byte, err error) {
	if j.dirty {
		if err := j.build.emptyStore(); err != nil {
			return nil, err
		}
	}
	j.dirty = true
	err = j.turn(j.seed.begun, j.seed.stream("identity"), func(t *node.Turn) (err error) {
		record, err = j.linker.Welcome(t, frame, j.book.Self())
		return err
	})
	return record, err
}

func (j *joiner) ask(stream linkStream, frame []byte, most int) ([]byte, error) {
	if err := writeLinkFrame(stream, frame); err != nil {
		return nil, err
	}
	return readLinkFrame(stream, most)
}

func (j *joiner) turn(now time.Time, rng io.Reader, fn func(t *node.Turn) error) error {
	return j.build.store.Update(func(tx store.Tx) error {
		return fn(&node.Turn{Now: now, Rand: rng, Tx: tx, Out: &node.Effects{}})
	})
}
