package cli

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/lines"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

type chatFlags struct {
	plain, peek bool
	number      int
}

func (a *app) cmdChat() *cobra.Command {
	var f chatFlags
	cmd := &cobra.Command{
		Use: "chat CHAT", GroupID: groupTalk, Args: args(1, 1), Short: "Talk in a conversation, line by line",
		Long: `Shows the newest messages and then what comes, a line each and nothing else: it moves no cursor, draws nothing and
works with a screen reader, in a pipe and without a terminal. What you type is sent; a line that begins with / is a
command, /help lists them. It ends at the end of the input, from a pipe with exit code 3 if a line of it failed.

Line mode is what there is today, on a terminal too; --plain asks for it and goes on asking for it.`,
		Example: `  kith chat bob
  echo "on my way" | kith chat bob --plain
  printf '/react ^ 👍\n/reply ^ seen\n' | kith chat bob --plain -n 1`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.doChat(cmd.Context(), args[0], f) },
	}
	cmd.Flags().BoolVar(&f.plain, "plain", false, "line mode")
	cmd.Flags().BoolVar(&f.peek, "peek", false, "do not say that you read them")
	cmd.Flags().IntVarP(&f.number, "number", "n", 20, "how many earlier messages")
	return cmd
}

// line is a conversation in line mode. One goroutine owns it.
type line struct {
	a      *app
	c      *api.Client
	chat   string // id; "" as long as the other person is not found
	with   string // handle
	group  view.Group
	cursor uint64 // of the last event that was dealt with
	until  uint64 // of the newest event after the last line that was typed

	order []string                // of the messages that were shown
	known map[string]view.Message // as they were shown
	typed map[string]bool         // sent from here
	seen  []string                // shown, and not yet said to be read
	peek  bool
	over  bool // the input has ended, or the person has said /quit

	failed bool // a line did not do what it says
}

const (
	maxShown  = 2000 // messages that are kept for what may become of them
	maxMarked = 500  // ids in one request
)

func (a *app) doChat(ctx context.Context, to string, f chatFlags) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	l := &line{a: a, c: c, known: map[string]view.Message{}, typed: map[string]bool{}, peek: f.peek}
	if err := l.open(ctx, to, f.number); err != nil {
		return err
	}
	err = l.run(ctx)
	if ctx.Err() != nil {
		return silent{api.ExitInterrupted}
	}
	if err == nil && l.failed && !isTerminal(a.in) { // nobody was there who read what went wrong
		return silent{api.ExitPartial}
	}
	return err
}

// open shows what was said before. Events are taken from before that on, so that nothing falls between.
func (l *line) open(ctx context.Context, to string, number int) (err error) {
	if l.cursor, err = l.newest(ctx); err != nil {
		return err
	}
	var m api.Messages
	if err := l.c.Call(ctx, "messages", api.MessagesRequest{Chat: to, Limit: max(1, number)}, &m); err != nil {
		return err
	}
	l.chat, l.with = m.Chat, m.With
	_ = l.c.Call(ctx, "group", api.GroupRequest{Group: l.with}, &l.group) // it is none, if that fails
	l.a.note("%s: what you type is sent; /help lists commands", l.with)
	if number <= 0 {
		m.Messages = nil
	}
	for _, msg := range m.Messages {
		l.show(msg)
	}
	return nil
}

// newest is the cursor of the newest event.
func (l *line) newest(ctx context.Context) (uint64, error) {
	var page api.EventsPage
	err := l.c.Call(ctx, "events", api.EventsRequest{Since: math.MaxInt64, Max: 1}, &page)
	return page.Newest, err
}

// run shows what happens and does what is typed, until the input ends; then what had happened by then is shown.
func (l *line) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, ended := make(chan view.Notice, 256), make(chan error, 1)
	since := l.cursor
	go func() {
		ended <- l.c.Events(ctx, since, func(n view.Notice) error {
			select {
			case events <- n:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	input := lines.Read(ctx, l.a.in, maxTyped)
	for {
		select {
		case n := <-events:
			if err := l.happened(ctx, n); err != nil {
				return err
			}
			continue
		default: // nothing more to show now
		}
		l.tell(ctx)
		typed := input
		if l.cursor < l.until {
			typed = nil // what the last line caused is shown before the next one is read
		} else if l.over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n := <-events:
			if err := l.happened(ctx, n); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case in := <-typed:
			if err := l.line(ctx, in); err != nil {
				return err
			}
		}
	}
}

// line does a line of the input, or what follows from its end.
func (l *line) line(ctx context.Context, in lines.Line) (err error) {
	switch {
	case errors.Is(in.Err, io.EOF):
		l.over = true
	case in.Err != nil:
		return in.Err
	default:
		l.said(ctx, in)
	}
	l.until, err = l.newest(ctx)
	return err
}

// happened shows an event, if it belongs here.
func (l *line) happened(ctx context.Context, n view.Notice) error {
	l.cursor = max(l.cursor, n.Cursor)
	switch {
	case n.Message != nil && l.here(*n.Message) && (n.Type == "message" || n.Type == "message_changed"):
		if old, ok := l.known[n.Message.ID]; ok {
			return l.became(old, *n.Message, n)
		}
		if n.Type == "message" {
			l.show(*n.Message)
		}
	case n.Type == "stage":
		if old, ok := l.known[n.ID]; ok {
			return l.stage(ctx, old, n)
		}
	case n.Type == "typing" && n.Typing != nil && n.Typing.Chat == l.with && n.Typing.On:
		return l.event(n, func() { l.a.out.Printf("%s * %s is typing\n", when(n.At), n.Typing.From) })
	case n.Type == "identity" && (n.Contact == nil || n.Contact.Handle == l.with):
		return l.event(n, func() { l.a.out.Printf("%s * %s\n", when(n.At), n.Text) })
	case n.Type == "group" && n.Group != nil && n.Group.Chat == l.chat:
		return l.regrouped(*n.Group, n)
	case n.Type == "unreachable" && n.Message != nil && l.here(*n.Message):
		return l.event(n, func() {
			l.a.out.Printf("%s * no device can be reached for: %s\n", when(n.At), firstWords(n.Message.Text))
		})
	}
	return nil
}

func (l *line) here(m view.Message) bool {
	if l.chat == "" {
		return m.With == l.with
	}
	return m.Chat == l.chat
}

// event prints what is no message: the event itself with --json.
func (l *line) event(n view.Notice, human func()) error { return l.a.emitAs("", n, human) }

// show prints a message and remembers it.
func (l *line) show(m view.Message) {
	if l.known[m.ID].ID != "" {
		return
	}
	l.keep(m)
	l.chat, l.with = m.Chat, m.With // by now the person is found
	if !m.Mine && !m.Read {
		l.seen = append(l.seen, m.ID)
	}
	typed := l.typed[m.ID]
	if typed && m.Stage == "" {
		m.Stage = view.StageQueued
	}
	_ = l.a.emitAs("message", m, func() {
		if !typed || !isTerminal(l.a.in) { // on a terminal the person sees what they typed
			l.a.showStaged(m, true)
		}
	})
}

func (l *line) keep(m view.Message) {
	if _, ok := l.known[m.ID]; !ok {
		l.order = append(l.order, m.ID)
	}
	l.known[m.ID] = m
	for len(l.order) > maxShown {
		delete(l.known, l.order[0])
		delete(l.typed, l.order[0])
		l.order = l.order[1:]
	}
}

// became prints what is new about a message.
func (l *line) became(old, now view.Message, n view.Notice) error {
	now.Stage = old.Stage // stages have events of their own
	l.keep(now)
	words := changes(old, now)
	if len(words) == 0 {
		return nil
	}
	return l.event(n, func() {
		for _, w := range words {
			l.told(n, w)
			l.about(old, now)
		}
	})
}

// regrouped prints what is new about the group.
func (l *line) regrouped(now view.Group, n view.Notice) error {
	words := regroupings(l.group, now)
	l.group = now
	if len(words) == 0 {
		return nil
	}
	return l.event(n, func() {
		for _, w := range words {
			l.told(n, w)
		}
	})
}

// told prints a change.
func (l *line) told(n view.Notice, w change) {
	l.a.out.Printf("%s * %s", when(n.At), w.ours)
	if w.theirs != "" {
		l.a.out.Printf(": %s", term.Block{Text: w.theirs, Indent: textIndent})
	}
	l.a.out.Printf("\n")
}

// about says which message it was.
func (l *line) about(old, now view.Message) {
	if now.Unsent || now.Deleted || now.Erased || old.Text == "" {
		l.a.out.Printf("  > %s, %s\n", speaker(now), when(now.SentAt))
		return
	}
	l.a.out.Printf("  > %s: %s\n", speaker(old), firstWords(old.Text))
}

// stage prints how far a message of ours has come, when that is new for the message as a whole.
func (l *line) stage(ctx context.Context, m view.Message, n view.Notice) error {
	var s view.Status
	if l.c.Call(ctx, "message_status", api.MessageRequest{ID: m.ID}, &s) != nil {
		return nil // it is gone; that a node is gone, the stream of events tells
	}
	if s.Stage == m.Stage || s.Stage == view.StageQueued || s.Stage == view.StageWaiting {
		return nil
	}
	m.Stage = s.Stage
	l.keep(m)
	words := firstWords(content(m))
	if words == "" {
		words = "a message of " + when(m.SentAt)
	}
	return l.event(n, func() { l.a.out.Printf("%s * %s: %s\n", when(n.At), stageOf(s), words) })
}

// tell says that what was shown has been read: that and no more.
func (l *line) tell(ctx context.Context) {
	ids := l.seen
	l.seen = nil
	if l.peek {
		return
	}
	for some := range slices.Chunk(ids, maxMarked) {
		if err := markRead(ctx, l.c, l.with, some); err != nil {
			l.a.fail(ctx, err)
		}
	}
}
