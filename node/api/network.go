package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

func status(ctx context.Context, b *Backend, _ None) (Status, error) {
	s := Status{State: "ready", Version: b.Version, Started: b.Started, Net: b.Net()}
	err := b.look(ctx, func(tx store.Tx, e *node.Engine, now time.Time) error {
		var errs [4]error
		var chats []view.Chat
		var people []view.Contact
		s.Identity, errs[0] = node.Identity(tx)
		s.Mailbox, errs[1] = mailbox(tx, e, now, None{})
		chats, errs[2] = talk.Inbox(tx)
		people, errs[3] = node.Contacts(tx, e)
		for _, c := range chats {
			s.Unread += c.Unread
		}
		for _, c := range people {
			if c.Request != nil && !c.Request.Mine && c.State != "ignored" {
				s.Requests++
			}
		}
		s.Contacts, s.Cursor = len(people), newest(tx)
		return errors.Join(errs[:]...)
	})
	if s.Net.Peers > 0 {
		s.State = "online"
	}
	s.Hint = statusHint(s)
	return s, err
}

// statusHint is the next step for a person whose node does less than it could.
func statusHint(s Status) string {
	switch {
	case s.Net.Hint != "":
		return s.Net.Hint
	case s.Requests > 0:
		return "kith contact list"
	case s.Contacts == 0:
		return "kith invite"
	case s.Net.Peers == 0:
		return "kith netcheck"
	}
	return s.Mailbox.Hint
}

func mailbox(tx store.Tx, e *node.Engine, now time.Time, _ None) (view.Mailbox, error) {
	v, err := node.Mailbox(tx, e, now)
	for i := range v.Relays {
		v.Relays[i] = readable(v.Relays[i])
	}
	return v, err
}

// readable writes a relay's peer id and addresses as people and programs know them; the engine knows only their bytes.
func readable(r view.Relay) view.Relay {
	r.Peer = peerText(r.Peer)
	for i, a := range r.Addrs {
		raw, err := hex.DecodeString(a)
		if err != nil {
			continue
		}
		if addr, err := ma.NewMultiaddrBytes(raw); err == nil {
			r.Addrs[i] = addr.String()
		}
	}
	return r
}

// peerText turns the hex of a peer id into its text.
func peerText(hexID string) string {
	raw, err := hex.DecodeString(hexID)
	if err != nil {
		return hexID
	}
	id, err := peer.IDFromBytes(raw)
	if err != nil {
		return hexID
	}
	return id.String()
}

func peers(_ context.Context, b *Backend, _ None) (Peers, error) {
	return Peers{Peers: b.Peers()}, nil
}

func ping(ctx context.Context, b *Backend, q PingRequest) (Pings, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	targets, err := pingTargets(b, q.To)
	if err != nil {
		return Pings{}, err
	}
	out := Pings{To: q.To}
	for _, t := range targets {
		rtt, err := b.Ping(ctx, t.Peer)
		t.OK, t.RTTMS = err == nil, float64(rtt.Microseconds())/1000
		if err != nil {
			t.Error = err.Error()
		}
		out.Pings = append(out.Pings, t)
	}
	return out, nil
}

// pingTargets are the devices of a contact, or else one peer.
func pingTargets(b *Backend, to string) (out []Ping, err error) {
	if to == "" {
		return nil, Fail(ExitUsage, "whom to ping is missing", "kith ping --help")
	}
	if id, err := peer.Decode(to); err == nil {
		return []Ping{{Peer: id.String()}}, nil
	}
	if _, err := peer.AddrInfoFromString(to); err == nil {
		return []Ping{{Peer: to}}, nil
	}
	var list []node.Endpoint
	err = b.View(func(tx store.Tx) (err error) {
		list, err = node.Endpoints(tx, to)
		return err
	})
	for _, e := range list {
		out = append(out, Ping{Device: e.Device, Peer: peer.ID(e.Peer.ID).String()})
	}
	if err == nil && len(out) == 0 {
		err = Fail(ExitNotFound, "where the devices of "+to+" are is not known", "kith contact list")
	}
	return out, err
}

func netcheck(ctx context.Context, b *Backend, _ None) (Checks, error) {
	n := b.Net()
	var box view.Mailbox
	err := b.look(ctx, func(tx store.Tx, e *node.Engine, now time.Time) (err error) {
		box, err = node.Mailbox(tx, e, now)
		return err
	})
	return Checks{Checks: []Check{
		checkStuck(n), checkPeers(n), checkReach(n), checkDirectory(n), checkRelays(n, box),
	}}, err
}

func checkStuck(n Net) Check {
	if n.Stuck != "" {
		return Check{Result: "fail", What: "store", Why: n.Stuck, Fix: "kith doctor"}
	}
	return Check{Result: "ok", What: "store", Why: "the last write succeeded"}
}

func checkPeers(n Net) Check {
	if n.Peers == 0 {
		return Check{Result: "warn", What: "peers", Why: "no other node is connected; texts wait on our disk", Fix: "kith invite"}
	}
	return Check{Result: "ok", What: "peers", Why: fmt.Sprintf("%d connected", n.Peers)}
}

func checkReach(n Net) Check {
	switch n.Reachability {
	case "public":
		return Check{Result: "ok", What: "reachability", Why: "others can dial us"}
	case "private":
		return Check{Result: "warn", What: "reachability", Why: "others cannot dial us; relays hold our mail", Fix: "kith relay status"}
	}
	return Check{Result: "warn", What: "reachability", Why: "nobody has told us yet whether we can be dialled", Fix: "kith peers"}
}

func checkDirectory(n Net) Check {
	if n.Directory == 0 {
		return Check{Result: "warn", What: "directory", Why: "no peer of the directory is known; strangers cannot find us", Fix: "kith peers"}
	}
	return Check{Result: "ok", What: "directory", Why: fmt.Sprintf("%d peers known", n.Directory)}
}

func checkRelays(n Net, box view.Mailbox) Check {
	members := 0
	for _, r := range box.Relays {
		if r.Member {
			members++
		}
	}
	switch {
	case members == 0:
		return Check{Result: "warn", What: "mailbox", Why: "no relay holds mail for us while we are away", Fix: "kith relay status"}
	case box.State == "thin":
		return Check{Result: "warn", What: "mailbox", Why: fmt.Sprintf("only %d of %d relays", members, box.R), Fix: "kith relay explain"}
	}
	return Check{Result: "ok", What: "mailbox", Why: fmt.Sprintf("%d relays hold our mail; %d relays connected", members, n.Relays)}
}
