// Package kad is the directory on go-libp2p-kad-dht: it puts records at the
// peers closest to their key and finds them again, in kith's own DHT (prefix
// "/kith", no public network).
//
// It guarantees that no value leaves it which dht.Validate would refuse now,
// whoever stored or sent it; that a value older than our own copy never
// replaces it; that Put counts the peers that confirmed; that every request to
// a peer ends within seconds and every call when its context does; that what
// others store here stays within fixed caps.
//
// It does not guarantee that a record is found although someone holds it, nor
// that what is found is the newest: whoever surrounds a key can withhold
// (GO-2024-3218 has no fix). Records therefore travel in sessions and through
// relays first. A full store refuses new values; it never drops valid ones.
package kad

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	kaddht "github.com/libp2p/go-libp2p-kad-dht"
	kadpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/kith-im/kith/dht"
)

// Mode says whether a node stores records for others.
type Mode int

const (
	// Auto serves unless the network is known to hide this node.
	Auto Mode = iota
	// Server always serves: relays, simulations, private networks.
	Server
	// Client never serves the DHT; it still answers on /kith/record/1.
	Client
)

// Config of a Directory. The zero value is a node of the public network that
// keeps nothing on disk.
type Config struct {
	Path      string           // bbolt file for records and known peers; "": memory only
	Mode      Mode             //
	K         int              // bucket size and holders per record; 0: PublicK
	Now       func() time.Time // nil: time.Now
	Bootstrap []dht.Peer       // dialled at the start, while no kith peer is connected, and while few are known
	Diverse   bool             // limit peers per IP group in the routing table; off on loopback and LAN
	Log       *slog.Logger     // nil: discarded
	// Alone writes each value for itself: kad-dht holds a lock meanwhile, and in simulated time nothing passes while
	// others want one that waits for company.
	Alone bool

	verifier *verifier // tests switch the validator off to see the forged value accepted
}

// Directory is one node's access to the DHT and to connected peers' records.
// It is safe for concurrent use.
type Directory struct {
	host        host.Host
	kad         *kaddht.IpfsDHT
	kadProtocol protocol.ID
	k           int
	now         func() time.Time
	log         *slog.Logger
	bootstrap   []peer.AddrInfo

	verifier  *verifier
	cache     *cache
	file      *file // nil: memory only
	store     *store
	values    *records.ValueStore
	sender    *sender
	messenger *kadpb.ProtocolMessenger
	serving   chan struct{}

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

var _ dht.Directory = (*Directory)(nil)

const prefix protocol.ID = "/kith"

// Open joins the DHT with h and begins to dial known peers in the background.
// ctx bounds only the opening. Close the Directory before the host.
func Open(ctx context.Context, h host.Host, cfg Config) (*Directory, error) {
	d := newDirectory(h, cfg)
	if err := d.openStore(cfg); err != nil {
		return nil, err
	}
	if err := d.join(ctx, cfg); err != nil {
		d.stop()
		return nil, errors.Join(err, d.closeFile())
	}
	h.SetStreamHandler(RecordProtocol, d.serveRecord)
	d.wg.Go(d.maintain)
	return d, nil
}

func newDirectory(h host.Host, cfg Config) *Directory {
	d := &Directory{
		host: h, k: cfg.K, now: cfg.Now, log: cfg.Log, kadProtocol: prefix + "/kad/1.0.0",
		verifier: cfg.verifier, cache: newCache(), serving: make(chan struct{}, maxServed),
	}
	if d.k == 0 {
		d.k = PublicK
	}
	if d.now == nil {
		d.now = time.Now
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.verifier == nil {
		d.verifier = newVerifier(d.now)
	}
	for _, p := range cfg.Bootstrap {
		if info, err := AddrInfo(p); err == nil {
			d.bootstrap = append(d.bootstrap, info)
		}
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d
}

func (d *Directory) openStore(cfg Config) error {
	var k keeper = &memory{values: map[string][]byte{}}
	if cfg.Path != "" {
		f, err := openFile(cfg.Path, cfg.Alone)
		if err != nil {
			return err
		}
		d.file, k = f, f
	}
	s, err := newStore(k, d.verifier)
	if err != nil {
		return errors.Join(fmt.Errorf("read the directory file: %w", err), d.closeFile())
	}
	d.store = s
	return nil
}

func (d *Directory) join(ctx context.Context, cfg Config) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	validator := d.verifier.namespaces()
	d.values = records.NewValueStore(d.store, validator, MaxRecordAge)
	mode := map[Mode]kaddht.ModeOpt{Auto: kaddht.ModeAutoServer, Server: kaddht.ModeServer, Client: kaddht.ModeClient}[cfg.Mode]
	options := []kaddht.Option{
		kaddht.ProtocolPrefix(prefix), kaddht.Validator(validator), kaddht.Datastore(d.store),
		kaddht.MaxRecordAge(MaxRecordAge), kaddht.ValueGCInterval(0), kaddht.DisableProviders(),
		kaddht.BucketSize(d.k), kaddht.Mode(mode), kaddht.DisableAutoRefresh(), // see refresh
		kaddht.WithCustomMessageSender(func(h host.Host, protos []protocol.ID) kadpb.MessageSenderWithDisconnect {
			d.sender = newSender(h, protos)
			return d.sender
		}),
	}
	if cfg.Diverse {
		options = append(options, kaddht.RoutingTablePeerDiversityFilter(kaddht.NewRTPeerDiversityFilter(d.host, maxPerBucketGroup, maxPerGroup)))
	}
	var err error
	if d.kad, err = kaddht.New(d.host, options...); err != nil {
		return fmt.Errorf("join the directory: %w", err)
	}
	if d.messenger, err = kadpb.NewProtocolMessenger(d.sender); err != nil {
		return errors.Join(fmt.Errorf("join the directory: %w", err), d.kad.Close())
	}
	return nil
}

// Closest walks towards key and returns the reachable peers closest to it, at
// most K: candidates for relays of a box.
func (d *Directory) Closest(ctx context.Context, key string) ([]dht.Peer, error) {
	ctx, stop := context.WithTimeout(ctx, walkTimeout)
	defer stop()
	ids, _ := d.newWalk(key, func(ctx context.Context, p peer.ID) ([]*peer.AddrInfo, bool, error) {
		closer, err := d.messenger.GetClosestPeers(ctx, p, peer.ID(key))
		return closer, false, err
	}).run(ctx)
	var peers []dht.Peer
	for _, id := range ids {
		peers = append(peers, PlainPeer(d.host.Peerstore().PeerInfo(id)))
	}
	if len(peers) == 0 {
		return nil, dht.ErrNotFound
	}
	return peers, nil
}

// Close saves the peer cache, leaves the DHT and closes the file. The host
// stays open.
func (d *Directory) Close() error {
	d.rememberPeers()
	d.host.RemoveStreamHandler(RecordProtocol)
	d.stop()
	d.wg.Wait()
	err := d.kad.Close()
	d.sender.close()
	return errors.Join(err, d.closeFile())
}

func (d *Directory) closeFile() error {
	if d.file == nil {
		return nil
	}
	return d.file.close()
}
