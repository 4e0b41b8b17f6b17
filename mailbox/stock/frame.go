package stock

import (
	"crypto/ed25519"
	"io"
)

// Kinds of a question of /kith/prekey/1. A stream carries one question.
const (
	kindTake  = 1
	kindOffer = 2
)

// refused is the answer to an offer that is not taken in.
const refused = 255

const offerHead = ed25519.PublicKeySize + ed25519.SignatureSize + 1

// Question is what a stream brought: an offer, or else whose bundle is asked for.
type Question struct {
	ID    [32]byte // id of a box, or of the device that is asked itself
	Offer *Offer
}

// Marshal is the question's frame.
func (q Question) Marshal() []byte {
	if q.Offer == nil {
		return append([]byte{kindTake}, q.ID[:]...)
	}
	b := append([]byte{kindOffer}, q.Offer.Key...)
	b = append(b, q.Offer.Sig...)
	b = append(b, byte(len(q.Offer.Bundles)/BundleSize))
	return append(b, q.Offer.Bundles...)
}

// ReadQuestion reads a question; its size is known before memory is taken.
func ReadQuestion(r io.Reader) (q Question, err error) {
	kind := make([]byte, 1)
	if _, err = io.ReadFull(r, kind); err != nil {
		return q, err
	}
	switch kind[0] {
	case kindTake:
		_, err = io.ReadFull(r, q.ID[:])
		return q, err
	case kindOffer:
		head := make([]byte, offerHead)
		if _, err = io.ReadFull(r, head); err != nil {
			return q, err
		}
		n := int(head[offerHead-1])
		if n > Most {
			return q, ErrRefused
		}
		q.Offer = &Offer{
			Key: head[:ed25519.PublicKeySize], Sig: head[ed25519.PublicKeySize : offerHead-1], Bundles: make([]byte, n*BundleSize),
		}
		_, err = io.ReadFull(r, q.Offer.Bundles)
		return q, err
	}
	return q, ErrRefused
}

// Given is the answer to who asks for a bundle: that, or as many zeros, so that
// nobody between sees which.
func Given(bundle []byte) []byte {
	if len(bundle) != BundleSize {
		return make([]byte, BundleSize)
	}
	return bundle
}

// ReadGiven reads it; nil: there is none.
func ReadGiven(r io.Reader) ([]byte, error) {
	b := make([]byte, BundleSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if b[0] == 0 {
		return nil, nil
	}
	return b, nil
}

// Held is the answer to an offer: how many bundles the box has now.
func Held(n int, err error) []byte {
	if err != nil {
		return []byte{refused}
	}
	return []byte{byte(n)}
}

// ReadHeld reads it.
func ReadHeld(r io.Reader) (int, error) {
	b := make([]byte, 1)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, err
	}
	if b[0] > Most {
		return 0, ErrRefused
	}
	return int(b[0]), nil
}
