package link

import (
	"crypto/ed25519"
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/dht"
)

// Transports of a hint, as bits: the same port may serve both.
const (
	transportTCP  = 1
	transportQUIC = 2
)

// Multiaddr protocol codes, as they stand in binary addresses (multiformats' table): ip4, tcp, udp, quic-v1.
var (
	codeIP4  = []byte{0x04}
	codeTCP  = []byte{0x06}
	codeUDP  = []byte{0x91, 0x02}
	codeQUIC = []byte{0xcd, 0x03}
)

// hint is one peer at one IPv4 address.
type hint struct {
	key       []byte // Ed25519 public key
	transport uint8
	ip        [4]byte
	port      uint16
}

func parseHint(s cryptobyte.String) (hint, bool) {
	var h hint
	ok := s.ReadBytes(&h.key, 32) && s.ReadUint8(&h.transport) && s.CopyBytes(h.ip[:]) && s.ReadUint16(&h.port)
	return h, ok && s.Empty() && h.transport > 0 && h.transport <= transportTCP|transportQUIC && h.port != 0
}

// peer spells the hint out as a peer with one address a transport, QUIC first.
func (h hint) peer() dht.Peer {
	p := dht.Peer{ID: dht.PeerFromKey(ed25519.PublicKey(h.key))}
	at := append(append([]byte{}, codeIP4...), h.ip[:]...)
	port := binary.BigEndian.AppendUint16(nil, h.port)
	if h.transport&transportQUIC != 0 {
		p.Addrs = append(p.Addrs, concat(at, codeUDP, port, codeQUIC))
	}
	if h.transport&transportTCP != 0 {
		p.Addrs = append(p.Addrs, concat(at, codeTCP, port))
	}
	return p
}

func concat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// bestHint picks the address that most joiners can reach: public before private before loopback. Addresses of one IP
// and port merge their transports.
func bestHint(peers []dht.Peer) (hint, bool) {
	var (
		best hint
		rank int
	)
	for _, p := range peers {
		key, ok := dht.PeerKey(p.ID)
		if !ok {
			continue
		}
		for _, a := range p.Addrs {
			h, ok := parseAddr(a)
			if !ok {
				continue
			}
			h.key = key
			r := reach(h.ip)
			switch {
			case r > rank:
				best, rank = h, r
			case r == rank && h.ip == best.ip && h.port == best.port && string(h.key) == string(best.key):
				best.transport |= h.transport
			}
		}
	}
	return best, rank > 0
}

// parseAddr reads /ip4/A/tcp/P and /ip4/A/udp/P/quic-v1 and nothing else.
func parseAddr(a []byte) (hint, bool) {
	var h hint
	if len(a) < 5 || a[0] != codeIP4[0] {
		return h, false
	}
	copy(h.ip[:], a[1:5])
	rest := a[5:]
	switch {
	case len(rest) == 3 && rest[0] == codeTCP[0]:
		h.transport, h.port = transportTCP, binary.BigEndian.Uint16(rest[1:])
	case len(rest) == 6 && string(rest[:2]) == string(codeUDP) && string(rest[4:]) == string(codeQUIC):
		h.transport, h.port = transportQUIC, binary.BigEndian.Uint16(rest[2:])
	default:
		return h, false
	}
	return h, h.port != 0
}

func reach(ip [4]byte) int {
	switch {
	case ip[0] == 0:
		return 0
	case ip[0] == 127:
		return 1
	case ip[0] == 10, ip[0] == 172 && ip[1]&0xf0 == 16, ip[0] == 192 && ip[1] == 168, ip[0] == 169 && ip[1] == 254:
		return 2
	case ip[0] == 100 && ip[1]&0xc0 == 64: // carrier-grade NAT
		return 2
	}
	return 3
}
