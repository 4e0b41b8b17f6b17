package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/hooks"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// hookRunner hands events to the person's own commands. An event counts as done when its command has ended, however it
// did; what was not done when the node ended comes again. Messages of one conversation go one after the other.
type hookRunner struct {
	node        *p2p.Node
	run         *hooks.Runner
	onMessage   hooks.Command
	unreachable hooks.Command
	log         *slog.Logger
}

// hookCursor is where the store keeps how far the hooks are.
var hookCursor = []byte("hooks/cursor")

const (
	hookBatch = 64              // events at once
	hookRetry = 5 * time.Second // after the store could not be read or written
)

// startHooks begins to run the hooks that are set, and returns how to end them: at once, with what runs.
func (a *app) startHooks(ctx context.Context, n *p2p.Node) (stop func()) {
	onMessage, err1 := hooks.Parse(a.set.Hooks.OnMessage)
	unreachable, err2 := hooks.Parse(a.set.Hooks.Unreachable)
	if errors.Join(err1, err2) != nil || len(onMessage)+len(unreachable) == 0 { // the settings were checked
		return func() {}
	}
	h := &hookRunner{
		node: n, onMessage: onMessage, unreachable: unreachable, log: a.log(a.set.LogLevel),
		run: &hooks.Runner{Dir: a.folders.Home, Env: hooks.Environment(os.Environ(), a.folders.Home)},
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.follow(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// unreachableAfter is when the engine shall say that nobody can be reached: never, without a hook.
func unreachableAfter(c config.Config) time.Duration {
	if c.Hooks.Unreachable == "" {
		return 0
	}
	return c.Hooks.UnreachableAfter()
}

// follow runs until ctx ends.
func (h *hookRunner) follow(ctx context.Context) {
	at, err := h.begin(ctx)
	for ctx.Err() == nil {
		var list []view.Notice
		if err == nil {
			list, err = h.node.Events(ctx, at, hookBatch)
		}
		if err == nil && len(list) > 0 {
			at = list[len(list)-1].Cursor
			if h.all(ctx, list) && ctx.Err() == nil {
				err = h.keep(ctx, at)
			}
		}
		if err != nil && ctx.Err() == nil {
			h.log.Warn("hooks wait", "err", err)
			select {
			case <-time.After(hookRetry):
			case <-ctx.Done():
			}
			at, err = h.begin(ctx)
		}
	}
}

// begin is the cursor to go on from. Hooks that are new begin now: nobody wants last year's messages on a new phone.
func (h *hookRunner) begin(ctx context.Context) (at uint64, err error) {
	known := false
	err = h.node.View(func(tx store.Tx) error {
		row := tx.Get(store.BucketMeta, hookCursor)
		if known = len(row) == 8; known {
			at = binary.BigEndian.Uint64(row)
		} else if key, _ := tx.Last(store.BucketEvents); len(key) == 8 {
			at = binary.BigEndian.Uint64(key)
		}
		return tx.Err()
	})
	if err == nil && !known {
		err = h.keep(ctx, at)
	}
	return at, err
}

func (h *hookRunner) keep(ctx context.Context, at uint64) error {
	return h.node.Do(ctx, func(_ *node.Engine, t *node.Turn) error {
		t.Tx.Put(store.BucketMeta, hookCursor, binary.BigEndian.AppendUint64(nil, at))
		return nil
	})
}

// all runs the commands for a batch of events, and reports whether there were any.
func (h *hookRunner) all(ctx context.Context, list []view.Notice) bool {
	lanes := map[string][]view.Notice{}
	for _, n := range list {
		if h.command(n) != nil {
			lanes[n.Message.Chat] = append(lanes[n.Message.Chat], n)
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, hooks.Slots)
	for _, lane := range lanes {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for _, n := range lane {
				h.one(ctx, n)
			}
		})
	}
	wg.Wait()
	return len(lanes) > 0
}

// command is what an event is for; nil: nothing. What we wrote ourselves is no news to us.
func (h *hookRunner) command(n view.Notice) hooks.Command {
	switch {
	case n.Message == nil:
		return nil
	case n.Type == "message" && !n.Message.Mine:
		return h.onMessage
	case n.Type == "unreachable":
		return h.unreachable
	}
	return nil
}

func (h *hookRunner) one(ctx context.Context, n view.Notice) {
	if ctx.Err() != nil {
		return
	}
	event, err := api.Object("", n)
	if err == nil && n.Type == "unreachable" {
		// It is marked before the command has it: from here on somebody else may read it.
		err = h.node.Do(ctx, func(e *node.Engine, t *node.Turn) error { return e.FellBack(t, n.Message.ID) })
	}
	if err == nil {
		err = h.run.Run(ctx, h.command(n), append(event, '\n'))
	}
	if err != nil && ctx.Err() == nil {
		h.log.Warn("a hook failed", "on", n.Type, "cursor", n.Cursor, "err", err)
	}
}
