package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/demo"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdDemo() *cobra.Command {
	var keep bool
	cmd := tolerant(&cobra.Command{
		Use: "demo", GroupID: groupStart, Args: args(0, 0),
		Short: "Three people, four devices, five relays: a story on this machine",
		Long: `Plays a story on this machine in a few seconds: five relays as processes, Alice with two devices, Bob and Carol
with one, each with its own store, over loopback. They make a group, send a file and react; Bob is away while Alice
writes, and a relay is killed. It touches no network and no home folder, and ends with exit code 0 only if every message
reached every device exactly once and the file is the same.`,
		Example: "  kith demo\n  kith demo --keep            # then play with it\n  kith demo --json | tail -1",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.doDemo(cmd, keep) },
	})
	cmd.Flags().BoolVar(&keep, "keep", false, "leave everything running and print commands to try; Ctrl-C ends it")
	return cmd
}

func (a *app) doDemo(cmd *cobra.Command, keep bool) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	r, err := demo.Run(cmd.Context(), demo.Config{Exe: exe, Keep: keep, Step: a.showStep, Kept: func(r demo.Result) {
		_ = a.showResult(r)
		a.showKept(exe, r)
	}})
	if keep && r.OK {
		return nil
	}
	if shown := a.showResult(r); shown != nil {
		return shown
	}
	if err == nil && r.OK {
		return nil
	}
	return a.demoFailed(cmd.Context(), r)
}

// demoFailed says why; that it was interrupted is no failure of kith.
func (a *app) demoFailed(ctx context.Context, r demo.Result) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Folder != "" {
		a.note("what it left: %s", r.Folder)
	}
	return api.Fail(api.ExitFailed, "the demo failed: "+r.Why, "kith demo --keep")
}

func (a *app) showStep(s demo.Step) {
	_ = a.emitAs("step", s, func() {
		a.out.Printf("%6.2f s  %s", s.Seconds, s.Text)
		a.out.Printf(" %s\n", term.In(term.Dim, "("+milliseconds(s.TookMS)+")"))
	})
}

func (a *app) showResult(r demo.Result) error {
	return a.emitAs("result", r, func() {
		word := term.In(term.Green, "OK")
		if !r.OK {
			word = term.In(term.Red, "FAILED")
		}
		a.out.Printf("%s  %d of %d deliveries, %d doubled, %d lost, %.2f s\n", word, r.Delivered, r.Sent, r.Duplicates, r.Lost, r.Seconds)
	})
}

// showKept prints commands to paste.
func (a *app) showKept(exe string, r demo.Result) {
	alice, phone, bob := quote(exe)+" --home "+quote(r.Homes[0]), quote(exe)+" --home "+quote(r.Homes[1]), quote(exe)+" --home "+quote(r.Homes[2])
	a.note("It runs on; Ctrl-C ends it. Try:")
	for _, c := range []string{
		bob + " tail", alice + " send bob 'one more'", phone + " inbox", alice + " status", bob + " relay explain", bob + " read alice",
	} {
		a.note("  %s", c)
	}
}
