package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/strict"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/scenario"
)

func (a *app) cmdSim() *cobra.Command {
	cmd := tolerant(&cobra.Command{
		Use: "sim", GroupID: groupResearch, Args: cobra.ArbitraryArgs, Short: "Simulated networks in virtual time",
		Example: "  kith sim list\n  kith sim run steady --seed 7 --out DIR\n  kith sim sweep durability --seeds 1..5", RunE: group,
	})
	cmd.AddCommand(a.simRun(), a.simList(), a.simSweep(), a.simCompare(), a.simReport(), a.simFuzz())
	return cmd
}

func (a *app) simList() *cobra.Command {
	return tolerant(&cobra.Command{
		Use: "list", Args: args(0, 0), Short: "The scenarios that come along, with the question that each answers", Example: "  kith sim list",
		RunE: func(*cobra.Command, []string) error {
			type row struct {
				Name     string          `json:"name"`
				Kind     string          `json:"kind"`
				Question string          `json:"question"`
				Sweep    []scenario.Axis `json:"sweep,omitempty"`
			}
			var answer struct {
				Scenarios []row `json:"scenarios"`
			}
			for _, name := range scenario.Library() {
				text, _ := scenario.Source(name)
				s, err := scenario.Parse(name+".toml", text)
				if err != nil {
					return err
				}
				answer.Scenarios = append(answer.Scenarios, row{name, s.Kind(), s.Question(), s.Axes()})
			}
			return a.emitAs("scenarios", answer, func() {
				var rows [][]any
				for _, r := range answer.Scenarios {
					rows = append(rows, []any{term.In(term.Bold, r.Name), r.Kind, r.Question})
				}
				a.out.Table(rows)
			})
		},
	})
}

// onceSeed is --seed: given twice, one of the two would be ignored.
type onceSeed struct{ text string }

func (s *onceSeed) String() string { return s.text }
func (s *onceSeed) Type() string   { return "number" }
func (s *onceSeed) Set(text string) error {
	if s.text != "" {
		return fmt.Errorf("the seed is given twice, %s and %s", s.text, text)
	}
	s.text = text
	return nil
}

// assignments are the values of --set.
func assignments(cmd *cobra.Command, sets []string, seed string) (out []scenario.Set, err error) {
	for _, x := range sets {
		key, value, ok := strings.Cut(x, "=")
		if key, value = strings.TrimSpace(key), strings.TrimSpace(value); !ok || key == "" {
			return nil, usage(cmd, fmt.Sprintf("--set %s: wants KEY=VALUE", x))
		}
		if key == "seed" && seed != "" {
			return nil, usage(cmd, fmt.Sprintf("the seed is given twice, --seed %s and --set %s", seed, x))
		}
		out = append(out, scenario.Set{Key: key, Value: value})
	}
	if seed != "" {
		out = append(out, scenario.Set{Key: "seed", Value: seed})
	}
	return out, nil
}

// source is the text of a scenario: a file, or one that comes along.
func source(name string) (file, text string, err error) {
	if strings.HasSuffix(name, ".toml") || strings.ContainsRune(name, os.PathSeparator) {
		raw, err := readSmall(name, scenario.MaxFile) // a device has no end
		switch {
		case errors.Is(err, os.ErrNotExist):
			return "", "", api.Fail(api.ExitNotFound, "there is no file "+name, "kith sim list")
		case err != nil:
			return "", "", api.Fail(api.ExitUsage, err.Error(), "kith sim list")
		}
		return name, string(raw), nil
	}
	text, ok := scenario.Source(name)
	if !ok {
		return "", "", api.Fail(api.ExitNotFound, strict.Unknown("scenario", name, scenario.Library())+" (a file of yours ends in .toml)", "kith sim list")
	}
	return name + ".toml", text, nil
}

// wrong is what cannot be used of a scenario.
func wrong(err error) error {
	if bad, ok := errors.AsType[*strict.Error](err); ok {
		return api.Fail(api.ExitUsage, bad.Error(), "kith sim list")
	}
	return err
}

// outFolder makes a folder for what comes out, or refuses one that holds something else; see result.Fits.
func outFolder(dir, again, scenario string) error {
	err := result.Fits(os.DirFS(dir), dir, again, scenario)
	if errors.Is(err, os.ErrNotExist) {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return api.Fail(api.ExitUsage, "--out: "+err.Error(), "kith sim list")
	}
	return nil
}

// keepFile writes a file whole, or not at all.
func keepFile(path string, raw []byte) error {
	fresh := path + ".new"
	err := os.WriteFile(fresh, raw, 0o644)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh)
	}
	return err
}
