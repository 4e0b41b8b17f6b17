package session

import (
	"crypto/sha256"
	"time"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/identity"
)

// Accept opens a first flight with the prekey it names and the message inside it.
//
// check decides whether the sender's keys fit its device list, pinned or fetched; its error is
// returned as it is. It is asked last, when the message has proved that the sender holds the
// identity key it names (in the symbolic model, asking or keeping anything earlier breaks
// authentication). On any error nothing exists that was not there before; ErrTooFar asks, as for
// Open, to keep the envelope until an earlier one of the same sender has been accepted.
//
// A replay is accepted again: before the call, look [ParseFirstFlight]'s result up in a cache
// that lives as long as the prekey's secret, and use the session found there.
func Accept(self Self, pre *identity.Prekey, check func(Sender) error, envelope []byte, now time.Time) (*Session, Sender, Body, error) {
	s, from, ok := accept(self, pre, envelope)
	if !ok {
		return nil, Sender{}, Body{}, ErrOpen
	}
	body, err := s.Open(envelope, now)
	if err == nil {
		err = check(from)
	}
	if err != nil {
		return nil, Sender{}, Body{}, err
	}
	return s, from, body, nil
}

// accept makes the session that a first flight would begin. It is nobody's yet: only the
// message inside proves the sender.
func accept(self Self, pre *identity.Prekey, envelope []byte) (*Session, Sender, bool) {
	f, ok := parseFirstFlight(envelope)
	if !ok {
		return nil, Sender{}, false
	}
	r := responderOf(self, pre)
	o, block, from, ok := r.sender(self, f)
	if !ok {
		return nil, Sender{}, false
	}
	d3, ok := agree.Secret(r.spk, from.IK[:])
	if !ok {
		return nil, Sender{}, false
	}
	a := o.finish(block, f.sealedID(), from.IK[:], d3)
	return &Session{
		peer:        from.Peer,
		prekey:      [prekeyIDSize]byte(f.prekey()),
		ad:          a.ad,
		established: true,
		prefixHash:  sha256.Sum256(f.prefix),
		root:        a.root,
		local:       agree.ScalarOf(r.spk),
		nextSend:    newHeadKey(a.headB),
		nextRecv:    newHeadKey(a.headA),
	}, from, true
}

// PeekSender opens only the identity block of a first flight, so that the sender's device list
// can be fetched before [Accept]. The result is a claim: anybody who has the bundle can make a
// block that names anybody. Show it to nobody and keep nothing because of it.
func PeekSender(self Self, pre *identity.Prekey, envelope []byte) (Sender, error) {
	f, ok := parseFirstFlight(envelope)
	if !ok {
		return Sender{}, ErrOpen
	}
	_, _, from, ok := responderOf(self, pre).sender(self, f)
	if !ok {
		return Sender{}, ErrOpen
	}
	return from, nil
}

func responderOf(self Self, pre *identity.Prekey) responder {
	return responder{bundle: pre.Hash(), ik: self.Keys.IK, spk: pre.SPK(), pq: pre.PQ()}
}

// sender checks that the flight is for this prekey and reads who it claims to be from; nobody
// writes to himself.
func (r responder) sender(self Self, f firstFlight) (opening, []byte, Sender, bool) {
	if string(f.prekey()) != string(r.bundle[:prekeyIDSize]) {
		return opening{}, nil, Sender{}, false
	}
	o, block, ok := r.opening(f)
	if !ok {
		return opening{}, nil, Sender{}, false
	}
	from := parseID(block)
	return o, block, from, from.Device() != self.Keys.ID()
}
