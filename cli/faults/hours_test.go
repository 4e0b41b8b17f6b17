package faults

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/node/p2p"
)

func init() { roles[roleHours] = hours }

// hours is the process: HOME OFFSET FLAG…, with the daemon's flags as far as stories need them. A line on stdin is a new
// offset from the machine's time.
func hours(args []string) int {
	if err := hoursAt(args[0], args[1], args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// wound is a clock that is so far off.
type wound struct{ off atomic.Int64 }

func (w *wound) set(text string) {
	if d, err := time.ParseDuration(text); err == nil {
		w.off.Store(int64(d))
	}
}

func (w *wound) now() time.Time { return time.Now().Add(time.Duration(w.off.Load())) }

func hoursAt(home, offset string, args []string) error {
	var w wound
	w.set(offset)
	c := p2p.Config{
		Home: home, Now: w.now, APISocket: p2p.SocketPath(home), Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
	}
	flags := flag.NewFlagSet(roleHours, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&c.Relay, "relay", false, "")
	flags.BoolVar(&c.Loopback, "loopback", false, "")
	flags.Func("listen", "", func(s string) error {
		c.Listen = strings.Split(s, ",")
		return nil
	})
	flags.Func("pin", "", func(s string) (err error) {
		c.Pins, err = bootstrap(c.Pins, s)
		return err
	})
	flags.Func("bootstrap", "", func(s string) (err error) {
		c.Bootstrap, err = bootstrap(c.Bootstrap, s)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	n, err := p2p.Start(context.Background(), c)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"state": "ready", "addrs": n.Addrs()}); err != nil {
		return err
	}
	return listenTo(w.set)
}

func bootstrap(peers []dht.Peer, addrs string) ([]dht.Peer, error) {
	for _, s := range strings.Split(addrs, ",") {
		info, err := peer.AddrInfoFromString(s)
		if err != nil {
			return nil, err
		}
		peers = append(peers, kad.PlainPeer(*info))
	}
	return peers, nil
}
