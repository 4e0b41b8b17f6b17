package p2p

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/node/host"
)

// echoLinks answers each question with the question, most bytes of it.
func echoLinks(t *testing.T, most int) *linkServer {
	echo := func(_ context.Context, frame []byte) ([]byte, error) {
		if string(frame) == "no" {
			return nil, errors.New("refused")
		}
		return frame, nil
	}
	s := serveLinks(testHost(t, "old"), []linkStep{{most, echo}, {most, echo}})
	t.Cleanup(s.close)
	return s
}

func linkStreamTo(t *testing.T, from host.Host, s *linkServer) network.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := from.Connect(ctx, peer.AddrInfo{ID: s.host.ID(), Addrs: s.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	st, err := from.NewStream(ctx, s.host.ID(), LinkProtocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Reset() })
	st.SetDeadline(time.Now().Add(within))
	return st
}

func linkFrame(n uint32, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, n), body...)
}

func TestHostileLinkFramesEndTheStream(t *testing.T) {
	const most = 1000
	for name, c := range map[string]struct {
		frame []byte
		good  bool // the control
	}{
		"largest":   {linkFrame(most, make([]byte, most)), true},
		"oversized": {linkFrame(most+1, make([]byte, most+1)), false},
		"huge":      {linkFrame(0xffffffff, make([]byte, most)), false},
		"empty":     {linkFrame(0, nil), false},
		"truncated": {linkFrame(500, make([]byte, 100)), false},
		"refused":   {linkFrame(2, []byte("no")), false},
	} {
		t.Run(name, func(t *testing.T) {
			st := linkStreamTo(t, testHost(t, "new"), echoLinks(t, most))
			st.Write(c.frame)
			if !c.good {
				st.CloseWrite()
			}
			answer, err := readLinkFrame(st, most)
			if good := err == nil && len(answer) == most; good != c.good {
				t.Errorf("answer of %d bytes, %v", len(answer), err)
			}
		})
	}
}

// One peer has few streams and few tries, and so does one address; whoever uses them up keeps nobody else out. The
// control, a server that counts all as one asker, turns the other away.
func TestLinkTriesAreFew(t *testing.T) {
	for _, alone := range []bool{true, false} {
		s := echoLinks(t, 100)
		admit := func(keys ...string) bool {
			ok := s.admit(keys)
			if ok {
				s.wg.Done() // nothing is served here
			}
			return ok
		}
		try := func(keys ...string) bool {
			if !alone {
				keys = []string{"everybody"}
			}
			return admit(keys...)
		}
		var passed []bool
		for range maxLinkOpen + 1 { // they stay open
			passed = append(passed, try("stranger", "address"))
		}
		if slices.Contains(passed[:maxLinkOpen], false) || passed[maxLinkOpen] {
			t.Errorf("%v, want %d at once and no more", passed, maxLinkOpen)
		}
		if try("another name", "address") && alone {
			t.Error("one address has as many as it has names")
		}
		for range 2 * linkEachBurst { // tries, one after the other
			if s.admit([]string{"hasty"}) {
				s.release([]string{"hasty"})
			}
		}
		if admit("hasty") {
			t.Error("more tries than the pace allows")
		}
		if try("mine", "my address") != alone {
			t.Errorf("counted apart %v: the own new device is let in %v", alone, !alone)
		}
		for i := range maxLinkStreams {
			admit("many " + strconv.Itoa(i))
		}
		if admit("one more") {
			t.Error("more streams than the whole allows")
		}
		s.mu.Lock()
		s.open = 0
		for i := range 2 * maxLinkAskers {
			s.asker(strconv.Itoa(i), time.Now()).take()
		}
		if len(s.askers) > maxLinkAskers {
			t.Errorf("%d askers are remembered", len(s.askers))
		}
		s.mu.Unlock()
	}
}

func (a *linkAsker) take() {
	if a != nil {
		a.pace.has(time.Now())
	}
}

func TestASlowLinkPeerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := &linkServer{steps: []linkStep{{100, func(context.Context, []byte) ([]byte, error) { return nil, nil }}}}
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for rest(ctx, 20*time.Second) {
				theirs.Write([]byte{0})
			}
		}()
		err := s.serve(ours)
		if took := time.Since(began); err == nil || took > linkHelloIn+time.Second {
			t.Errorf("%v after %v", err, took)
		}
		cancel()
		ours.Close()
		theirs.Close()
	})
}

func FuzzLinkFrames(f *testing.F) {
	f.Add(linkFrame(3, []byte("abc")))
	f.Add(linkFrame(0, nil))
	f.Add(linkFrame(0xffffffff, []byte("x")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		frame, err := readLinkFrame(bytes.NewReader(raw), maxLinkHello)
		if err != nil {
			return
		}
		if len(frame) == 0 || len(frame) > maxLinkHello {
			t.Fatalf("a frame of %d bytes", len(frame))
		}
		var out bytes.Buffer
		if writeLinkFrame(&out, frame) != nil || !bytes.HasPrefix(raw, out.Bytes()) {
			t.Fatal("frame differs from what was sent")
		}
	})
}

// A length alone must not make us take memory for it.
func TestALinkFrameTakesMemoryOnlyAsItComes(t *testing.T) {
	raw := linkFrame(maxLinkWelcome, []byte("short"))
	allocated := testing.AllocsPerRun(10, func() { readLinkFrame(bytes.NewReader(raw), maxLinkWelcome) })
	if allocated > 10 {
		t.Errorf("%v allocations for a frame that never came", allocated)
	}
	if _, err := readLinkFrame(bytes.NewReader(raw), maxLinkWelcome); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a truncated frame: %v", err)
	}
}
