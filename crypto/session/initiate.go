package session

import (
	"errors"
	"fmt"
	"io"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/identity"
)

var errOwnBundle = errors.New("session: the bundle is this device's own")

// Initiate starts a session with the device that published b. The caller has checked that b's
// keys stand in the user's device list. Nothing leaves before the first [Session.Seal].
//
// rng gives 32 bytes; the ML-KEM encapsulation draws its own.
func Initiate(rng io.Reader, self Self, b *identity.Bundle) (*Session, error) {
	return initiate(rng, self, b, agree.Encapsulate)
}

// initiate is Initiate with the encapsulation as an argument, so that test vectors can fix it.
func initiate(rng io.Reader, self Self, b *identity.Bundle, encapsulate func(*agree.Encapsulator) (ss, ct []byte)) (*Session, error) {
	own := self.Keys.Public(0, 0)
	if b.Device() == own.ID() {
		return nil, errOwnBundle
	}
	ek, err := agree.NewEncapsulator(b.PQ())
	if err != nil {
		return nil, ErrOpen
	}
	ea, err := newKey(rng)
	if err != nil {
		return nil, err
	}
	ikB, spkB := b.IKPub(), b.SPK()
	d1, ok1 := agree.Secret(ea, spkB[:])
	d2, ok2 := agree.Secret(ea, ikB[:])
	d3, ok3 := agree.Secret(self.Keys.IK, spkB[:])
	if !ok1 || !ok2 || !ok3 {
		return nil, ErrOpen
	}
	ss, ct := encapsulate(ek)
	eaPub := agree.PublicOf(ea)
	o := newOpening(b.Hash(), eaPub[:], ct, d1, d2, ss)
	me := Sender{Peer{self.User, own.SigPub, own.IKPub}, self.Head}
	block := encodeID(me)
	sealed := o.sealID(block)
	a := o.finish(block, sealed, me.IK[:], d3)

	bundle := b.Hash()
	s := &Session{
		peer:      Peer{b.User(), b.SigPub(), ikB},
		prekey:    [prekeyIDSize]byte(bundle[:]),
		ad:        a.ad,
		initiated: true,
		root:      a.root,
		remote:    spkB,
		nextSend:  newHeadKey(a.headA),
		nextRecv:  newHeadKey(a.headB),
	}
	s.prefix = makePrefix(bundle, eaPub[:], ct, sealed)
	return s, nil
}

// makePrefix is computed once per session and repeated byte for byte, whatever happens to
// device lists in between, until the first reply.
func makePrefix(bundle [keySize]byte, ea, ct, sealed []byte) []byte {
	p := make([]byte, 0, prefixSize)
	p = append(p, typeFirstFlight)
	p = append(p, bundle[:prekeyIDSize]...)
	p = append(p, ea...)
	p = append(p, ct...)
	return append(p, sealed...)
}

// newKey draws an X25519 key. The standard library's own generator may ignore its reader.
func newKey(rng io.Reader) (*agree.Private, error) {
	var seed [keySize]byte
	if _, err := io.ReadFull(rng, seed[:]); err != nil {
		return nil, fmt.Errorf("session: entropy: %w", err)
	}
	return agree.NewPrivate(seed[:])
}
