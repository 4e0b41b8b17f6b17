package upkeep

import (
	"context"
	"crypto/ed25519"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/boltbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/relay"
)

// real is a relay as a node runs it: libp2p on loopback, and a file.
type real struct {
	t      *testing.T
	key    ed25519.PrivateKey
	file   string
	host   host.Host
	store  *boltbox.Store
	rules  *mailbox.Relay
	client *relay.Client
	server *relay.Server
	upkeep *Upkeep
}

func newReal(t *testing.T, n int) *real {
	r := &real{t: t, key: mailboxtest.Key(n), file: filepath.Join(t.TempDir(), "relay.db")}
	k, err := crypto.UnmarshalEd25519PrivateKey(r.key)
	r.must(err)
	r.host, err = libp2p.New(libp2p.Identity(k), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.DisableRelay(), libp2p.DisableMetrics())
	r.must(err)
	t.Cleanup(func() { _ = r.host.Close() })
	r.begin()
	t.Cleanup(r.end)
	return r
}

func (r *real) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *real) begin() {
	var err error
	r.store, err = boltbox.Open(r.file)
	r.must(err)
	r.rules = mailbox.NewRelay(r.key, mailbox.Limits{NoWork: true})
	r.client = relay.NewClient(r.host, nil)
	r.upkeep = New(Config{Store: r.store, Relay: r.rules, Client: r.client})
	r.server, err = relay.Serve(r.host, relay.Config{Store: r.store, Relay: r.rules, Gossip: r.upkeep.Gossip, Offered: r.upkeep.Offered})
	r.must(err)
	r.upkeep.Start()
}

func (r *real) end() {
	_, _ = r.upkeep.Close(), r.client.Close()
	_, _ = r.server.Close(), r.store.Close()
}

func (r *real) peer() dht.Peer {
	p := dht.Peer{ID: []byte(r.host.ID())}
	for _, a := range r.host.Addrs() {
		p.Addrs = append(p.Addrs, a.Bytes())
	}
	return p
}

// open leases box 1 at relays and leaves texts at the first.
func open(t *testing.T, texts []string, all ...*real) {
	key, now := mailboxtest.Key(1), time.Now().Truncate(time.Second)
	core := dht.SetCore{
		Box: key.Public().(ed25519.PublicKey), Epoch: dht.EpochAt(now), Number: 1, R: byte(len(all)), W: 1,
		Issued: now, NotAfter: now.Add(30 * 24 * time.Hour),
	}
	for i, r := range all {
		core.Members = append(core.Members, dht.Member{Peer: r.peer(), Rank: byte(i)})
	}
	c := all[len(all)-1].client
	var leases []dht.Lease
	for _, r := range all[:len(all)-1] {
		l, err := c.Commit(t.Context(), r.peer(), []ed25519.PrivateKey{key}, []dht.SetCore{core})
		r.must(err)
		leases = append(leases, l...)
	}
	last := all[len(all)-1] // no relay dials itself
	signed, err := dht.SignSetCore(key, core)
	last.must(err)
	last.must(last.store.Do(t.Context(), func(tx mailbox.Tx) error {
		l, err := last.rules.Commit(tx, time.Now(), signed)
		leases = append(leases, l)
		return err
	}))
	set, err := dht.SignSetRecord(key, core, leases)
	last.must(err)
	for _, r := range all {
		r.must(r.store.Do(t.Context(), func(tx mailbox.Tx) error { return r.rules.PutSet(tx, time.Now(), set.Bytes()) }))
	}
	for _, text := range texts {
		_, err := c.Deposit(t.Context(), all[0].peer(), mailbox.Deposit{
			Box: mailboxtest.Box(1), Envelope: []byte(text), Expires: now.Add(24 * time.Hour), SetNumber: 1,
		})
		last.must(err)
	}
}

// has waits until a relay holds texts.
func (r *real) has(want []string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var got []string
		r.must(r.store.View(func(tx mailbox.Tx) error {
			got = nil
			items, _, err := r.rules.Fetch(tx, time.Now(), mailboxtest.Box(1), 0, 0, 1<<20)
			for _, i := range items {
				got = append(got, string(i.Envelope))
			}
			return err
		}))
		if slices.Sort(got); slices.Equal(got, want) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("holds %d of %d", len(got), len(want))
		}
	}
}

// Over real links and files: a member that got nothing is completed, and one
// that lost its file is refilled once it is connected again.
func TestLoopback(t *testing.T) {
	a, b := newReal(t, 60), newReal(t, 61)
	open(t, texts(40), a, b)
	b.upkeep.Offered([]byte(a.host.ID()), []mailbox.ID{mailboxtest.Box(1)})
	a.upkeep.Offered([]byte(b.host.ID()), []mailbox.ID{mailboxtest.Box(1)})
	b.has(texts(40))
	b.end()
	b.file = filepath.Join(t.TempDir(), "empty.db")
	b.begin()
	a.upkeep.Connected([]byte(b.host.ID()))
	b.has(texts(40))
	if s := a.upkeep.Stats(); s.Rounds == 0 {
		t.Errorf("%+v", s)
	}
}
