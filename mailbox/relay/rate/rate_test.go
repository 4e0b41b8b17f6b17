package rate

import (
	"net/netip"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
)

func TestBucketsFillWithTimeAndNeverOverflow(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := New[string](Limit{PerSecond: 10, Burst: 20}, 10, func() time.Time { return now })
	for _, step := range []struct {
		after time.Duration
		n     int
		want  bool
	}{
		{0, 20, true},
		{0, 1, false},
		{100 * time.Millisecond, 2, false},
		{0, 1, true},
		{-time.Hour, 1, false}, // a clock that goes back gives nothing
		{time.Hour, 21, false}, // and an hour no more than the burst
		{0, 20, true},
	} {
		now = now.Add(step.after)
		if got := b.Take("p", step.n); got != step.want {
			t.Fatalf("%+v: %v", step, got)
		}
	}
}

func TestADebtRefusesWhatComesNext(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := New[string](Limit{PerSecond: 10, Burst: 20}, 10, func() time.Time { return now })
	if !b.Take("p", 1) || !b.Take("q", 1) {
		t.Fatal("full buckets refuse")
	}
	b.Owe("p", 29)
	now = now.Add(time.Second)
	if b.Take("p", 1) || !b.Take("q", 20) { // the second is the control
		t.Fatal("a debt of 10 was not paid by 10 tokens")
	}
	now = now.Add(time.Second)
	if !b.Take("p", 10) {
		t.Fatal("a paid debt still stands")
	}
}

func TestBucketsOfManyKeysAreBoundedAndKeepDebts(t *testing.T) {
	const most = 1000
	now := time.Unix(1_000_000, 0)
	b := New[int](Limit{PerSecond: 1, Burst: 10}, most, func() time.Time { return now })
	for i := range most {
		if !b.Take(i, 10) {
			t.Fatal("a new key is refused")
		}
	}
	if b.Take(most, 1) {
		t.Fatal("a debt was forgotten to make room")
	}
	now = now.Add(10 * time.Second)
	if !b.Take(most, 1) || len(b.each) != 1 {
		t.Fatalf("control: full buckets make room, %d are left", len(b.each))
	}
}

func TestGroupsOfAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"/ip4/192.0.2.7/tcp/1":                          "192.0.2.7/32",
		"/ip4/192.0.2.7/udp/2/quic-v1":                  "192.0.2.7/32",
		"/ip6/2001:db8:1:2ff::9/udp/1/quic-v1":          "2001:db8:1:200::/56",
		"/ip6/::ffff:192.0.2.7/tcp/1":                   "192.0.2.7/32",
		"/ip4/127.0.0.1/tcp/1":                          "",
		"/ip6/::1/tcp/1":                                "",
		"/ip6/::ffff:127.0.0.1/tcp/1":                   "",
		"/dns4/relay.example/tcp/1":                     "",
		"/ip4/192.0.2.7/tcp/1/p2p-circuit":              "192.0.2.7/32",
		"/ip6/2001:db8:1:200:1:2:3:4/tcp/1/p2p-circuit": "2001:db8:1:200::/56",
	} {
		got := Group(ma.StringCast(text))
		if want == "" && got.IsValid() || want != "" && got != netip.MustParsePrefix(want) {
			t.Errorf("%s: %v, want %q", text, got, want)
		}
	}
	if Group(nil).IsValid() {
		t.Error("no address has a group")
	}
}
