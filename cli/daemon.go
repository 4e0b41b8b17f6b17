package cli

import (
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node/p2p"
)

type daemonFlags struct {
	relay, noMDNS           bool
	loopback, leash         bool
	listen, bootstrap, pins []string
	level                   string
}

func (a *app) cmdDaemon() *cobra.Command {
	var f daemonFlags
	cmd := &cobra.Command{
		Use: "daemon", GroupID: groupStart, Args: args(0, 0),
		Short: "Run your node; every other command talks to it",
		Example: `  kith daemon
  kith daemon --relay --listen /ip4/0.0.0.0/tcp/4101
  kith daemon --json | head -1        # ready: the local API answers`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doDaemon(cmd, f) },
	}
	cmd.Flags().BoolVar(&f.relay, "relay", false, "serve as a relay for others")
	cmd.Flags().StringSliceVar(&f.listen, "listen", nil, "addresses to listen on")
	cmd.Flags().StringSliceVar(&f.bootstrap, "bootstrap", nil, "peers to begin with (addresses that end in /p2p/PEER)")
	cmd.Flags().StringSliceVar(&f.pins, "pin", nil, "relays that shall hold our mail (addresses that end in /p2p/PEER)")
	cmd.Flags().BoolVar(&f.noMDNS, "no-mdns", false, "neither find nodes on the local network nor be found")
	cmd.Flags().StringVar(&f.level, "log-level", "", "debug, info, warn or error")
	cmd.Flags().BoolVar(&f.loopback, "loopback", false, "for nodes of this machine alone: loopback addresses count")
	cmd.Flags().BoolVar(&f.leash, "leash", false, "end when stdin does")
	_ = cmd.Flags().MarkHidden("leash")
	return cmd
}

// merge puts the flags that were given over the settings.
func (a *app) merge(cmd *cobra.Command, f daemonFlags) error {
	given := cmd.Flags().Changed
	if given("relay") {
		a.set.Relay = f.relay
	}
	if given("listen") {
		a.set.Listen = f.listen
	}
	if given("bootstrap") {
		a.set.Bootstrap = f.bootstrap
	}
	if given("pin") {
		a.set.Pins = f.pins
	}
	if f.noMDNS {
		a.set.MDNS = false
	}
	if given("log-level") {
		a.set.LogLevel = f.level
	}
	if err := a.set.Check(); err != nil {
		return usage(cmd, err.Error())
	}
	return nil
}

func (a *app) doDaemon(cmd *cobra.Command, f daemonFlags) error {
	if err := a.merge(cmd, f); err != nil {
		return err
	}
	c, err := a.nodeConfig(cmd, f.loopback)
	if err != nil {
		return err
	}
	n, err := p2p.Start(cmd.Context(), c)
	clear(c.Passphrase)
	if err != nil {
		return err
	}
	defer n.Close() // also when nobody reads what it says
	stopHooks := a.startHooks(cmd.Context(), n)
	defer stopHooks()
	ready := daemonState{State: "ready", Socket: c.APISocket, Peer: n.PeerID(), Addrs: n.Addrs(), Relay: n.Net().Relay}
	if err := a.tell(ready); err != nil {
		return err
	}
	notify(a.env("NOTIFY_SOCKET"), "READY=1")
	if err := a.stay(cmd.Context(), f.leash, n); err != nil {
		return err
	}
	notify(a.env("NOTIFY_SOCKET"), "STOPPING=1")
	stopHooks()
	if err := n.Close(); err != nil {
		return err
	}
	return a.tell(daemonState{State: "stopped"})
}

// daemonState is what the daemon says of itself, one object a line.
type daemonState struct {
	State  string   `json:"state"`
	Socket string   `json:"socket,omitempty"`
	Peer   string   `json:"peer,omitempty"`
	Addrs  []string `json:"addrs,omitempty"`
	Relay  bool     `json:"relay"`
	Hint   string   `json:"hint,omitempty"`
}

func (a *app) tell(s daemonState) error {
	return a.emitAs("daemon", s, func() {
		a.out.Printf("%s", term.In(term.Bold, s.State))
		if s.Peer != "" {
			a.out.Printf("  peer %s", s.Peer)
		}
		if s.Relay {
			a.out.Printf("  relay")
		}
		a.out.Printf("\n")
		for _, addr := range s.Addrs {
			a.note("  %s", addr)
		}
		a.next(s.Hint)
	})
}

// stay returns when the node shall end: by a signal, or on a leash when whoever holds it is gone. Meanwhile it says when
// the first peer has come, and until then what to do about it.
func (a *app) stay(ctx context.Context, leash bool, n *p2p.Node) error {
	if leash {
		held, cancel := context.WithCancel(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, a.in)
			cancel()
		}()
		ctx = held
	}
	select {
	case <-n.Online():
	default:
		a.note("%s", n.Net().Hint)
	}
	select {
	case <-n.Online():
		if err := a.tell(daemonState{State: "online", Relay: n.Net().Relay}); err != nil {
			return err
		}
		<-ctx.Done()
	case <-ctx.Done():
	}
	return nil
}

// nodeConfig makes the node's configuration from the settings.
func (a *app) nodeConfig(cmd *cobra.Command, loopback bool) (p2p.Config, error) {
	secret, err := a.readPassphrase()
	if err != nil {
		return p2p.Config{}, err
	}
	c := p2p.Config{
		Home: a.folders.Home, Passphrase: secret, Listen: a.set.Listen, Relay: a.set.Relay, MDNS: a.set.MDNS,
		RelayLimits: relayLimits(a.set.Config), RelayRate: relay.Rate{PerSecond: a.set.RelayRate, Burst: a.set.RelayBurst},
		Loopback: loopback, APISocket: p2p.SocketPath(a.folders.Home), Version: buildVersion(), Log: a.log(a.set.LogLevel),
		KeepRelay: func(on bool) error {
			return config.Keep(a.folders.Config, "relay", strconv.FormatBool(on))
		},
		KeepLimits: a.keepLimits, Metrics: a.set.Metrics, DNS: a.set.DNS, Unreachable: unreachableAfter(a.set.Config),
	}
	if loopback && c.Listen == nil {
		c.Listen = loopbackListen
	}
	if c.Bootstrap, err = parsePeers(cmd, "bootstrap", a.set.Bootstrap, loopback); err != nil {
		return c, err
	}
	c.Pins, err = parsePeers(cmd, "pins", a.set.Pins, loopback)
	return c, err
}

// relayLimits are the settings of a relay as its rules take them.
func relayLimits(c config.Config) mailbox.Limits {
	return mailbox.Limits{
		MaxBytes: uint64(c.RelayMaxBytes), MaxBoxes: uint32(c.RelayMaxBoxes),
		BoxBytes: uint64(c.RelayBoxBytes), BoxCount: uint32(c.RelayBoxCount),
		BlobBytes: uint64(c.RelayBlobs), BoxBlobBytes: uint64(c.RelayBoxBlobs),
		PassBytes: uint64(c.RelayPassBytes), PassCount: uint32(c.RelayPassCount),
	}
}

func parsePeers(cmd *cobra.Command, what string, texts []string, loopback bool) ([]dht.Peer, error) {
	var out []dht.Peer
	for _, s := range texts {
		info, err := peer.AddrInfoFromString(s)
		if err != nil {
			return nil, usage(cmd, what+": "+s+" is not an address that ends in /p2p/PEER: "+err.Error())
		}
		if !loopback && slices.ContainsFunc(info.Addrs, manet.IsIPLoopback) {
			return nil, usage(cmd, what+": "+s+" is an address of this machine alone, which only nodes with --loopback dial")
		}
		out = append(out, kad.PlainPeer(*info))
	}
	return out, nil
}

// notify tells systemd, if it started us. It is a courtesy: a failure is not ours.
func notify(socket, state string) {
	if socket == "" {
		return
	}
	conn, err := net.DialTimeout("unixgram", socket, time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
