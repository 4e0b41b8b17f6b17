package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/view"
)

// What stands under a message is ours and indented by two; the lines of a text by six. So no text can look like it.
const textIndent = "      "

// showMessage prints one message as a line, the text last, and under it what belongs to it.
func (a *app) showMessage(m view.Message) { a.showStaged(m, false) }

func (a *app) showStaged(m view.Message, staged bool) {
	flags := marks(m)
	if staged && m.Mine && m.Stage != "" {
		flags = append([]string{string(m.Stage)}, flags...)
	}
	about := ""
	if len(flags) > 0 {
		about = " (" + strings.Join(flags, ", ") + ")"
	}
	a.out.Printf("%s %s%s:", when(m.SentAt), term.In(term.Bold, speaker(m)), about)
	if text := content(m); text != "" {
		a.out.Printf(" %s", term.Block{Text: text, Indent: textIndent})
	}
	a.out.Printf("\n")
	for _, l := range below(m) {
		a.out.Printf("  %s\n", l)
	}
	if a.verbose {
		for _, e := range m.Edits {
			a.out.Printf("  until %s: %s\n", when(e.At), e.Text)
		}
		a.out.Printf("  %s %s\n", short(m.ID), string(m.Stage))
	}
}

func speaker(m view.Message) string {
	if m.Mine {
		return ownHandle
	}
	return m.From
}

// marks say what a message is and what became of it.
func marks(m view.Message) (out []string) {
	for _, f := range []struct {
		is   bool
		word string
	}{
		{m.Unsent, "unsent"},
		{namesMe(m), "names you"},
		{m.Deleted, "deleted here"},
		{m.Erased, "disappeared"},
		{m.Edited, "edited"},
		{m.Fallback != "", "not end-to-end encrypted"},
		{m.Location != nil, "location"},
		{m.Card != nil, "contact card"},
		{m.Custom != nil, "custom"},
		{m.Kind == "timer", "timer"},
	} {
		if f.is {
			out = append(out, f.word)
		}
	}
	return out
}

// namesMe reports whether somebody else's text names this person.
func namesMe(m view.Message) bool {
	return !m.Mine && slices.ContainsFunc(m.Mentions, func(x view.Mention) bool { return x.Handle == ownHandle })
}

// ownHandle stands for the person in what the node says.
const ownHandle = "me"

// content is what a message says, in words.
func content(m view.Message) string {
	switch {
	case m.Unsent, m.Deleted, m.Erased:
		return ""
	case m.Location != nil:
		return strings.TrimSpace(fmt.Sprintf("%.5f %.5f %s", m.Location.Lat, m.Location.Lon, m.Location.Label))
	case m.Card != nil:
		return strings.TrimSpace(m.Card.Name + " " + m.Card.User)
	case m.Custom != nil:
		return m.Custom.Fallback
	case m.Text == "" && m.Kind != "" && m.Kind != "text":
		return "[" + strings.Trim(m.Kind, "[]") + "]"
	}
	return m.Text
}

// span is a number of seconds as a person says it.
func span(seconds uint32) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d%time.Hour == 0 && d > 0:
		return count(int(d/time.Hour), "hour")
	case d%time.Minute == 0 && d > 0:
		return count(int(d/time.Minute), "minute")
	}
	return count(int(seconds), "second")
}

// below is what stands under a message, a line each; the words of people stand last.
func below(m view.Message) (out []string) {
	if m.Unsent || m.Deleted || m.Erased {
		return nil
	}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if r := m.Reply; r != nil && r.From == "" {
		add("answers a message that is not here")
	} else if r != nil {
		add("> %s: %s", r.From, firstWords(r.Text))
	}
	if m.Subject != "" {
		add("subject: %s", m.Subject)
	}
	if m.Effect != "" {
		add("effect: %s", m.Effect)
	}
	for _, f := range m.Files {
		add("%s", fileWords(f))
	}
	for _, r := range reactions(m) {
		add("+ %s: %s", strings.Join(r.from, ", "), r.emoji)
	}
	if m.Refused > 0 {
		add("%s refused: too late, or too many", count(m.Refused, "edit"))
	}
	if !m.Expires.IsZero() {
		add("disappears %s", when(m.Expires))
	}
	return out
}

// fileWords is one attachment in a line.
func fileWords(f view.File) string {
	what := "file"
	if f.Sticker {
		what = "sticker"
	}
	state := f.State
	if f.Done > 0 && f.Done < f.Size {
		state = fmt.Sprintf("%s %d %%", f.State, 100*f.Done/f.Size)
	}
	return fmt.Sprintf("%s %d (%s, %s): %s", what, f.Index+1, size(f.Size), state, f.Name)
}

// reacted is who reacted alike.
type reacted struct {
	emoji string
	from  []string
}

func reactions(m view.Message) (out []reacted) {
	at := map[string]int{}
	for _, r := range m.Reactions {
		i, ok := at[r.Emoji]
		if !ok {
			i = len(out)
			at[r.Emoji], out = i, append(out, reacted{emoji: r.Emoji})
		}
		out[i].from = append(out[i].from, r.From)
	}
	return out
}

// change is what became of a message, in words: ours first, then those of people.
type change struct{ ours, theirs string }

// changes says what is different in a later view of a message.
func changes(old, now view.Message) (out []change) {
	add := func(ours, theirs string) { out = append(out, change{ours, theirs}) }
	switch {
	case now.Unsent && !old.Unsent:
		add("unsent by "+speaker(now), "")
		return out
	case now.Deleted && !old.Deleted:
		add("deleted here", "")
		return out
	case !now.Deleted && old.Deleted:
		add("back again", content(now))
		return out
	case now.Erased && !old.Erased:
		add("disappeared", "")
		return out
	}
	before := map[string]string{}
	for _, r := range old.Reactions {
		before[r.From] = r.Emoji
	}
	for _, r := range now.Reactions {
		if before[r.From] != r.Emoji {
			add("reaction by "+r.From, r.Emoji)
		}
		delete(before, r.From)
	}
	for _, r := range old.Reactions { // in their order
		if _, back := before[r.From]; back {
			add("reaction taken back by "+r.From, "")
		}
	}
	if now.Text != old.Text {
		add("edited by "+speaker(now), now.Text)
	}
	if now.Refused > old.Refused {
		add("edit refused, too late or too many: by "+speaker(now), "")
	}
	for i, f := range now.Files {
		if i < len(old.Files) && f.State != old.Files[i].State {
			add("", fileWords(f))
		}
	}
	return out
}

// regroupings say what is different in a later view of a group.
func regroupings(old, now view.Group) (out []change) {
	before := map[string]view.Member{}
	for _, m := range old.Members {
		before[m.User] = m
	}
	for _, m := range now.Members {
		was, ok := before[m.User]
		delete(before, m.User)
		switch {
		case !ok:
			out = append(out, change{"a member now", m.Handle})
		case m.Admin && !was.Admin:
			out = append(out, change{"an admin now", m.Handle})
		case !m.Admin && was.Admin:
			out = append(out, change{"no admin any more", m.Handle})
		}
	}
	for _, m := range old.Members {
		if _, left := before[m.User]; left {
			out = append(out, change{"no member any more", m.Handle})
		}
	}
	if now.Name != old.Name {
		out = append(out, change{"the group is called", now.Name})
	}
	if now.Left && !old.Left {
		out = append(out, change{"you are no member any more", ""})
	}
	return out
}
