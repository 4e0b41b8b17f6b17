package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

// setChat changes settings of a conversation, and shows what they are now.
func (a *app) setChat(cmd *cobra.Command, q api.ChatSetRequest) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(cmd.Context(), a, c, "chat_set", q, func(v api.ChatAnswer) {
		words := strings.Join(chatWords(v.Chat), ", ")
		if words == "" {
			words = "nothing special"
		}
		a.out.Printf("%s  %s\n", term.In(term.Bold, v.Chat.Handle), words)
	})
}

// chatWords are the settings of a conversation.
func chatWords(c view.Chat) (out []string) {
	if c.Pinned {
		out = append(out, "pinned")
	}
	if muted := time.Until(c.Muted); muted > forever/2 {
		out = append(out, "muted")
	} else if muted > 0 {
		out = append(out, "muted until "+when(c.Muted))
	}
	if c.Timer > 0 {
		out = append(out, "messages disappear after "+span(c.Timer))
	}
	if c.Receipts != "" {
		out = append(out, "read receipts "+c.Receipts)
	}
	if c.Draft != "" {
		out = append(out, "draft")
	}
	return out
}

// forever is how long something is muted that nobody said an end for.
const forever = 100 * 365 * 24 * time.Hour

// timeSpan reads 90s, 8h, 7d, 2w. What is less than a second would be no time at all where seconds count: not disappearing.
func timeSpan(s string) (time.Duration, bool) {
	for unit, of := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.Atoi(digits)
			return time.Duration(n) * of, err == nil && n > 0 && n < 10_000
		}
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= time.Second
}

func (a *app) cmdPin() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "pin CHAT", GroupID: groupTalk, Args: args(1, 1), Short: "Keep a conversation at the top of the inbox",
		Example: "  kith pin bob\n  kith pin bob --off",
		RunE: func(cmd *cobra.Command, args []string) error {
			on := !off
			return a.setChat(cmd, api.ChatSetRequest{Chat: args[0], Pinned: &on})
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "no longer")
	return cmd
}

func (a *app) cmdMute() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "mute CHAT [FOR]", GroupID: groupTalk, Args: args(1, 2), Short: "Be left in peace by a conversation",
		Long:    "Mutes a conversation on all your devices, for 8h, 7d and so on, or until you take it back. Its messages come as before.",
		Example: "  kith mute bob 8h\n  kith mute bob\n  kith mute bob --off",
		RunE: func(cmd *cobra.Command, args []string) error {
			until := time.Now().Add(forever)
			switch {
			case off && len(args) == 2:
				return usage(cmd, "either a time, or --off")
			case off || len(args) == 2 && args[1] == "off": // as a timer says it
				until = time.Time{}
			case len(args) == 2:
				d, ok := timeSpan(args[1])
				if !ok {
					return usage(cmd, args[1]+" is no time; 8h, 7d and 2w are")
				}
				until = time.Now().Add(d)
			}
			return a.setChat(cmd, api.ChatSetRequest{Chat: args[0], Muted: &until})
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "no longer")
	return cmd
}

func (a *app) cmdTimer() *cobra.Command {
	return &cobra.Command{
		Use: "timer CHAT FOR|off", GroupID: groupTalk, Args: args(2, 2), Short: "Let new messages disappear after a time",
		Long: `From now on messages of this conversation disappear on every device, a time after they were sent there and after they
were first read here: 1h, 7d and so on. Everybody in it sees the change; a copy that somebody made stays.`,
		Example: "  kith timer bob 1d\n  kith timer bob off",
		RunE: func(cmd *cobra.Command, args []string) error {
			seconds := uint32(0)
			if args[1] != "off" {
				d, ok := timeSpan(args[1])
				if !ok || d/time.Second > 1<<31 {
					return usage(cmd, args[1]+" is no time; 1h, 7d and 2w are")
				}
				seconds = uint32(d / time.Second)
			}
			return a.setChat(cmd, api.ChatSetRequest{Chat: args[0], Timer: &seconds})
		},
	}
}

func (a *app) cmdDraft() *cobra.Command {
	return &cobra.Command{
		Use: "draft CHAT [TEXT|-]", GroupID: groupTalk, Args: args(1, 2), Short: "Keep a text that is not sent yet, or show it",
		Long:    "A draft is on all your devices. An empty text takes it away.",
		Example: "  kith draft bob \"dear Bob,\"\n  kith draft bob\n  kith draft bob ''",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.showDraft(cmd, args[0])
			}
			text, err := a.textOf(cmd, args, false)
			if err != nil {
				return err
			}
			return a.setChat(cmd, api.ChatSetRequest{Chat: args[0], Draft: &text})
		},
	}
}

func (a *app) showDraft(cmd *cobra.Command, chat string) error {
	c, err := a.reader()
	if err != nil {
		return err
	}
	var in api.Chats
	var m api.Messages // knows whom a name means
	if err := c.Call(cmd.Context(), "messages", api.MessagesRequest{Chat: chat, Limit: 1}, &m); err != nil {
		return err
	}
	if err := c.Call(cmd.Context(), "inbox", api.None{}, &in); err != nil {
		return err
	}
	for _, v := range in.Chats {
		if v.Chat == m.Chat {
			return a.emitAs("chat", api.ChatAnswer{Chat: v}, func() { a.out.Printf("%s\n", term.Block{Text: v.Draft}) })
		}
	}
	return api.Fail(api.ExitNotFound, "there is no draft for "+m.With, "kith inbox")
}

func (a *app) cmdTyping() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "typing CHAT", GroupID: groupTalk, Args: args(1, 1), Short: "Say that you are writing",
		Long: `Says to whoever is connected right now that you are writing; it is stored nowhere and ends by itself. For programs that
show a conversation.`,
		Example: "  kith typing bob\n  kith typing bob --off",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			defer c.Close()
			return ask(cmd.Context(), a, c, "typing", api.TypingRequest{Chat: args[0], On: !off}, func(api.None) {})
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "not any more")
	return cmd
}

func (a *app) cmdSettings() *cobra.Command {
	var chat string
	cmd := &cobra.Command{
		Use: "settings [read-receipts|typing on|off]", GroupID: groupSelf, Args: args(0, 2), Short: "What others learn of your reading and writing",
		Long: `Read receipts tell authors that you read their messages, typing tells them that you are writing. Both are settings of
yours on all your devices; read receipts also of one conversation (--chat; default goes by all the others again).`,
		Example: `  kith settings
  kith settings read-receipts off
  kith settings read-receipts on --chat bob`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.doSettings(cmd, args, chat) },
	}
	cmd.Flags().StringVar(&chat, "chat", "", "of this conversation only")
	return cmd
}

func (a *app) doSettings(cmd *cobra.Command, args []string, chat string) error {
	show := func(s view.Settings) {
		a.out.Table([][]any{{"read-receipts", onOff(s.Receipts)}, {"typing", onOff(s.Typing)}})
	}
	if len(args) == 0 && chat == "" {
		c, err := a.reader()
		if err != nil {
			return err
		}
		return ask(cmd.Context(), a, c, "settings", api.None{}, show)
	}
	if len(args) != 2 || args[1] != "on" && args[1] != "off" && (args[1] != "default" || chat == "") {
		return usage(cmd, "a setting and its value: read-receipts on, typing off")
	}
	on := args[1] == "on"
	var q api.SettingsRequest
	switch {
	case args[0] == "read-receipts" && chat != "":
		return a.setChat(cmd, api.ChatSetRequest{Chat: chat, Receipts: &args[1]})
	case args[0] == "read-receipts":
		q.Receipts = &on
	case args[0] == "typing" && chat == "":
		q.Typing = &on
	default:
		return usage(cmd, fmt.Sprintf("there is no setting %s here; there are read-receipts and typing", args[0]))
	}
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(cmd.Context(), a, c, "settings_set", q, show)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
