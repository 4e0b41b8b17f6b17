package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/node/metrics"
)

const relayDocs = "../docs/relay/"

func readDoc(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var metricName = regexp.MustCompile(`\bkith_[a-z_]+`)

// strangers are the metrics in a text that no relay has.
func strangers(text string) (out []string) {
	known := metrics.Names()
	for _, name := range metricName.FindAllString(text, -1) {
		if !slices.Contains(known, name) {
			out = append(out, name)
		}
	}
	return out
}

func TestDashboardAndAlertsUseMetricsThatExist(t *testing.T) {
	used := map[string]bool{}
	for _, name := range []string{"dashboard.json", "alerts.yaml"} {
		text := readDoc(t, relayDocs+name)
		for _, m := range strangers(text) {
			t.Errorf("%s: there is no metric %s", name, m)
		}
		for _, m := range metricName.FindAllString(text, -1) {
			used[m] = true
		}
	}
	for _, name := range metrics.Names() {
		if !used[name] {
			t.Errorf("nobody looks at %s", name)
		}
	}
	if got := strangers("rate(kith_relay_bytes[5m]) + kith_relay_bites"); len(got) != 1 || got[0] != "kith_relay_bites" {
		t.Errorf("the control: %v", got)
	}
}

func TestTheDashboardIsOne(t *testing.T) {
	var d struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readDoc(t, relayDocs+"dashboard.json")), &d); err != nil || d.Title == "" {
		t.Fatalf("%q, %v", d.Title, err)
	}
	places := map[string]string{}
	for _, p := range d.Panels {
		if p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d shows nothing", p.ID)
		}
		for _, q := range p.Targets {
			if strings.Count(q.Expr, "(") != strings.Count(q.Expr, ")") || strings.Count(q.Expr, "{") != strings.Count(q.Expr, "}") {
				t.Errorf("%s: %s", p.Title, q.Expr)
			}
		}
		at := fmt.Sprint(p.GridPos)
		if other := places[at]; other != "" {
			t.Errorf("%s lies over %s", p.Title, other)
		}
		places[at] = p.Title
	}
}

// documented are the command lines of ours in the shell blocks of a document.
func documented(text string) (out []string) {
	shell := false
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "```"):
			shell = line == "```sh"
		case shell:
			line = strings.TrimPrefix(line, "sudo -u kith-relay ")
			out = append(out, ours(line)...)
		}
	}
	return out
}

func TestTheOperatorsCommandsRun(t *testing.T) {
	guide := readDoc(t, relayDocs+"README.md")
	lines := documented(guide)
	if len(lines) < 8 {
		t.Errorf("only %d commands found: the test does not see them", len(lines))
	}
	for m := range strings.Lines(readDoc(t, relayDocs+"kith-relay.service")) {
		if line, ok := strings.CutPrefix(strings.TrimSpace(m), "ExecStart=/usr/local/bin/"); ok {
			lines = append(lines, line)
		}
	}
	for _, line := range lines {
		if err := runnable(line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if runnable("kith --home x daemon --relais") == nil {
		t.Error("the control passes")
	}
	// The settings that the guide shows are such.
	_, block, _ := strings.Cut(guide, "```toml\n")
	block, _, _ = strings.Cut(block, "```")
	path := t.TempDir() + "/config.toml"
	if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := config.Load(path, func(string) string { return "" }); err != nil || s.Metrics == "" {
		t.Errorf("%q: %v", block, err)
	}
}
