package dhttest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
)

// Start is the clock of every fixture: Monday 5 January 2026, noon UTC.
var Start = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// Life is how far ahead fixtures set their freshness mark.
const Life = 7 * 24 * time.Hour

// Person makes valid records of one user with one device, one box and three
// relays. The same seed and time give the same bytes.
type Person struct {
	Account   *identity.Account
	Keys      *identity.DeviceKeys
	Box       ed25519.PrivateKey
	Relays    []ed25519.PrivateKey
	RecordKey [32]byte
	Bundle    *identity.Bundle
	Issued    time.Time
}

// NewPerson makes a person whose bundle is issued at issued.
func NewPerson(tb testing.TB, seed string, issued time.Time) *Person {
	tb.Helper()
	rng := rand.NewChaCha8(sha256.Sum256([]byte("dhttest " + seed)))
	keys, err := identity.NewDeviceKeys(rng)
	must(tb, err)
	p := &Person{
		Account: identity.NewRootFromSeed(sha256.Sum256([]byte("root " + seed))).Account(1),
		Keys:    keys, Box: key("box " + seed), RecordKey: sha256.Sum256([]byte("record " + seed)), Issued: issued,
	}
	for i := range 3 {
		p.Relays = append(p.Relays, key(fmt.Sprint("relay ", i, seed)))
	}
	p.Bundle, _, err = identity.NewBundle(rng, keys, identity.BundleFields{
		User: p.Account.User(), Generation: 1, Number: 1, Issued: issued, NotAfter: issued.Add(Life),
	})
	must(tb, err)
	return p
}

// List is a device list with this number; variant tells forks apart.
func (p *Person) List(tb testing.TB, number uint64, variant byte) []byte {
	tb.Helper()
	prev := [32]byte{31: variant}
	if number > 1 {
		prev[0] = 1 // a later list must name one before
	}
	list, err := p.Account.SignList(identity.ListFields{
		Seq: number, Prev: prev, Issued: p.Issued, NotAfter: p.Issued.Add(Life),
		Devices: []identity.Device{p.Keys.Public(identity.FlagAdmin, 1)},
	})
	must(tb, err)
	return list.Bytes()
}

// Record is a device record with this number; variant tells forks apart.
func (p *Person) Record(tb testing.TB, number uint64, variant byte) []byte {
	tb.Helper()
	rec, err := dht.SignDeviceRecord(p.Keys, dht.DeviceFields{
		Bundle: p.Bundle, Number: number, Issued: p.Issued, NotAfter: p.Issued.Add(Life),
		Peer: p.Peer("device", variant), Head: identity.Head{Epoch: 1, Seq: 1},
		FrontDoor: p.Set(tb, dht.FrontDoorEpoch, 1, 0),
	})
	must(tb, err)
	return rec.Bytes()
}

// Set is a set record of three leased relays; variant tells forks apart.
func (p *Person) Set(tb testing.TB, epoch uint32, number uint64, variant byte) *dht.SetRecord {
	tb.Helper()
	core := dht.SetCore{
		Box: p.Box.Public().(ed25519.PublicKey), Epoch: epoch, Number: number,
		Issued: p.Issued, NotAfter: p.Issued.Add(Life), R: 3, W: 2, S: 2,
	}
	for i := range p.Relays {
		core.Members = append(core.Members, dht.Member{Peer: p.relay(i, variant), Rank: byte(i)})
	}
	var leases []dht.Lease
	for i, relay := range p.Relays {
		leases = append(leases, dht.SignLease(relay, core.Hash(), byte(i), p.Issued.Add(4*Life)))
	}
	rec, err := dht.SignSetRecord(p.Box, core, leases)
	must(tb, err)
	return rec
}

// Sealed is the directory copy of Set for the epoch of Issued.
func (p *Person) Sealed(tb testing.TB, number uint64, variant byte) []byte {
	tb.Helper()
	value, err := dht.SealSet(p.Box, p.RecordKey, p.Set(tb, dht.EpochAt(p.Issued), number, variant))
	must(tb, err)
	return value
}

// Peer is some endpoint with one address.
func (p *Person) Peer(name string, variant byte) dht.Peer {
	return dht.Peer{ID: dht.PeerFromKey(key(name).Public().(ed25519.PublicKey)), Addrs: [][]byte{{4, 127, 0, 0, 1, 6, 31, variant}}}
}

func (p *Person) relay(i int, variant byte) dht.Peer {
	peer := p.Peer("", variant)
	peer.ID = dht.PeerFromKey(p.Relays[i].Public().(ed25519.PublicKey))
	return peer
}

// Kind makes records of one kind under one key.
type Kind struct {
	Name string
	Key  string
	Make func(number uint64, variant byte) []byte
}

// Kinds are the three kinds of directory values, of one person.
func Kinds(tb testing.TB, p *Person) []Kind {
	return []Kind{
		{"list", dht.UserKey(p.Account.User()), func(n uint64, v byte) []byte { return p.List(tb, n, v) }},
		{"device", dht.DeviceKey(p.Keys.ID()), func(n uint64, v byte) []byte { return p.Record(tb, n, v) }},
		{"set", dht.MailboxKey(dht.BoxID(p.Box.Public().(ed25519.PublicKey))), func(n uint64, v byte) []byte { return p.Sealed(tb, n, v) }},
	}
}

// Forged is value with one byte of its last signature changed.
func Forged(value []byte) []byte {
	forged := bytes.Clone(value)
	forged[len(forged)-1] ^= 1
	return forged
}

// Seed is the seed of the host key of Peer(name).
func Seed(name string) []byte {
	sum := sha256.Sum256([]byte("dhttest " + name))
	return sum[:]
}

func key(name string) ed25519.PrivateKey { return signature.NewKey(Seed(name)) }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
