package cli

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/report"
	"github.com/kith-im/kith/simnet/result"
)

func (a *app) simReport() *cobra.Command {
	var out, svg string
	cmd := tolerant(&cobra.Command{
		Use: "report DIR...", Args: args(1, 8), Short: "A page of tables and plots",
		Long: `Writes one HTML page of the run in a folder, or of all runs below it: with many seeds, means and intervals; of a sweep, how
each figure grows. Several folders are held against each other. The page needs nothing but itself: no script, no network.`,
		Example: "  kith sim report out/steady\n  kith sim report out/main out/mine --out both.html\n  kith sim report out/growth --svg docs/plots",
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				out = filepath.Join(args[0], result.ReportFile)
				if info, err := os.Stat(args[0]); err == nil && !info.IsDir() {
					out = filepath.Join(filepath.Dir(args[0]), result.ReportFile)
				}
			}
			return a.reportRuns(args, out, svg)
		},
	})
	cmd.Flags().StringVar(&out, "out", "", "the file that is written (default: "+result.ReportFile+" in the first folder)")
	cmd.Flags().StringVar(&svg, "svg", "", "a folder for the plots, each as a file of its own, for documents")
	_ = cmd.MarkFlagFilename("out", "html")
	_ = cmd.MarkFlagDirname("svg")
	return cmd
}

// reportAnswer says what was written.
type reportAnswer struct {
	File  string   `json:"file"`
	Bytes int      `json:"bytes"`
	Runs  int      `json:"runs"`
	Plots []string `json:"plots"` // files, if they were asked for
}

func (a *app) reportRuns(paths []string, out, svg string) error {
	if err := reportPlace(out, svg); err != nil {
		return err
	}
	answer, err := writeReport(paths, out, svg)
	if err != nil {
		return err
	}
	return a.emitAs("sim_report", answer, func() {
		a.out.Printf("%s: %s, %s\n", out, count(answer.Runs, "run"), size(uint64(answer.Bytes)))
		if svg != "" {
			a.out.Printf("%s: %s\n", svg, count(len(answer.Plots), "plot"))
		}
	})
}

// reportPlace refuses what cannot become the page, or the folder of its plots, before anything is written.
func reportPlace(out, svg string) error {
	why := ""
	if info, err := os.Stat(out); err == nil && !info.Mode().IsRegular() {
		why = "--out " + out + " is no file: write --out " + filepath.Join(out, result.ReportFile)
		if !info.IsDir() {
			why = "--out " + out + " is no file"
		}
	} else if info, err := os.Stat(svg); err == nil && !info.IsDir() {
		why = "--svg " + svg + " is no folder"
	}
	if why == "" {
		return nil
	}
	return api.Fail(api.ExitUsage, why+": nothing was written", "kith sim report --help")
}

// writeReport writes the page of all runs at and below some paths and, if svg is a folder, its plots there.
func writeReport(paths []string, out, svg string) (reportAnswer, error) {
	answer := reportAnswer{File: out, Plots: []string{}}
	var sets []report.Set
	for _, p := range paths {
		runs, err := readRuns(p)
		if err != nil {
			return answer, err
		}
		answer.Runs += len(runs)
		sets = append(sets, report.Set{Name: p, Runs: runs})
	}
	page, err := report.HTML(sets...)
	if err != nil {
		return answer, api.Fail(api.ExitUsage, strings.Join(paths, " ")+": "+err.Error(), "kith sim report --help")
	}
	answer.Bytes = len(page)
	if err := keepFile(out, page); err != nil || svg == "" {
		return answer, err
	}
	plots, err := report.Plots(sets...)
	if err != nil {
		return answer, err
	}
	if err := os.MkdirAll(svg, 0o755); err != nil {
		return answer, err
	}
	for _, f := range plots {
		answer.Plots = append(answer.Plots, f.Name)
		if err := keepFile(filepath.Join(svg, f.Name), f.SVG); err != nil {
			return answer, err
		}
	}
	return answer, nil
}
