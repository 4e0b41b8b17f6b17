package metrics

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func full() Snapshot {
	return Snapshot{
		Enabled: true, Accepted: 7, Refused: map[string]int64{"full": 2, "bad pass": 1}, Bytes: 1 << 33,
		ExpiryLag: 90 * time.Second, ClockBraked: true, Deficit: 3, Commits: 5,
		Took: Latency{
			Bounds: []time.Duration{2 * time.Millisecond, 5 * time.Millisecond}, Counts: []int64{4, 2, 1}, Sum: time.Second,
		},
	}
}

func page(t *testing.T, s *Server, host string) (status int, text string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		q.Host = host
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	raw, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(raw)
}

func start(t *testing.T, m *Metrics) *Server {
	t.Helper()
	s, err := Serve("127.0.0.1:0", m, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// What Names lists is what the page has, neither more nor less: a dashboard is tested against Names.
func TestTheNamesAreThoseOfThePage(t *testing.T) {
	m := New(full)
	_, text := page(t, start(t, m), "")
	var got []string
	for line := range strings.Lines(text) {
		if name := regexp.MustCompile(`^[a-z_]+`).FindString(line); name != "" && !slices.Contains(got, name) {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, Names()) {
		t.Errorf("the page has\n%v\nand the list\n%v", got, Names())
	}
	for _, want := range []string{
		"kith_relay_enabled 1\n", "kith_relay_deposits_accepted_total 7\n", `kith_relay_deposits_refused_total{reason="full"} 2`,
		"kith_relay_bytes 8.589934592e+09\n", "kith_relay_expiry_lag_seconds 90\n", "kith_relay_clock_braked 1\n",
		`kith_relay_deposit_seconds_bucket{le="0.002"} 4`, `kith_relay_deposit_seconds_bucket{le="0.005"} 6`,
		`kith_relay_deposit_seconds_bucket{le="+Inf"} 7`, "kith_relay_deposit_seconds_sum 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("without %s", want)
		}
	}
	if strings.Contains(text, "go_") || strings.Contains(text, "process_") {
		t.Error("the page tells of the process")
	}
}

func TestOnlyThisMachineIsAnswered(t *testing.T) {
	m := New(full)
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "203.0.113.7:9460", "example.org:80", "127.0.0.1", ""} {
		if s, err := Serve(addr, m, nil); err == nil {
			s.Close()
			t.Errorf("%q was served", addr)
		} else if addr != "127.0.0.1" && !errors.Is(err, ErrPublic) {
			t.Errorf("%q: %v", addr, err)
		}
	}
	s, err := Serve("[::1]:0", m, nil) // the control
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAStrangersNameIsRefused(t *testing.T) {
	s := start(t, New(full))
	for host, want := range map[string]int{
		"evil.example": http.StatusForbidden, "evil.example:80": http.StatusForbidden,
		"localhost:9460": http.StatusOK, "127.0.0.1": http.StatusOK, "": http.StatusOK,
	} {
		if got, _ := page(t, s, host); got != want {
			t.Errorf("%q: %d, want %d", host, got, want)
		}
	}
}

func TestThereIsNothingElse(t *testing.T) {
	s := start(t, New(full))
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/x"} {
		a, err := c.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
}
