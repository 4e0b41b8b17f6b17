package mailbox

import (
	"crypto/ed25519"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/pass"
)

// Relay is the state machine of one relay. It holds no state of its own: all
// of it is in the Tx, so that a crash loses nothing that was answered. Only
// which passes it has checked does it remember, between the writes of its one
// store. Its methods may be called from any goroutine; the store orders them.
type Relay struct {
	key    ed25519.PrivateKey
	peer   []byte
	limits Limits
	passes map[[32]byte]pass.ID // by SHA-256(box id | pass)
}

// NewRelay returns the rules of the relay with this libp2p host key.
func NewRelay(host ed25519.PrivateKey, limits Limits) *Relay {
	peer := dht.PeerFromKey(host.Public().(ed25519.PublicKey))
	return &Relay{key: host, peer: peer, limits: limits.filled(), passes: map[[32]byte]pass.ID{}}
}

// Peer is the relay's peer id, 38 bytes.
func (r *Relay) Peer() []byte { return r.peer }

// Limits are those in force, defaults filled in.
func (r *Relay) Limits() Limits { return r.limits }

// steady is now, but never before what the relay has already believed: a clock
// that went back does not bring expired envelopes back.
func steady(tx Tx, now time.Time) time.Time {
	if trusted := tx.Clock().Trusted; now.Before(trusted) {
		return trusted
	}
	return now
}

// notMine refuses a box, with the newest set where one is known.
func notMine(tx Tx, box ID, detail string) error {
	set, err := tx.Set(box)
	if err != nil {
		set = nil // a spoilt set is counted by the store and not served
	}
	return &Refusal{Code: NotMine, Set: append([]byte(nil), set...), Detail: detail}
}
