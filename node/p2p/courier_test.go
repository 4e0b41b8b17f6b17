package p2p

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/node/host"

	"github.com/kith-im/kith/dht"
)

// within is how long a test waits for something that must happen.
const within = 20 * time.Second

func testKey(name string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	return ed25519.NewKeyFromSeed(seed)
}

func testHost(t testing.TB, name string) host.Host {
	t.Helper()
	h, err := host.New(testKey(name), host.Config{
		Loopback: true, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// end is one courier with what it received.
type end struct {
	*courier
	got chan frameFrom
}

type frameFrom struct {
	from     peer.ID
	envelope []byte
	release  func()
}

func testCourier(t testing.TB, name string) *end {
	h := testHost(t, name)
	e := &end{got: make(chan frameFrom, 4096)}
	e.courier = newCourier(h, &host.AddressBook{Host: h, Loopback: true}, func(from peer.ID, envelope []byte, release func()) {
		e.got <- frameFrom{from, envelope, release}
	})
	t.Cleanup(e.close)
	return e
}

func (e *end) peer() dht.Peer { return (&host.AddressBook{Host: e.host, Loopback: true}).Self() }

// sendTo sends and waits until the frame is out.
func (e *end) sendTo(t testing.TB, to *end, envelope []byte) bool {
	t.Helper()
	sent := make(chan bool, 1)
	if !e.send(to.peer(), envelope, func(ok bool) { sent <- ok }) {
		return false
	}
	select {
	case ok := <-sent:
		return ok
	case <-time.After(within):
		t.Fatal("no answer from the courier")
		return false
	}
}

func (e *end) next(t testing.TB) frameFrom {
	t.Helper()
	select {
	case f := <-e.got:
		return f
	case <-time.After(within):
		t.Fatal("nothing arrived")
		return frameFrom{}
	}
}

func TestEnvelopesPassBothWaysOnOneStreamInOrder(t *testing.T) {
	a, b := testCourier(t, "a"), testCourier(t, "b")
	for i := range 100 {
		if !a.sendTo(t, b, fmt.Appendf(nil, "a%d", i)) {
			t.Fatalf("frame %d was not sent", i)
		}
	}
	for i := range 100 {
		f := b.next(t)
		if want := fmt.Sprintf("a%d", i); string(f.envelope) != want || f.from != a.host.ID() {
			t.Fatalf("got %q from %s, want %q", f.envelope, f.from, want)
		}
		f.release()
	}
	if !b.sendTo(t, a, []byte("back")) {
		t.Fatal("the answer was not sent")
	}
	if f := a.next(t); string(f.envelope) != "back" {
		t.Fatalf("got %q", f.envelope)
	}
	for name, e := range map[string]*end{"a": a, "b": b} {
		if e.mu.Lock(); e.count != 1 {
			t.Errorf("%s holds %d streams, want one for both ways", name, e.count)
		}
		e.mu.Unlock()
	}
}

func TestALostStreamIsOpenedAgain(t *testing.T) {
	a, b := testCourier(t, "a"), testCourier(t, "b")
	a.sendTo(t, b, []byte("one"))
	b.next(t).release()
	b.host.Network().ClosePeer(a.host.ID())
	for began := time.Now(); time.Since(began) < within; {
		a.sendTo(t, b, []byte("two")) // the first may go into the dead stream before its end is noticed
		select {
		case f := <-b.got:
			if string(f.envelope) != "two" {
				t.Errorf("got %q", f.envelope)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Error("nothing arrived on a fresh stream")
}

func TestAnEnvelopeForNobodyIsAnswered(t *testing.T) {
	a := testCourier(t, "a")
	gone := testHost(t, "gone")
	to := (&host.AddressBook{Host: gone, Loopback: true}).Self()
	gone.Close()
	to.Addrs = slices.DeleteFunc(to.Addrs, func(a []byte) bool { // a port without anybody is told of over TCP only
		m, err := ma.NewMultiaddrBytes(a)
		_, tcp := ma.SplitLast(m)
		return err != nil || tcp.Protocol().Code != ma.P_TCP
	})
	if len(to.Addrs) != 1 {
		t.Fatalf("%d addresses", len(to.Addrs))
	}
	answers := make(chan bool, 4)
	bad := []dht.Peer{to, {ID: []byte("no peer")}, {}, a.peer()}
	for _, p := range bad {
		if !a.send(p, []byte("x"), func(ok bool) { answers <- ok }) {
			t.Fatal("refused")
		}
	}
	for range bad {
		select {
		case ok := <-answers:
			if ok {
				t.Error("sent to nobody")
			}
		case <-time.After(within):
			t.Fatal("no answer")
		}
	}
}

// raw opens a direct stream to e that writes what it likes.
func raw(t testing.TB, from host.Host, e *end) network.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := from.Connect(ctx, peer.AddrInfo{ID: e.host.ID(), Addrs: e.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	s, err := from.NewStream(ctx, e.host.ID(), DirectProtocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Reset() })
	return s
}

func frameOf(n int, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(n)), body...)
}

func TestHostileFramesEndTheStream(t *testing.T) {
	body := bytes.Repeat([]byte{7}, maxEnvelope)
	for name, c := range map[string]struct {
		frame []byte
		good  bool // the control: this one passes
	}{
		"largest":   {frameOf(maxEnvelope, body), true},
		"oversized": {frameOf(maxEnvelope+1, append(body, 7)), false},
		"huge":      {frameOf(0xffff, body), false},
		"empty":     {frameOf(0, nil), false},
		"truncated": {frameOf(100, body[:50]), false},
		"half head": {[]byte{0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := testCourier(t, "b")
			s := raw(t, testHost(t, "evil"), b)
			s.Write(c.frame)
			s.CloseWrite()
			s.SetReadDeadline(time.Now().Add(within))
			if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the stream did not end: %v", err)
			}
			select {
			case f := <-b.got:
				if !c.good || len(f.envelope) != maxEnvelope {
					t.Errorf("a frame of %d bytes was taken", len(f.envelope))
				}
			default:
				if c.good {
					t.Error("the largest frame was refused")
				}
			}
		})
	}
}

func TestAFloodIsReadNoFurtherThanItsCommits(t *testing.T) {
	b, honest := testCourier(t, "b"), testCourier(t, "honest")
	s := raw(t, testHost(t, "evil"), b)
	go func() {
		for s.SetWriteDeadline(time.Now().Add(time.Second)) == nil {
			if _, err := s.Write(frameOf(4, []byte("spam"))); err != nil {
				return
			}
		}
	}()
	var held []frameFrom
	for range maxPending {
		held = append(held, b.next(t)) // not released: their commit does not come
	}
	if !honest.sendTo(t, b, []byte("hello")) {
		t.Fatal("an honest peer was kept out")
	}
	if f := b.next(t); f.from != honest.host.ID() {
		t.Errorf("frame %d of the flood was read before any commit", maxPending+1)
	}
	held[0].release() // the control: a commit lets one more in
	if f := b.next(t); f.from == honest.host.ID() {
		t.Error("who was this?")
	}
}

func TestSilentStreamsMakeRoom(t *testing.T) {
	b := testCourier(t, "b")
	evil := testHost(t, "evil")
	for range maxPeerStreams + 3 {
		s := raw(t, evil, b)
		s.Write(frameOf(1, []byte{1}))
		b.next(t).release()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count > maxPeerStreams || len(b.held[evil.ID()]) != b.count {
		t.Errorf("one peer holds %d streams", b.count)
	}
}

func TestTheStreamSilentLongestMakesRoom(t *testing.T) {
	b := testCourier(t, "b")
	b.most = 2
	talk := func(s network.Stream) {
		s.Write(frameOf(1, []byte{1}))
		b.next(t).release()
	}
	evil, ada, ben := testHost(t, "evil"), testHost(t, "ada"), testHost(t, "ben")
	first := raw(t, ada, b)
	talk(first)
	talk(raw(t, evil, b))
	talk(first) // Ada talks on, evil only sits there
	talk(raw(t, ben, b))
	if b.holds(evil.ID()) || !b.holds(ada.ID()) || !b.holds(ben.ID()) {
		t.Errorf("evil %v, Ada %v, Ben %v", b.holds(evil.ID()), b.holds(ada.ID()), b.holds(ben.ID()))
	}
}

// frames feeds what feed writes into readFrame, in virtual time, and returns
// what it read, how long that took and how it ended.
func frames(t *testing.T, feed func(w net.Conn)) (got [][]byte, took time.Duration, last error) {
	synctest.Test(t, func(t *testing.T) {
		r, w := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { feed(w) })
		began := time.Now()
		br := bufio.NewReaderSize(r, frameHead+maxEnvelope)
		for {
			var f []byte
			if f, last = readFrame(r, br); last != nil {
				break
			}
			got = append(got, f)
		}
		took = time.Since(began)
		r.Close()
		w.Close()
		wg.Wait()
	})
	return got, took, last
}

func TestASlowFrameIsCutOffAndASilentStreamIsNot(t *testing.T) {
	got, took, err := frames(t, func(w net.Conn) {
		for _, c := range frameOf(100, make([]byte, 100)) { // a byte a second
			if _, err := w.Write([]byte{c}); err != nil {
				return
			}
			rest(context.Background(), time.Second)
		}
	})
	if len(got) != 0 || took > bodyWithin+time.Second || err == nil {
		t.Errorf("a trickle: %d frames, %v after %v", len(got), err, took)
	}
	got, took, err = frames(t, func(w net.Conn) { // the control: silence between frames is fine
		for range 3 {
			w.Write(frameOf(3, []byte("abc")))
			rest(context.Background(), time.Hour)
		}
		w.Close()
	})
	if len(got) != 3 || !errors.Is(err, io.EOF) || took < 3*time.Hour {
		t.Errorf("silence: %d frames, %v after %v", len(got), err, took)
	}
}

func FuzzDirectFrames(f *testing.F) {
	f.Add(frameOf(3, []byte("abc")))
	f.Add(frameOf(0, nil))
	f.Add(frameOf(maxEnvelope, make([]byte, maxEnvelope)))
	f.Add(frameOf(0xffff, []byte("x")))
	f.Add(append(frameOf(1, []byte{1}), frameOf(2, []byte{1})...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		r := bufio.NewReader(bytes.NewReader(raw))
		var again []byte
		for {
			e, err := readFrame(noDeadline{}, r)
			if err != nil {
				break
			}
			if len(e) == 0 || len(e) > maxEnvelope {
				t.Fatalf("a frame of %d bytes", len(e))
			}
			again = append(again, frameOf(len(e), e)...)
		}
		if !bytes.HasPrefix(raw, again) {
			t.Fatal("frames differ from what was sent")
		}
	})
}

type noDeadline struct{}

func (noDeadline) SetReadDeadline(time.Time) error { return nil }
