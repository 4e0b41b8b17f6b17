package p2p

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/host"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// testNode makes an identity and starts it on loopback.
func testNode(t testing.TB, name string, change func(*Config)) *Node {
	t.Helper()
	home := filepath.Join(t.TempDir(), name)
	if _, _, err := Init(home, InitParams{Name: name, DeviceName: name + "-desk"}); err != nil {
		t.Fatal(err)
	}
	return startNode(t, home, change)
}

func startNode(t testing.TB, home string, change func(*Config)) *Node {
	t.Helper()
	c := Config{Home: home, Loopback: true, Log: testLog(filepath.Base(home))}
	if change != nil {
		change(&c)
	}
	n, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// testLog is silent unless KITH_TEST_LOG asks.
func testLog(name string) *slog.Logger {
	if os.Getenv("KITH_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
}

func isRelay(c *Config) { c.Relay = true }

func knows(peers ...*Node) func(*Config) {
	return func(c *Config) {
		for _, p := range peers {
			c.Bootstrap = append(c.Bootstrap, p.Self())
		}
	}
}

// befriend makes a and b contacts, each under the other's name.
func befriend(t testing.TB, a, b *Node, nameOfA string) {
	t.Helper()
	var link string
	do(t, a, func(e *node.Engine, t *node.Turn) error {
		v, err := e.CreateInvite(t, 0)
		link = v.Text
		return err
	})
	do(t, b, func(e *node.Engine, t *node.Turn) error {
		_, err := e.Join(t, link, nameOfA)
		return err
	})
	for _, n := range []*Node{a, b} {
		eventually(t, "contacts", func() bool {
			for _, c := range contactsOf(t, n) {
				if c.State == "accepted" && c.Devices > 0 {
					return true
				}
			}
			return false
		})
	}
}

func do(t testing.TB, n *Node, fn func(*node.Engine, *node.Turn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := n.Do(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

func contactsOf(t testing.TB, n *Node) (list []view.Contact) {
	t.Helper()
	err := n.Look(t.Context(), func(tx store.Tx, e *node.Engine, _ time.Time) (err error) {
		list, err = node.Contacts(tx, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// eventually waits until ok is true, looking again after each event and every
// few milliseconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

func send(t testing.TB, n *Node, to, text string) (id string) {
	t.Helper()
	do(t, n, func(e *node.Engine, t *node.Turn) error {
		m, err := e.Send(t, node.SendRequest{To: to, Text: text})
		id = m.ID
		return err
	})
	return id
}

func stage(t testing.TB, n *Node, id string) (s view.Stage) {
	t.Helper()
	err := n.View(func(tx store.Tx) error {
		v, err := talk.Status(tx, id)
		s = v.Stage
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func waitStage(t testing.TB, n *Node, id string, want ...view.Stage) {
	t.Helper()
	defer func() {
		if t.Failed() {
			n.View(func(tx store.Tx) error {
				v, _ := talk.Status(tx, id)
				t.Logf("%+v", v)
				return nil
			})
		}
	}()
	eventually(t, "stage "+string(want[0]), func() bool {
		s := stage(t, n, id)
		for _, w := range want {
			if s == w {
				return true
			}
		}
		return false
	})
}

// texts are the messages of a conversation in order.
func texts(t testing.TB, n *Node, handle string) (out []string) {
	t.Helper()
	err := n.View(func(tx store.Tx) error {
		list, err := talk.Messages(tx, handle, 1000)
		for _, m := range list {
			out = append(out, m.Text)
		}
		return err
	})
	if err != nil && !errors.Is(err, view.ErrNotFound) {
		t.Fatal(err)
	}
	return out
}

func handleOf(t testing.TB, n *Node) string {
	t.Helper()
	list := contactsOf(t, n)
	if len(list) != 1 {
		t.Fatalf("%d contacts", len(list))
	}
	return list[0].Handle
}

func mailboxOf(t testing.TB, n *Node) (v view.Mailbox) {
	t.Helper()
	err := n.Look(t.Context(), func(tx store.Tx, e *node.Engine, now time.Time) (err error) {
		v, err = node.Mailbox(tx, e, now)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func awaitMailbox(t testing.TB, n *Node, relays int) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("%+v\n%+v", mailboxOf(t, n), n.Net())
		}
	}()
	eventually(t, "mailbox", func() bool { return members(mailboxOf(t, n)) == min(relays, 3) })
}

func members(v view.Mailbox) (n int) {
	for _, r := range v.Relays {
		if r.Member {
			n++
		}
	}
	return n
}

func TestTwoNodesTalkWithoutAnythingElse(t *testing.T) {
	ada, ben := testNode(t, "ada", nil), testNode(t, "ben", nil)
	befriend(t, ada, ben, "ada")
	id := send(t, ben, "ada", "hello Ada")
	waitStage(t, ben, id, view.StageDelivered, view.StageRead)
	if got := texts(t, ada, handleOf(t, ada)); len(got) != 1 || got[0] != "hello Ada" {
		t.Errorf("Ada sees %q", got)
	}
	id = send(t, ada, handleOf(t, ada), "hello Ben")
	waitStage(t, ada, id, view.StageDelivered, view.StageRead)
	if got := texts(t, ben, "ada"); len(got) != 2 || got[1] != "hello Ben" {
		t.Errorf("Ben sees %q", got)
	}
}

func TestMailReachesADeviceThatWasAway(t *testing.T) {
	for relays := range 4 {
		if relays == 0 {
			continue
		}
		t.Run(string(rune('0'+relays))+" relays", func(t *testing.T) { mailThroughRelays(t, relays) })
	}
}

func mailThroughRelays(t *testing.T, relays int) {
	rs := relaysFor(t, relays)
	ada, ben := testNode(t, "ada", knows(rs...)), testNode(t, "ben", knows(rs...))
	befriend(t, ada, ben, "ada")
	for _, n := range []*Node{ada, ben} {
		awaitMailbox(t, n, relays)
	}
	eventually(t, "the way to Ada", func() bool { return contactsOf(t, ben)[0].Relays == relays })
	id := send(t, ben, "ada", "one")
	waitStage(t, ben, id, view.StageDelivered)
	home := ada.cfg.Home
	if err := ada.Close(); err != nil {
		t.Fatal(err)
	}
	id = send(t, ben, "ada", "while you were away")
	waitStage(t, ben, id, view.StageCustody)
	if err := ben.Close(); err != nil { // the sender goes too: the relays have it
		t.Fatal(err)
	}
	ada = startNode(t, home, knows(rs...))
	eventually(t, "mail", func() bool { return len(texts(t, ada, handleOf(t, ada))) == 2 })
	if got := texts(t, ada, handleOf(t, ada)); got[1] != "while you were away" {
		t.Errorf("Ada sees %q", got)
	}
	ben = startNode(t, ben.cfg.Home, knows(rs...))
	waitStage(t, ben, id, view.StageDelivered)
}

// relaysFor starts count relays that know each other.
func relaysFor(t testing.TB, count int) (rs []*Node) {
	for i := range count {
		rs = append(rs, testNode(t, "relay"+string(rune('1'+i)), func(c *Config) { c.Relay = true; knows(rs...)(c) }))
	}
	return rs
}

func TestAStuckRelayDelaysNeitherCustodyNorTheNode(t *testing.T) {
	rs := relaysFor(t, 3)
	ada, ben := testNode(t, "ada", knows(rs...)), testNode(t, "ben", knows(rs...))
	befriend(t, ada, ben, "ada")
	awaitMailbox(t, ada, 3)
	eventually(t, "the way to Ada", func() bool { return contactsOf(t, ben)[0].Relays >= 3 })
	waitStage(t, ben, send(t, ben, "ada", "one"), view.StageDelivered)
	ada.Close()
	rs[0].role.set(false)
	rs[0].host.SetStreamHandler(relay.Protocol, func(s network.Stream) { // takes everything, answers nothing
		io.Copy(io.Discard, s)
	})
	began := time.Now()
	var ids []string
	for range 5 {
		ids = append(ids, send(t, ben, "ada", "while you were away"))
	}
	for _, id := range ids {
		waitStage(t, ben, id, view.StageCustody)
	}
	if took := time.Since(began); took > depositWithin/2 {
		t.Errorf("custody took %v beside one stuck relay of three", took)
	}
}

func TestGarbageFromAStrangerKeepsNobodyOut(t *testing.T) {
	ada, ben := testNode(t, "ada", nil), testNode(t, "ben", nil)
	befriend(t, ada, ben, "ada")
	evil := testHost(t, "evil")
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := evil.Connect(ctx, peer.AddrInfo{ID: ada.host.ID(), Addrs: ada.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	s, err := evil.NewStream(ctx, ada.host.ID(), DirectProtocol)
	if err != nil {
		t.Fatal(err)
	}
	var flood sync.WaitGroup
	flood.Go(func() {
		junk := frameOf(1000, make([]byte, 1000))
		for i := 0; ; i++ {
			junk[frameHead+1+i%500] ^= byte(i)
			if _, err := s.Write(junk); err != nil {
				return
			}
		}
	})
	for range 10 {
		waitStage(t, ben, send(t, ben, "ada", "hello"), view.StageDelivered)
	}
	var dropped uint64
	do(t, ada, func(e *node.Engine, _ *node.Turn) error { dropped = e.Stats().Dropped; return nil })
	if dropped < maxPending { // the control: the flood was there
		t.Errorf("only %d envelopes of garbage arrived", dropped)
	}
	s.Reset()
	flood.Wait()
}

func TestASecondDeviceIsLinked(t *testing.T) {
	r := testNode(t, "relay", isRelay)
	ada, ben := testNode(t, "ada", knows(r)), testNode(t, "ben", knows(r))
	befriend(t, ada, ben, "ada")
	var link string
	do(t, ada, func(e *node.Engine, t *node.Turn) error {
		v, err := e.OfferDevice(t, 0)
		link = v.Text
		return err
	})
	home := filepath.Join(t.TempDir(), "phone")
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	id, err := Link(ctx, home, LinkParams{Link: link, DeviceName: "phone", Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	if id.Name != "ada" || id.DeviceName != "phone" || id.Admin {
		t.Errorf("linked as %+v", id)
	}
	phone := startNode(t, home, knows(r))
	if got := contactsOf(t, phone); len(got) != 1 || got[0].State != "accepted" {
		t.Fatalf("the phone's contacts: %+v", got)
	}
	eventually(t, "two devices", func() bool {
		list := contactsOf(t, ben)
		return len(list) == 1 && list[0].Devices == 2
	})
	mid := send(t, ben, "ada", "to both")
	waitStage(t, ben, mid, view.StageDelivered)
	for _, n := range []*Node{ada, phone} {
		eventually(t, "text", func() bool { return len(texts(t, n, handleOf(t, n))) == 1 })
	}
	mid = send(t, phone, handleOf(t, phone), "from the phone")
	waitStage(t, phone, mid, view.StageDelivered)
	eventually(t, "own copy", func() bool { return len(texts(t, ada, handleOf(t, ada))) == 2 })
}

func TestAnInterruptedLinkGoesOnAsTheSameDevice(t *testing.T) {
	r := testNode(t, "relay", isRelay)
	ada, ben := testNode(t, "ada", knows(r)), testNode(t, "ben", knows(r))
	befriend(t, ada, ben, "ada")
	var link string
	do(t, ada, func(e *node.Engine, t *node.Turn) error {
		v, err := e.OfferDevice(t, 0)
		link = v.Text
		return err
	})
	// The list is signed, but its answer is lost every time.
	list := ada.links.steps[1].answer
	ada.links.steps[1].answer = func(ctx context.Context, frame []byte) ([]byte, error) {
		list(ctx, frame)
		return nil, errors.New("the line is cut")
	}
	p := LinkParams{Link: link, DeviceName: "phone", Loopback: true, Passphrase: []byte("secret")}
	home := filepath.Join(t.TempDir(), "phone")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := Link(ctx, home, p); !errors.Is(err, view.ErrNotFound) {
		t.Fatalf("the cut line: %v", err)
	}
	if Exists(home) {
		t.Fatal("an identity after an interrupted link")
	}
	if _, err := Link(ctx, home, LinkParams{Link: link, Loopback: true, Passphrase: []byte("wrong")}); !errors.Is(err, vault.ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	ada.links.steps[1].answer = list
	again, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if _, err := Link(again, home, p); err != nil {
		t.Fatal(err)
	}
	phone := startNode(t, home, func(c *Config) { knows(r)(c); c.Passphrase = p.Passphrase })
	eventually(t, "two devices", func() bool {
		list := contactsOf(t, ben)
		return len(list) == 1 && list[0].Devices >= 2
	})
	if list := contactsOf(t, ben); list[0].Devices != 2 {
		t.Errorf("%d devices, want 2: the second try is another device", list[0].Devices)
	}
	waitStage(t, ben, send(t, ben, "ada", "to both"), view.StageDelivered)
	eventually(t, "text", func() bool { return len(texts(t, phone, handleOf(t, phone))) == 1 })
	if left, _ := filepath.Glob(filepath.Join(home, buildDir)); len(left) != 0 {
		t.Error("the seed of the linking is left")
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	r := testNode(t, "relay", isRelay)
	ada, ben := testNode(t, "ada", knows(r)), testNode(t, "ben", knows(r))
	befriend(t, ada, ben, "ada")
	for i := range 20 { // work in flight
		send(t, ben, "ada", string(rune('a'+i)))
	}
	for _, n := range []*Node{ben, r, ada} {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	goleak.VerifyNone(t, before)
	if err := ada.Do(t.Context(), func(*node.Engine, *node.Turn) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	home := filepath.Join(t.TempDir(), "ada")
	if _, _, err := Init(home, InitParams{Name: "Ada", DeviceName: "desk"}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"address": {Home: home, Loopback: true, Listen: []string{"/ip4/127.0.0.1/tcp/notaport"}},
		"socket":  {Home: home, Loopback: true, APISocket: filepath.Join(home, "none", "api.sock")},
		"no home": {Home: home + "-other"},
	} {
		if n, err := Start(t.Context(), c); err == nil {
			n.Close()
			t.Errorf("%s: started", name)
		}
	}
	goleak.VerifyNone(t, before)
	startNode(t, home, nil) // the control: nothing holds the store
}

func TestTheRelayRoleIsSwitchedWhileRunning(t *testing.T) {
	ada, ben := testNode(t, "ada", nil), testNode(t, "ben", nil)
	kept := []bool{}
	ada.cfg.KeepRelay = func(on bool) error { kept = append(kept, on); return nil }
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := ben.advert(ctx, ada.Self())
		return err
	}
	if ask() == nil {
		t.Error("a node that is no relay answered as one")
	}
	if err := ada.SetRelay(true); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil || !ada.Relay().Enabled {
		t.Errorf("after relay enable: %v", err)
	}
	if err := ada.SetRelay(false); err != nil {
		t.Fatal(err)
	}
	if ask() == nil || ada.Relay().Enabled {
		t.Error("still a relay after relay disable")
	}
	if len(kept) != 2 || !kept[0] || kept[1] {
		t.Errorf("the choice was kept as %v", kept)
	}
}

func TestAddressesSurviveARestart(t *testing.T) {
	ada := testNode(t, "ada", nil)
	before := ada.Self()
	home := ada.cfg.Home
	ada.Close()
	after := startNode(t, home, nil).Self()
	if len(before.Addrs) == 0 || len(before.Addrs) != len(after.Addrs) || string(before.Addrs[0]) != string(after.Addrs[0]) {
		t.Errorf("%x became %x", before.Addrs, after.Addrs)
	}
}

func TestAPinnedRelayIsFoundWhenItComesBack(t *testing.T) {
	r := testNode(t, "relay", isRelay)
	pin, home := r.Self(), r.cfg.Home
	r.Close()
	ada := testNode(t, "ada", func(c *Config) { c.Pins = []dht.Peer{pin} })
	startNode(t, home, isRelay)
	eventually(t, "the pin", func() bool { return ada.Net().Relays == 1 })
	awaitMailbox(t, ada, 1)
	if v := mailboxOf(t, ada); v.Relays[0].Source != "pinned" {
		t.Errorf("its source is %q", v.Relays[0].Source)
	}
}

func TestPingAndPeers(t *testing.T) {
	ada, ben := testNode(t, "ada", nil), testNode(t, "ben", nil)
	if _, err := ada.Ping(t.Context(), "nobody"); !errors.Is(err, view.ErrNotFound) {
		t.Errorf("%v", err)
	}
	rtt, err := ada.Ping(t.Context(), ben.Addrs()[0])
	if err != nil || rtt <= 0 {
		t.Fatalf("%v, %v", rtt, err)
	}
	eventually(t, "agent", func() bool {
		p := ada.Peers()
		return len(p) == 1 && p[0].Peer == ben.PeerID() && p[0].Agent == "kith"
	})
	if s := ada.Net(); s.State != "online" || s.Peers != 1 {
		t.Errorf("%+v", s)
	}
}

func TestStrangersAddressesAreChecked(t *testing.T) {
	h := testHost(t, "a")
	far := &host.AddressBook{Host: h}
	near := &host.AddressBook{Host: h, Loopback: true}
	self := near.Self()
	for _, p := range []dht.Peer{self, {ID: []byte("x")}, {}} {
		if _, err := near.Info(p); err == nil {
			t.Errorf("%x can be dialled", p.ID)
		}
	}
	other := (&host.AddressBook{Host: testHost(t, "b"), Loopback: true}).Self()
	if info, err := far.Info(other); err != nil || len(info.Addrs) != 0 {
		t.Errorf("loopback addresses of another machine would be dialled: %v, %v", info, err)
	}
	if info, err := near.Info(other); err != nil || len(info.Addrs) != 2 { // the control
		t.Errorf("%v, %v", info, err)
	}
}
