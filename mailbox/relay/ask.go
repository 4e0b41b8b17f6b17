package relay

import (
	"crypto/ed25519"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// parseAsk decodes a client's frame and checks every shape that the schema
// fixes, so that what follows may index without looking. Values are judged by
// package mailbox.
func parseAsk(body []byte) (*pb.Ask, error) {
	ask := new(pb.Ask)
	if err := frame.Parse(body, ask); err != nil {
		return nil, err
	}
	if !shaped(ask) {
		return nil, frame.ErrInvalid
	}
	return ask, nil
}

func shaped(ask *pb.Ask) bool {
	switch w := ask.What.(type) {
	case *pb.Ask_Advert, *pb.Ask_Collect, *pb.Ask_Credit:
		return true
	case *pb.Ask_Reserve:
		n := len(w.Reserve.GetBoxes())
		for _, b := range w.Reserve.GetBoxes() {
			if !signedShape(b.GetKey(), b.GetSig()) {
				return false
			}
		}
		return n > 0 && n <= MaxBoxesPerAsk
	case *pb.Ask_Commit:
		n := len(w.Commit.GetSigned())
		return n > 0 && n <= MaxBoxesPerAsk
	case *pb.Ask_PutSet:
		n := len(w.PutSet.GetRecord())
		return n > 0 && n <= dht.MaxRecord
	case *pb.Ask_GetSet:
		return len(w.GetSet.GetBox()) == idSize
	case *pb.Ask_Deposit:
		d := w.Deposit
		return len(d.GetBox()) == idSize && len(d.GetEnvelope()) > 0 &&
			len(d.GetPass()) <= mailbox.MaxPass && len(d.GetWork()) <= mailbox.WorkSize && d.GetExpiresMs() <= maxMillis
	case *pb.Ask_Ack:
		return signedShape(w.Ack.GetKey(), w.Ack.GetSig()) && packed(w.Ack.GetIds(), idSize, mailbox.MaxAckIDs)
	case *pb.Ask_Prove:
		return signedShape(w.Prove.GetKey(), w.Prove.GetSig())
	}
	return shapedBetween(ask)
}

// shapedBetween is shaped for what relays ask each other, and its like.
func shapedBetween(ask *pb.Ask) bool {
	switch w := ask.What.(type) {
	case *pb.Ask_Clock, *pb.Ask_Gossip:
		return true
	case *pb.Ask_Compare:
		return packed(w.Compare.GetSums(), sumSize, MaxCompare)
	case *pb.Ask_Digest:
		return len(w.Digest.GetBox()) == idSize
	case *pb.Ask_Copies:
		return len(w.Copies.GetBox()) == idSize && packed(w.Copies.GetIds(), idSize, mailbox.MaxCopies)
	case *pb.Ask_Possess:
		return len(w.Possess.GetBox()) == idSize && len(w.Possess.GetNonce()) == nonceSize &&
			packed(w.Possess.GetIds(), idSize, mailbox.MaxPossess)
	case *pb.Ask_Await:
		return len(w.Await.GetBox()) == idSize
	case *pb.Ask_Offer:
		return packed(w.Offer.GetBoxes(), idSize, MaxCompare)
	}
	return false
}

// packed says whether b holds 1 to most values of size bytes.
func packed(b []byte, size, most int) bool {
	return len(b) > 0 && len(b)%size == 0 && len(b)/size <= most
}

func signedShape(key, sig []byte) bool {
	return len(key) == ed25519.PublicKeySize && len(sig) == ed25519.SignatureSize
}

// depositOf is the deposit of a frame that parseAsk let through.
func depositOf(d *pb.Deposit) mailbox.Deposit {
	return mailbox.Deposit{
		Box:       mailbox.ID(d.GetBox()),
		Envelope:  d.GetEnvelope(),
		Expires:   time.UnixMilli(int64(d.GetExpiresMs())),
		SetNumber: d.GetSetNumber(),
		Pass:      d.GetPass(),
		Work:      d.GetWork(),
	}
}

func depositFrame(d mailbox.Deposit) *pb.Deposit {
	return &pb.Deposit{
		Box:       d.Box[:],
		Envelope:  d.Envelope,
		ExpiresMs: uint64(max(0, d.Expires.UnixMilli())),
		SetNumber: d.SetNumber,
		Pass:      d.Pass,
		Work:      d.Work,
	}
}

// idsOf splits packed ids, of envelopes or of boxes.
func idsOf[ID ~[idSize]byte](packed []byte) []ID {
	ids := make([]ID, 0, len(packed)/idSize)
	for ; len(packed) >= idSize; packed = packed[idSize:] {
		ids = append(ids, ID(packed[:idSize]))
	}
	return ids
}

// packIDs is the reverse of idsOf.
func packIDs[ID ~[idSize]byte](ids []ID) []byte {
	b := make([]byte, 0, len(ids)*idSize)
	for i := range ids {
		id := [idSize]byte(ids[i])
		b = append(b, id[:]...)
	}
	return b
}

func packSums(sums []mailbox.BoxSum) []byte {
	b := make([]byte, 0, len(sums)*sumSize)
	for i := range sums {
		b = append(append(b, sums[i].Box[:]...), sums[i].Sum[:]...)
	}
	return b
}

// sumsOf splits packed boxes with their sums.
func sumsOf(packed []byte) []mailbox.BoxSum {
	sums := make([]mailbox.BoxSum, 0, len(packed)/sumSize)
	for ; len(packed) >= sumSize; packed = packed[sumSize:] {
		sums = append(sums, mailbox.BoxSum{Box: mailbox.ID(packed[:idSize]), Sum: [32]byte(packed[idSize:sumSize])})
	}
	return sums
}

// refusalFrame and refusalOf carry a typed refusal.
func refusalFrame(r *mailbox.Refusal) *pb.Answer_Refusal {
	return &pb.Answer_Refusal{Refusal: &pb.Refusal{
		Code: uint32(r.Code), Set: r.Set, Bits: uint32(r.Bits), Detail: clip(r.Detail),
	}}
}

func refusalOf(r *pb.Refusal) *mailbox.Refusal {
	return &mailbox.Refusal{
		Code: mailbox.Code(min(r.GetCode(), 255)), Set: r.GetSet(),
		Bits: byte(min(r.GetBits(), 255)), Detail: clip(r.GetDetail()),
	}
}

// clip keeps the printable ASCII of a detail, at most maxDetail bytes: it ends
// in logs.
func clip(s string) string {
	b := make([]byte, 0, min(len(s), maxDetail))
	for i := 0; i < len(s) && len(b) < maxDetail; i++ {
		if c := s[i]; c >= ' ' && c <= '~' {
			b = append(b, c)
		}
	}
	return string(b)
}
