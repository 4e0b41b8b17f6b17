package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// memory is a relay whose streams are pipes; with synctest its time is virtual.
type memory struct {
	s     *Server
	store *shared
	peer  dht.Peer
}

func inMemory(t testing.TB, name string, cfg Config) *memory {
	t.Helper()
	m := &memory{store: newShared()}
	key := seedKey(name)
	if cfg.Store == nil {
		cfg.Store = m.store
	}
	if cfg.Rate == (Rate{}) {
		cfg.Rate = Rate{PerSecond: -1}
	}
	if cfg.Relay == nil {
		cfg.Relay = mailbox.NewRelay(key, mailbox.Limits{})
	}
	m.s = newServer(key, cfg)
	m.peer = dht.Peer{ID: cfg.Relay.Peer()}
	t.Cleanup(func() { _ = m.s.Close() })
	return m
}

// elapse lets virtual time pass; it belongs into a synctest bubble only.
func elapse(d time.Duration) { <-time.After(d) }

// lease makes a box at the relay without the wire.
func (m *memory) lease(t testing.TB, key ed25519.PrivateKey) {
	t.Helper()
	signed, err := dht.SignSetCore(key, coreFor(key, 1, time.Now(), m.peer))
	if err != nil {
		t.Fatal(err)
	}
	err = m.store.Do(t.Context(), func(tx mailbox.Tx) error {
		_, err := m.s.cfg.Relay.Commit(tx, time.Now(), signed)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stored counts what the relay holds for a box.
func (m *memory) stored(t testing.TB, key ed25519.PrivateKey) (n int) {
	t.Helper()
	err := m.store.View(func(tx mailbox.Tx) error {
		items, _, err := m.s.cfg.Relay.Fetch(tx, time.Now(), mailbox.IDOf(publicOf(key)), 0, 0, 1<<30)
		n = len(items)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// raw is a client that may send anything.
type raw struct {
	pipeStream
	in *frame.Reader
}

// dial opens a stream to the relay in the name of a peer.
func (m *memory) dial(t testing.TB, name string) *raw {
	t.Helper()
	return m.dialFrom(t, name, netip.Prefix{})
}

// dialFrom is dial from a group of addresses.
func (m *memory) dialFrom(t testing.TB, name string, group netip.Prefix) *raw {
	t.Helper()
	near, far := pipe()
	from := mustPeer(t, name)
	go m.s.serve(from, group, far)
	t.Cleanup(func() { _ = near.Close() })
	return &raw{near, frame.NewReader(near, time.Hour, nil)}
}

func (r *raw) send(t testing.TB, ms ...proto.Message) {
	t.Helper()
	for _, m := range ms {
		b, err := frame.Append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write(b); err != nil {
			t.Fatalf("send: %v", err)
		}
	}
}

func (r *raw) recv(t testing.TB) *pb.Answer {
	t.Helper()
	body, err := r.in.Next(0)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	a, err := parseAnswer(body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ended waits until the relay has ended the stream.
func (r *raw) ended(t testing.TB) {
	t.Helper()
	_, err := io.Copy(io.Discard, r.pipeStream)
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("stream did not end: %v", err)
	}
}

// open says whether the relay holds n streams once everything has settled.
func (m *memory) open(t testing.TB, n int64) {
	t.Helper()
	synctest.Wait()
	if got := m.s.Stats().Streams; got != n {
		t.Fatalf("%d streams are open, want %d", got, n)
	}
}

func getSet(id uint64) *pb.Ask {
	return &pb.Ask{Id: id, What: &pb.Ask_GetSet{GetSet: &pb.GetSet{Box: make([]byte, idSize)}}}
}

func depositAsk(id uint64, d mailbox.Deposit) *pb.Ask {
	return &pb.Ask{Id: id, What: &pb.Ask_Deposit{Deposit: depositFrame(d)}}
}

func ackAsk(id uint64, key ed25519.PrivateKey, relay []byte, ids ...mailbox.EnvelopeID) *pb.Ask {
	packed := mailbox.AckContent(ids)
	return &pb.Ask{Id: id, What: &pb.Ask_Ack{Ack: &pb.Ack{
		Key: publicOf(key), Ids: packed, Sig: mailbox.SignRequest(key, relay, mailbox.VerbAck, packed),
	}}}
}

func collectAsk() *pb.Ask { return &pb.Ask{What: &pb.Ask_Collect{Collect: &pb.Collect{}}} }

func creditAsk(items, bytes uint32) *pb.Ask {
	return &pb.Ask{What: &pb.Ask_Credit{Credit: &pb.Credit{Items: items, Bytes: bytes}}}
}

// proveAsk signs a challenge for a relay.
func proveAsk(id uint64, key ed25519.PrivateKey, relay, nonce []byte) *pb.Ask {
	return &pb.Ask{Id: id, What: &pb.Ask_Prove{Prove: &pb.Prove{
		Key: publicOf(key), Sig: mailbox.SignRequest(key, relay, mailbox.VerbCollect, nonce),
	}}}
}

// challenge begins a collect stream and returns the nonce.
func (r *raw) challenge(t testing.TB) []byte {
	t.Helper()
	r.send(t, collectAsk())
	nonce := r.recv(t).GetChallenge().GetNonce()
	if len(nonce) != nonceSize {
		t.Fatal("no challenge")
	}
	return nonce
}

// pushed gives credit and counts the envelopes that come before silence.
func (r *raw) pushed(t testing.TB, credit *pb.Ask) (n int) {
	t.Helper()
	r.send(t, credit)
	for {
		_ = r.SetReadDeadline(time.Now().Add(time.Minute))
		body, err := r.in.Next(0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		a, err2 := parseAnswer(body)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		n += len(a.GetItems().GetItems())
	}
}

// refused fails unless the answer is a refusal with this code.
func refused(t testing.TB, a *pb.Answer, code mailbox.Code) {
	t.Helper()
	if got := mailbox.Code(a.GetRefusal().GetCode()); got != code {
		t.Fatalf("answer %v, want a refusal: %v", a, code)
	}
}

// gate is a store whose transactions wait until they are let through.
type gate struct {
	*shared
	let chan struct{}
}

func (g gate) Do(ctx context.Context, fn func(mailbox.Tx) error) error {
	select {
	case <-g.let:
		return g.shared.Do(ctx, fn)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// counting is a store that counts the turns of its writer.
type counting struct {
	*shared
	turns *atomic.Int64
}

func (c counting) Do(ctx context.Context, fn func(mailbox.Tx) error) error {
	c.turns.Add(1)
	return c.shared.Do(ctx, fn)
}

// A pass that does not hold costs the writer nothing; one that holds is the
// control.
func TestBadPassesTakeNoTurnOfTheWriter(t *testing.T) {
	turns := &atomic.Int64{}
	store := newShared()
	m := inMemory(t, "relay", Config{Store: counting{store, turns}})
	m.store = store
	key := seedKey("box")
	m.lease(t, key)
	deposit := func(n int, spoil byte) *job {
		d := depositTo(key, n, 100)
		d.Pass = bytes.Clone(d.Pass)
		d.Pass[len(d.Pass)-1] ^= spoil
		j := &job{ask: &pb.Ask{Id: 1, What: &pb.Ask_Deposit{Deposit: depositFrame(d)}}}
		m.s.doWrites([]*job{j})
		return j
	}
	for n := range 10 {
		refused(t, deposit(n, 1).answer, mailbox.BadPass)
	}
	if turns.Load() != 0 {
		t.Errorf("%d turns for bad passes", turns.Load())
	}
	for n := range 3 {
		if j := deposit(n, 0); j.receipt == nil || int(turns.Load()) != n+1 {
			t.Errorf("control: %v, %d turns", j.answer, turns.Load())
		}
	}
	if n := len(m.s.passes.held); n != 1 {
		t.Errorf("%d passes remembered", n)
	}
}
