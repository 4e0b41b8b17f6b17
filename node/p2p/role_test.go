package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/host"
	"github.com/kith-im/kith/node/metrics"
	"github.com/kith-im/kith/node/view"
)

func TestOnlyARelayDrainsAndScrubs(t *testing.T) {
	ada := testNode(t, "ada", nil)
	_, err := ada.ScrubRelay(t.Context())
	for what, err := range map[string]error{"scrub": err, "drain": ada.DrainRelay(t.Context(), time.Hour)} {
		if !errors.Is(err, view.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := ada.SetRelay(true); err != nil {
		t.Fatal(err)
	}
	if v, err := ada.ScrubRelay(t.Context()); err != nil || v != (api.Scrub{}) { // the control
		t.Errorf("%+v, %v", v, err)
	}
}

func TestLimitsChangeWhileTheRelayServes(t *testing.T) {
	var kept mailbox.Limits
	var keptRate relay.Rate
	r := testNode(t, "relay", func(c *Config) {
		c.Relay, c.RelayLimits = true, mailbox.Limits{BoxCount: 7}
		c.KeepLimits = func(l mailbox.Limits, rate relay.Rate) error {
			kept, keptRate = l, rate
			return nil
		}
	})
	ada := testNode(t, "ada", knows(r))
	awaitMailbox(t, ada, 1)
	if err := r.LimitRelay(api.RelayLimits{MaxBytes: 1 << 20, PassCount: 9, Rate: 50}); err != nil {
		t.Fatal(err)
	}
	if l := r.Relay().Limits; l.MaxBytes != 1<<20 || l.BoxCount != 7 || l.PassCount != 9 || l.PassBytes == 0 || l.Rate != 50 || l.Burst != relay.RateBurst {
		t.Errorf("%+v", l)
	}
	if kept.MaxBytes != 1<<20 || kept.BoxCount != 7 || kept.PassCount != 9 || kept.BoxBytes != 0 || keptRate.PerSecond != 50 {
		t.Errorf("kept %+v and %+v", kept, keptRate)
	}
	eventually(t, "collects again", func() bool { return r.Relay().Collectors == 1 }) // the boxes are still there
}

// A relay that leaves hands what it holds to the others, says so to whoever collects, and still leaves after a restart,
// until it is told to stay.
func TestARelayDrains(t *testing.T) {
	homes := map[string]string{}
	var relays []*Node
	for _, name := range []string{"r0", "r1", "r2"} {
		homes[name] = filepath.Join(t.TempDir(), name)
		if _, _, err := Init(homes[name], InitParams{Name: name, DeviceName: name}); err != nil {
			t.Fatal(err)
		}
		relays = append(relays, startNode(t, homes[name], func(c *Config) { c.Relay = true; knows(relays...)(c) }))
	}
	ada, ben := testNode(t, "ada", knows(relays...)), testNode(t, "ben", knows(relays...))
	awaitMailbox(t, ada, 3)
	awaitMailbox(t, ben, 3)
	befriend(t, ada, ben, "ada")
	eventually(t, "where ben's mail goes", func() bool { return contactsOf(t, ada)[0].Relays == 3 })
	ben.Close()
	id := send(t, ada, handleOf(t, ada), "while you are away")
	waitStage(t, ada, id, view.StageCustody)
	eventually(t, "three copies", func() bool {
		return relays[0].Relay().Envelopes > 0 && relays[1].Relay().Envelopes > 0 && relays[2].Relay().Envelopes > 0
	})
	r := relays[0]
	if err := r.DrainRelay(t.Context(), 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	if v := r.Relay(); v.Leaving.IsZero() || !r.role.snapshot().Leaving || v.Drain == nil || v.Drain.State != drainRunning && v.Drain.State != drainDone {
		t.Fatalf("%+v", v)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = startNode(t, homes["r0"], func(c *Config) { c.Relay = true; knows(relays[1:]...)(c) })
	if v := r.Relay(); v.Leaving.IsZero() || v.Drain == nil {
		t.Errorf("after a restart it stays: %+v", v)
	}
	if err := r.DrainRelay(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if v := r.Relay(); !v.Leaving.IsZero() || v.Drain.State != drainCancelled {
		t.Errorf("told to stay, and %+v", v)
	}
}

// Whoever watches a drain hears of its end, also when the relay is turned off meanwhile; and a relay whose time to leave
// is over begins no drain that could only fail.
func TestADrainEndsWithTheRelay(t *testing.T) {
	var ahead atomic.Int64
	r := testNode(t, "relay", func(c *Config) {
		c.Relay, c.Now = true, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	ada, ben := testNode(t, "ada", knows(r)), testNode(t, "ben", knows(r))
	awaitMailbox(t, ada, 1)
	awaitMailbox(t, ben, 1)
	befriend(t, ada, ben, "ada")
	eventually(t, "where ben's mail goes", func() bool { return contactsOf(t, ada)[0].Relays == 1 })
	ben.Close()
	waitStage(t, ada, send(t, ada, handleOf(t, ada), "nobody else can take this over"), view.StageCustody)
	if err := r.DrainRelay(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := r.SetRelay(false); err != nil {
		t.Fatal(err)
	}
	if d := r.Relay().Drain; d == nil || d.State != drainFailed || d.Error == "" {
		t.Errorf("turned off while it drained: %+v", d)
	}
	if err := r.SetRelay(true); err != nil {
		t.Fatal(err)
	}
	if d := r.Relay().Drain; d == nil || d.State != drainRunning { // the control
		t.Errorf("turned on in time: %+v", d)
	}
	if err := r.SetRelay(false); err != nil {
		t.Fatal(err)
	}
	before := *r.Relay().Drain
	ahead.Store(int64(2 * time.Hour))
	if err := r.SetRelay(true); err != nil {
		t.Fatal(err)
	}
	if v := r.Relay(); v.Leaving.IsZero() || *v.Drain != before {
		t.Errorf("turned on too late: leaving %v, %+v", v.Leaving, v.Drain)
	}
}

func TestTheRelayShowsItself(t *testing.T) {
	var log bytes.Buffer
	r := testNode(t, "relay", func(c *Config) {
		c.Relay, c.Metrics, c.Log = true, "127.0.0.1:0", slog.New(slog.NewTextHandler(&log, nil))
	})
	ada := testNode(t, "ada", knows(r))
	awaitMailbox(t, ada, 1)
	page := func() string {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.metrics.Addr().String()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		raw, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	eventually(t, "a collect stream on the page", func() bool {
		text := page()
		return strings.Contains(text, "kith_relay_enabled 1\n") && strings.Contains(text, "kith_relay_collectors 1\n")
	})
	control := relay.NewClient(ada.host, nil)
	defer control.Close()
	_, err := control.Deposit(t.Context(), r.Self(), mailbox.Deposit{Box: mailbox.ID{1}, Envelope: []byte("for nobody")})
	if no := (*mailbox.Refusal)(nil); !errors.As(err, &no) || no.Code != mailbox.NotMine {
		t.Errorf("a deposit for nobody: %v", err)
	}
	if text := page(); !strings.Contains(text, `kith_relay_deposits_refused_total{reason="not mine"} 1`) {
		t.Errorf("a refusal does not show:\n%s", text)
	}
	if err := r.LimitRelay(api.RelayLimits{Rate: 50}); err != nil {
		t.Fatal(err)
	}
	if text := page(); !strings.Contains(text, `kith_relay_deposits_refused_total{reason="not mine"} 1`) || r.Relay().Refused != 1 {
		t.Errorf("other limits, and the counts are gone:\n%s", text)
	}
	for _, secret := range []string{r.PeerID(), ada.PeerID(), ada.mail.cur.host.ID().String()} {
		if strings.Contains(page(), secret) {
			t.Error("the page names a peer")
		}
	}
	if err := r.SetRelay(false); err != nil {
		t.Fatal(err)
	}
	if text := page(); !strings.Contains(text, "kith_relay_enabled 0\n") || !strings.Contains(text, "kith_relay_collectors 0\n") {
		t.Errorf("no relay any more, and the page says\n%s", text)
	}
	if err := r.SetRelay(true); err != nil {
		t.Fatal(err)
	}
	r.role.beat()
	r.Close()
	if line := log.String(); !strings.Contains(line, `msg="relay serves" boxes=`) || strings.Contains(line, ada.mail.cur.host.ID().String()) {
		t.Errorf("logged\n%s", line)
	}
}

func TestMetricsAreNotForEverybody(t *testing.T) {
	home := filepath.Join(t.TempDir(), "ada")
	if _, _, err := Init(home, InitParams{Name: "ada", DeviceName: "desk"}); err != nil {
		t.Fatal(err)
	}
	if n, err := Start(context.Background(), Config{Home: home, Loopback: true, Metrics: "0.0.0.0:0"}); !errors.Is(err, metrics.ErrPublic) {
		n.Close()
		t.Errorf("served: %v", err)
	}
	n, err := Start(context.Background(), Config{Home: home, Loopback: true, Metrics: "127.0.0.1:0"})
	if err != nil { // the control
		t.Fatal(err)
	}
	defer n.Close()
	other := filepath.Join(t.TempDir(), "ben")
	if _, _, err := Init(other, InitParams{Name: "ben", DeviceName: "desk"}); err != nil {
		t.Fatal(err)
	}
	second, err := Start(context.Background(), Config{Home: other, Loopback: true, Metrics: n.metrics.Addr().String()})
	if p, ok := errors.AsType[*view.Problem](err); !ok || p.Hint == "" || !strings.Contains(p.Message, n.metrics.Addr().String()) {
		t.Errorf("the port is taken: %v", err)
		if err == nil {
			second.Close()
		}
	}
}

// A relay keeps chunks for a box that it leases, over changed limits and a role that is turned off and on.
func TestARelayKeepsAttachments(t *testing.T) {
	r := testNode(t, "relay", func(c *Config) { c.Relay = true })
	h, err := host.NewApart(true, nil)
	if err != nil {
		t.Fatal(err)
	}
	asks, chunks := relay.NewClient(h, nil), blobs.NewClient(h)
	t.Cleanup(func() {
		chunks.Close()
		_ = asks.Close()
		_ = h.Close()
	})
	at, box := r.book.Self(), ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	chunk := bytes.Repeat([]byte("x"), 1000)
	d := blob.DigestOf(chunk)
	put := func() error {
		return chunks.Put(t.Context(), at, box, d, chunk, time.Now().Add(time.Hour))
	}
	var refusal *mailbox.Refusal
	if err := put(); !errors.As(err, &refusal) || refusal.Code != mailbox.NotMine {
		t.Errorf("without a lease: %v", err)
	}
	core := dht.SetCore{
		Box: box.Public().(ed25519.PublicKey), Epoch: dht.FrontDoorEpoch, Number: 1, R: 1, W: 1,
		Issued: time.Now().Truncate(time.Second), NotAfter: time.Now().Add(time.Hour).Truncate(time.Second),
		Members: []dht.Member{{Peer: at}},
	}
	if _, err := asks.Commit(t.Context(), at, []ed25519.PrivateKey{box}, []dht.SetCore{core}); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := r.LimitRelay(api.RelayLimits{BlobBytes: 1 << 20, BoxBlobBytes: 2 << 20}); err != nil {
		t.Fatal(err)
	}
	v, m := r.Relay(), r.role.snapshot().Blobs
	if v.Blobs.Chunks != 1 || v.Blobs.Bytes != 1000 || v.Blobs.Received != 1 || v.Limits.BlobBytes != 1<<20 || v.Limits.BoxBlobBytes != 2<<20 || m.LimitBytes != 1<<20 || m.Chunks != 1 {
		t.Errorf("%+v, %+v", v, m)
	}
	for _, on := range []bool{false, true} {
		if err := r.SetRelay(on); err != nil {
			t.Fatal(err)
		}
		got, err := chunks.Get(t.Context(), at, d, nil)
		if on && !bytes.Equal(got, chunk) || !on && !errors.Is(err, blobs.ErrNotHere) {
			t.Errorf("role on: %v, %d bytes, %v", on, len(got), err)
		}
	}
}
