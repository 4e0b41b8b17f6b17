package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/scenario"
)

func (a *app) cmdSim() *cobra.Command {
	cmd := tolerant(&cobra.Command{
		Use: "sim", GroupID: groupResearch, Args: cobra.ArbitraryArgs, Short: "Simulated networks in virtual time",
		Example: "  kith sim list\n  kith sim run first-steps --seed 7", RunE: group,
	})
	cmd.AddCommand(a.simRun(), a.simList(), a.simModel(), a.simCompare())
	return cmd
}

func (a *app) simList() *cobra.Command {
	return tolerant(&cobra.Command{
		Use: "list", Args: args(0, 0), Short: "The scenarios", Example: "  kith sim list",
		RunE: func(*cobra.Command, []string) error {
			type row struct {
				Name     string `json:"name"`
				Question string `json:"question"`
			}
			var answer struct {
				Scenarios []row `json:"scenarios"`
			}
			for _, name := range scenario.Names() {
				answer.Scenarios = append(answer.Scenarios, row{name, scenario.Stories[name].Question})
			}
			return a.emitAs("scenarios", answer, func() {
				for _, r := range answer.Scenarios {
					a.out.Printf("%s  %s\n", term.In(term.Bold, r.Name), r.Question)
				}
			})
		},
	})
}

// simAnswer holds nothing of the machine that ran it: one seed, one answer, byte for byte.
type simAnswer struct {
	Scenario string   `json:"scenario"`
	Seed     uint64   `json:"seed"`
	OK       bool     `json:"ok"`
	Broken   []string `json:"broken"`
	Events   int      `json:"events"`
	Seconds  float64  `json:"virtual_seconds"`
	Trace    []string `json:"trace"`
}

func (a *app) simRun() *cobra.Command {
	var seed uint64
	cmd := tolerant(&cobra.Command{
		Use: "run SCENARIO", Args: args(1, 1), Short: "Play a scenario",
		Long:    "Plays a scenario with the production engines in virtual time. One seed gives one trace, byte for byte.",
		Example: "  kith sim run first-steps --seed 7\n  kith sim run first-steps --jq .ok",
		RunE: func(cmd *cobra.Command, args []string) error {
			story, ok := scenario.Stories[args[0]]
			if !ok {
				return api.Fail(api.ExitNotFound, fmt.Sprintf("there is no scenario %q; there is: %s", args[0], strings.Join(scenario.Names(), ", ")), "kith sim list")
			}
			r, err := story.Run(seed)
			if err != nil {
				return err
			}
			return a.showSim(r)
		},
	})
	cmd.Flags().Uint64Var(&seed, "seed", 1, "where all chance comes from")
	return cmd
}

func (a *app) showSim(r scenario.Result) error {
	answer := simAnswer{
		Scenario: r.Name, Seed: r.Seed, OK: len(r.Broken) == 0, Broken: append([]string{}, r.Broken...),
		Events: r.Events, Seconds: r.Time.Seconds(), Trace: r.Trace,
	}
	err := a.emitAs("sim", answer, func() {
		a.out.Printf("sim run %s --seed %d\n", r.Name, r.Seed)
		for _, b := range r.Broken {
			a.out.Printf("%s %s\n", term.In(term.Red, "broken:"), b)
		}
		for _, line := range r.Trace {
			a.out.Printf("  %s\n", line)
		}
		a.out.Printf("%s, %s of virtual time, %s broken\n", count(r.Events, "event"), r.Time, count(len(r.Broken), "expectation"))
	})
	if err == nil && !answer.OK {
		return silent{api.ExitFailed}
	}
	return err
}
