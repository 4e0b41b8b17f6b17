// Package config finds the folders of a node and reads its settings.
//
// A setting comes from, in this order: a flag, the environment (KITH_NAME), the file config.toml, the default. The file
// is strict: an unknown key is an error that names it, so that a misspelt setting is never silently ignored. No setting
// is a secret; a passphrase is only ever named by the file that holds it, or the command that says it.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kith-im/kith/cli/hooks"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node/strict"
)

// Config is every setting.
type Config struct {
	Listen         []string `toml:"listen"`
	Bootstrap      []string `toml:"bootstrap"`
	Pins           []string `toml:"pins"`
	Relay          bool     `toml:"relay"`
	RelayMaxBytes  Size     `toml:"relay_max_bytes"`
	RelayMaxBoxes  int      `toml:"relay_max_boxes"`
	RelayBoxBytes  Size     `toml:"relay_box_bytes"`
	RelayBoxCount  int      `toml:"relay_box_count"`
	RelayPassBytes Size     `toml:"relay_pass_bytes"`
	RelayPassCount int      `toml:"relay_pass_count"`
	RelayBlobs     Size     `toml:"relay_blob_bytes"`
	RelayBoxBlobs  Size     `toml:"relay_box_blob_bytes"`
	RelayRate      int      `toml:"relay_rate"`
	RelayBurst     int      `toml:"relay_burst"`
	Metrics        string   `toml:"metrics"`
	MDNS           bool     `toml:"mdns"`
	LogLevel       string   `toml:"log_level"`
	Color          string   `toml:"color"`
	PassphraseFile string   `toml:"passphrase_file"`
	PassphraseCmd  string   `toml:"passphrase_command"`
	DNS            string   `toml:"dns"`
	Hooks          Hooks    `toml:"hooks"`
}

// Hooks are commands of the person's own: the table [hooks].
type Hooks struct {
	OnMessage   string `toml:"on_message"`
	Unreachable string `toml:"unreachable"`
	After       string `toml:"unreachable_after"`
}

// UnreachableAfter is how long nobody has to be reachable before the hook runs.
func (h Hooks) UnreachableAfter() time.Duration {
	d, err := time.ParseDuration(h.After)
	if err != nil {
		return 0
	}
	return d
}

// Default is what holds where nobody said anything.
func Default() Config {
	l := mailbox.DefaultLimits()
	return Config{
		RelayMaxBytes: Size(l.MaxBytes), RelayMaxBoxes: int(l.MaxBoxes), RelayBoxBytes: Size(l.BoxBytes), RelayBoxCount: int(l.BoxCount),
		RelayPassBytes: Size(l.PassBytes), RelayPassCount: int(l.PassCount),
		RelayBlobs: Size(l.BlobBytes), RelayBoxBlobs: Size(l.BoxBlobBytes),
		RelayRate: relay.RatePerSecond, RelayBurst: relay.RateBurst,
		MDNS: true, LogLevel: "info", Color: "auto", Hooks: Hooks{After: "10m"},
	}
}

// Origin says where a setting came from.
type Origin string

// The origins, from the weakest.
const (
	FromDefault Origin = "default"
	FromFile    Origin = "file"
	FromEnv     Origin = "environment"
	FromFlag    Origin = "flag"
)

// Settings is a Config with the origin of each key.
type Settings struct {
	Config
	Path    string // of the file, whether it exists or not
	origins map[string]Origin
}

// key is one setting: how it is read from text and shown.
type key struct {
	name string
	set  func(c *Config, s string) error
	get  func(c Config) any
}

var keys = []key{
	{"listen", func(c *Config, s string) error { c.Listen = list(s); return nil }, func(c Config) any { return c.Listen }},
	{"bootstrap", func(c *Config, s string) error { c.Bootstrap = list(s); return nil }, func(c Config) any { return c.Bootstrap }},
	{"pins", func(c *Config, s string) error { c.Pins = list(s); return nil }, func(c Config) any { return c.Pins }},
	{"relay", func(c *Config, s string) error { return boolean(&c.Relay, s) }, func(c Config) any { return c.Relay }},
	{"relay_max_bytes", func(c *Config, s string) error { return c.RelayMaxBytes.UnmarshalText([]byte(s)) }, func(c Config) any { return c.RelayMaxBytes }},
	{"relay_max_boxes", func(c *Config, s string) error { return number(&c.RelayMaxBoxes, s) }, func(c Config) any { return c.RelayMaxBoxes }},
	{"relay_box_bytes", func(c *Config, s string) error { return c.RelayBoxBytes.UnmarshalText([]byte(s)) }, func(c Config) any { return c.RelayBoxBytes }},
	{"relay_box_count", func(c *Config, s string) error { return number(&c.RelayBoxCount, s) }, func(c Config) any { return c.RelayBoxCount }},
	{"relay_pass_bytes", func(c *Config, s string) error { return c.RelayPassBytes.UnmarshalText([]byte(s)) }, func(c Config) any { return c.RelayPassBytes }},
	{"relay_pass_count", func(c *Config, s string) error { return number(&c.RelayPassCount, s) }, func(c Config) any { return c.RelayPassCount }},
	{"relay_blob_bytes", func(c *Config, s string) error { return c.RelayBlobs.UnmarshalText([]byte(s)) }, func(c Config) any { return c.RelayBlobs }},
	{"relay_box_blob_bytes", func(c *Config, s string) error { return c.RelayBoxBlobs.UnmarshalText([]byte(s)) }, func(c Config) any { return c.RelayBoxBlobs }},
	{"relay_rate", func(c *Config, s string) error { return number(&c.RelayRate, s) }, func(c Config) any { return c.RelayRate }},
	{"relay_burst", func(c *Config, s string) error { return number(&c.RelayBurst, s) }, func(c Config) any { return c.RelayBurst }},
	{"metrics", func(c *Config, s string) error { c.Metrics = s; return nil }, func(c Config) any { return c.Metrics }},
	{"mdns", func(c *Config, s string) error { return boolean(&c.MDNS, s) }, func(c Config) any { return c.MDNS }},
	{"log_level", func(c *Config, s string) error { c.LogLevel = s; return nil }, func(c Config) any { return c.LogLevel }},
	{"color", func(c *Config, s string) error { c.Color = s; return nil }, func(c Config) any { return c.Color }},
	{"passphrase_file", func(c *Config, s string) error { c.PassphraseFile = s; return nil }, func(c Config) any { return c.PassphraseFile }},
	{"passphrase_command", func(c *Config, s string) error { c.PassphraseCmd = s; return nil }, func(c Config) any { return c.PassphraseCmd }},
	{"dns", func(c *Config, s string) error { c.DNS = s; return nil }, func(c Config) any { return c.DNS }},
	{"hooks.on_message", func(c *Config, s string) error { c.Hooks.OnMessage = s; return nil }, func(c Config) any { return c.Hooks.OnMessage }},
	{"hooks.unreachable", func(c *Config, s string) error { c.Hooks.Unreachable = s; return nil }, func(c Config) any { return c.Hooks.Unreachable }},
	{"hooks.unreachable_after", func(c *Config, s string) error { c.Hooks.After = s; return nil }, func(c Config) any { return c.Hooks.After }},
}

func list(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func boolean(into *bool, s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return errors.New("is true or false")
	}
	*into = b
	return nil
}

func number(into *int, s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return errors.New("is a whole number")
	}
	*into = n
	return nil
}

// Error is a setting that cannot be used.
type Error struct {
	Where string // file and line, or the environment variable
	Why   string
}

func (e *Error) Error() string { return e.Where + ": " + e.Why }

// Load reads the file at path, which may be missing, and the environment.
func Load(path string, env func(string) string) (*Settings, error) {
	s := &Settings{Config: Default(), Path: path, origins: map[string]Origin{}}
	if err := s.readFile(); err != nil {
		return nil, err
	}
	for _, k := range keys {
		name := "KITH_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
		if v := env(name); v != "" {
			if err := s.Set(k.name, v, FromEnv); err != nil {
				return nil, &Error{Where: name, Why: err.Error()}
			}
		}
	}
	return s, s.valid()
}

func (s *Settings) readFile() error {
	raw, err := os.ReadFile(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	meta, err := strict.Decode(s.Path, string(raw), maxFile, &s.Config)
	if bad, ok := errors.AsType[*strict.Error](err); ok {
		return &Error{Where: bad.Where(), Why: bad.Why}
	}
	if err != nil {
		return err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		bad := strict.Error{File: s.Path, Line: strict.Line(string(raw), strings.Join(unknown[0], "."))}
		return &Error{Where: bad.Where(), Why: strict.Unknown("setting", unknown[0].String(), names())}
	}
	for _, k := range meta.Keys() {
		s.origins[k.String()] = FromFile
	}
	return nil
}

func names() (out []string) {
	for _, k := range keys {
		out = append(out, k.name)
	}
	return out
}

// maxFile is the size of config.toml in bytes.
const maxFile = 64 << 10

func (s *Settings) valid() error {
	if !slices.Contains([]string{"auto", "always", "never"}, s.Color) {
		return &Error{Where: s.where("color"), Why: "color is auto, always or never"}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s.LogLevel) {
		return &Error{Where: s.where("log_level"), Why: "log_level is debug, info, warn or error"}
	}
	for name, line := range map[string]string{"hooks.on_message": s.Hooks.OnMessage, "hooks.unreachable": s.Hooks.Unreachable, "passphrase_command": s.PassphraseCmd} {
		if _, err := hooks.Parse(line); err != nil {
			return &Error{Where: s.where(name), Why: name + " " + err.Error()}
		}
	}
	if d := s.Hooks.UnreachableAfter(); d < MinUnreachable || d > MaxUnreachable {
		return &Error{Where: s.where("hooks.unreachable_after"), Why: "hooks.unreachable_after is a time between a second and 30 days, for example \"10m\""}
	}
	if _, err := netip.ParseAddrPort(s.DNS); s.DNS != "" && err != nil {
		return &Error{Where: s.where("dns"), Why: "dns is an address with a port, for example \"9.9.9.9:53\", or empty"}
	}
	return s.validRelay()
}

// MinUnreachable and MaxUnreachable bound hooks.unreachable_after.
const (
	MinUnreachable = time.Second
	MaxUnreachable = mailbox.MaxTTL
)

// validRelay finds limits that would make a relay useless, and metrics that everybody could read.
func (s *Settings) validRelay() error {
	for _, c := range []struct {
		name string
		ok   bool
		why  string
	}{
		{"relay_max_bytes", s.RelayMaxBytes >= MinRelayBytes, "is at least " + MinRelayBytes.String()},
		{"relay_max_boxes", within(s.RelayMaxBoxes, 1, math.MaxUint32), "is at least 1"},
		{"relay_box_bytes", s.RelayBoxBytes >= mailbox.MaxEnvelope, "is at least " + Size(mailbox.MaxEnvelope).String()},
		{"relay_box_count", within(s.RelayBoxCount, 1, math.MaxUint32), "is at least 1"},
		{"relay_pass_bytes", s.RelayPassBytes >= mailbox.MaxEnvelope, "is at least " + Size(mailbox.MaxEnvelope).String()},
		{"relay_pass_count", within(s.RelayPassCount, 1, math.MaxUint32), "is at least 1"},
		{"relay_blob_bytes", s.RelayBlobs >= MinRelayBytes, "is at least " + MinRelayBytes.String()},
		{"relay_box_blob_bytes", s.RelayBoxBlobs >= MinRelayBytes, "is at least " + MinRelayBytes.String()},
		{"relay_rate", s.RelayRate == NoRate || within(s.RelayRate, 1, math.MaxInt32), "is at least 1, or -1 for no limit"},
		{"relay_burst", within(s.RelayBurst, 1, math.MaxInt32), "is at least 1"},
		{"metrics", s.Metrics == "" || loopback(s.Metrics), "is a loopback address with a port, for example 127.0.0.1:9464, or empty"},
	} {
		if !c.ok {
			return &Error{Where: s.where(c.name), Why: c.name + " " + c.why}
		}
	}
	return nil
}

// MinRelayBytes is the least that a relay may be given, NoRate a relay_rate without a limit.
const (
	MinRelayBytes Size = 1 << 20
	NoRate             = -1
)

func within(n int, least, most int64) bool { return int64(n) >= least && int64(n) <= most }

// loopback accepts addresses that only this machine reaches. A name could come to mean another one.
func loopback(s string) bool {
	a, err := netip.ParseAddrPort(s)
	return err == nil && a.Addr().IsLoopback()
}

func (s *Settings) where(name string) string {
	if o := s.Origin(name); o != FromFile {
		return string(o)
	}
	return s.Path
}

// Set changes one setting.
func (s *Settings) Set(name, value string, o Origin) error {
	for _, k := range keys {
		if k.name == name {
			s.origins[name] = o
			return k.set(&s.Config, value)
		}
	}
	return fmt.Errorf("there is no setting %q", name)
}

// Check is for after the flags were set.
func (s *Settings) Check() error { return s.valid() }

// Get returns a setting's value.
func (s *Settings) Get(name string) any {
	for _, k := range keys {
		if k.name == name {
			return k.get(s.Config)
		}
	}
	return nil
}

// Origin says where a setting came from.
func (s *Settings) Origin(name string) Origin {
	if o := s.origins[name]; o != "" {
		return o
	}
	return FromDefault
}

// Text is a setting as it stands in the file.
func Text(v any) string {
	switch v := v.(type) {
	case []string:
		var quoted []string
		for _, s := range v {
			quoted = append(quoted, strconv.Quote(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case string:
		return strconv.Quote(v)
	case Size:
		return strconv.Quote(v.String())
	}
	return fmt.Sprint(v)
}

// words explains each setting in a fresh file.
var words = map[string]string{
	"listen":               "Addresses to listen on, for example [\"/ip4/0.0.0.0/tcp/4101\", \"/ip4/0.0.0.0/udp/4101/quic-v1\"]; empty: every interface.",
	"bootstrap":            "Peers to begin with: addresses that end in /p2p/PEER. Two people need none: an invite carries a hint.",
	"pins":                 "Relays that shall hold our mail, whatever the election says: addresses that end in /p2p/PEER.",
	"relay":                "Serve as a relay for others (kith relay enable).",
	"relay_max_bytes":      "How much mail a relay keeps in all. When it is full it refuses; it never drops what it signed for.",
	"relay_max_boxes":      "How many mailboxes a relay keeps at most; never more than one for each 128 KiB of relay_max_bytes.",
	"relay_box_bytes":      "How much mail one mailbox may hold.",
	"relay_box_count":      "How many messages one mailbox may hold.",
	"relay_pass_bytes":     "How much of a mailbox one contact's device may fill.",
	"relay_pass_count":     "How many messages of one contact's device one mailbox may hold.",
	"relay_blob_bytes":     "How much of attachments a relay keeps in all, encrypted, beside the mail.",
	"relay_box_blob_bytes": "How much of attachments a relay keeps for one mailbox.",
	"relay_rate":           "Requests a second from one peer; -1: no limit.",
	"relay_burst":          "Requests that one peer may make at once before its rate counts.",
	"metrics":              "Serve Prometheus metrics at this loopback address, for example \"127.0.0.1:9464\"; empty: nowhere.",
	"mdns":                 "Find nodes on the local network, and be found.",
	"log_level":            "debug, info, warn or error.",
	"color":                "auto, always or never.",
	"passphrase_file":      "File with the passphrase of this home, if it has one, in its first line; for you alone (chmod 600).",
	"passphrase_command":   "Command that says the passphrase, for example \"pass show kith\", in place of the file; there is no shell.",
	"dns":                  "Name server that says who name@example.org is, for example \"9.9.9.9:53\"; empty: the system's.",

	"hooks.on_message":        "Command that gets every message of others on stdin, as JSON; empty: none. There is no shell but one that you write.",
	"hooks.unreachable":       "Command that gets a message on stdin when none of its recipient's devices can be reached. It is NOT end-to-end encrypted then. Empty: none.",
	"hooks.unreachable_after": "How long a message has to find neither a relay nor a device before hooks.unreachable runs.",
}

// WriteFresh writes a file in which every setting is explained and none is set. It keeps one that exists.
func WriteFresh(path string) error {
	var b strings.Builder
	b.WriteString("# Settings of kith. A flag wins over KITH_NAME, that wins over this file: kith config show --origin\n")
	d := &Settings{Config: Default()}
	section := ""
	for _, k := range keys {
		table, name, nested := strings.Cut(k.name, ".")
		if !nested {
			name = table
		} else if table != section {
			section = table
			fmt.Fprintf(&b, "\n[%s]\n", table)
		}
		fmt.Fprintf(&b, "\n# %s\n# %s = %s\n", words[k.name], name, Text(d.Get(k.name)))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(b.String())
	return errors.Join(err, f.Close())
}

// Keep writes one setting into the file and leaves the rest, comments included, as it is.
func Keep(path, name, value string) error {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	line := name + " = " + value
	lines := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	if i := slices.IndexFunc(lines, func(l string) bool { return assigns(l, name) }); i >= 0 {
		lines[i] = line
	} else if i := slices.IndexFunc(lines, func(l string) bool { return assigns(strings.TrimPrefix(l, "# "), name) }); i >= 0 {
		lines[i] = line
	} else {
		// Before any table, where a top-level key has to stand.
		lines = append([]string{line}, lines...)
	}
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

func assigns(line, name string) bool {
	left, _, ok := strings.Cut(line, "=")
	return ok && strings.TrimSpace(left) == name
}

// Folders are where a node keeps its things.
type Folders struct {
	Home   string // identity, store, socket
	Config string // path of config.toml
}

// ErrNoFolder says that the environment names no folder at all.
var ErrNoFolder = errors.New("neither --home nor KITH_HOME nor HOME is set")

// Find returns the folders: one for all if home (the flag) or KITH_HOME is set, else those of the XDG base directories.
func Find(home string, env func(string) string) (Folders, error) {
	if home == "" {
		home = env("KITH_HOME")
	}
	if home != "" {
		abs, err := filepath.Abs(home)
		return Folders{Home: abs, Config: filepath.Join(abs, "config.toml")}, err
	}
	user := env("HOME")
	data, conf := env("XDG_DATA_HOME"), env("XDG_CONFIG_HOME")
	if user == "" && (data == "" || conf == "") {
		return Folders{}, ErrNoFolder
	}
	// The specification says to ignore relative ones.
	if !filepath.IsAbs(data) {
		data = filepath.Join(user, ".local", "share")
	}
	if !filepath.IsAbs(conf) {
		conf = filepath.Join(user, ".config")
	}
	return Folders{Home: filepath.Join(data, "kith"), Config: filepath.Join(conf, "kith", "config.toml")}, nil
}

// All returns every setting with its value and origin, in order of the file, for config show.
func (s *Settings) All() []Entry {
	var out []Entry
	for _, k := range keys {
		out = append(out, Entry{Name: k.name, Value: k.get(s.Config), Origin: s.Origin(k.name)})
	}
	return out
}

// Entry is one setting as it is shown.
type Entry struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Origin Origin `json:"origin"`
}
