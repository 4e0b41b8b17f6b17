package host

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// What the kernel is told of a connection of the host apart, also after libp2p has had its say; the control is a plain dial.
func TestADeadPathIsNoticed(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	options := func(c net.Conn) (count, patience int) {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			count, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT)
			patience, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
		})
		return count, patience
	}
	c, err := dialer{}.DialContext(t.Context(), "tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetKeepAlivePeriod(30 * time.Second) // libp2p does
	if count, patience := options(c); count != probes || patience != int(unheard.Milliseconds()) {
		t.Errorf("asks %d times, waits %d ms", count, patience)
	}
	plain, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if count, patience := options(plain); count == probes || patience != 0 {
		t.Errorf("the control asks %d times, waits %d ms", count, patience)
	}
}
