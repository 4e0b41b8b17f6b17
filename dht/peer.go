package dht

import (
	"bytes"
	"crypto/ed25519"

	"golang.org/x/crypto/cryptobyte"
)

// peerPrefix begins the peer id of every Ed25519 host: an identity multihash
// (00, length 0x24) of the protobuf {type 1 = Ed25519, data 32 bytes}. Source:
// libp2p peer-ids specification.
const peerPrefix = "\x00\x24\x08\x01\x12\x20"

// Peer is a libp2p endpoint as plain bytes.
type Peer struct {
	ID    []byte   // peer id of an Ed25519 host, 38 bytes
	Addrs [][]byte // binary multiaddrs, at most MaxAddrs of 1..MaxAddr bytes; not interpreted here
}

// PeerKey extracts the Ed25519 host key from a peer id (38 bytes). It reports
// false for ids of any other kind of key.
func PeerKey(peer []byte) (ed25519.PublicKey, bool) {
	if !IsPeer(peer) {
		return nil, false
	}
	return ed25519.PublicKey(bytes.Clone(peer[len(peerPrefix):])), true
}

// IsPeer reports whether a peer id is that of an Ed25519 host.
func IsPeer(peer []byte) bool {
	return len(peer) == len(peerPrefix)+ed25519.PublicKeySize && string(peer[:len(peerPrefix)]) == peerPrefix
}

// PeerFromKey returns the peer id (38 bytes) of the host with this key.
func PeerFromKey(pub ed25519.PublicKey) []byte {
	return append([]byte(peerPrefix), pub...)
}

// valid reports whether p can be encoded with at most maxAddrs addresses.
func (p Peer) valid(maxAddrs int) bool {
	if !IsPeer(p.ID) || len(p.Addrs) > maxAddrs {
		return false
	}
	for _, a := range p.Addrs {
		if len(a) == 0 || len(a) > MaxAddr {
			return false
		}
	}
	return true
}

// addPeer appends key 32 | n u8 | n x (length u8 | address). p must be valid.
func addPeer(b *cryptobyte.Builder, p Peer) {
	b.AddBytes(p.ID[len(peerPrefix):])
	b.AddUint8(uint8(len(p.Addrs)))
	for _, a := range p.Addrs {
		b.AddUint8LengthPrefixed(func(c *cryptobyte.Builder) { c.AddBytes(a) })
	}
}

func readPeer(s *cryptobyte.String, maxAddrs int, p *Peer) bool {
	var key []byte
	var n uint8
	if !s.ReadBytes(&key, ed25519.PublicKeySize) || !s.ReadUint8(&n) || int(n) > maxAddrs {
		return false
	}
	p.ID = PeerFromKey(key)
	p.Addrs = make([][]byte, 0, n)
	for range n {
		var a cryptobyte.String
		if !s.ReadUint8LengthPrefixed(&a) || len(a) == 0 || len(a) > MaxAddr {
			return false
		}
		p.Addrs = append(p.Addrs, bytes.Clone(a))
	}
	return true
}
