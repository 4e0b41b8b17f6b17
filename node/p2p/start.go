package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/mailbox/relay/prekey"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/files"
	"github.com/kith-im/kith/node/host"
	"github.com/kith-im/kith/node/metrics"
	"github.com/kith-im/kith/node/names"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// Config of a node. Home is the only field that must be set.
type Config struct {
	Home        string
	Passphrase  []byte           // nil when the vault has none
	Listen      []string         // multiaddrs; nil: TCP and QUIC on every interface, on the node's own port
	Relay       bool             // serve as a relay
	RelayLimits mailbox.Limits   // zero fields: the defaults
	RelayRate   relay.Rate       // of one peer; zero: the default
	Bootstrap   []dht.Peer       // directory peers to begin with
	Pins        []dht.Peer       // relays that the person chose
	MDNS        bool             // find nodes on the local network, and be found
	Loopback    bool             // tests, demo, one machine: loopback addresses count, election caps off
	DNS         string           // name server that says whose a name under a domain is ("127.0.0.1:53"); empty: the system's
	Network     host.Network     // a network in the machine's place, for simulations; nil: the machine's
	Hidden      bool             // behind a translator, as AutoNAT would find: it serves no directory
	Policy      *election.Policy // of the election of our own relays, for simulations; nil: the default
	Unreachable time.Duration    // how long nobody has to be reachable before an event asks for another way; 0: never
	APISocket   string           // Unix socket of the local API; empty: none
	Version     string           // shown by the local API
	// Metrics is the loopback address of the page for Prometheus ("127.0.0.1:9464"); empty: none.
	Metrics string
	// KeepRelay stores the person's choice of the relay role; nil: it lasts until the node ends.
	KeepRelay func(on bool) error
	// KeepLimits stores the limits that the person chose (zero fields: the defaults); nil: they last until the node ends.
	KeepLimits func(mailbox.Limits, relay.Rate) error
	Now        func() time.Time // nil: time.Now; the engine's only clock
	Rand       io.Reader        // nil: crypto/rand
	Log        *slog.Logger     // nil: silent
}

// Node is one running device.
type Node struct {
	cfg        Config
	home       *home
	host       *host.Own
	book       *host.AddressBook
	directory  *kad.Directory
	mail       *mail
	loop       *loop
	performers *performers
	candidates *candidates
	watcher    *watcher
	scout      *scout
	links      *linkServer
	lan        *host.LAN
	role       *role
	names      *names.Resolver
	api        *api.Server
	metrics    *metrics.Server
	server     *blobs.Server // of chunks
	chunks     *blobs.Store  // our own
	asks       *blobs.Client
	prekeys    *prekey.Server
	device     atomic.Pointer[identity.DeviceID] // our own; nil: not loaded yet
	files      *files.Service
	started    time.Time
	reachable  atomic.Int32 // network.Reachability
	online     chan struct{}
	meet       sync.Once // closes online

	cancel context.CancelFunc // of background work
	wg     sync.WaitGroup
	once   sync.Once
	failed error // of Close
}

// errSimulator is what a build with a stand-in for crypto says to whoever takes it for a messenger (docs/decisions/0020).
func errSimulator() error {
	return &view.Problem{Class: view.ErrUsage, Message: "this build is a simulator: its keys and signatures protect nothing", Hint: "make build"}
}

// Start opens the home folder and brings the device up. It returns when the
// node can take requests; peers come later. ctx bounds only the start.
func Start(ctx context.Context, c Config) (*Node, error) {
	if agree.StandIn {
		return nil, errSimulator()
	}
	c.Now, c.Rand = defaults(c.Now, c.Rand)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{cfg: c, started: c.Now(), online: make(chan struct{})}
	for _, step := range []func(context.Context) error{
		n.openHome, n.openHost, n.openDirectory, n.openRelay, n.openFiles, n.openEngine, n.openDoors, n.openMetrics, n.openAPI,
	} {
		if err := step(ctx); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

func (n *Node) openHome(ctx context.Context) (err error) {
	if n.home, err = openHome(n.cfg.Home, n.cfg.Passphrase, false); err != nil {
		return err
	}
	return n.home.settle(ctx, n.cfg.Now(), n.cfg.Rand, n.cfg.Log)
}

func (n *Node) openHost(context.Context) (err error) {
	n.host, err = host.New(n.home.key, host.Config{
		Listen: n.cfg.Listen, Loopback: n.cfg.Loopback, Relay: n.cfg.Relay, Network: n.cfg.Network, Hidden: n.cfg.Hidden,
	})
	if err != nil {
		return err
	}
	n.book = &host.AddressBook{Host: n.host, Loopback: n.cfg.Loopback}
	n.server = blobs.Serve(n.host, blobs.Config{Log: n.cfg.Log})
	n.prekeys = prekey.Serve(n.host, n.oneTime, n.cfg.Log)
	n.watcher = &watcher{host: n.host}
	if err := n.watcher.subscribe(); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return nil
}

func (n *Node) openDirectory(ctx context.Context) (err error) {
	mode := kad.Auto
	if n.cfg.Loopback && !n.cfg.Hidden || n.cfg.Relay {
		mode = kad.Server
	}
	n.directory, err = kad.Open(ctx, n.host, kad.Config{
		Path: filepath.Join(n.cfg.Home, dhtFile), Mode: mode, Now: n.cfg.Now, Bootstrap: n.cfg.Bootstrap,
		Diverse: !n.cfg.Loopback, Alone: n.cfg.Network != nil, Log: n.cfg.Log,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", dhtFile, err)
	}
	return nil
}

func (n *Node) openRelay(context.Context) error {
	n.role = &role{
		host: n.host, key: n.home.key, path: filepath.Join(n.cfg.Home, relayFile),
		blob: n.server, dir: filepath.Join(n.cfg.Home, chunkDir),
		give: n.prekeys, gift: filepath.Join(n.cfg.Home, stockFile),
		limits: n.cfg.RelayLimits, rate: n.cfg.RelayRate, now: n.cfg.Now, rand: n.cfg.Rand, log: n.cfg.Log,
	}
	if !n.cfg.Relay {
		return nil
	}
	return n.role.set(true)
}

// openFiles opens our own chunks and what moves them; the loop gives it work.
func (n *Node) openFiles(context.Context) (err error) {
	if n.chunks, err = blobs.Open(filepath.Join(n.cfg.Home, filesDir), blobs.Options{Log: n.cfg.Log}); err != nil {
		return err
	}
	n.server.Share(n.chunks)
	n.asks = blobs.NewClient(n.host)
	n.files, err = files.New(files.Config{
		Dir: filepath.Join(n.cfg.Home, filesDir), Chunks: n.chunks, Rand: n.cfg.Rand, Log: n.cfg.Log,
		Peers: files.Network{Device: n.asks, Relay: func(to dht.Peer, fn func(*blobs.Client) error) error {
			return n.mail.askedForChunks(to, fn)
		}},
		Answer: func(r transfer.Result) {
			n.performers.tell(func(e *node.Engine, t *node.Turn) { e.Transferred(t, r) })
		},
		Known: func(manifest []byte) (known bool) {
			err := n.View(func(tx store.Tx) error { known = transfer.Known(tx, manifest); return nil })
			return known || err != nil
		},
	})
	return err
}

// openEngine wires the loop to the performers and loads the engine.
func (n *Node) openEngine(context.Context) (err error) {
	if n.names, err = names.New(n.cfg.DNS); err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	n.loop = newLoop(n.home.store, n.cfg.Now, n.cfg.Rand, n.cfg.Log)
	n.candidates = newCandidates(n.cfg.Now)
	n.candidates.advert = n.advert
	m := &mail{
		fresh: func() (host.Host, error) { return host.NewApart(n.cfg.Loopback, n.cfg.Network) },
		now:   n.cfg.Now, log: n.cfg.Log, up: n.mailUp, told: n.candidates.heard,
	}
	m.down = func(p peer.ID) { n.watcher.told(p, m.reaches(p)) } // the identity that followed may reach it
	if err := m.open(); err != nil {
		return err
	}
	n.mail = m
	p := &performers{
		host: n.host, peers: n.book, loop: n.loop, mail: n.mail, directory: n.directory,
		names: n.names, files: n.files, bell: newBell(), log: n.cfg.Log,
		contacts: func(p dht.Peer) { n.seen(p, election.SourceContact) },
	}
	p.init()
	p.courier = newCourier(n.host, n.book, n.receive)
	p.collectors = &collectors{collect: n.mail.collect, deliver: n.deliver, drained: n.drained, now: n.mail.now, log: n.cfg.Log}
	n.performers = p
	n.candidates.tell = func(advert *dht.Advert, s election.Source) {
		p.tell(func(e *node.Engine, t *node.Turn) { e.Advertised(t, advert.Bytes(), s) })
		n.role.met(advert)
	}
	n.loop.perform = p.perform
	n.loop.load = n.load
	n.scout = newScout(n)
	n.watch()
	return n.loop.start()
}

// load reads the engine and tells it what a fresh one has to know.
func (n *Node) load(t *node.Turn) (*node.Engine, error) {
	e, err := node.Load(t, node.Config{Pins: n.cfg.Pins, Policy: n.policy(), Unreachable: n.cfg.Unreachable})
	if err != nil {
		return nil, err
	}
	id := e.Device()
	n.device.Store(&id)
	e.SetHost(t, n.book.Self())
	for _, p := range n.peers() {
		e.PeerUp(t, []byte(p))
	}
	return e, nil
}

func (n *Node) policy() election.Policy {
	if n.cfg.Policy != nil {
		return *n.cfg.Policy
	}
	if n.cfg.Loopback {
		return election.LocalPolicy()
	}
	return election.DefaultPolicy()
}

// watch wires libp2p's events to those who care.
func (n *Node) watch() {
	w := n.watcher
	w.post, w.self, w.met = n.loop.post, n.book.Self, n.candidates.met
	w.reach = func(r int32) { n.reachable.Store(r) }
	w.back = func(p peer.ID) {
		n.role.connected([]byte(p))
		n.meet.Do(func() { close(n.online) })
		if n.performers.collectors.poke(p); len(n.host.Network().Peers()) == 1 {
			n.performers.collectors.pokeAll()
		}
		n.scout.kick()
	}
	w.again = func(p peer.ID) { n.role.connected([]byte(p)) }
	w.elsewhere = n.mail.reaches
	w.running = true
	go w.run(relay.Protocol)
}

// openDoors begins to look for relays and pins, and to listen for links and on
// the local network.
func (n *Node) openDoors(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.links = newLinkServer(n.host, n.Do)
	for _, p := range n.cfg.Pins {
		n.seen(p, election.SourceOwn)
	}
	n.wg.Go(func() { n.scout.run(ctx) })
	n.wg.Go(func() { n.keepKeys(ctx) })
	if n.cfg.MDNS {
		n.lan = host.StartLAN(n.host, n.metOnLAN, n.cfg.Log)
	}
	return nil
}

func (n *Node) openMetrics(context.Context) (err error) {
	if n.cfg.Metrics == "" {
		return nil
	}
	n.metrics, err = metrics.Serve(n.cfg.Metrics, metrics.New(n.role.snapshot), n.cfg.Log)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &view.Problem{
			Class: view.ErrRefused, Message: "another process listens at " + n.cfg.Metrics + ", where the metrics should be",
			Hint: "kith config show --origin",
		}
	}
	return err
}

func (n *Node) openAPI(context.Context) (err error) {
	if n.cfg.APISocket == "" {
		return nil
	}
	n.api, err = api.Serve(n.cfg.APISocket, n.backend(), n.cfg.Log)
	return err
}

// seen remembers where a peer was seen, and its addresses.
func (n *Node) seen(p dht.Peer, s election.Source) {
	if info, err := n.book.Info(p); err == nil {
		n.book.Remember(p)
		n.candidates.seenAs(info.ID, s)
	}
}

func (n *Node) metOnLAN(info peer.AddrInfo) {
	p := kad.PlainPeer(info)
	n.seen(p, election.SourceLAN)
	n.performers.dial(p)
}

// talks reports whether a device's own stream runs to a peer.
func talks(net network.Network, p peer.ID) bool {
	return slices.ContainsFunc(net.ConnsToPeer(p), func(c network.Conn) bool {
		return slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool {
			return s.Protocol() == DirectProtocol || s.Protocol() == LinkProtocol
		})
	})
}

// receive is the courier's way into the loop.
func (n *Node) receive(from peer.ID, envelope []byte, release func()) {
	c := input(func(e *node.Engine, t *node.Turn) { e.Received(t, []byte(from), envelope) })
	c.after = func(error) { release() }
	n.loop.post(c)
}

// deliver is the collectors' way into the loop.
func (n *Node) deliver(r dht.Peer, items []node.Collected) error {
	return n.loop.postWait(input(func(e *node.Engine, t *node.Turn) { e.Collected(t, r, items) }).fn)
}

// drained tells the engine that a box held nothing else, after what was delivered.
func (n *Node) drained(r dht.Peer, box mailbox.ID, began time.Time) {
	n.performers.tell(func(e *node.Engine, t *node.Turn) { e.Drained(t, r.ID, box, began) })
}

// advert asks a relay for its advert, also at the addresses that the device's
// own host knows of it.
func (n *Node) advert(ctx context.Context, r dht.Peer) (*dht.Advert, error) {
	id := peer.ID(r.ID)
	known := n.host.Peerstore().Addrs(id)
	for _, c := range n.host.Network().ConnsToPeer(id) {
		known = append(known, c.RemoteMultiaddr())
	}
	for _, a := range known {
		r.Addrs = append(r.Addrs, a.Bytes())
	}
	return asked(n.mail, r, func(c *relay.Client) (*dht.Advert, error) { return c.Advert(ctx, r) })
}

// mailUp hears of a relay that the connection identity reached.
func (n *Node) mailUp(p peer.ID) {
	n.watcher.told(p, true)
	n.role.connected([]byte(p)) // the device's own connection may be down, or be a dead one that nobody noticed yet
	n.candidates.met(p, true)
	n.performers.collectors.poke(p)
	n.scout.kick()
}

// peers are those that either host is connected to.
func (n *Node) peers() []peer.ID {
	out := n.host.Network().Peers()
	for _, p := range n.mail.connected() {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Close stops everything and waits for it: first what brings requests in, then
// the performers, which still answer, then the loop and what it stands on.
func (n *Node) Close() error {
	n.once.Do(func() {
		if n.api != nil {
			n.api.Close()
		}
		if n.metrics != nil {
			n.metrics.Close()
		}
		n.closeDoors()
		if n.files != nil {
			n.files.Close()
		}
		if n.performers != nil {
			n.performers.close()
			n.candidates.close()
		}
		if n.loop != nil {
			n.loop.close()
		}
		n.closeBase()
	})
	return n.failed
}

func (n *Node) closeDoors() {
	if n.cancel != nil {
		n.cancel()
	}
	if n.lan != nil {
		n.lan.Close()
	}
	if n.links != nil {
		n.links.close()
	}
	if n.watcher != nil {
		n.watcher.close()
	}
	n.wg.Wait()
}

func (n *Node) closeBase() {
	keep := func(what string, err error) {
		if err != nil && n.failed == nil {
			n.failed = fmt.Errorf("close %s: %w", what, err)
		}
	}
	if n.role != nil {
		keep(relayFile, n.role.set(false))
	}
	if n.asks != nil {
		n.asks.Close()
	}
	if n.server != nil {
		n.server.Close()
	}
	if n.prekeys != nil {
		n.prekeys.Close()
	}
	if n.chunks != nil {
		keep(filesDir, n.chunks.Close())
	}
	if n.mail != nil {
		keep("connection identity", n.mail.close())
	}
	if n.directory != nil {
		keep(dhtFile, n.directory.Close())
	}
	if n.host != nil {
		keep("host", n.host.Close())
	}
	if n.home != nil {
		keep(storeFile, n.home.store.Close())
	}
}
