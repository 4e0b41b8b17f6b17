package host

import (
	"errors"
	"net"
	"testing"
)

// A host that was closed opens no socket: whose dial is late would have one that nobody closes.
func TestAClosedHostOpensNoSocket(t *testing.T) {
	opened := 0
	s := &sockets{open: func(*net.UDPAddr) (net.PacketConn, error) { opened++; return nil, nil }}
	at := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
	if _, err := s.listen("udp4", at); err != nil || opened != 1 {
		t.Fatalf("control: %d opened, %v", opened, err)
	}
	if from, _ := s.PreferredSourceIPForDestination(nil); !from.Equal(at.IP) {
		t.Errorf("packets come from %v", from)
	}
	s.over.Store(true)
	if _, err := s.listen("udp4", at); !errors.Is(err, net.ErrClosed) || opened != 1 {
		t.Errorf("%d opened, %v", opened, err)
	}
}
