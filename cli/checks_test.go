package cli

import (
	"bytes"
	"context"
	"testing"

	"github.com/kith-im/kith/cli/demo"
	"github.com/kith-im/kith/node/api"
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
