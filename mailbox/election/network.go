package election

import (
	"encoding/binary"

	"github.com/kith-im/kith/dht"
)

// Codes of the first part of a binary multiaddr (multiformats table).
const (
	codeIP4 = 0x04 // 4 bytes follow
	codeIP6 = 0x29 // 16 bytes follow
)

// Sizes of a network group's prefix, in bytes.
const (
	group4 = 2 // IPv4 /16
	group6 = 4 // IPv6 /32
)

// groups are the network groups of a relay: the /16 or /32 of each of its IP
// addresses, the whole first part of others (a DNS name).
func groups(p dht.Peer) []string {
	var out []string
	for _, a := range p.Addrs {
		code, n := binary.Uvarint(a)
		switch {
		case n <= 0:
		case code == codeIP4 && len(a) >= n+4:
			out = append(out, string(a[:n+group4]))
		case code == codeIP6 && len(a) >= n+16:
			out = append(out, string(a[:n+group6]))
		default:
			out = append(out, string(a[:named(a, n)]))
		}
	}
	return out
}

// named is the end of a part whose value has a length before it.
func named(a []byte, n int) int {
	size, m := binary.Uvarint(a[n:])
	if m <= 0 || size > uint64(len(a)-n-m) {
		return len(a)
	}
	return n + m + int(size)
}
