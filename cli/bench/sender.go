package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
	"github.com/kith-im/kith/mailbox/relay"
)

// mailLife is how long an envelope of a run is for: longer than any run.
const mailLife = 24 * time.Hour

// sender fills one box at one relay, and later empties it: it holds the box's key.
type sender struct {
	client *relay.Client
	relay  dht.Peer
	key    ed25519.PrivateKey
	box    mailbox.ID
	body   []byte // of an envelope; its first bytes are the number
	pass   []byte // for this relay

	mu     sync.Mutex
	number uint64
	stored map[mailbox.EnvelopeID]struct{} // with a receipt
}

// senders makes the hosts, opens the boxes, and returns who fills them. closeAll is to be called also after an error.
func (l Load) senders(ctx context.Context, at dht.Peer) (all []*sender, closeAll func(), err error) {
	clients, closeAll, err := clients(l.Hosts, l.Over)
	if err != nil {
		return nil, closeAll, err
	}
	all = make([]*sender, l.Senders)
	errs := make(chan error, l.Senders)
	var wg sync.WaitGroup
	for i := range all {
		if all[i], err = newSender(clients[i%len(clients)], at, l.Bytes); err != nil {
			break
		}
		wg.Go(func() { errs <- all[i].open(ctx, one(at)) })
	}
	wg.Wait()
	close(errs)
	for e := range errs {
		if err == nil {
			err = e
		}
	}
	return all, closeAll, err
}

// clients are n libp2p hosts, each with a client of relays.
func clients(n int, over string) (out []*relay.Client, closeAll func(), err error) {
	var hosts []host.Host
	closeAll = func() {
		var wg sync.WaitGroup
		for i := range hosts {
			wg.Go(func() {
				_ = out[i].Close()
				_ = hosts[i].Close()
			})
		}
		wg.Wait()
	}
	for range n {
		h, err := newHost(over)
		if err != nil {
			return out, closeAll, fmt.Errorf("host: %w", err)
		}
		hosts, out = append(hosts, h), append(out, relay.NewClient(h, nil))
	}
	return out, closeAll, nil
}

func one(p dht.Peer) []dht.Peer { return []dht.Peer{p} }

func newSender(c *relay.Client, at dht.Peer, size int) (*sender, error) {
	seed := make([]byte, ed25519.SeedSize+size)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	key := signature.NewKey(seed[:ed25519.SeedSize])
	box := mailbox.IDOf(key.Public().(ed25519.PublicKey))
	return &sender{
		client: c, relay: at, key: key, box: box, pass: passFor(key, key.Seed(), at, box),
		body: seed[ed25519.SeedSize:], stored: map[mailbox.EnvelopeID]struct{}{},
	}, nil
}

// passFor lets a contact, known by a secret, into the box of an owner at one relay.
func passFor(owner ed25519.PrivateKey, secret []byte, at dht.Peer, box mailbox.ID) []byte {
	holder := pass.HolderKey(secret, 1)
	return pass.Use(holder, pass.Issue(owner, holder.Public().(ed25519.PublicKey)), at.ID, box)
}

// open leases the box at relays; the first is this sender's own.
func (s *sender) open(ctx context.Context, relays []dht.Peer) error {
	now := time.Now().Truncate(time.Second)
	core := dht.SetCore{
		Box: s.key.Public().(ed25519.PublicKey), Epoch: dht.EpochAt(now), Number: 1,
		Issued: now, NotAfter: now.Add(20 * 24 * time.Hour), R: byte(len(relays)), W: 1,
	}
	for i, r := range relays {
		core.Members = append(core.Members, dht.Member{Peer: r, Rank: byte(i)})
	}
	keys := []ed25519.PrivateKey{s.key}
	var leases []dht.Lease
	for _, r := range relays {
		if err := s.client.Reserve(ctx, r, keys); err != nil {
			return fmt.Errorf("box: %w", err)
		}
		got, err := s.client.Commit(ctx, r, keys, []dht.SetCore{core})
		if err != nil {
			return fmt.Errorf("box: %w", err)
		}
		leases = append(leases, got...)
	}
	set, err := dht.SignSetRecord(s.key, core, leases)
	if err != nil {
		return fmt.Errorf("box: %w", err)
	}
	for _, r := range relays {
		if err := s.client.PutSet(ctx, r, set.Bytes()); err != nil {
			return fmt.Errorf("box: %w", err)
		}
	}
	return nil
}

// next is an envelope that nobody has seen.
func (s *sender) next() mailbox.Deposit {
	s.mu.Lock()
	s.number++
	n := s.number
	s.mu.Unlock()
	envelope := append([]byte(nil), s.body...)
	binary.BigEndian.PutUint64(envelope, n)
	return mailbox.Deposit{Box: s.box, Envelope: envelope, Expires: time.Now().Add(mailLife), SetNumber: 1, Pass: s.pass}
}

// kept notes a receipt.
func (s *sender) kept(id mailbox.EnvelopeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[id] = struct{}{}
}

// deposit lets every sender deposit in so many lanes, one at a time in each, for some time. What it returns holds also
// with an error, which is the first of any lane.
func deposit(ctx context.Context, senders []*sender, lanes int, within time.Duration) (Phase, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all []time.Duration
	)
	begun := time.Now()
	for _, s := range senders {
		for range lanes {
			wg.Go(func() {
				mine, err := s.lane(ctx, begun.Add(within))
				if err != nil {
					stop(err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, mine...)
			})
		}
	}
	wg.Wait()
	took := time.Since(begun)
	return Phase{PerSecond: perSecond(len(all), took), Latency: latencyOf(all)}, context.Cause(ctx)
}

// lane deposits one envelope after the other until a time.
func (s *sender) lane(ctx context.Context, until time.Time) (took []time.Duration, err error) {
	for {
		d := s.next()
		start := time.Now()
		if !start.Before(until) {
			return took, nil
		}
		receipt, err := s.client.Deposit(ctx, s.relay, d)
		if err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
		s.kept(receipt.Envelope)
	}
}
