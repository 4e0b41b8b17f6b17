package cli

import (
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/node/api"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X); it must stay without a value here.
var version string

// buildVersion is the linker's word, or else the build's own record.
func buildVersion() string {
	v := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	if version != "" {
		v = version
	}
	if agree.StandIn {
		v += "+" + agree.Kind
	}
	return v
}

func (a *app) cmdVersion() *cobra.Command {
	return tolerant(&cobra.Command{
		Use: "version", GroupID: groupStart, Args: args(0, 0),
		Short:   "Which kith this is",
		Example: "  kith version\n  kith version --jq .version",
		RunE: func(*cobra.Command, []string) error {
			v := versionAnswer{Version: buildVersion(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Crypto: agree.Kind}
			return a.emitAs("version", v, func() {
				a.out.Printf("kith %s (%s, %s)\n", v.Version, v.Go, v.System)
				if agree.StandIn {
					a.out.Printf("%s\n", simulator)
				}
			})
		},
	})
}

type versionAnswer struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	System  string `json:"system"`
	Crypto  string `json:"crypto"` // real; stand-in in a build that only simulates
}

const simulator = "this build is a simulator and no messenger: its keys and signatures protect nothing"

// asBuilt gives a command of ours the name of this build, so that it can be pasted.
func asBuilt(text string) string {
	if agree.StandIn {
		return regexp.MustCompile(`\bkith `).ReplaceAllString(text, "kith-standin ")
	}
	return text
}

// onlySimulates leaves a build with a stand-in for crypto nothing to do but to simulate, whatever follows a command. Its help
// shows what is left.
func onlySimulates(root *cobra.Command) {
	root.Use, root.Short, root.Long = "kith-standin", "Simulated networks", simulator
	root.Example = "  kith sim list\n  kith sim run town --seed 7 --out DIR"
	for _, c := range root.Commands() {
		if !slices.Contains([]string{"sim", "version", "help", "completion"}, c.Name()) {
			refuse(c)
			c.Hidden = true
		}
	}
	rename(root)
}

func rename(c *cobra.Command) {
	c.Long, c.Example = asBuilt(c.Long), asBuilt(c.Example)
	for _, below := range c.Commands() {
		rename(below)
	}
}

func refuse(c *cobra.Command) {
	c.RunE = func(*cobra.Command, []string) error {
		return api.Fail(api.ExitUsage, simulator, "kith sim list")
	}
	c.PersistentPreRunE, c.Args, c.DisableFlagParsing = c.RunE, cobra.ArbitraryArgs, true
	for _, below := range c.Commands() {
		refuse(below)
	}
}
