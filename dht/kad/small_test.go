package kad

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

func TestOneNodeConforms(t *testing.T) {
	dhttest.Conform(t, func(t *testing.T, now func() time.Time) dht.Directory {
		return newNode(t, Config{Now: now})
	})
}

func TestOneOfThreeNodesConforms(t *testing.T) {
	dhttest.Conform(t, func(t *testing.T, now func() time.Time) dht.Directory {
		d := newNode(t, Config{Now: now, K: 8})
		for range 2 {
			connect(t, d.host, newNode(t, Config{Now: now, K: 8}).host)
		}
		return d
	})
}

func TestPutWithNobodyReachableReportsZeroAndKeepsTheValue(t *testing.T) {
	gone := newNode(t, Config{})
	kind := persons(t, 1)[0]
	d := newNode(t, Config{Bootstrap: []dht.Peer{plain(gone)}})
	connect(t, d.host, gone.host)
	if err := gone.host.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := d.Put(t.Context(), kind.Key, kind.Make(1, 0))
	if n != 0 || err != nil {
		t.Fatalf("stored %d, error %v; want 0 and none", n, err)
	}
	got, err := d.Get(t.Context(), kind.Key)
	if err != nil || !bytes.Equal(got, kind.Make(1, 0)) {
		t.Fatalf("own value: %v", err)
	}
}

func TestEveryNodeFindsWhatAnyNodePut(t *testing.T) {
	for _, n := range []int{2, 3, 16} {
		net := newNet(t, n, 8)
		for i, kind := range persons(t, n) {
			stored, err := net[i].Put(t.Context(), kind.Key, kind.Make(1, 0))
			if err != nil || stored != min(8, n-1) {
				t.Errorf("%d nodes: stored %d, error %v; want %d", n, stored, err, min(8, n-1))
			}
			for j, d := range net {
				got, err := d.Get(t.Context(), kind.Key)
				if err != nil || !bytes.Equal(got, kind.Make(1, 0)) {
					t.Errorf("%d nodes: node %d misses what %d put: %v", n, j, i, err)
				}
			}
		}
	}
}

func TestTwoClientsFindEachOthersRecords(t *testing.T) {
	a, b := newNode(t, Config{Mode: Client}), newNode(t, Config{Mode: Client})
	connect(t, a.host, b.host)
	kind := persons(t, 1)[0]
	if n, err := a.Put(t.Context(), kind.Key, kind.Make(1, 0)); n != 0 || err != nil {
		t.Fatalf("stored %d, error %v; want 0: a client stores nothing for others", n, err)
	}
	got, err := b.Get(t.Context(), kind.Key)
	if err != nil || !bytes.Equal(got, kind.Make(1, 0)) {
		t.Fatalf("b does not find a's record: %v", err)
	}
}

func TestGetFromAsksOnePeer(t *testing.T) {
	a, b := newNode(t, Config{Mode: Client}), newNode(t, Config{Mode: Client})
	connect(t, a.host, b.host)
	kind := persons(t, 1)[0]
	if _, err := b.GetFrom(t.Context(), a.host.ID(), kind.Key); !errors.Is(err, dht.ErrNotFound) {
		t.Fatalf("error %v, want not found", err)
	}
	if _, err := a.Put(t.Context(), kind.Key, kind.Make(1, 0)); err != nil {
		t.Fatal(err)
	}
	if got, err := b.GetFrom(t.Context(), a.host.ID(), kind.Key); err != nil || !bytes.Equal(got, kind.Make(1, 0)) {
		t.Fatalf("error %v", err)
	}
}

func TestNewestReplacesAnOlderLocalCopy(t *testing.T) {
	a, b := newNode(t, Config{Mode: Client}), newNode(t, Config{Mode: Client})
	connect(t, a.host, b.host)
	kind := persons(t, 1)[0]
	for number := uint64(1); number <= 3; number++ {
		if _, err := a.Put(t.Context(), kind.Key, kind.Make(number, 0)); err != nil {
			t.Fatal(err)
		}
		got, err := b.Newest(t.Context(), kind.Key)
		if err != nil || !bytes.Equal(got, kind.Make(number, 0)) {
			t.Fatalf("number %d: %v", number, err)
		}
	}
}

func TestGetAsksAgainWhenItsCopyIsOld(t *testing.T) {
	clock := dhttest.NewClock(dhttest.Start)
	a, b := newNode(t, Config{Mode: Client}), newNode(t, Config{Mode: Client, Now: clock.Now})
	connect(t, a.host, b.host)
	kind := persons(t, 1)[0]
	for number, wait := range []time.Duration{0, cacheFor - time.Second, cacheFor} {
		if _, err := a.Put(t.Context(), kind.Key, kind.Make(uint64(number+1), 0)); err != nil {
			t.Fatal(err)
		}
		clock.Set(dhttest.Start.Add(wait))
		got, err := b.Get(t.Context(), kind.Key)
		want := []uint64{1, 1, 3}[number]
		if err != nil || !bytes.Equal(got, kind.Make(want, 0)) {
			t.Fatalf("after %v: want number %d (%v)", wait, want, err)
		}
	}
}

func TestGetPrefersTheNewerOfWhatItsPeersHold(t *testing.T) {
	clock := dhttest.NewClock(dhttest.Start)
	kind := persons(t, 1)[0]
	d := newNode(t, Config{Mode: Client, Now: clock.Now})
	for number := range uint64(4) { // one peer knows number 2, the others 1
		peer := newNode(t, Config{Mode: Client})
		if _, err := peer.Put(t.Context(), kind.Key, kind.Make(1+number/3, 0)); err != nil {
			t.Fatal(err)
		}
		if number < confirmations {
			connect(t, d.host, peer.host)
			continue
		}
		if _, err := d.Get(t.Context(), kind.Key); err != nil {
			t.Fatal(err)
		}
		if err := d.host.Network().ClosePeer(d.host.Network().Peers()[0]); err != nil {
			t.Fatal(err)
		}
		connect(t, d.host, peer.host)
	}
	clock.Set(dhttest.Start.Add(cacheFor))
	got, err := d.Get(t.Context(), kind.Key)
	if err != nil || !bytes.Equal(got, kind.Make(2, 0)) {
		t.Fatalf("the newer value lost to fewer than %d equal ones: %v", confirmations, err)
	}
}

func TestDeadPeersCauseNoMiss(t *testing.T) {
	net := newNet(t, 16, 8)
	kinds := persons(t, 24)
	for i, kind := range kinds {
		if n, err := net[i%16].Put(t.Context(), kind.Key, kind.Make(1, 0)); err != nil || n == 0 {
			t.Fatalf("stored %d, error %v", n, err)
		}
	}
	for _, d := range net[13:] { // 3 of 16: 19 %
		if err := d.host.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, kind := range kinds {
		got, err := net[(i*5+1)%13].Get(t.Context(), kind.Key)
		if err != nil || !bytes.Equal(got, kind.Make(1, 0)) {
			t.Errorf("record %d is missed: %v", i, err)
		}
	}
}

func TestClosestReturnsReachablePeersWithAddresses(t *testing.T) {
	net := newNet(t, 5, 8)
	peers, err := net[2].Closest(t.Context(), persons(t, 1)[0].Key)
	if err != nil || len(peers) != 4 {
		t.Fatalf("%d peers, error %v; want the 4 others", len(peers), err)
	}
	for _, p := range peers {
		if _, ok := dht.PeerKey(p.ID); !ok || len(p.Addrs) == 0 {
			t.Errorf("peer without key or address: %x", p.ID)
		}
	}
	alone := newNode(t, Config{})
	if _, err := alone.Closest(t.Context(), persons(t, 1)[0].Key); !errors.Is(err, dht.ErrNotFound) {
		t.Errorf("alone: %v", err)
	}
}

func TestCallersContextBoundsACall(t *testing.T) {
	d := newNode(t, Config{})
	silent := newHostile(t, silence)
	connect(t, d.host, silent)
	kind := persons(t, 1)[0]
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	start := time.Now()
	if _, err := d.Get(ctx, kind.Key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("get: %v", err)
	}
	if n, err := d.Put(ctx, kind.Key, kind.Make(1, 0)); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put: %d, %v", n, err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}

// Who loses every connection dials until one stands, and not everybody it knows, where the table has others; nobody waits long
// for those who do not answer, nor dials many at once.
func TestDialsEndWhenThereIsEnough(t *testing.T) {
	for table, want := range map[int]int{0: dialsAtOnce, 1: dialsAtOnce - 1, dialsAtOnce - 1: 1, dialsAtOnce: 1, 100: 1} {
		if got := connectionsWanted(table); got != want {
			t.Errorf("%d with a table of %d, want %d", got, table, want)
		}
	}
	const silent = 10 * time.Second
	for name, c := range map[string]struct {
		takes       []time.Duration // of each dial; silent: it fails then
		wanted      int
		begun, most int // dials in all, and at a time
		after       time.Duration
	}{
		"the first answers":             {[]time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}, 1, 1, 1, time.Millisecond},
		"control: all are wanted":       {[]time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}, 8, 3, 1, 3 * time.Millisecond},
		"the third answers":             {[]time.Duration{silent, silent, time.Millisecond, 0}, 1, 3, 3, silent + dialApart},
		"the first answers late":        {[]time.Duration{dialApart * 3 / 2, silent, silent, silent}, 1, 2, 2, silent + dialApart},
		"nobody answers, and many know": {slices.Repeat([]time.Duration{silent}, 20), 1, 20, dialsAtOnce, 3*silent + 3*dialApart},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			begun, now, most, up := 0, 0, 0, 0
			began := time.Now()
			dialUntil(func() bool { mu.Lock(); defer mu.Unlock(); return up >= c.wanted }, make([]peer.AddrInfo, len(c.takes)), func(peer.AddrInfo) {
				mu.Lock()
				takes := c.takes[begun]
				begun, now = begun+1, now+1
				most = max(most, now)
				mu.Unlock()
				<-time.After(takes)
				mu.Lock()
				defer mu.Unlock()
				if now--; takes < silent {
					up++
				}
			})
			if took := time.Since(began); begun != c.begun || most != c.most || took != c.after {
				t.Errorf("%s: %d dials, %d at a time, over after %v; want %d, %d, %v", name, begun, most, took, c.begun, c.most, c.after)
			}
		})
	}
}

// A table with one peer in it, who may be a liar, is no reason to ask only that one: whoever loses every connection dials
// others that it knows, too.
func TestALiarAloneInTheTableIsNotAskedAlone(t *testing.T) {
	liar, other := newNode(t, Config{}), newNode(t, Config{})
	d := newNode(t, Config{Bootstrap: []dht.Peer{plain(liar), plain(other)}})
	settle(t, d, 2)
	for _, p := range d.host.Network().Peers() {
		_ = d.host.Network().ClosePeer(p)
	}
	d.kad.RoutingTable().RemovePeer(other.host.ID())
	d.dialKnown()
	if d.host.Network().Connectedness(other.host.ID()) != network.Connected {
		t.Errorf("%d connections, and none to who may be honest", len(d.Peers()))
	}
}

// A liar who connects before anybody was dialled does not keep a node from its doors.
func TestWhoComesFirstIsNotTheOnlyOneAsked(t *testing.T) {
	liar, other, h := newNode(t, Config{}), newNode(t, Config{}), newHost(t)
	dialled := make(chan struct{}, 1)
	h.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		if c.RemotePeer() == other.host.ID() {
			dialled <- struct{}{}
		}
	}})
	learned := learns(t, h, liar.host)
	if err := liar.host.Connect(t.Context(), peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}); err != nil {
		t.Fatal(err)
	}
	learned()
	openOn(t, h, Config{Bootstrap: []dht.Peer{plain(other)}})
	select {
	case <-dialled:
	case <-time.After(20 * time.Second):
		t.Error("the door is not dialled")
	}
}
