package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/cli/config"
)

func env(pairs map[string]string) func(string) string {
	return func(k string) string { return pairs[k] }
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFlagWinsOverTheEnvironmentOverTheFileOverTheDefault(t *testing.T) {
	path := write(t, "relay = true\nlog_level = \"warn\"\ncolor = \"never\"\n")
	s, err := config.Load(path, env(map[string]string{"KITH_LOG_LEVEL": "error", "KITH_COLOR": "always"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set("color", "auto", config.FromFlag); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range s.All() {
		got[e.Name] = config.Text(e.Value) + " " + string(e.Origin)
	}
	want := map[string]string{
		"relay_max_bytes": `"4 GiB" default`, "relay_max_boxes": "50000 default", "relay_box_bytes": `"64 MiB" default`,
		"relay_box_count": "20000 default", "relay_pass_bytes": `"16 MiB" default`, "relay_pass_count": "5000 default", "relay_rate": "200 default",
		"relay_blob_bytes": `"8 GiB" default`, "relay_box_blob_bytes": `"2 GiB" default`, "relay_burst": "2000 default", "metrics": `"" default`,
		"listen": "[] default", "bootstrap": "[] default", "pins": "[] default", "relay": "true file", "mdns": "true default",
		"log_level": `"error" environment`, "color": `"auto" flag`, "passphrase_file": `"" default`, "passphrase_command": `"" default`,
		"dns": `"" default`, "hooks.on_message": `"" default`, "hooks.unreachable": `"" default`, "hooks.unreachable_after": `"10m" default`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestASettingThatCannotBeUsedIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"rely = true":           `config.toml:1: there is no setting "rely"; did you mean "relay"?`,
		"relay = true\nmdns =":  ":2",
		"color = \"pink\"":      "color",
		"log_level = \"loud\"":  "log_level",
		"[relay]\nenabled=true": "relay",
		"relay = \"yes\"":       "relay",

		"relay_max_bytes = \"many\"":         "4 GiB",
		"relay_max_bytes = \"20000000 TiB\"": "4 GiB",
		"relay_max_bytes = 5":                "relay_max_bytes",
		"relay_box_bytes = \"1 B\"":          "relay_box_bytes",
		"relay_box_count = 0":                "relay_box_count",
		"relay_pass_count = 0":               "relay_pass_count",
		"relay_pass_bytes = \"7 KiB\"":       "relay_pass_bytes",
		"relay_max_boxes = -3":               "relay_max_boxes",
		"relay_rate = 0":                     "relay_rate",
		"relay_burst = 0":                    "relay_burst",
		"metrics = \"0.0.0.0:9464\"":         "metrics",
		"metrics = \"localhost:9464\"":       "metrics",
		"metrics = \"127.0.0.1\"":            "metrics",
		"dns = \"dns.example.org\"":          "dns",
		"[hooks]\nunreachable = \"sms 'x\"":  "hooks.unreachable",
		"[hooks]\non_messages = \"x\"":       `config.toml:2: there is no setting "hooks.on_messages"; did you mean "hooks.on_message"?`,
		"[hooks]\nunreachable_after = \"0\"": "hooks.unreachable_after",
	} {
		_, err := config.Load(write(t, text), env(nil))
		if bad, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(bad.Error(), want) {
			t.Errorf("%q: %v, want a word on %q", text, err, want)
		}
	}
	_, err := config.Load("/none", env(map[string]string{"KITH_RELAY": "perhaps"}))
	if err == nil || !strings.Contains(err.Error(), "KITH_RELAY") {
		t.Errorf("environment: %v", err)
	}
}

func TestAFreshFileSetsNothingAndIsValid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := config.WriteFresh(path); err != nil {
		t.Fatal(err)
	}
	s, err := config.Load(path, env(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), s.Config); diff != "" {
		t.Error(diff)
	}
	// With every line's comment sign removed it is valid still: the examples are right.
	raw, _ := os.ReadFile(path)
	var lines []string
	for l := range strings.Lines(string(raw)) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(l, "# "), " = "); ok && !strings.Contains(name, " ") {
			l = strings.TrimPrefix(l, "# ")
		}
		lines = append(lines, l)
	}
	if _, err := config.Load(write(t, strings.Join(lines, "")), env(nil)); err != nil {
		t.Error(err)
	}
}

func TestKeepChangesOneSettingAndNoComment(t *testing.T) {
	for before, want := range map[string]string{
		"":                               "relay = true\n\n",
		"# mine\nrelay = false # no\n":   "# mine\nrelay = true\n",
		"# relay = false\nmdns = true\n": "relay = true\nmdns = true\n",
		"mdns = true\n":                  "relay = true\nmdns = true\n",
	} {
		path := write(t, before)
		if err := config.Keep(path, "relay", "true"); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		if string(got) != want {
			t.Errorf("%q became %q, want %q", before, got, want)
		}
		if s, err := config.Load(path, env(nil)); err != nil || !s.Relay {
			t.Errorf("%q: %v", got, err)
		}
	}
}

func TestFolders(t *testing.T) {
	for name, c := range map[string]struct {
		flag string
		env  map[string]string
		want config.Folders
	}{
		"flag":     {"/f", map[string]string{"KITH_HOME": "/e", "HOME": "/h"}, config.Folders{Home: "/f", Config: "/f/config.toml"}},
		"env":      {"", map[string]string{"KITH_HOME": "/e", "HOME": "/h"}, config.Folders{Home: "/e", Config: "/e/config.toml"}},
		"xdg":      {"", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c"}, config.Folders{Home: "/d/kith", Config: "/c/kith/config.toml"}},
		"standard": {"", map[string]string{"HOME": "/h"}, config.Folders{Home: "/h/.local/share/kith", Config: "/h/.config/kith/config.toml"}},
		"relative": {"", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "d"}, config.Folders{Home: "/h/.local/share/kith", Config: "/h/.config/kith/config.toml"}},
	} {
		got, err := config.Find(c.flag, env(c.env))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := config.Find("", env(nil)); !errors.Is(err, config.ErrNoFolder) {
		t.Errorf("no folder: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("relay = true\nlisten = [\"/ip4/1.2.3.4/tcp/1\"]\n")
	f.Add("[a.b]\nx = 1")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = config.Load(write(t, text), env(nil))
	})
}

func TestSizesAreReadAndShown(t *testing.T) {
	for text, want := range map[string]config.Size{
		`"4 GiB"`: 4 << 30, `"4GiB"`: 4 << 30, "4294967296": 4 << 30, `"1536 MiB"`: 1536 << 20, `"3000000 B"`: 3_000_000,
	} {
		s, err := config.Load(write(t, "relay_max_bytes = "+text), env(nil))
		if err != nil || s.RelayMaxBytes != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
	}
	for size, want := range map[config.Size]string{0: "0 B", 5: "5 B", 1 << 10: "1 KiB", 1536 << 20: "1536 MiB", 4 << 30: "4 GiB", 2 << 40: "2 TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is %q, want %q", size, got, want)
		}
	}
}
