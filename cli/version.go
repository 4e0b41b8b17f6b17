package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X); it must stay without a value here.
var version string

// buildVersion is the linker's word, or else the build's own record.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func (a *app) cmdVersion() *cobra.Command {
	return tolerant(&cobra.Command{
		Use: "version", GroupID: groupStart, Args: args(0, 0),
		Short:   "Which kith this is",
		Example: "  kith version\n  kith version --jq .version",
		RunE: func(*cobra.Command, []string) error {
			v := versionAnswer{Version: buildVersion(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
			return a.emitAs("version", v, func() { a.out.Printf("kith %s (%s, %s)\n", v.Version, v.Go, v.System) })
		},
	})
}

type versionAnswer struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	System  string `json:"system"`
}
