package faults

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/boltbox"
	"github.com/kith-im/kith/mailbox/relay"
)

// The lies that a relay can tell. Each is told by a process that speaks the real protocol and signs with its real key.
const (
	forgets   = "forgets"   // signs for envelopes and drops them
	withholds = "withholds" // keeps envelopes and hands none out
	replays   = "replays"   // never forgets an envelope that was acknowledged, and hands each out twice
	alters    = "alters"    // hands out other bytes
	stays     = "stays"     // serves the first set of a box that it ever saw, for ever
)

// lie is the process of a lying relay: HOME LIE LISTEN. It ends when stdin does; the first line on it tells those lies
// to begin that wait for it.
func lie(args []string) int {
	if err := lieAt(args[0], args[1], strings.Split(args[2], ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func lieAt(home, what string, listen []string) error {
	key, err := liarKey(home)
	if err != nil {
		return err
	}
	h, err := plainHost(key, listen...)
	if err != nil {
		return err
	}
	defer h.Close()
	d, err := kad.Open(context.Background(), h, kad.Config{Path: filepath.Join(home, "dht.db"), Mode: kad.Server})
	if err != nil {
		return err
	}
	defer d.Close()
	store, err := boltbox.Open(filepath.Join(home, "relay.db"))
	if err != nil {
		return err
	}
	defer store.Close()
	told := make(chan struct{})
	s, err := relay.Serve(&crooked{Host: h, lie: what, told: told}, relay.Config{
		Store: &lyingStore{Store: store, lie: what, first: map[mailbox.ID][]byte{}}, Relay: mailbox.NewRelay(key, mailbox.Limits{}),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	var addrs []string
	for _, a := range h.Addrs() {
		addrs = append(addrs, a.String()+"/p2p/"+h.ID().String())
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"state": "ready", "addrs": addrs}); err != nil {
		return err
	}
	return listenTo(func(string) { close(told) })
}

// liarKey is the liar's own key; the first start draws it.
func liarKey(home string) (ed25519.PrivateKey, error) {
	path := filepath.Join(home, "liar.key")
	seed, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		seed = make([]byte, ed25519.SeedSize)
		if _, err = rand.Read(seed); err == nil {
			err = os.WriteFile(path, seed, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// plainHost is a libp2p host on loopback without anything of kith.
func plainHost(key ed25519.PrivateKey, listen ...string) (host.Host, error) {
	k, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{libp2p.Identity(k), libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.DisableIdentifyAddressDiscovery()}
	if len(listen) == 0 {
		return libp2p.New(append(opts, libp2p.NoListenAddrs)...)
	}
	return libp2p.New(append(opts, libp2p.ListenAddrStrings(listen...))...)
}

// observer is somebody who looks records up and has nothing to do with anybody.
type observer struct {
	host host.Host
	dir  *kad.Directory
}

func observe(ctx context.Context, peers ...*machine) (*observer, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	h, err := plainHost(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, err
	}
	c := kad.Config{Mode: kad.Client}
	for _, m := range peers {
		for _, a := range m.addrs {
			info, err := peer.AddrInfoFromString(a)
			if err != nil {
				return nil, errors.Join(err, h.Close())
			}
			c.Bootstrap = append(c.Bootstrap, kad.PlainPeer(*info))
		}
	}
	d, err := kad.Open(ctx, h, c)
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &observer{h, d}, nil
}

func (o *observer) close() error { return errors.Join(o.dir.Close(), o.host.Close()) }

// record is a device's record as the directory has it; nil if it has none.
func (o *observer) record(ctx context.Context, id [32]byte) *dht.DeviceRecord {
	raw, err := o.dir.Get(ctx, dht.DeviceKey(id))
	if err != nil {
		return nil
	}
	rec, err := dht.ParseDeviceRecord(raw)
	if err != nil {
		return nil
	}
	return rec
}

// lyingStore is an honest store behind a liar's hands.
type lyingStore struct {
	mailbox.Store
	lie string

	mu    sync.Mutex
	first map[mailbox.ID][]byte // the first set of each box
}

func (s *lyingStore) Do(ctx context.Context, fn func(mailbox.Tx) error) error {
	return s.Store.Do(ctx, func(tx mailbox.Tx) error { return fn(lyingTx{tx, s}) })
}

func (s *lyingStore) View(fn func(mailbox.Tx) error) error {
	return s.Store.View(func(tx mailbox.Tx) error { return fn(lyingTx{tx, s}) })
}

type lyingTx struct {
	mailbox.Tx
	store *lyingStore
}

func (t lyingTx) Add(box mailbox.ID, e mailbox.Entry, envelope []byte) error {
	if t.store.lie == forgets {
		return nil
	}
	return t.Tx.Add(box, e, envelope)
}

func (t lyingTx) Bury(box mailbox.ID, id mailbox.EnvelopeID) error {
	if t.store.lie == replays {
		return nil
	}
	return t.Tx.Bury(box, id)
}

func (t lyingTx) List(box mailbox.ID, after uint64, fn func(mailbox.Entry) bool) {
	if t.store.lie == withholds {
		return
	}
	t.Tx.List(box, after, func(e mailbox.Entry) bool {
		return fn(e) && (t.store.lie != replays || fn(e))
	})
}

func (t lyingTx) Body(box mailbox.ID, e mailbox.Entry) ([]byte, error) {
	body, err := t.Tx.Body(box, e)
	if err != nil || t.store.lie != alters {
		return body, err
	}
	other := append([]byte(nil), body...)
	other[len(other)-1] ^= 1
	return other, nil
}

func (t lyingTx) Set(box mailbox.ID) ([]byte, error) {
	raw, err := t.Tx.Set(box)
	if err != nil || t.store.lie != stays || raw == nil {
		return raw, err
	}
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if t.store.first[box] == nil {
		t.store.first[box] = append([]byte(nil), raw...)
	}
	return t.store.first[box], nil
}
