package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/kith-im/kith/cli/lines"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

// maxTyped is the size in bytes of a line that is typed: a text, and a command before it.
const maxTyped = api.MaxText + 256

// lineCommand is a command of line mode. All but a few are commands of kith with the conversation, or a message of it,
// filled in: they run the same code.
type lineCommand struct {
	name, takes, does string
	// argv is the command line of kith for what was typed after the name.
	argv func(l *line, rest string) ([]string, error)
	do   func(l *line, ctx context.Context, rest string) error // of what is no command of kith
	// told: what it does is shown as an event, so that its own answer would say it twice.
	told bool
}

// errTakes says that a command was given something else than it takes.
var errTakes = errors.New("takes something else")

// said does what was typed.
func (l *line) said(ctx context.Context, in lines.Line) {
	text := string(in.Text)
	switch {
	case in.Long:
		l.failed = true
		l.a.err.Printf("error: that is longer than the %d bytes of a message; nothing was sent\n", api.MaxText)
	case strings.TrimSpace(text) == "":
	case strings.HasPrefix(text, "//"): // a text that begins with /
		l.do(ctx, "send", text[1:])
	case strings.HasPrefix(text, "/"):
		name, rest, _ := strings.Cut(text[1:], " ")
		l.do(ctx, name, strings.TrimSpace(rest))
	default:
		l.do(ctx, "send", text)
	}
}

// do runs a command. A failure is told and ends nothing.
func (l *line) do(ctx context.Context, name, rest string) {
	for _, c := range lineCommands() {
		if c.name != name {
			continue
		}
		var err error
		if c.do != nil {
			err = c.do(l, ctx, rest)
		} else {
			var argv []string
			if argv, err = c.argv(l, rest); err == nil {
				l.failed = l.a.sub(ctx, argv, c.told) != api.ExitOK || l.failed
			}
		}
		if errors.Is(err, errTakes) {
			err = api.Fail(api.ExitUsage, "/"+strings.TrimSpace(c.name+" "+c.takes)+" "+c.does, "")
		}
		if err != nil {
			l.failed = true
			l.a.fail(ctx, err)
		}
		return
	}
	l.failed = true
	l.a.err.Printf("error: there is no command /%s; /help lists them, and // sends a text that begins with /\n", name)
}

// message takes the message that a command begins with: ^ is the newest one, ^2 the one before, and so on; otherwise an
// id or its beginning. Without one it is the newest for which fits says yes.
func (l *line) message(rest string, fits func(view.Message) bool) (id, more string, err error) {
	first, after, _ := strings.Cut(rest, " ")
	after = strings.TrimSpace(after)
	if back, ok := strings.CutPrefix(first, "^"); ok {
		n := 1
		if back != "" {
			if n, err = strconv.Atoi(back); err != nil {
				return "", "", errTakes
			}
		}
		if n < 1 || n > len(l.order) {
			return "", "", api.Fail(api.ExitNotFound, fmt.Sprintf("%s were shown here", count(len(l.order), "message")), "")
		}
		return l.order[len(l.order)-n], after, nil
	}
	if len(first) >= 4 && strings.Trim(first, "0123456789abcdef") == "" {
		for i := range l.order {
			if id := l.order[len(l.order)-1-i]; strings.HasPrefix(id, first) {
				return id, after, nil
			}
		}
	}
	for i := range l.order {
		if id := l.order[len(l.order)-1-i]; fits(l.known[id]) {
			return id, rest, nil
		}
	}
	return "", "", api.Fail(api.ExitNotFound, "there is no such message here yet", "")
}

func anyone(view.Message) bool      { return true }
func mine(m view.Message) bool      { return m.Mine }
func another(m view.Message) bool   { return !m.Mine }
func deleted(m view.Message) bool   { return m.Deleted }
func withFiles(m view.Message) bool { return len(m.Files) > 0 }

// onMessage makes a command of kith about a message: VERBS ID, and a text if it takes one.
func onMessage(verbs string, whose func(view.Message) bool, text bool) func(*line, string) ([]string, error) {
	return func(l *line, rest string) ([]string, error) {
		id, more, err := l.message(rest, whose)
		switch {
		case err != nil:
			return nil, err
		case text != (more != ""):
			return nil, errTakes
		case text:
			return append(strings.Fields(verbs), "--", id, more), nil
		}
		return append(strings.Fields(verbs), "--", id), nil
	}
}

// inChat makes a command of kith about the conversation: VERBS CHAT, and the words that follow.
func inChat(verbs string, least, most int) func(*line, string) ([]string, error) {
	return func(l *line, rest string) ([]string, error) {
		words := strings.Fields(rest)
		if len(words) < least || len(words) > most {
			return nil, errTakes
		}
		return append(append(strings.Fields(verbs), l.with), words...), nil
	}
}

// withText makes a command of kith about the conversation with one text.
func withText(verbs string, needed bool) func(*line, string) ([]string, error) {
	return func(l *line, rest string) ([]string, error) {
		argv := append(strings.Fields(verbs), "--", l.with)
		if rest == "" && needed {
			return nil, errTakes
		}
		if rest != "" {
			argv = append(argv, rest)
		}
		return argv, nil
	}
}

// plainly runs a command of kith as it is.
func plainly(verb string) func(*line, string) ([]string, error) {
	return func(_ *line, rest string) ([]string, error) {
		return append([]string{verb}, strings.Fields(rest)...), nil
	}
}

// lineCommands are the commands of line mode, in the order of /help.
func lineCommands() []lineCommand {
	return []lineCommand{
		{name: "send", takes: "TEXT", does: "sends a text; what does not begin with / is sent as well", do: (*line).send},
		{name: "reply", takes: "[MSG] TEXT", does: "answers a message", do: (*line).reply},
		{name: "react", takes: "[MSG] EMOJI", does: "reacts to a message", argv: onMessage("react", another, true), told: true},
		{name: "unreact", takes: "[MSG]", does: "takes your reaction back", argv: onMessage("react --remove", another, false), told: true},
		{name: "edit", takes: "[MSG] TEXT", does: "replaces the text of a message of yours, within 15 minutes", argv: onMessage("edit", mine, true), told: true},
		{name: "unsend", takes: "[MSG]", does: "takes a message of yours back, within 2 minutes", argv: onMessage("unsend", mine, false), told: true},
		{name: "delete", takes: "[MSG]", does: "hides a message on your own devices", argv: onMessage("delete", anyone, false), told: true},
		{name: "undelete", takes: "[MSG]", does: "brings it back", argv: onMessage("undelete", deleted, false), told: true},
		{name: "file", takes: "PATH [TEXT]", does: "sends a file", argv: fileHere, told: true},
		{name: "save", takes: "[MSG]", does: "writes a file of a message into this folder", argv: onMessage("save", withFiles, false)},
		{name: "location", takes: "LAT LON [LABEL]", does: "sends a place", argv: placeHere, told: true},
		{name: "card", takes: "CONTACT", does: "introduces a contact of yours", argv: inChat("card --wait queued", 1, 1), told: true},
		{name: "pin", takes: "[--off]", does: "keeps this conversation at the top of the inbox", argv: inChat("pin", 0, 1)},
		{name: "mute", takes: "[FOR|--off]", does: "leaves you in peace, for 8h, 7d or until you take it back", argv: inChat("mute", 0, 1)},
		{name: "timer", takes: "FOR|off", does: "lets new messages disappear after a time", argv: inChat("timer", 1, 1), told: true},
		{name: "draft", takes: "[TEXT]", does: "keeps a text that is not sent yet, or shows it", argv: withText("draft", false)},
		{name: "typing", takes: "[--off]", does: "says that you are writing", argv: inChat("typing", 0, 1)},
		{name: "settings", takes: "[read-receipts on|off|default]", does: "what others learn of your reading", argv: settingsHere},
		{name: "members", does: "who is in this group", argv: inChat("group members", 0, 0)},
		{name: "add", takes: "CONTACT…", does: "makes contacts members of this group", argv: inChat("group add", 1, maxMembers), told: true},
		{name: "remove", takes: "MEMBER…", does: "takes members out of this group", argv: inChat("group remove", 1, maxMembers), told: true},
		{name: "admin", takes: "MEMBER [--off]", does: "makes a member an admin", argv: inChat("group admin", 1, 2), told: true},
		{name: "name", takes: "NAME", does: "names this group", argv: nameHere, told: true},
		{name: "leave", takes: "--yes", does: "leaves this group", argv: inChat("group leave", 1, 1), told: true},
		{name: "status", takes: "[MSG]", does: "how far a message has come, for each device", argv: onMessage("status", mine, false)},
		{name: "trace", takes: "[MSG]", does: "what was tried for a message", argv: onMessage("trace", mine, false)},
		{name: "list", takes: "[NUMBER]", does: "shows the newest messages once more, with their ids", do: (*line).list},
		{name: "search", takes: "WORDS", does: "finds messages of this conversation", argv: searchHere},
		{name: "inbox", does: "every conversation", argv: plainly("inbox")},
		{name: "contact", takes: "list|show|…", does: "the people you know", argv: plainly("contact")},
		{name: "help", does: "lists the commands", do: (*line).help},
		{name: "quit", does: "ends; so does the end of the input", do: func(l *line, _ context.Context, _ string) error {
			l.over = true
			return nil
		}},
	}
}

// fileHere takes a path that may stand in quotes.
func fileHere(l *line, rest string) ([]string, error) {
	path, text, _ := strings.Cut(rest, " ")
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		path, text, _ = strings.Cut(quoted, `"`)
	}
	if path == "" {
		return nil, errTakes
	}
	argv := []string{"send", "--wait", "queued", "-f", path, "--", l.with}
	if text = strings.TrimSpace(text); text != "" {
		argv = append(argv, text)
	}
	return argv, nil
}

func nameHere(l *line, rest string) ([]string, error) {
	if rest == "" {
		return nil, errTakes
	}
	return []string{"group", "set", "--name=" + rest, "--", l.with}, nil
}

func placeHere(l *line, rest string) ([]string, error) {
	lat, more, _ := strings.Cut(rest, " ")
	lon, label, _ := strings.Cut(strings.TrimSpace(more), " ")
	if lon == "" {
		return nil, errTakes
	}
	return []string{"location", "--wait", "queued", "--", l.with, lat, lon, strings.TrimSpace(label)}, nil
}

func settingsHere(l *line, rest string) ([]string, error) {
	argv := append([]string{"settings"}, strings.Fields(rest)...)
	if rest != "" {
		argv = append(argv, "--chat", l.with)
	}
	return argv, nil
}

func searchHere(l *line, rest string) ([]string, error) {
	if rest == "" {
		return nil, errTakes
	}
	return []string{"search", "--chat", l.with, "--", rest}, nil
}

func (l *line) help(context.Context, string) error {
	var rows [][]any
	for _, c := range lineCommands() {
		rows = append(rows, []any{strings.TrimSpace("/" + c.name + " " + c.takes), c.does})
	}
	l.a.err.Table(rows)
	l.a.err.Printf("MSG is ^ for the newest message, ^2 for the one before, or the beginning of an id; without it a command\ntakes the newest that it can be about. A text that begins with / is typed with //.\n")
	return nil
}

func (l *line) send(ctx context.Context, text string) error {
	return l.queue(ctx, api.SendRequest{To: l.with, Text: text})
}

func (l *line) reply(ctx context.Context, rest string) error {
	id, text, err := l.message(rest, another)
	if err == nil && text == "" {
		err = errTakes
	}
	if err != nil {
		return err
	}
	return l.queue(ctx, api.SendRequest{To: l.with, Text: text, Reply: id})
}

// queue sends without waiting: how far a message comes is shown as it happens.
func (l *line) queue(ctx context.Context, q api.SendRequest) error {
	q.Mentions = named(q.Text, l.people())
	var sent api.Sent
	err := l.c.Call(ctx, "send", q, &sent)
	if err != nil && q.Mentions != nil { // who was here a moment ago may have left
		q.Mentions = nil
		err = l.c.Call(ctx, "send", q, &sent)
	}
	if err == nil {
		l.typed[sent.Message.ID] = true
	}
	return err
}

// people are those of this conversation who can be named in a text.
func (l *line) people() []string {
	if len(l.group.Members) == 0 {
		return []string{l.with}
	}
	var out []string
	for _, m := range l.group.Members {
		if !m.Me {
			out = append(out, m.Handle)
		}
	}
	return out
}

// maxNamed is how many people one text names.
const maxNamed = 32

// named are the people whom a text names as @handle, at the beginning of a word and to its end.
func named(text string, people []string) (out []string) {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return r != '@' && r != '-' && r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for _, p := range people {
		at := func(w string) bool { return strings.TrimRight(w, ".-") == "@"+p }
		if len(out) < maxNamed && slices.ContainsFunc(words, at) {
			out = append(out, p)
		}
	}
	return out
}

// list shows messages as they are now, with their ids.
func (l *line) list(ctx context.Context, rest string) error {
	n := 10
	if rest != "" {
		var err error
		if n, err = strconv.Atoi(rest); err != nil || n < 1 {
			return errTakes
		}
	}
	l.tell(ctx)
	l.a.sub(ctx, []string{"read", "--peek", "-v", "-n", strconv.Itoa(n), "--", l.with}, false)
	return nil
}
