package blobs

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"go.uber.org/goleak"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs/pb"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/rate"
)

func TestMain(m *testing.M) {
	if crashWriter() {
		return
	}
	goleak.VerifyTestMain(m)
}

// seedKey is a deterministic key.
func seedKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// newHost is a real libp2p host on loopback.
func newHost(t testing.TB, name string) host.Host {
	t.Helper()
	k, err := crypto.UnmarshalEd25519PrivateKey(seedKey(name))
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(k), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.DisableRelay(), libp2p.DisableMetrics())
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

var (
	box    = seedKey("box")
	boxID  = mailbox.IDOf(box.Public().(ed25519.PublicKey))
	strict = mailbox.Refusal{Code: mailbox.NotMine}
)

// leases admits the one box.
func leases(id mailbox.ID) (time.Time, error) {
	if id != boxID {
		return time.Time{}, &strict
	}
	return today, nil
}

// world is a relay with a store of its own, and a client.
type world struct {
	store  *Store
	server *Server
	host   host.Host
	relay  dht.Peer
	client *Client
	dialer host.Host
}

func newWorld(t testing.TB, o Options, cfg Config) *world {
	t.Helper()
	w := &world{store: newStore(t, t.TempDir(), o), host: newHost(t, "relay"), dialer: newHost(t, "client")}
	w.relay = peerOf(w.host)
	w.server = Serve(w.host, cfg)
	w.server.Keep(w.store, leases)
	w.client = NewClient(w.dialer)
	t.Cleanup(func() {
		w.client.Close()
		w.server.Close()
	})
	return w
}

func (w *world) put(t testing.TB, number, n int) Digest {
	t.Helper()
	d, b := chunk(number, n)
	if err := w.client.Put(t.Context(), w.relay, box, d, b, later); err != nil {
		t.Fatal(err)
	}
	return d
}

func code(err error) mailbox.Code {
	var r *mailbox.Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return 0
}

func TestChunksGoUpAndDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	sizes := []int{1, 5000, copyBuffer + 1, blob.MaxChunk}
	var ds []Digest
	for i, n := range sizes {
		ds = append(ds, w.put(t, i, n))
		w.put(t, i, n) // again: no byte of it travels
	}
	if got := w.server.Stats(); got.Received != int64(len(sizes)) {
		t.Errorf("%d chunks travelled", got.Received)
	}
	missing, _ := chunk(99, 10)
	has, err := w.client.Has(t.Context(), w.relay, append(ds[:len(ds):len(ds)], missing))
	if err != nil || !has[0] || !has[3] || has[4] {
		t.Errorf("%v, %v", has, err)
	}
	buf := make([]byte, blob.MaxChunk)
	for i, n := range sizes {
		_, want := chunk(i, n)
		got, err := w.client.Get(t.Context(), w.relay, ds[i], buf)
		if err != nil || !bytes.Equal(got, want) || &got[0] != &buf[0] {
			t.Errorf("chunk %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := w.client.Get(t.Context(), w.relay, missing, nil); !errors.Is(err, ErrNotHere) {
		t.Errorf("missing: %v", err)
	}
	if err := w.client.Drop(t.Context(), w.relay, seedKey("another"), ds[:1]); err != nil || !holds(t, w.store, 0, 1) {
		t.Errorf("another's drop: %v", err)
	}
	if err := w.client.Drop(t.Context(), w.relay, box, ds[:2]); err != nil || holds(t, w.store, 0, 1) || !holds(t, w.store, 2, sizes[2]) {
		t.Errorf("drop: %v", err)
	}
	if n, err := w.store.Expire(later.Add(24 * time.Hour)); n != 2 || err != nil { // the claims are as long as asked
		t.Errorf("%d, %v", n, err)
	}
}

func TestOnlyLeasedBoxesPut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{OwnerBytes: 1000 + 2*ChunkCost}, Config{})
	d, b := chunk(1, 600)
	ctx := t.Context()
	if err := w.client.Put(ctx, w.relay, seedKey("another"), d, b, later); code(err) != mailbox.NotMine {
		t.Errorf("no lease: %v", err)
	}
	if err := w.client.Put(ctx, w.relay, box, d, b, today); code(err) != mailbox.Expired {
		t.Errorf("over already: %v", err)
	}
	if err := w.client.Put(ctx, w.relay, box, d, b, today.Add(1000*24*time.Hour)); err != nil {
		t.Errorf("for years: %v", err)
	}
	d2, b2 := chunk(2, 600)
	if err := w.client.Put(ctx, w.relay, box, d2, b2, later); code(err) != mailbox.Full {
		t.Errorf("over the quota: %v", err)
	}
	elsewhere := w.relay
	elsewhere.ID = []byte(w.dialer.ID()) // the signature is for another relay
	ask := &pb.Ask{What: &pb.Ask_Put{Put: &pb.Put{
		Digest: d2[:], Size: 10, ExpiresMs: uint64(later.UnixMilli()), Key: box.Public().(ed25519.PublicKey),
		Sig: mailbox.SignRequest(box, elsewhere.ID, mailbox.VerbPutChunk, putContent(d2, 10, uint64(later.UnixMilli()))),
	}}}
	err := w.client.call(ctx, w.relay, ask, func(wire, *pb.Answer) error { return nil })
	if code(err) != mailbox.Malformed {
		t.Errorf("signed for another relay: %v", err)
	}
	w.server.Keep(w.store, nil) // as a device: get only
	if err := w.client.Put(ctx, w.relay, box, d2, b2[:10], later); code(err) != mailbox.NotServing {
		t.Errorf("to a device: %v", err)
	}
	if _, err := w.client.Get(ctx, w.relay, d, nil); err != nil {
		t.Errorf("from a device: %v", err)
	}
	if n, err := w.store.Expire(later.Add(24 * time.Hour)); n != 1 || err != nil {
		t.Errorf("the claim is longer than a chunk is kept: %d, %v", n, err)
	}
}

func TestADeviceSharesItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	own := newStore(t, t.TempDir(), Options{})
	d := put(t, own, 7, 100, time.Time{}, alice)
	kept := w.put(t, 8, 100)
	if _, err := w.client.Get(t.Context(), w.relay, d, nil); !errors.Is(err, ErrNotHere) {
		t.Errorf("before: %v", err)
	}
	w.server.Share(own)
	for _, d := range []Digest{d, kept} {
		if _, err := w.client.Get(t.Context(), w.relay, d, nil); err != nil {
			t.Error(err)
		}
	}
	if has, err := w.client.Has(t.Context(), w.relay, []Digest{d, kept}); err != nil || !has[0] || !has[1] {
		t.Errorf("%v, %v", has, err)
	}
	w.server.Keep(nil, nil)
	if _, err := w.client.Get(t.Context(), w.relay, kept, nil); !errors.Is(err, ErrNotHere) {
		t.Errorf("after the relay ended: %v", err)
	}
	if n, err := own.Expire(time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)); n != 0 || err != nil {
		t.Errorf("for ever: %d went, %v", n, err)
	}
	if err := own.DropOwner(alice); err != nil || own.Stats().Usage != (Usage{}) {
		t.Errorf("%v, %+v", err, own.Stats())
	}
}

func TestADamagedChunkIsNotServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	n := copyBuffer + 10
	d := w.put(t, 1, n)
	_, b := chunk(1, n)
	b[n-1] ^= 1
	if err := os.WriteFile(w.store.chunkPath(d), b, fileMode); err != nil {
		t.Fatal(err)
	}
	_, err := w.client.Get(t.Context(), w.relay, d, nil)
	if err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("the server finds out and does not lie: %v", err)
	}
	if _, err := w.client.Get(t.Context(), w.relay, d, nil); !errors.Is(err, ErrNotHere) || w.store.Stats().Damaged != 1 {
		t.Errorf("the next: %v", err)
	}
	w.put(t, 1, n)
}

func TestALyingServerIsFoundOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	w.server.Close()
	d, b := chunk(1, 10)
	answers := map[string]func(wire){
		"other bytes": func(x wire) {
			_ = x.send(&pb.Answer{What: &pb.Answer_Chunk{Chunk: 10}})
			_ = x.write(make([]byte, 10), time.Now().Add(time.Second))
		},
		"too large":     func(x wire) { _ = x.send(&pb.Answer{What: &pb.Answer_Chunk{Chunk: blob.MaxChunk + 1}}) },
		"empty":         func(x wire) { _ = x.send(&pb.Answer{What: &pb.Answer_Chunk{}}) },
		"another kind":  func(x wire) { _ = x.send(&pb.Answer{What: &pb.Answer_Has{Has: []byte{1}}}) },
		"no frame":      func(x wire) { _ = x.write([]byte{0}, time.Now().Add(time.Second)) },
		"huge frame":    func(x wire) { _ = x.write([]byte{0xff, 0xff, 0xff, 0xff}, time.Now().Add(time.Second)) },
		"empty refusal": func(x wire) { _ = x.send(&pb.Answer{What: &pb.Answer_Refusal{Refusal: &pb.Refusal{}}}) },
	}
	for name, answer := range answers {
		w.host.SetStreamHandler(Protocol, func(st network.Stream) {
			x := newWire(st)
			if _, err := x.in.Next(time.Minute); err == nil {
				answer(x)
			}
			_ = st.Close()
			x.in.Release()
		})
		if got, err := w.client.Get(t.Context(), w.relay, d, nil); !errors.Is(err, ErrInvalid) || got != nil {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	w.host.SetStreamHandler(Protocol, func(st network.Stream) { // cut in the middle
		x := newWire(st)
		_, _ = x.in.Next(time.Minute)
		_ = x.send(&pb.Answer{What: &pb.Answer_Chunk{Chunk: 10}})
		_ = x.write(b[:5], time.Now().Add(time.Second))
		_ = st.Close()
		x.in.Release()
	})
	if got, err := w.client.Get(t.Context(), w.relay, d, nil); err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("cut: %x, %v", got, err)
	}
}

// raw is a stream of a client that keeps to no rules.
func (w *world) raw(t *testing.T) wire {
	t.Helper()
	st, err := frame.Open(t.Context(), w.dialer, w.relay, Protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Reset() })
	return newWire(st)
}

func TestAHostileClientIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	for name, m := range map[string]*pb.Ask{
		"no question":   {What: &pb.Ask_Get{Get: &pb.Get{}}},
		"half a digest": {What: &pb.Ask_Has{Has: &pb.Has{Digests: make([]byte, 48)}}},
		"many digests":  {What: &pb.Ask_Has{Has: &pb.Has{Digests: make([]byte, 32*(MaxDigests+1))}}},
		"no size":       {What: &pb.Ask_Put{Put: &pb.Put{Digest: make([]byte, 32), Key: make([]byte, 32), Sig: make([]byte, 64)}}},
		"short key":     {What: &pb.Ask_Drop{Drop: &pb.Drop{Digests: make([]byte, 32), Key: make([]byte, 31), Sig: make([]byte, 64)}}},
	} {
		x := w.raw(t)
		if err := x.send(m); err != nil {
			t.Fatal(err)
		}
		if _, err := x.in.Next(10 * time.Second); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
	if got := w.server.Stats().Bad; got != 5 {
		t.Errorf("%d counted", got)
	}
}

// startPut asks to put a chunk and waits until the server wants it.
func (w *world) startPut(t *testing.T, x wire, number, n int) []byte {
	t.Helper()
	b := w.askPut(t, x, number, n)
	if a, err := w.client.read(x); err != nil || a.GetGo() == nil {
		t.Fatalf("%v, %v", a, err)
	}
	return b
}

func (w *world) askPut(t *testing.T, x wire, number, n int) []byte {
	t.Helper()
	d, b := chunk(number, n)
	millis := uint64(later.UnixMilli())
	err := x.send(&pb.Ask{What: &pb.Ask_Put{Put: &pb.Put{
		Digest: d[:], Size: uint32(n), ExpiresMs: millis, Key: box.Public().(ed25519.PublicKey),
		Sig: mailbox.SignRequest(box, w.relay.ID, mailbox.VerbPutChunk, putContent(d, uint32(n), millis)),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOtherBytesThanAnnouncedAreNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	x := w.raw(t)
	w.startPut(t, x, 1, 100)
	if err := x.write(make([]byte, 100), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.read(x); code(err) != mailbox.Malformed {
		t.Errorf("%v", err)
	}
	b := w.startPut(t, x, 1, 100) // the stream goes on
	if err := x.write(b, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if a, err := w.client.read(x); err != nil || a.GetDone() == nil || !holds(t, w.store, 1, 100) {
		t.Errorf("%v, %v", a, err)
	}
}

func TestACutUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	x := w.raw(t)
	b := w.startPut(t, x, 1, copyBuffer*2)
	if err := x.write(b[:copyBuffer+7], time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_ = x.st.Reset()
	w.server.Keep(nil, nil) // waits for the stream
	if w.store.Usage(boxID) != 0 || w.store.Stats().Usage != (Usage{}) || files(t, w.store.dir) != 0 {
		t.Errorf("%+v, %d files", w.store.Stats(), files(t, w.store.dir))
	}
}

func TestTheRelaysStoreIsFreeOnceKeepReturns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	x := w.raw(t)
	w.startPut(t, x, 1, 1000) // and never sends it
	w.server.Keep(nil, nil)
	if err := w.store.Close(); err != nil { // would wait for the upload
		t.Fatal(err)
	}
}

func TestStreamsOfOnePeerAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	ask := &pb.Ask{What: &pb.Ask_Has{Has: &pb.Has{Digests: make([]byte, 32)}}}
	refused := 0
	for range maxStreamsPerPeer + 3 {
		x := w.raw(t)
		_ = x.send(ask)
		if _, err := x.in.Next(10 * time.Second); err != nil {
			refused++
		}
	}
	if refused != 3 {
		t.Errorf("%d of 3 refused", refused)
	}
}

func TestAFullServerEndsWhoIsSilentForLongest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	w.server.streams = 2
	ask := &pb.Ask{What: &pb.Ask_Has{Has: &pb.Has{Digests: make([]byte, 32)}}}
	asked := func(x wire) error {
		if err := x.send(ask); err != nil {
			return err
		}
		_, err := x.in.Next(10 * time.Second)
		return err
	}
	silent, busy := w.raw(t), w.raw(t)
	for _, x := range []wire{silent, busy, busy} {
		if err := asked(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := asked(w.raw(t)); err != nil {
		t.Errorf("a newcomer: %v", err)
	}
	if _, err := silent.in.Next(10 * time.Second); err == nil {
		t.Error("the silent stream is still there")
	}
	if err := asked(busy); err != nil {
		t.Errorf("the busy stream: %v", err)
	}
}

func TestTransfersOfAGroupAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	w.server.times.room = 0
	group := netip.MustParsePrefix("192.0.2.1/32")
	sessionOf := func(i byte, g netip.Prefix) *session {
		return &session{s: w.server, from: peer.ID([]byte{i}), group: g, ctx: t.Context()}
	}
	taken := 0
	for i := range maxTransfersOfGroup + 1 {
		if sessionOf(byte(i), group).start() {
			taken++
		}
	}
	if taken != maxTransfersOfGroup {
		t.Errorf("%d transfers", taken)
	}
	other := sessionOf(200, netip.MustParsePrefix("192.0.2.2/32"))
	w.server.times.room = time.Minute
	if !other.start() {
		t.Error("another group has no room")
	}
	other.finish()
	for range taken {
		sessionOf(0, group).finish()
	}
	if len(w.server.moving) != 0 || len(w.server.slots) != 0 {
		t.Errorf("%v are left", w.server.moving)
	}
}

func TestWhoAsksTooOftenIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{Rate: rate.Limit{PerSecond: 1, Burst: 3}})
	w.server.times.room = 0
	d, _ := chunk(1, 10)
	for i := range 5 {
		_, err := w.client.Has(t.Context(), w.relay, []Digest{d})
		if refused := code(err) == mailbox.RateLimited; refused != (i >= 3) {
			t.Errorf("question %d: %v", i, err)
		}
	}
}

func TestASlowUploadIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	w.server.times.chunk = -1 // over when it begins
	x := w.raw(t)
	b := w.askPut(t, x, 1, 100)
	_ = x.write(b, time.Now().Add(time.Minute))
	for answers := 0; ; answers++ {
		a, err := w.client.read(x)
		if err != nil {
			break
		}
		if a.GetGo() == nil || answers > 0 {
			t.Fatalf("%v", a)
		}
	}
	if holds(t, w.store, 1, 100) {
		t.Error("kept")
	}
}

func TestAClientSurvivesARelayThatEndsItsStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	for range 3 {
		w.put(t, 1, 100)
		w.server.Keep(w.store, leases) // ends all streams
	}
	if got := w.server.Stats().Received; got != 1 {
		t.Errorf("the chunk travelled %d times", got)
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	w.server.Close()
	asked := make(chan struct{}, 10)
	w.host.SetStreamHandler(Protocol, func(st network.Stream) { // never answers
		x := newWire(st)
		_, _ = x.in.Next(time.Minute)
		asked <- struct{}{}
		_, _ = x.in.Next(time.Minute)
		x.in.Release()
	})
	ctx, cancel := context.WithCancel(t.Context())
	d, _ := chunk(1, 10)
	var wg sync.WaitGroup
	var ended atomic.Int64
	for range streamsPerServer + 2 { // two wait for a stream
		wg.Go(func() {
			if _, err := w.client.Get(ctx, w.relay, d, nil); err != nil {
				ended.Add(1)
			}
		})
	}
	for range streamsPerServer {
		<-asked
	}
	cancel()
	wg.Wait()
	if ended.Load() != streamsPerServer+2 || len(w.client.each) != 0 {
		t.Errorf("%d ended, %d lanes are left", ended.Load(), len(w.client.each))
	}
	wg.Go(func() { _, _ = w.client.Get(t.Context(), w.relay, d, nil) })
	<-asked
	w.client.Close()
	wg.Wait()
	if _, err := w.client.Get(t.Context(), w.relay, d, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestManyChunksAtOnceOverOneClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Config{})
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			d, b := chunk(i, 20_000)
			if err := w.client.Put(t.Context(), w.relay, box, d, b, later); err != nil {
				t.Error(err)
				return
			}
			if got, err := w.client.Get(t.Context(), w.relay, d, nil); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if got := w.server.Stats(); got.Streams > streamsPerServer {
		t.Errorf("%d streams", got.Streams)
	}
}
