package live

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// wired runs fn with a connection from a to b, 50 ms apart, and a's network as it sees it.
func wired(t *testing.T, loss float64, fn func(n *Network, a, b *place, near, far net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1, loss, func(_, _ *place) time.Duration { return 50 * time.Millisecond },
			func(_, _ *place) bool { return false })
		a, b := &place{name: "a"}, &place{name: "b", relay: true}
		n.add(a)
		n.add(b)
		l, err := n.of(b).Listen(&net.TCPAddr{IP: b.at.AsSlice(), Port: 9})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.of(b).Listen(&net.TCPAddr{IP: b.at.AsSlice(), Port: 9}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a port that is taken: %v", err)
		}
		near, err := n.of(a).DialContext(t.Context(), "tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fn(n, a, b, near, far)
		for _, c := range []io.Closer{near, far, l} {
			c.Close()
		}
		n.close()
		rest(time.Minute) // what was said last is still on its way
	})
}

// heard reads what comes within a while, and says when.
func heard(c net.Conn, within time.Duration) (text string, took time.Duration, err error) {
	began, b := time.Now(), make([]byte, 100)
	_ = c.SetReadDeadline(began.Add(within))
	k, err := c.Read(b)
	return string(b[:k]), time.Since(began), err
}

func TestTCPTakesItsTime(t *testing.T) {
	wired(t, 0, func(_ *Network, a, b *place, near, far net.Conn) {
		sent := a.sent.Load()
		_, _ = near.Write([]byte("hello"))
		_, _ = near.Write([]byte(", you"))
		text, took, err := heard(far, time.Second)
		if err != nil || text[:5] != "hello" || took < 50*time.Millisecond || took > 55*time.Millisecond {
			t.Errorf("%q after %v: %v", text, took, err)
		}
		if len(text) == 5 { // the second may come a little later, and never before the first
			more, _, _ := heard(far, time.Second)
			text += more
		}
		if text != "hello, you" {
			t.Errorf("%q", text)
		}
		if k := a.sent.Load() - sent; k != 2*tcpHeaders+10 {
			t.Errorf("%d bytes were counted", k)
		}
		if _, took, err := heard(far, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Second {
			t.Errorf("silence: %v after %v", err, took)
		}
		_, _ = far.Write([]byte("bye"))
		far.Close()
		if text, _, err := heard(near, time.Second); err != nil || text != "bye" {
			t.Errorf("%q, %v", text, err)
		}
		if _, _, err := heard(near, time.Second); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("at the closed end: %v", err)
		}
	})
}

// An idle connection lives, for little, and one whose other end has gone without a word is noticed.
func TestTCPNoticesWhoIsGone(t *testing.T) {
	wired(t, 0, func(_ *Network, a, _ *place, near, _ net.Conn) {
		sent := a.packets.Load()
		if _, _, err := heard(near, time.Hour); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("control: an idle connection ended: %v", err)
		}
		if k := a.packets.Load() - sent; k < 60 || k > 130 {
			t.Errorf("%d packets in an idle hour", k)
		}
	})
	wired(t, 0, func(n *Network, _, b *place, near, far net.Conn) {
		n.set(func() { b.away = true })
		far.Close() // it says goodbye to nobody
		_, took, err := heard(near, time.Hour)
		if !errors.Is(err, syscall.ETIMEDOUT) || took < tcpProbe || took > tcpProbe+tcpProbes*tcpAgain {
			t.Errorf("silent: %v after %v", err, took)
		}
	})
	wired(t, 0, func(n *Network, _, b *place, near, far net.Conn) {
		n.set(func() { b.away = true })
		far.Close()
		n.set(func() { b.away = false }) // and is back, without the connection
		if _, took, err := heard(near, time.Hour); !errors.Is(err, syscall.ECONNRESET) || took > tcpProbe {
			t.Errorf("back: %v after %v", err, took)
		}
	})
	wired(t, 0, func(n *Network, _, b *place, near, _ net.Conn) {
		n.set(func() { b.away = true })
		_, _ = near.Write([]byte("hello"))
		if _, took, err := heard(near, time.Hour); !errors.Is(err, syscall.ETIMEDOUT) || took != tcpUnheard {
			t.Errorf("unheard: %v after %v", err, took)
		}
	})
}

// What was sent into a cut arrives when it heals soon, in order.
func TestTCPOutlivesACut(t *testing.T) {
	wired(t, 0, func(n *Network, _, b *place, near, far net.Conn) {
		n.set(func() { b.parts = 2 })
		_, _ = near.Write([]byte("one "))
		rest(10 * time.Second)
		n.set(func() { b.parts = 0 })
		_, _ = near.Write([]byte("two"))
		text := ""
		for len(text) < 7 {
			more, _, err := heard(far, tcpUnheard)
			if err != nil {
				t.Fatalf("%q and %v", text, err)
			}
			text += more
		}
		if text != "one two" {
			t.Errorf("%q", text)
		}
	})
}

// What is lost comes later, and everything comes.
func TestTCPLosesNothing(t *testing.T) {
	wired(t, 0.25, func(n *Network, _, _ *place, near, far net.Conn) {
		late := 0
		for i := range byte(100) {
			_, _ = near.Write([]byte{i})
			text, took, err := heard(far, time.Second)
			if err != nil || text != string([]byte{i}) {
				t.Fatalf("%d: %q, %v", i, text, err)
			}
			if took > tcpResend {
				late++
			}
		}
		if late < 5 || late > 50 {
			t.Errorf("%d of 100 were late, a quarter should be", late)
		}
	})
}

func TestTCPDials(t *testing.T) {
	wired(t, 0, func(n *Network, a, b *place, _, _ net.Conn) {
		dial := func(from *place, to string) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			began := time.Now()
			c, err := n.of(from).DialContext(ctx, "tcp4", to)
			if err == nil {
				defer c.Close()
			}
			return time.Since(began), err
		}
		door := b.at.String() + ":9"
		if took, err := dial(a, door); err != nil || took < 100*time.Millisecond || took > 110*time.Millisecond {
			t.Errorf("control: %v after %v", err, took)
		}
		if took, err := dial(a, b.at.String()+":10"); !errors.Is(err, syscall.ECONNREFUSED) || took < 100*time.Millisecond {
			t.Errorf("nobody listens: %v after %v", err, took)
		}
		n.set(func() { b.away = true })
		if took, err := dial(a, door); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Errorf("away: %v after %v", err, took)
		}
		n.set(func() { b.away, b.nat = false, true })
		if _, err := dial(a, door); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a translator let somebody in: %v", err)
		}
	})
}
