package upkeep

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

var errAway = errors.New("away")

// town is a few relays in memory that reach each other without a network. Its
// tests run in synctest bubbles: their time is virtual.
type town struct {
	t     testing.TB
	mu    sync.Mutex
	nodes map[string]*node
	asks  map[string]int // by peer id
}

// node is one relay with its upkeep. It is also the Client of that upkeep.
type node struct {
	*town
	key    ed25519.PrivateKey
	peer   dht.Peer
	rules  *mailbox.Relay
	store  *locked
	upkeep *Upkeep
	scrub  func(context.Context) (int, []Spoilt, error)
	skew   time.Duration
	up     bool
	hang   bool // does not answer before the asker gives up
	news   int  // how often copies came
}

// locked makes the memory store fit for many goroutines. Bodies of the ids in
// rotten are spoilt until they are mended.
type locked struct {
	mu     sync.Mutex
	m      *mailbox.Memory
	rotten map[mailbox.EnvelopeID]bool
	walks  int // through all boxes
	writes int64
	broken error // of every look

	uncounted bool // nobody says when something is written
}

func newLocked() *locked {
	return &locked{m: mailbox.NewMemory(), rotten: map[mailbox.EnvelopeID]bool{}}
}

func (s *locked) Do(ctx context.Context, fn func(mailbox.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.m.Do(ctx, func(tx mailbox.Tx) error { return fn(rottenTx{tx, s}) })
}

func (s *locked) View(fn func(mailbox.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	return s.m.View(func(tx mailbox.Tx) error { return fn(rottenTx{tx, s}) })
}

type rottenTx struct {
	mailbox.Tx
	s *locked
}

func (t rottenTx) Body(box mailbox.ID, e mailbox.Entry) ([]byte, error) {
	if t.s.rotten[e.ID] {
		return nil, mailbox.ErrDamaged
	}
	return t.Tx.Body(box, e)
}

func (t rottenTx) EachBox(fn func(mailbox.ID, mailbox.Box) bool) {
	t.s.walks++
	t.Tx.EachBox(fn)
}

func (t rottenTx) Mend(box mailbox.ID, e mailbox.Entry, envelope []byte) error {
	delete(t.s.rotten, e.ID)
	return t.Tx.Mend(box, e, envelope)
}

// newTown makes relays that share box 1; the last standbys of them stand by.
func newTown(t testing.TB, relays, standbys int) (*town, []*node) {
	w := &town{t: t, nodes: map[string]*node{}, asks: map[string]int{}}
	var all []*node
	for i := range relays {
		n := &node{town: w, key: mailboxtest.Key(50 + i), store: newLocked(), up: true}
		n.peer = dht.Peer{ID: dht.PeerFromKey(n.key.Public().(ed25519.PublicKey))}
		n.rules = mailbox.NewRelay(n.key, mailbox.Limits{NoWork: true, FrontCount: 1 << 20})
		w.nodes[string(n.peer.ID)] = n
		all = append(all, n)
	}
	w.open(1, 1, standbys, all...)
	for _, n := range all {
		n.start()
	}
	t.Cleanup(func() {
		for _, n := range all {
			_ = n.upkeep.Close()
		}
	})
	return w, all
}

func (n *node) start() {
	n.upkeep = New(Config{
		Store: n.store, Relay: n.rules, Client: n, Rand: rand.NewChaCha8([32]byte(n.peer.ID[6:])), Scrub: n.scrub,
		Now: func() time.Time { return time.Now().Add(n.skew) }, Commits: n.commits,
		Adopted: func(box mailbox.ID) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.news++
		},
	})
	n.upkeep.Start()
}

// commits counts for the upkeep, unless nobody does.
func (n *node) commits() int64 {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	if n.store.uncounted {
		return -1
	}
	return n.store.writes
}

// open gives box b to relays.
func (w *town) open(b int, number uint64, standbys int, all ...*node) {
	w.t.Helper()
	now := time.Now().Truncate(time.Second)
	core := dht.SetCore{
		Box: mailboxtest.Key(b).Public().(ed25519.PublicKey), Epoch: dht.EpochAt(now), Number: number,
		R: byte(len(all)), W: 1, S: byte(standbys), Issued: now, NotAfter: now.Add(30 * 24 * time.Hour),
	}
	for i, n := range all {
		core.Members = append(core.Members, dht.Member{Peer: n.peer, Rank: byte(i), Standby: i >= len(all)-standbys})
	}
	signed, err := dht.SignSetCore(mailboxtest.Key(b), core)
	w.must(err)
	var leases []dht.Lease
	for _, n := range all {
		w.must(n.store.Do(context.Background(), func(tx mailbox.Tx) error {
			l, err := n.rules.Commit(tx, now, signed)
			leases = append(leases, l)
			return err
		}))
	}
	set, err := dht.SignSetRecord(mailboxtest.Key(b), core, leases)
	w.must(err)
	for _, n := range all {
		w.must(n.store.Do(context.Background(), func(tx mailbox.Tx) error { return n.rules.PutSet(tx, now, set.Bytes()) }))
	}
}

func (w *town) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (n *node) deposit(text string) {
	n.t.Helper()
	n.must(n.store.Do(context.Background(), func(tx mailbox.Tx) error {
		_, err := n.rules.Deposit(tx, time.Now(), mailbox.Deposit{
			Box: mailboxtest.Box(1), Envelope: []byte(text), Expires: time.Now().Add(29 * 24 * time.Hour),
		})
		return err
	}))
}

// texts lists what a relay has for box 1 and can still read.
func (n *node) texts() (out []string) {
	n.t.Helper()
	n.must(n.store.View(func(tx mailbox.Tx) error {
		items, _, err := n.rules.Fetch(tx, time.Now(), mailboxtest.Box(1), 0, 0, 1<<20)
		for _, i := range items {
			out = append(out, string(i.Envelope))
		}
		return err
	}))
	slices.Sort(out)
	return out
}

// down ends a relay, up brings it back.
func (n *node) down() {
	_ = n.upkeep.Close()
	n.mu.Lock()
	n.up = false
	n.mu.Unlock()
	synctest.Wait() // whoever was on a visit here has gone
}

func (n *node) back() {
	n.mu.Lock()
	n.up = true
	n.mu.Unlock()
	n.start()
	for _, o := range n.nodes {
		o.upkeep.Connected(n.peer.ID)
	}
}

// to finds a relay that is there.
func (n *node) to(ctx context.Context, p dht.Peer) (*node, error) {
	n.mu.Lock()
	n.asks[string(p.ID)]++
	o := n.nodes[string(p.ID)]
	up, hang := o != nil && o.up, o != nil && o.hang
	n.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !up {
		return nil, errAway
	}
	return o, nil
}

// asked is how often anybody asked the relays something.
func (w *town) asked(of ...*node) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range of {
		n += w.asks[string(o.peer.ID)]
	}
	return n
}

func (n *node) Compare(ctx context.Context, p dht.Peer, sums []mailbox.BoxSum) (out []mailbox.Comparison, err error) {
	o, err := n.to(ctx, p)
	if err != nil {
		return nil, err
	}
	err = o.store.View(func(tx mailbox.Tx) error { out = o.rules.Compare(tx, time.Now(), n.peer.ID, sums); return nil })
	return out, err
}

func (n *node) Digest(ctx context.Context, p dht.Peer, box mailbox.ID, after uint64) (page []mailbox.Held, more bool, err error) {
	o, err := n.to(ctx, p)
	if err != nil {
		return nil, false, err
	}
	err = o.store.View(func(tx mailbox.Tx) (err error) {
		page, more, err = o.rules.Digest(tx, time.Now(), n.peer.ID, box, after)
		return err
	})
	return page, more, err
}

func (n *node) Copies(ctx context.Context, p dht.Peer, box mailbox.ID, ids []mailbox.EnvelopeID) (out []mailbox.Copy, err error) {
	o, err := n.to(ctx, p)
	if err != nil {
		return nil, err
	}
	err = o.store.View(func(tx mailbox.Tx) (err error) {
		out, err = o.rules.Copies(tx, time.Now(), n.peer.ID, box, ids)
		return err
	})
	return out, err
}

func (n *node) Possess(ctx context.Context, p dht.Peer, box mailbox.ID, nonce [32]byte, ids []mailbox.EnvelopeID) (out []mailbox.Possession, err error) {
	o, err := n.to(ctx, p)
	if err != nil {
		return nil, err
	}
	err = o.store.View(func(tx mailbox.Tx) (err error) {
		out, err = o.rules.Possess(tx, time.Now(), box, nonce, ids)
		return err
	})
	return out, err
}

func (n *node) Advert(ctx context.Context, p dht.Peer) (*dht.Advert, error) {
	o, err := n.to(ctx, p)
	if err != nil {
		return nil, err
	}
	var leaving time.Time
	_ = o.store.View(func(tx mailbox.Tx) error { leaving = tx.Leaving(); return nil })
	return o.advert(1, leaving)
}

func (n *node) advert(number uint64, leaving time.Time) (*dht.Advert, error) {
	now := time.Now()
	return dht.SignAdvert(n.key, dht.Advert{Peer: n.peer, Number: number, Issued: now, NotAfter: now.Add(time.Hour), LeavingAt: leaving})
}

func (n *node) Offer(ctx context.Context, p dht.Peer, boxes []mailbox.ID) error {
	o, err := n.to(ctx, p)
	if err != nil {
		return err
	}
	o.upkeep.Offered(n.peer.ID, boxes)
	return nil
}

func (n *node) GetSet(ctx context.Context, p dht.Peer, box mailbox.ID) (raw []byte, err error) {
	o, err := n.to(ctx, p)
	if err != nil {
		return nil, err
	}
	err = o.store.View(func(tx mailbox.Tx) (err error) { raw, err = o.rules.GetSet(tx, time.Now(), box); return err })
	return raw, err
}

func (n *node) PutSet(ctx context.Context, p dht.Peer, raw []byte) error {
	o, err := n.to(ctx, p)
	if err != nil {
		return err
	}
	return o.store.Do(ctx, func(tx mailbox.Tx) error { return o.rules.PutSet(tx, time.Now(), raw) })
}

func (n *node) Clock(ctx context.Context, p dht.Peer) (time.Time, error) {
	o, err := n.to(ctx, p)
	if err != nil {
		return time.Time{}, err
	}
	return time.Now().Add(o.skew), nil
}

// drain has a relay leave and hand over what it holds.
func (n *node) drain(ctx context.Context, told func(Progress)) error {
	at, ok := ctx.Deadline()
	if !ok {
		at = time.Now().Add(24 * time.Hour)
	}
	if err := n.upkeep.Leave(ctx, at); err != nil {
		return err
	}
	return n.upkeep.Drain(ctx, told)
}

func texts(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("text %02d", i))
	}
	return out
}

// elapse lets virtual time pass, and what it brought about come to rest: what a
// test does next, it does alone.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
