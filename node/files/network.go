package files

import (
	"context"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/node/transfer"
)

// Network is Peers over libp2p: people's devices are asked by the device itself, relays under the name that they know.
type Network struct {
	Device *blobs.Client
	Relay  func(to dht.Peer, fn func(*blobs.Client) error) error
}

func (n Network) ask(to transfer.Source, fn func(*blobs.Client) error) error {
	if to.Relay {
		return n.Relay(to.Peer, fn)
	}
	return fn(n.Device)
}

// Has implements Peers.
func (n Network) Has(ctx context.Context, at transfer.Source, ds []blob.Digest) (here []bool, err error) {
	err = n.ask(at, func(c *blobs.Client) (err error) {
		here, err = c.Has(ctx, at.Peer, ds)
		return err
	})
	return here, err
}

// Get implements Peers.
func (n Network) Get(ctx context.Context, from transfer.Source, d blob.Digest, buf []byte) (chunk []byte, err error) {
	err = n.ask(from, func(c *blobs.Client) (err error) {
		chunk, err = c.Get(ctx, from.Peer, d, buf)
		return err
	})
	return chunk, err
}

// Put implements Peers.
func (n Network) Put(ctx context.Context, to transfer.Source, job transfer.Job, d blob.Digest, chunk []byte) error {
	return n.ask(to, func(c *blobs.Client) error { return c.Put(ctx, to.Peer, job.Box, d, chunk, job.Expires) })
}

// Drop implements Peers.
func (n Network) Drop(ctx context.Context, at transfer.Source, job transfer.Job, ds []blob.Digest) error {
	return n.ask(at, func(c *blobs.Client) error { return c.Drop(ctx, at.Peer, job.Box, ds) })
}
