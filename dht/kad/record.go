package kad

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad/pb"
)

// RecordProtocol asks one connected peer for one record: a stream carries one
// request and one answer. Unlike the DHT it is spoken by every kith node, so
// two nodes that are both DHT clients find each other's records.
const RecordProtocol protocol.ID = "/kith/record/1"

// serveRecord answers one request with our valid local copy.
func (d *Directory) serveRecord(s network.Stream) {
	select {
	case d.serving <- struct{}{}:
		defer func() { <-d.serving }()
	default:
		_ = s.Reset()
		return
	}
	_ = s.SetDeadline(time.Now().Add(requestTimeout))
	if err := d.answerRecord(s); err != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

func (d *Directory) answerRecord(s network.Stream) error {
	var request pb.RecordRequest
	if err := readFrame(s, &request, maxRequestFrame); err != nil {
		return err
	}
	own, err := d.local(d.ctx, string(request.GetKey()))
	if err != nil {
		return err
	}
	return writeFrame(s, &pb.RecordAnswer{Value: own.value})
}

// GetFrom asks one peer, connected or dialable, for its copy. The value is
// validated; dht.ErrNotFound if it has none or an invalid one.
func (d *Directory) GetFrom(ctx context.Context, p peer.ID, key string) ([]byte, error) {
	if _, _, err := dht.ParseKey(key); err != nil {
		return nil, err
	}
	c := &copies{d: d, key: key}
	value, err := d.fetchRecord(ctx, p, key)
	if err != nil {
		return nil, err
	}
	c.answered.Store(true)
	c.offer(value)
	return d.conclude(ctx, c)
}

// fetchRecord returns what the peer says, unvalidated.
func (d *Directory) fetchRecord(ctx context.Context, p peer.ID, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := d.host.NewStream(ctx, p, RecordProtocol)
	if err != nil {
		return nil, fmt.Errorf("ask a peer: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if err := writeFrame(s, &pb.RecordRequest{Key: []byte(key)}); err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("ask a peer: %w", err)
	}
	var answer pb.RecordAnswer
	if err := readFrame(s, &answer, maxAnswerFrame); err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("ask a peer: %w", err)
	}
	_ = s.Close()
	return answer.GetValue(), nil
}

// beside lists connected peers that a walk does not begin with, the closest to
// the key first.
func (d *Directory) beside(key string, w *walk) []peer.ID {
	begins := func(p peer.ID) bool {
		return slices.ContainsFunc(w.order, func(c *candidate) bool { return c.id == p })
	}
	peers := slices.DeleteFunc(d.connected(RecordProtocol), begins)
	peers = kb.SortClosestPeers(peers, kb.ConvertKey(key))
	return peers[:min(len(peers), maxConnectedAsked)]
}

// askConnected asks these peers at once for c's record. It reports whether a
// good value came.
func (d *Directory) askConnected(ctx context.Context, peers []peer.ID, c *copies, first bool) bool {
	good := make(chan bool, len(peers))
	for _, p := range peers {
		go func() {
			value, err := d.fetchRecord(ctx, p, c.key)
			if err == nil {
				c.answered.Store(true)
			}
			good <- err == nil && c.offer(value)
		}()
	}
	any := false
	for range peers {
		select {
		case ok := <-good:
			any = any || ok
			if ok && first {
				return true
			}
		case <-ctx.Done():
			return any
		}
	}
	return any
}

// writeFrame sends u32 length | protobuf.
func writeFrame(w io.Writer, m proto.Message) error {
	frame, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 4), m)
	if err != nil {
		return fmt.Errorf("encode a frame: %w", err)
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	_, err = w.Write(frame)
	return err
}

func readFrame(r io.Reader, m proto.Message, limit uint32) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > limit {
		return errTooLong
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(r, buf); err != nil {
		return err
	}
	return proto.Unmarshal(buf, m)
}
