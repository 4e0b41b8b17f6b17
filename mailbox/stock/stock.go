package stock

import (
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/mailbox"
)

// ErrRefused says that bundles were not taken in: by whom they came, what they
// are, or that there is no room.
var ErrRefused = errors.New("stock: refused")

// Item is one bundle until its freshness mark.
type Item struct {
	Bundle []byte
	Until  time.Time
}

// Store keeps bundles of boxes. Memory is one, package prekey has the durable
// one; both pass package mailboxtest. A method that returns has its effect on
// the disk.
type Store interface {
	// Put adds bundles to a box up to Most, and up to Total in all, leaves the
	// others out, and returns how many the box holds then.
	Put(box mailbox.ID, items []Item, now time.Time) (held int, err error)
	// Take removes the oldest bundle of a box that is fresh; nil: there is none.
	Take(box mailbox.ID, now time.Time) ([]byte, error)
	// Sweep forgets what is not fresh any more.
	Sweep(now time.Time) error
}

// Offer is what the owner of a box sends.
type Offer struct {
	Key     ed25519.PublicKey // of the box
	Sig     []byte            // mailbox.VerbStock over the bundles, one after the other
	Bundles []byte
}

// Box is the box that the bundles are for.
func (o Offer) Box() mailbox.ID { return mailbox.IDOf(o.Key) }

// Sign makes the offer of a box's owner to one relay.
func Sign(box ed25519.PrivateKey, relay []byte, bundles [][]byte) Offer {
	o := Offer{Key: box.Public().(ed25519.PublicKey)}
	for _, b := range bundles {
		o.Bundles = append(o.Bundles, b...)
	}
	o.Sig = mailbox.SignRequest(box, relay, mailbox.VerbStock, o.Bundles)
	return o
}

// Admit checks an offer before anything is written: that the owner of the box
// signed it for this relay, that the relay leases the box as a front door, and
// that every bundle is one of the same device that may be handed out once.
func Admit(tx mailbox.Tx, r *mailbox.Relay, o Offer, now time.Time) ([]Item, error) {
	if !mailbox.VerifyRequest(o.Key, r.Peer(), mailbox.VerbStock, o.Bundles, o.Sig) {
		return nil, ErrRefused
	}
	if b, _ := tx.Box(o.Box()); !b.FrontDoor {
		return nil, ErrRefused
	}
	if _, err := r.Leased(tx, now, o.Box()); err != nil {
		return nil, ErrRefused
	}
	return read(o.Bundles, now)
}

func read(bundles []byte, now time.Time) ([]Item, error) {
	var items []Item
	var device identity.DeviceID
	for rest := bundles; len(rest) > 0; rest = rest[BundleSize:] {
		if len(rest) < BundleSize || len(items) == Most {
			return nil, ErrRefused
		}
		b, err := identity.ParseBundle(rest[:BundleSize])
		if err != nil || !b.OneTime() || !timely(b, now) || len(items) > 0 && b.Device() != device {
			return nil, ErrRefused
		}
		device = b.Device()
		items = append(items, Item{Bundle: b.Bytes(), Until: b.NotAfter()})
	}
	return items, nil
}

// timely says whether a bundle may be kept: it is fresh, and not of a time to come, or good for so long, that it would hold
// its place for years.
func timely(b *identity.Bundle, now time.Time) bool {
	return fresh(b.NotAfter(), now) && b.Usable(now) && b.NotAfter().Sub(b.Issued()) <= identity.BundleLifetime
}

// fresh says whether a bundle may be handed out at now.
func fresh(until, now time.Time) bool { return now.Before(until) }
