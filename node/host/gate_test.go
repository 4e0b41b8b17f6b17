package host

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

// Whatever address strangers hand out, a node dials only addresses of other machines; the loopback profile, the control,
// dials its own machine too.
func TestGateDialsOtherMachinesOnly(t *testing.T) {
	const id = "/p2p/12D3KooWFTutHqsVvmmfHTZEQ9hzCss3gMZVVpjyE4bmbJPxLCSZ"
	for _, c := range []struct {
		addr            string
		world, loopback bool
	}{
		{"/ip4/203.0.113.7/tcp/4101", true, true},
		{"/ip4/203.0.113.7/udp/4101/quic-v1" + id, true, true},
		{"/ip6/2001:db8::1/tcp/4101", true, true},
		{"/ip4/192.168.1.2/tcp/4101", true, true},
		{"/ip4/127.0.0.1/tcp/22", false, true},
		{"/ip6/::1/udp/53/quic-v1", false, true},
		{"/ip4/0.0.0.0/tcp/22", false, true},
		{"/ip4/169.254.169.254/tcp/80", false, true},
		{"/ip6/fe80::1/tcp/22", false, true},
		{"/ip6/::/tcp/22", false, true},
		{"/ip6/::ffff:127.0.0.1/tcp/22", false, true},
		{"/ip6/::ffff:0.0.0.0/tcp/22", false, true},
		{"/ip6/::ffff:169.254.169.254/tcp/80", false, true},
		{"/ip6/::ffff:224.0.0.251/udp/5353/quic-v1", false, false},
		{"/ip4/224.0.0.251/udp/5353/quic-v1", false, false},
		{"/ip4/255.255.255.255/udp/1900/quic-v1", false, false},
		{"/ip6/ff02::1/udp/1900/quic-v1", false, false},
		{"/ip4/203.0.113.7/tcp/80/ws", false, false},
		{"/ip4/203.0.113.7/tcp/4101" + id + "/p2p-circuit", false, false},
	} {
		a := ma.StringCast(c.addr)
		if got := (gate{book: &AddressBook{}}).InterceptAddrDial("", a); got != c.world {
			t.Errorf("%s: dialled %t", c.addr, got)
		}
		if got := (gate{book: &AddressBook{Loopback: true}}).InterceptAddrDial("", a); got != c.loopback {
			t.Errorf("%s on one machine: dialled %t", c.addr, got)
		}
	}
}
