package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kith-im/kith/cli/demo"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/scenario"
)

// TestAFailedCheckIsAFailureInEveryForm: the exit code is for scripts, and they ask with --json.
func TestAFailedCheckIsAFailureInEveryForm(t *testing.T) {
	for _, json := range []bool{false, true} {
		for result, exit := range map[string]int{"ok": 0, "warn": 0, "fail": 1} {
			var out bytes.Buffer
			a := &app{stdout: &out, stderr: &out, json: json, env: func(string) string { return "" }}
			a.writers("never")
			err := a.checks("netcheck", []api.Check{{Result: "ok", What: "store"}, {Result: result, What: "peers", Why: "none"}})
			if code := a.fail(context.Background(), err); code != exit || out.Len() == 0 {
				t.Errorf("json %v, %s: exit %d, want %d, after %q", json, result, code, exit, out.String())
			}
		}
	}
}

func TestAnInterruptedDemoIsNoFailedOne(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out, env: func(string) string { return "" }}
	a.writers("never")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for exit, ctx := range map[int]context.Context{api.ExitInterrupted: stopped, api.ExitFailed: t.Context()} {
		if code := a.fail(ctx, a.demoFailed(ctx, demo.Result{Why: "relay: context canceled"})); code != exit {
			t.Errorf("exit %d, want %d", code, exit)
		}
	}
}

// TestADrainSaysByItsExitCodeWhetherItIsSafeToStop: what is left is for whoever runs it to decide.
func TestADrainSaysByItsExitCodeWhetherItIsSafeToStop(t *testing.T) {
	for state, exit := range map[string]int{"done": api.ExitOK, "incomplete": api.ExitPartial, "failed": api.ExitPartial, "cancelled": api.ExitPartial} {
		for _, json := range []bool{false, true} {
			var out bytes.Buffer
			a := &app{stdout: &out, stderr: &out, json: json, env: func(string) string { return "" }}
			a.writers("never")
			err := a.drained(api.Drain{State: state, Boxes: 3, Done: 2})
			if code := a.fail(t.Context(), err); code != exit || out.Len() == 0 {
				t.Errorf("%s, json %v: exit %d, want %d, after %q", state, json, code, exit, out.String())
			}
		}
	}
}

// crooked is a run that cannot go on.
type crooked struct{ err error }

func (c crooked) Err() error           { return c.err }
func (crooked) Step() bool             { return false }
func (crooked) Progress() string       { return "" }
func (crooked) Result() *result.Result { return &result.Result{} }

// TestARunThatCannotGoOnIsAFailure, and no result in which nothing went wrong.
func TestARunThatCannotGoOnIsAFailure(t *testing.T) {
	s, err := scenario.Parse("x.toml", "question = \"?\"\nkind = \"world\"")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out, env: func(string) string { return "" }}
	a.writers("never")
	for exit, why := range map[int]error{api.ExitOK: nil, api.ExitFailed: errors.New("u1 and u2: no answer")} {
		_, err := playOut(t.Context(), s, crooked{why}, func() {})
		if code := a.fail(t.Context(), err); code != exit {
			t.Errorf("%v: exit %d, want %d", why, code, exit)
		}
	}
}

// long is a run whose step takes until somebody has enough, or, if it hears nobody, a thousand times as long as it should.
type long struct {
	crooked
	stop   func()
	enough func() bool
	took   *int
}

func (l *long) Halt(enough func() bool) { l.enough = enough }

func (l *long) Step() bool {
	l.stop() // the interrupt comes in the midst of it
	for *l.took = 0; *l.took < 1000 && (l.enough == nil || !l.enough()); *l.took++ {
	}
	return true
}

// An interrupt acts within a step of a run that can be halted, and what came out is marked partial. The control is one that cannot.
func TestAnInterruptDoesNotWaitForAStep(t *testing.T) {
	s, err := scenario.Parse("x.toml", "question = \"?\"\nkind = \"world\"")
	if err != nil {
		t.Fatal(err)
	}
	for _, deaf := range []bool{false, true} {
		ctx, stop := context.WithCancel(t.Context())
		took := 0
		var run result.Run = &long{stop: stop, took: &took}
		if deaf {
			run = struct{ result.Run }{run}
		}
		r, err := playOut(ctx, s, run, func() {})
		if err != nil || !r.Partial || (took == 0) == deaf {
			t.Errorf("deaf %t: %v, %+v, after %d", deaf, err, r, took)
		}
	}
}

// A sweep of which no run was played to its end has no rows; the control has one.
func TestASweepWithoutAWholeRunSaysSo(t *testing.T) {
	const nothing = "no run was played to its end\n"
	for _, settings := range [][]sweepPoint{nil, {{Runs: 1}}} {
		var out bytes.Buffer
		a := &app{stdout: &out, stderr: &out, env: func(string) string { return "" }}
		a.writers("never")
		a.showSweep(sweepAnswer{Partial: true, Settings: settings}, nil)
		if text := out.String(); strings.HasSuffix(text, nothing) != (settings == nil) || strings.Contains(text, "±") != (settings != nil) {
			t.Errorf("%d settings: %s", len(settings), text)
		}
	}
}
