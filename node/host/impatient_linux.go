package host

import (
	"errors"
	"syscall"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name.
const tcpUserTimeout = 18

// impatient gives a connection up when what it sent stays unacknowledged: then the kernel does not probe, and by itself
// goes on for a quarter of an hour.
func impatient(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unheard.Milliseconds()))
	})
	return errors.Join(err, set)
}
