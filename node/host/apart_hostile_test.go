package host

import (
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// A relay opens streams to a host apart and says nothing on them. Nobody there speaks any protocol, so they do not stay: sixteen relays, as many
// as a stranger's set may name, would take all room that streams to honest relays have.
func TestAHostApartKeepsNoStreamThatOthersOpen(t *testing.T) {
	relay := testOwn(t, "relay")
	a, err := NewApart(true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	connect(t, a, relay)
	eventually(t, "connected", func() bool { return relay.Network().Connectedness(a.ID()) == network.Connected })
	held := func(most time.Duration) bool {
		s, err := relay.Network().NewStream(network.WithNoDial(t.Context(), "stands"), a.ID())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Write([]byte{0x13}) // the length of the first line, and never the line
		end := time.Now().Add(most)
		_ = s.SetReadDeadline(end)
		_, err = io.ReadAll(s)
		return err == nil || !time.Now().Before(end)
	}
	for range 2 * peerStreamsIn {
		if held(within) {
			t.Fatal("a host apart holds a stream that a relay opened")
		}
	}
	a.Network().SetStreamHandler(func(network.Stream) {})
	if !held(100 * time.Millisecond) {
		t.Error("control: a stream that is not refused is not held")
	}
}
