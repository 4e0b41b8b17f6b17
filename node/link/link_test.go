package link_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/link"
)

func peer(n byte, addrs ...[]byte) dht.Peer {
	key := signature.NewKey(bytes.Repeat([]byte{n}, 32)).Public().(ed25519.PublicKey)
	return dht.Peer{ID: dht.PeerFromKey(key), Addrs: addrs}
}

func tcp(a, b, c, d, hi, lo byte) []byte { return []byte{4, a, b, c, d, 6, hi, lo} }
func quic(a, b, c, d, hi, lo byte) []byte {
	return []byte{4, a, b, c, d, 0x91, 2, hi, lo, 0xcd, 3}
}

func sample(peers ...dht.Peer) link.Link {
	return link.Link{
		Kind: link.KindInvite, Expires: time.Unix(500_000*3600, 0).UTC(), User: [20]byte{1, 2, 3},
		Secret: [16]byte{4, 5, 6}, Peers: peers,
	}
}

func TestLinkRoundTrip(t *testing.T) {
	p, q := peer(1, quic(203, 0, 113, 9, 0x12, 0x34), tcp(203, 0, 113, 9, 0x12, 0x34)), peer(2, tcp(10, 0, 0, 1, 0, 80))
	for name, l := range map[string]link.Link{"no peer": sample(), "one": sample(p), "two": sample(p, q)} {
		got, err := link.Parse(" " + strings.ToLower(l.Text()) + "\n")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(l, got); d != "" {
			t.Errorf("%s: text form: %s", name, d)
		}
	}
	short, err := link.Parse(sample(p, q).Short())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample(p), short); d != "" {
		t.Errorf("short form: %s", d)
	}
}

// The addresses in a link are multiaddrs as everybody else reads them.
func TestHintsAreMultiaddrs(t *testing.T) {
	for text, mine := range map[string][]byte{
		"/ip4/203.0.113.9/tcp/257":         tcp(203, 0, 113, 9, 1, 1),
		"/ip4/203.0.113.9/udp/257/quic-v1": quic(203, 0, 113, 9, 1, 1),
	} {
		want := ma.StringCast(text).Bytes()
		if !bytes.Equal(mine, want) {
			t.Errorf("%s is %x, these tests use %x", text, want, mine)
		}
		got, err := link.Parse(sample(peer(1, want)).Short())
		if err != nil || len(got.Peers) != 1 || !bytes.Equal(got.Peers[0].Addrs[0], want) {
			t.Errorf("%s does not pass through a short link: %v, %v", text, got.Peers, err)
		}
	}
}

// The payload stays within 80 bytes, and the link within the QR code's alphanumeric set.
func TestShortLinkFits(t *testing.T) {
	s := sample(peer(1, quic(203, 0, 113, 9, 1, 1), tcp(203, 0, 113, 9, 1, 1))).Short()
	if n := len(strings.TrimPrefix(s, link.Scheme)) * 5 / 8; n > 80 {
		t.Errorf("payload of %d bytes", n)
	}
	if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:") != "" {
		t.Errorf("%q needs more than the alphanumeric set", s)
	}
}

func TestShortPrefersPublicAddress(t *testing.T) {
	l := sample(peer(1, tcp(127, 0, 0, 1, 1, 1), tcp(192, 168, 1, 2, 1, 1), tcp(203, 0, 113, 9, 1, 1)))
	got, err := link.Parse(l.Short())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][]byte{tcp(203, 0, 113, 9, 1, 1)}, got.Peers[0].Addrs); d != "" {
		t.Error(d)
	}
}

func TestLinkRefused(t *testing.T) {
	good := sample(peer(1, tcp(1, 2, 3, 4, 1, 1))).Text()
	for name, text := range map[string]string{
		"empty":         "",
		"another word":  "HTTP:" + good[5:],
		"cut":           good[:40],
		"cut tail":      good[:len(good)-1],
		"not base32":    strings.Replace(good, "A", "1", 1),
		"too long":      good + strings.Repeat("A", link.MaxLink),
		"empty tail":    sample().Short() + ".",
		"other version": link.Scheme + "A" + good[6:],
	} {
		if _, err := link.Parse(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Each proof fits one pair of people, one device and one direction.
func TestProofsBind(t *testing.T) {
	s, a, b, d := [16]byte{1}, [32]byte{2}, [32]byte{3}, [32]byte{4}
	all := [][]byte{
		link.JoinProof(s, a, b, d), link.WelcomeProof(s, a, b, d), link.JoinProof(s, b, a, d),
		link.JoinProof([16]byte{9}, a, b, d), link.JoinProof(s, a, b, [32]byte{9}),
	}
	for i := range all {
		for j := range i {
			if bytes.Equal(all[i], all[j]) {
				t.Errorf("proofs %d and %d are equal", i, j)
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func pairing(t testing.TB) *link.Pairing {
	p, err := link.NewPairing(zeros{}, [16]byte{1}, [32]byte{2}, [32]byte{3}, "laptop")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPairing(t *testing.T) {
	fresh := pairing(t)
	resumed, err := link.ResumePairing(fresh.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	old, err := link.Answer([16]byte{1}, resumed.Hello())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := old.SealSnapshot([]byte("snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := resumed.OpenSnapshot(sealed); err != nil || string(got) != "snapshot" {
		t.Fatalf("snapshot %q, %v", got, err)
	}
	if got, err := old.OpenRecord(fresh.SealRecord([]byte("record"))); err != nil || string(got) != "record" {
		t.Fatalf("record %q, %v", got, err)
	}
	if got, err := fresh.OpenListed(old.SealListed([]byte("list"))); err != nil || string(got) != "list" {
		t.Fatalf("list %q, %v", got, err)
	}
	for i := 0; i < len(sealed); i += 97 {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := fresh.OpenSnapshot(bad); err == nil {
			t.Errorf("snapshot with byte %d changed was opened", i)
		}
	}
}

// Without the link's secret neither side gets anywhere, and a frame of one step does not serve as another's.
func TestPairingNeedsTheSecret(t *testing.T) {
	fresh := pairing(t)
	if _, err := link.Answer([16]byte{2}, fresh.Hello()); err == nil {
		t.Error("the old device answered without the secret")
	}
	thief, err := link.NewPairing(zeros{}, [16]byte{9}, [32]byte{2}, [32]byte{3}, "laptop")
	if err != nil {
		t.Fatal(err)
	}
	old, err := link.Answer([16]byte{9}, thief.Hello())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := old.SealSnapshot([]byte("false snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.OpenSnapshot(sealed); err == nil {
		t.Error("the new device believed somebody without the secret")
	}
	if _, err := fresh.OpenListed(fresh.SealRecord([]byte("x"))); err == nil {
		t.Error("a record served as a list")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Short())
	f.Add(sample(peer(1, tcp(1, 2, 3, 4, 1, 1)), peer(2, quic(1, 2, 3, 4, 1, 1))).Text())
	f.Fuzz(func(t *testing.T, text string) {
		defer fuzztest.Limit(t, len(text))()
		l, err := link.Parse(text)
		if err != nil {
			return
		}
		again, err := link.Parse(l.Text())
		if err != nil {
			t.Fatalf("%q parses, its own text does not: %v", text, err)
		}
		if d := cmp.Diff(l.Secret, again.Secret); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzParseHello(f *testing.F) {
	f.Add(pairing(f).Hello())
	f.Fuzz(func(t *testing.T, frame []byte) {
		defer fuzztest.Limit(t, len(frame))()
		if h, err := link.ParseHello(frame); err == nil && len(h.Key) != 1216 {
			t.Fatal("short key")
		}
		_, _ = link.Answer([16]byte{1}, frame)
		_, _ = link.ResumePairing(frame)
	})
}

// FuzzOpen: nobody without the secret makes a frame that either side takes.
func FuzzOpen(f *testing.F) {
	fresh := pairing(f)
	old, err := link.Answer([16]byte{1}, fresh.Hello())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(make([]byte, 1200))
	f.Add(fresh.SealRecord([]byte("record"))[:20])
	f.Fuzz(func(t *testing.T, frame []byte) {
		defer fuzztest.Limit(t, len(frame))()
		if _, err := fresh.OpenSnapshot(frame); err == nil {
			t.Fatal("a snapshot that nobody sealed")
		}
		if _, err := fresh.OpenListed(frame); err == nil {
			t.Fatal("a list that nobody framed")
		}
		if _, err := old.OpenRecord(frame); err == nil {
			t.Fatal("a record that nobody framed")
		}
		link.FrameLink(frame)
	})
}
