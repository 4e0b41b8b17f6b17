package live

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// What TCP does by itself: the times that a node sets for its connections to relays (node/host), and Linux's own.
const (
	tcpHeaders = 52                     // of TCP with timestamps and IPv4, in bytes
	tcpSegment = 1448                   // bytes
	tcpProbe   = 30 * time.Second       // silence before an end asks whether the other is there
	tcpAgain   = 5 * time.Second        // between two questions that nobody answers
	tcpUnheard = 30 * time.Second       // after which data that nobody acknowledged ends the connection
	tcpProbes  = 3                      // questions without an answer that do
	tcpResend  = 200 * time.Millisecond // and a round trip: what was lost is sent again
	tcpConnect = time.Second            // a connection that was not answered is asked for again, then after twice as long
	tcpWaiting = 128                    // connections that nobody accepted yet
	tcpDelayed = 40 * time.Millisecond  // so long an acknowledgement waits for something to go with
)

// door is where a host listens for TCP.
type door struct {
	plug   *plug
	at     *net.TCPAddr
	queue  chan *line
	closed chan struct{} // guarded by Network.mu
}

// line is one end of a TCP connection. A write never waits: whoever multiplexes streams over it bounds what is on its way. No
// goroutine belongs to it, and while nobody writes it costs a timer.
type line struct {
	net           *Network
	at, to        *place
	local, remote *net.TCPAddr
	far           *line

	// Guarded by Network.mu.
	coming  []chunk // on its way here, in order
	ready   []byte
	over    bool // the other end said that nothing follows
	err     error
	changed chan struct{} // closed when something above changes
	until   time.Time     // read no longer than this
	alarm   *time.Timer   // then
	held    [][]byte      // what could not be sent; nothing overtakes it
	since   time.Time     // when that began
	heard   time.Time     // when the other end was heard last
	owes    time.Time     // since when an acknowledgement waits
	probe   *time.Timer
}

type chunk struct {
	at   time.Time
	data []byte // nil: the end
}

// Listen implements host.Network.
func (p *plug) Listen(at *net.TCPAddr) (net.Listener, error) {
	if at.IP.To4() == nil {
		return nil, errFamily
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	port := uint16(at.Port)
	if port == 0 {
		port = uint16(p.place.anyPort())
	}
	if p.place.doors[port] != nil {
		return nil, syscall.EADDRINUSE
	}
	d := &door{
		plug: p, at: &net.TCPAddr{IP: p.place.at.AsSlice(), Port: int(port)},
		queue: make(chan *line, tcpWaiting), closed: make(chan struct{}),
	}
	p.place.doors[port] = d
	return d, nil
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case l := <-d.queue:
		return l, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return d.at }

// Close implements net.Listener.
func (d *door) Close() error {
	d.plug.mu.Lock()
	defer d.plug.mu.Unlock()
	if port := uint16(d.at.Port); d.plug.place.doors[port] == d {
		delete(d.plug.place.doors, port)
		close(d.closed)
	}
	for {
		select {
		case l := <-d.queue:
			l.end()
		default:
			return nil
		}
	}
}

// DialContext implements host.Network.
func (p *plug) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	for again := tcpConnect; ; again *= 2 {
		wait, answered := p.knock(to)
		if !answered {
			wait = again
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		if answered {
			return p.join(to)
		}
	}
}

// knock asks for a connection; wait is when the answer comes, if one does.
func (p *plug) knock(to netip.AddrPort) (wait time.Duration, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, b := p.place, p.places[to.Addr()]
	if a.away {
		return 0, false
	}
	a.count(1, 0)
	// A translator lets nobody in, not even somebody whom it was told of.
	if b == nil || !together(a, b) || p.loses() || b.nat && !p.open && a.beside != b && b.beside != a {
		return 0, false
	}
	b.got.Add(tcpHeaders)
	b.count(1, 0)
	a.got.Add(tcpHeaders)
	return p.late(a, b) + p.late(b, a), true
}

// join makes the connection, of which the other side hears with the next packet.
func (p *plug) join(to netip.AddrPort) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.places[to.Addr()]
	d := b.doors[to.Port()]
	if d == nil {
		return nil, syscall.ECONNREFUSED
	}
	here := &net.TCPAddr{IP: p.place.at.AsSlice(), Port: p.place.anyPort()}
	near := &line{net: p.Network, at: p.place, to: b, local: here, remote: d.at}
	near.far = &line{net: p.Network, at: b, to: p.place, local: d.at, remote: here, far: near}
	for _, l := range []*line{near, near.far} {
		l.changed, l.heard = make(chan struct{}), time.Now()
		l.probe = time.AfterFunc(tcpProbe, l.ask)
	}
	time.AfterFunc(p.late(p.place, b), func() { d.take(near.far) })
	return near, nil
}

// take queues a connection for whoever accepts.
func (d *door) take(l *line) {
	d.plug.mu.Lock()
	defer d.plug.mu.Unlock()
	select {
	case <-d.closed:
		l.end()
		return
	default:
	}
	select {
	case d.queue <- l:
	default:
		l.end()
	}
}

// count counts what a host sends.
func (p *place) count(packets, size int) {
	p.sent.Add(int64(packets*tcpHeaders + size))
	p.packets.Add(int64(packets))
}

// Read implements net.Conn.
func (l *line) Read(b []byte) (int, error) {
	for {
		n, changed, err := l.take(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		<-changed
	}
}

// take takes what is there; changed is closed when there may be more.
func (l *line) take(b []byte) (n int, changed <-chan struct{}, err error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	switch {
	case errors.Is(l.err, net.ErrClosed):
		return 0, nil, l.err
	case !l.until.IsZero() && !time.Now().Before(l.until):
		return 0, nil, os.ErrDeadlineExceeded
	case len(l.ready) > 0:
		n = copy(b, l.ready)
		if l.ready = l.ready[n:]; len(l.ready) == 0 {
			l.ready = nil
		}
		return n, nil, nil
	case l.over:
		return 0, nil, io.EOF
	}
	return 0, l.changed, l.err
}

// Write implements net.Conn.
func (l *line) Write(b []byte) (int, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	switch {
	case l.err != nil:
		return 0, l.err
	case len(l.held) > 0 || !together(l.at, l.to):
		if len(l.held) == 0 {
			l.since = time.Now()
			time.AfterFunc(tcpConnect, func() { l.resend(tcpConnect) })
		}
		l.held = append(l.held, slices.Clone(b))
	default:
		l.send(slices.Clone(b))
	}
	return len(b), nil
}

// resend sends what could not be sent, or tries again after twice as long.
func (l *line) resend(waited time.Duration) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	switch {
	case l.err != nil:
	case together(l.at, l.to):
		for _, b := range l.held {
			l.send(b)
		}
		l.held = nil
	case time.Since(l.since) >= tcpUnheard:
		l.fail(syscall.ETIMEDOUT)
	default:
		l.at.count(1, len(l.held[0]))
		wait := min(2*waited, tcpUnheard-time.Since(l.since))
		time.AfterFunc(wait, func() { l.resend(wait) })
	}
}

// send puts bytes on their way. An acknowledgement that waits goes along.
func (l *line) send(b []byte) {
	if !l.owes.IsZero() && time.Since(l.owes) > tcpDelayed {
		l.acknowledge(1)
	}
	l.owes = time.Time{}
	packets := segments(b)
	l.at.count(packets, len(b))
	l.to.got.Add(int64(packets*tcpHeaders + len(b)))
	late := time.Duration(0)
	for range packets {
		if l.net.loses() {
			late = tcpResend + 2*l.net.leg(l.at, l.to)
		}
	}
	l.far.expect(b, late)
}

func segments(b []byte) int { return (len(b) + tcpSegment - 1) / tcpSegment }

// acknowledge counts packets that say nothing else.
func (l *line) acknowledge(packets int) {
	l.at.count(packets, 0)
	l.to.got.Add(int64(packets * tcpHeaders))
}

// received acknowledges each second packet at once.
func (l *line) received(packets int) {
	if !l.owes.IsZero() {
		packets++
	}
	l.acknowledge(packets / 2)
	if l.owes = (time.Time{}); packets%2 == 1 {
		l.owes = time.Now()
	}
}

// expect has bytes arrive, after those before them.
func (l *line) expect(b []byte, late time.Duration) {
	at := time.Now().Add(late + l.net.late(l.to, l.at))
	if n := len(l.coming); n > 0 && at.Before(l.coming[n-1].at) {
		at = l.coming[n-1].at
	}
	l.coming = append(l.coming, chunk{at, b})
	time.AfterFunc(time.Until(at), l.arrive)
}

// arrive takes in what is there by now.
func (l *line) arrive() {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	now, n := time.Now(), 0
	for ; n < len(l.coming) && !l.coming[n].at.After(now); n++ {
		if c := l.coming[n]; c.data == nil {
			l.over = true
		} else {
			l.ready = append(l.ready, c.data...)
			l.received(segments(c.data))
		}
	}
	l.coming = l.coming[n:]
	if l.err != nil { // nobody is here any more, and says so
		if !l.at.away {
			l.far.fail(syscall.ECONNRESET)
		}
		return
	}
	l.heard, l.far.heard = now, now
	l.wake()
}

// ask finds out whether the other end is there after a long silence.
func (l *line) ask() {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	quiet := time.Since(l.heard)
	switch {
	case l.err != nil:
		return
	case quiet < tcpProbe:
		l.probe.Reset(tcpProbe - quiet)
		return
	}
	l.at.count(1, 0)
	switch {
	case together(l.at, l.to):
		l.to.got.Add(tcpHeaders)
		l.far.acknowledge(1)
		if !l.owes.IsZero() {
			l.acknowledge(1)
			l.owes = time.Time{}
		}
		if l.far.err != nil {
			l.fail(syscall.ECONNRESET)
			return
		}
		l.heard, l.far.heard = time.Now(), time.Now()
		l.probe.Reset(tcpProbe)
	case quiet >= tcpProbe+tcpProbes*tcpAgain:
		l.fail(syscall.ETIMEDOUT)
	default:
		l.probe.Reset(tcpAgain)
	}
}

// fail ends this end alone.
func (l *line) fail(err error) {
	if l.err == nil {
		l.err, l.held = err, nil
		l.probe.Stop()
		l.wake()
	}
}

// end closes this end, and tells the other if it can be told.
func (l *line) end() {
	if l.err != nil {
		return
	}
	told := together(l.at, l.to) && len(l.held) == 0
	l.fail(net.ErrClosed)
	if told {
		l.at.count(1, 0)
		l.to.got.Add(tcpHeaders)
		l.far.expect(nil, 0)
	}
}

func (l *line) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close implements net.Conn.
func (l *line) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.end()
	l.err = net.ErrClosed
	if l.alarm != nil {
		l.alarm.Stop()
	}
	return nil
}

// LocalAddr implements net.Conn.
func (l *line) LocalAddr() net.Addr { return l.local }

// RemoteAddr implements net.Conn.
func (l *line) RemoteAddr() net.Addr { return l.remote }

// SetDeadline implements net.Conn.
func (l *line) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn: no write waits.
func (l *line) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (l *line) SetReadDeadline(t time.Time) error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.until = t
	if l.alarm != nil {
		l.alarm.Stop()
		l.alarm = nil
	}
	if !t.IsZero() {
		l.alarm = time.AfterFunc(time.Until(t), func() {
			l.net.mu.Lock()
			defer l.net.mu.Unlock()
			l.wake()
		})
	}
	l.wake()
	return nil
}
