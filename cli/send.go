package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

type sendFlags struct {
	wait, key string
	timeout   time.Duration
}

// add gives a command that sends something its flags.
func (f *sendFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.wait, "wait", "custody", "queued, custody, delivered or read")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 15*time.Second, "how long to wait; afterwards the message is still queued")
	cmd.Flags().StringVar(&f.key, "key", "", "idempotency key")
}

func (a *app) cmdSend() *cobra.Command {
	var f sendFlags
	var q api.SendRequest
	var paths []string
	var sticker bool
	var ttl string
	cmd := &cobra.Command{
		Use: "send TO [TEXT|-]", GroupID: groupTalk, Args: args(1, 2),
		Short: "Send a text, files, or both",
		Long: `Sends a text of at most 3,500 bytes. The message is on your disk before anything leaves, and is tried for 30 days.
Then it waits until the message has come as far as --wait: queued (on your disk), custody (relays hold it and signed for
it), delivered (each device has it), read. A later stage satisfies an earlier one.

Files of any size go apart from the text: the message arrives at once, the node brings the files to your relays and serves
them itself. Pictures get a small preview without anything else that the picture knows.`,
		Example: `  kith send bob "hi"
  kith send bob "on my way" --wait delivered --timeout 1m
  date | kith send bob -
  kith send bob "from the summit" -f photo.jpg -f track.gpx
  kith send bob "at eight?" --reply 3fa9c1
  kith send bob "once" --key job-17     # the same key again sends nothing twice`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.Text, err = a.textOf(cmd, args, len(paths) > 0); err != nil {
				return err
			}
			if q.Files, err = filesToSend(cmd, paths, sticker); err != nil {
				return err
			}
			if ttl != "" {
				d, ok := timeSpan(ttl)
				if !ok {
					return usage(cmd, ttl+" is no time; 90s, 8h and 7d are")
				}
				q.TTL = uint32(min(d/time.Second, math.MaxUint32))
			}
			q.To, q.Key = args[0], f.key
			return a.sendAs(cmd, "send", q, f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&q.Reply, "reply", "", "id of the message that it answers")
	cmd.Flags().StringVar(&q.Subject, "subject", "", "a subject line")
	cmd.Flags().StringVar(&q.Effect, "effect", "", "a hint for whoever draws it, as confetti")
	cmd.Flags().StringArrayVar(&q.Mentions, "mention", nil, "somebody whom the text names with an @")
	cmd.Flags().StringVar(&ttl, "disappears", "", "after so long: 90s, 8h, 7d")
	cmd.Flags().StringArrayVarP(&paths, "file", "f", nil, "a file to send; at most 8")
	cmd.Flags().BoolVar(&sticker, "sticker", false, "the file is a sticker")
	return cmd
}

// textOf is the text to send: the argument, or stdin.
func (a *app) textOf(cmd *cobra.Command, args []string, files bool) (string, error) {
	text := ""
	switch {
	case len(args) == 1 && files:
	case len(args) == 2 && args[1] != "-":
		text = args[1]
	case len(args) == 1 && isTerminal(a.in):
		return "", usage(cmd, "the text is missing; - reads it from stdin")
	default:
		raw, err := io.ReadAll(io.LimitReader(a.in, api.MaxText+2)) // the line break at its end, and one too many
		if err != nil {
			return "", usage(cmd, "the text from stdin: "+err.Error())
		}
		if text = strings.TrimSuffix(string(raw), "\n"); len(text) > api.MaxText {
			return "", usage(cmd, fmt.Sprintf("the text from stdin is longer than the %d bytes that fit in a message", api.MaxText))
		}
	}
	if len(text) > api.MaxText {
		return "", usage(cmd, fmt.Sprintf("the text has %d bytes; at most %d fit in a message", len(text), api.MaxText))
	}
	return text, nil
}

// sendAs sends by a method and waits until it has come as far as asked for.
func (a *app) sendAs(cmd *cobra.Command, method string, q any, f sendFlags) error {
	switch view.Stage(f.wait) {
	case view.StageQueued, view.StageCustody, view.StageDelivered, view.StageRead:
	default:
		return usage(cmd, "--wait is queued, custody, delivered or read")
	}
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx := cmd.Context()
	var sent api.Sent
	if err := c.Call(ctx, method, q, &sent); err != nil {
		return err
	}
	w, err := await(ctx, c, sent.Message.ID, f)
	if err != nil {
		return fmt.Errorf("%s is queued, but: %w", short(sent.Message.ID), err)
	}
	answer := sendAnswer{ID: sent.Message.ID, To: sent.Message.With, Stage: w.Status.Stage, Reached: w.Reached, Deliveries: w.Status.Deliveries}
	err = a.emitAs("sent", answer, func() { a.out.Printf("%s  %s\n", short(answer.ID), stageOf(w.Status)) })
	if err != nil || w.Reached {
		return err
	}
	return notReached(w, f)
}

// sendAnswer is what send prints with --json.
type sendAnswer struct {
	ID         string          `json:"id"`
	To         string          `json:"to"`
	Stage      view.Stage      `json:"stage"`
	Reached    bool            `json:"reached"` // as far as --wait
	Deliveries []view.Delivery `json:"deliveries"`
}

// stageOf is the stage with its evidence: the least over the recipient's devices.
func stageOf(s view.Status) string {
	if s.Stage != view.StageCustody {
		return string(s.Stage)
	}
	least := view.Delivery{Custody: -1}
	for _, d := range s.Deliveries {
		if !d.Own && d.Stage == view.StageCustody && (least.Custody < 0 || d.Custody < least.Custody) {
			least = d
		}
	}
	return fmt.Sprintf("custody %d/%d", max(0, least.Custody), least.Replicas)
}

// await waits in the node, which waits for events.
func await(ctx context.Context, c caller, id string, f sendFlags) (w api.Waited, err error) {
	err = c.Call(ctx, "message_wait", api.WaitRequest{ID: id, Stage: view.Stage(f.wait), TimeoutMS: f.timeout.Milliseconds()}, &w)
	return w, err
}

// notReached says why a message did not come as far as asked. It is on our disk in every case.
func notReached(w api.Waited, f sendFlags) error {
	id := short(w.Status.Message.ID)
	switch view.Stage(w.Why) {
	case view.StageWaiting:
		return api.Fail(api.ExitTimeout, id+" is queued: no relay of the recipient and no connection to a device is known yet; it goes out when there is one", "kith status "+id)
	case view.StageFull:
		return api.Fail(api.ExitRefused, id+" is queued: the recipient's relays are full; it is tried again", "kith status "+id)
	case view.StageExpired:
		return api.Fail(api.ExitRefused, id+" expired after 30 days", "kith status "+id)
	case view.StageDropped:
		return api.Fail(api.ExitRefused, id+" was not delivered: the recipient has no device left for it", "kith status "+id)
	}
	return api.Fail(api.ExitTimeout, fmt.Sprintf("%s is queued and stays so: not %s after %s", id, f.wait, f.timeout), "kith trace "+id)
}
