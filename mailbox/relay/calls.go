package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// Deposit leaves one envelope and returns the receipt, verified against the
// relay's key, the box and the envelope. A refusal is a *mailbox.Refusal
// (errors.As); its Set, if any, is a newer record signed by the box.
func (c *Client) Deposit(ctx context.Context, relay dht.Peer, d mailbox.Deposit) (mailbox.Receipt, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Deposit{Deposit: depositFrame(d)}})
	if refusal, ok := errors.AsType[*mailbox.Refusal](err); ok {
		err = checkRefusal(refusal, d)
	}
	if err != nil {
		return mailbox.Receipt{}, fmt.Errorf("deposit: %w", err)
	}
	r, err := c.roots.checkReceipt(a.GetReceipt(), relay, d)
	if err != nil {
		return mailbox.Receipt{}, fmt.Errorf("deposit: %w", err)
	}
	return r, nil
}

// Advert asks the relay for its own signed advert; one that is over is
// ErrReply.
func (c *Client) Advert(ctx context.Context, relay dht.Peer) (*dht.Advert, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Advert{Advert: &pb.Advert{}}})
	if err != nil {
		return nil, fmt.Errorf("advert: %w", err)
	}
	advert, err := checkAdvert(a.GetAdvert(), relay, c.now())
	if err != nil {
		return nil, fmt.Errorf("advert: %w", err)
	}
	return advert, nil
}

// Reserve asks the relay to keep room for boxes, given by their private keys,
// until they commit; at most MaxBoxesPerAsk.
func (c *Client) Reserve(ctx context.Context, relay dht.Peer, boxes []ed25519.PrivateKey) error {
	m := &pb.Reserve{}
	for _, key := range boxes {
		m.Boxes = append(m.Boxes, &pb.Room{
			Key: publicOf(key),
			Sig: mailbox.SignRequest(key, relay.ID, mailbox.VerbReserve, nil),
		})
	}
	return c.confirm(ctx, relay, "reserve", &pb.Ask{What: &pb.Ask_Reserve{Reserve: m}})
}

// Commit shows set cores, core i signed with key i, and returns this relay's
// leases in the same order, each verified and bound to the relay's place in
// its core; at most MaxBoxesPerAsk.
func (c *Client) Commit(ctx context.Context, relay dht.Peer, keys []ed25519.PrivateKey, cores []dht.SetCore) ([]dht.Lease, error) {
	if len(keys) != len(cores) {
		return nil, errors.New("commit: as many keys as cores are needed")
	}
	m := &pb.Commit{}
	for i, core := range cores {
		signed, err := dht.SignSetCore(keys[i], core)
		if err != nil {
			return nil, fmt.Errorf("commit: %w", err)
		}
		m.Signed = append(m.Signed, signed)
	}
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Commit{Commit: m}})
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	leases, err := checkLeases(a.GetLeases(), relay, cores)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return leases, nil
}

// PutSet hands the relay a signed set record, which it serves to senders.
func (c *Client) PutSet(ctx context.Context, relay dht.Peer, raw []byte) error {
	return c.confirm(ctx, relay, "set", &pb.Ask{What: &pb.Ask_PutSet{PutSet: &pb.PutSet{Record: raw}}})
}

// GetSet asks for the newest set record that the relay has for a box. What it
// returns was signed by the box; whether it is newer than what the caller
// knows, the caller decides (dht.Newer). dht.ErrNotFound: the relay has none.
func (c *Client) GetSet(ctx context.Context, relay dht.Peer, box mailbox.ID) ([]byte, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_GetSet{GetSet: &pb.GetSet{Box: box[:]}}})
	if err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	if _, ok := a.What.(*pb.Answer_Set); !ok {
		return nil, fmt.Errorf("set: %w", ErrReply)
	}
	raw, err := checkSet(a.GetSet(), box)
	if err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	return raw, nil
}

// Ack tells the relay, signed by the box key, to forget envelopes. It returns
// after the relay's commit. Any number of ids: they go in runs of
// mailbox.MaxAckIDs, and an error leaves the later runs unsent.
func (c *Client) Ack(ctx context.Context, relay dht.Peer, key ed25519.PrivateKey, ids []mailbox.EnvelopeID) error {
	for len(ids) > 0 {
		run := ids[:min(len(ids), mailbox.MaxAckIDs)]
		ids = ids[len(run):]
		packed := mailbox.AckContent(run)
		m := &pb.Ack{
			Key: publicOf(key), Ids: packed,
			Sig: mailbox.SignRequest(key, relay.ID, mailbox.VerbAck, packed),
		}
		if err := c.confirm(ctx, relay, "ack", &pb.Ask{What: &pb.Ask_Ack{Ack: m}}); err != nil {
			return err
		}
	}
	return nil
}

// confirm asks what is answered with done.
func (c *Client) confirm(ctx context.Context, relay dht.Peer, act string, ask *pb.Ask) error {
	a, err := c.ask(ctx, relay, ask)
	if err == nil && a.GetDone() == nil {
		err = ErrReply
	}
	if err != nil {
		return fmt.Errorf("%s: %w", act, err)
	}
	return nil
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }
