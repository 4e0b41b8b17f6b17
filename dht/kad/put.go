package kad

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p-kad-dht/records"
	record "github.com/libp2p/go-libp2p-record"
	recpb "github.com/libp2p/go-libp2p-record/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
)

// Put keeps value locally and stores it at the K reachable peers closest to
// key. It returns how many of them confirmed: kad-dht's own PutValue hides
// that. Zero with a nil error means that nobody could be reached; put again
// when a connection appears.
func (d *Directory) Put(ctx context.Context, key string, value []byte) (int, error) {
	claim, err := d.verifier.valid(key, value)
	if err != nil || len(value) > dht.MaxRecord {
		return 0, dht.ErrInvalid
	}
	own, err := d.local(ctx, key)
	if err != nil {
		return 0, err
	}
	if own.value != nil && own.claim.Compare(claim) > 0 {
		return 0, dht.ErrOlder
	}
	rec := record.MakePutRecord(key, value)
	if err := d.values.Put(ctx, key, rec); errors.Is(err, records.ErrOldRecord) {
		return 0, dht.ErrOlder
	} else if err != nil && !errors.Is(err, errFull) {
		return 0, err
	}
	d.cache.keep(key, held{value: value, claim: claim, at: d.now()})
	walkCtx, stop := context.WithTimeout(ctx, walkTimeout)
	defer stop()
	return d.spread(walkCtx, key, rec), ctx.Err()
}

// spread walks to the closest peers and stores rec at each of them.
func (d *Directory) spread(ctx context.Context, key string, rec *recpb.Record) int {
	closest, _ := d.newWalk(key, func(ctx context.Context, p peer.ID) ([]*peer.AddrInfo, bool, error) {
		closer, err := d.messenger.GetClosestPeers(ctx, p, peer.ID(key))
		return closer, false, err
	}).run(ctx)
	var stored atomic.Int32
	var wg sync.WaitGroup
	for _, p := range closest {
		wg.Go(func() {
			if d.messenger.PutValue(ctx, p, rec) == nil {
				stored.Add(1)
			}
		})
	}
	wg.Wait()
	return int(stored.Load())
}
