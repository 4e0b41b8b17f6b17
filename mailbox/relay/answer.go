package relay

import (
	"crypto/ed25519"
	"errors"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// ErrReply says that a relay answered with something that does not verify or
// does not fit the question. It is one opaque error on purpose.
var ErrReply = errors.New("relay: invalid reply")

// replyError is ErrReply for a frame of a relay that breaks the rules.
func replyError(err error) error {
	if errors.Is(err, errFrame) {
		return ErrReply
	}
	return err
}

// parseAnswer decodes a relay's frame and checks the shapes of the schema.
func parseAnswer(body []byte) (*pb.Answer, error) {
	a := new(pb.Answer)
	if err := parseFrame(body, a); err != nil {
		return nil, err
	}
	if !answerShaped(a) {
		return nil, errFrame
	}
	return a, nil
}

func answerShaped(a *pb.Answer) bool {
	switch w := a.What.(type) {
	case *pb.Answer_Done:
		return true
	case *pb.Answer_Refusal:
		return w.Refusal.GetCode() > 0 && len(w.Refusal.GetSet()) <= dht.MaxRecord
	case *pb.Answer_Advert:
		return len(w.Advert) <= dht.MaxAdvert
	case *pb.Answer_Set:
		return len(w.Set) <= dht.MaxRecord
	case *pb.Answer_Receipt:
		return len(w.Receipt) <= mailbox.MaxReceipt
	case *pb.Answer_Leases:
		for _, l := range w.Leases.GetLeases() {
			if len(l.GetSig()) != ed25519.SignatureSize || l.GetRank() > maxRank || l.GetEnd() > maxMillis/1000 {
				return false
			}
		}
		return len(w.Leases.GetLeases()) <= MaxBoxesPerAsk
	case *pb.Answer_Challenge:
		return len(w.Challenge.GetNonce()) == nonceSize
	case *pb.Answer_Drained:
		return len(w.Drained.GetBox()) == idSize
	case *pb.Answer_Items:
		for _, it := range w.Items.GetItems() {
			if n := len(it.GetEnvelope()); n == 0 || n > mailbox.MaxEnvelope {
				return false
			}
		}
		return len(w.Items.GetBox()) == idSize && len(w.Items.GetItems()) > 0
	}
	return false
}
