// Package cli is the commands of kith: thin clients of the local API of a running node, one file a command.
//
// What it guarantees: stdout holds the answer and nothing else; with --json it is one document, or one a line for a
// stream, and each has "v" and "type"; every failure says what happened, why, and the next command, with the exit code
// of its class; nothing asks without a terminal; no secret is the value of a flag; no character of another person's
// reaches the terminal unclean (package term is the only way to print).
//
// What it does not: it decides nothing about messages and keeps nothing; what it shows is what the node knows.
package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/node/api"
)

// app is one run of one command.
type app struct {
	in     io.Reader
	out    *term.Writer // the answer
	err    *term.Writer // progress, hints, failures
	stdout io.Writer
	stderr io.Writer
	env    func(string) string

	home, jq, color, passphrase string // flags
	json, quiet, verbose        bool

	folders config.Folders
	set     *config.Settings
	shown   int   // answers printed, after --jq
	broken  error // why the settings cannot be used; nil if they can
}

// Main runs the command line and returns the exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one does not wait for what the first has to end
	a := &app{in: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	// What fails before the flags are read is shown as they ask for.
	a.json = slices.ContainsFunc(args, func(s string) bool { return s == "--json" || strings.HasPrefix(s, "--jq") })
	a.writers("auto")
	root := a.root()
	root.SetArgs(southAndWest(args))
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return a.fail(ctx, root.ExecuteContext(ctx))
}

// southAndWest keeps the negative degrees of `kith location bob -33.86 151.21` from being taken for flags, none of which
// is a digit: with a space before it a word is no flag, and the command takes the space away again.
func southAndWest(args []string) []string {
	if !slices.Contains(args, "location") || slices.Contains(args, "--") {
		return args
	}
	args = slices.Clone(args)
	for i, s := range args {
		if _, err := strconv.ParseFloat(s, 64); err == nil && strings.HasPrefix(s, "-") {
			args[i] = " " + s
		}
	}
	return args
}

// sub runs a command inside another one, with the same streams and no input; quiet leaves its answer out. It returns the
// exit code; a failure was told.
func (a *app) sub(ctx context.Context, argv []string, quiet bool) int {
	b := &app{in: strings.NewReader(""), stdout: a.stdout, stderr: a.stderr, env: a.env}
	if quiet {
		b.stdout = io.Discard
	}
	var flags []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"--home=" + a.home, a.home != ""},
		{"--passphrase-file=" + a.passphrase, a.passphrase != ""},
		{"--jq=" + a.jq, a.jq != ""},
		{"--color=" + a.set.Color, true},
		{"--json", a.json},
		{"--quiet", a.quiet},
	} {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	return b.run(ctx, append(flags, argv...))
}

// writers decides about colour for each stream.
func (a *app) writers(color string) {
	wants := func(w io.Writer) bool {
		switch color {
		case "always":
			return !a.json
		case "never":
			return false
		}
		return !a.json && isTerminal(w) && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && a.env("ACCESSIBLE") == ""
	}
	a.out, a.err = term.New(a.stdout, wants(a.stdout)), term.New(a.stderr, wants(a.stderr))
}

// isTerminal reports whether s is a terminal that a person looks at.
func isTerminal(s any) bool {
	f, ok := s.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// The groups of the help, in order.
const (
	groupStart    = "start"
	groupTalk     = "talk"
	groupPeople   = "people"
	groupSelf     = "self"
	groupNetwork  = "network"
	groupMachine  = "machine"
	groupResearch = "research"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "kith",
		Short: "Your own messenger node: no server, no account",
		Long:  "kith is a messenger without a server: your device is the node, your friends' devices are the network.",
		Example: `  kith init --name Ada          # an identity, and twelve words to keep
  kith daemon                   # your node; leave it running
  kith invite                   # a link for a friend
  kith send bob "hi"            # after the friend did: kith join LINK`,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
		RunE:              group,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.home, "home", "", "folder of the node, its settings and its socket (KITH_HOME; default: the XDG folders)")
	f.BoolVar(&a.json, "json", false, "answer in JSON; errors too")
	f.StringVar(&a.jq, "jq", "", "filter the JSON answer by a jq expression")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no hints")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "more words")
	f.StringVar(&a.color, "color", "auto", "auto, always or never (NO_COLOR)")
	f.StringVar(&a.passphrase, "passphrase-file", "", "file with the passphrase of this home")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err.Error()) })
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpCommand(a.cmdHelp())
	for _, g := range []string{groupStart, groupTalk, groupPeople, groupSelf, groupNetwork, groupMachine, groupResearch} {
		root.AddGroup(&cobra.Group{ID: g, Title: g + ":"})
	}
	root.SetHelpCommandGroupID(groupMachine)
	root.AddCommand(
		a.cmdInit(), a.cmdDaemon(), a.cmdStatus(), a.cmdDoctor(), a.cmdDemo(), a.cmdVersion(),
		a.cmdSend(), a.cmdChat(), a.cmdInbox(), a.cmdRead(), a.cmdTail(), a.cmdTrace(), a.cmdRearm(), a.cmdSearch(), a.cmdSave(), a.cmdTransfers(),
		a.cmdReact(), a.cmdEdit(), a.cmdUnsend(), a.cmdDelete(), a.cmdUndelete(), a.cmdLocation(), a.cmdCard(),
		a.cmdPin(), a.cmdMute(), a.cmdTimer(), a.cmdDraft(), a.cmdTyping(),
		a.cmdInvite(), a.cmdJoin(), a.cmdContact(), a.cmdGroup(),
		a.cmdID(), a.cmdDevice(), a.cmdPassphrase(), a.cmdPhrase(), a.cmdBackup(), a.cmdSettings(),
		a.cmdNetcheck(), a.cmdPing(), a.cmdPeers(), a.cmdRelay(),
		a.cmdAPI(), a.cmdRPC(), a.cmdEvents(), a.cmdConfig(), a.cmdCompletion(),
		a.cmdSim(), a.cmdBench(),
	)
	a.completing(root)
	if agree.StandIn {
		onlySimulates(root)
	}
	return root
}

// usageTemplate puts the examples first: they are what a person looks for.
const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}
{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}
Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{else}}{{range $group := .Groups}}{{if hasGroup $cmds $group.ID}}
{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{if .HasAvailableInheritedFlags}}
Everywhere:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}
`

func init() {
	cobra.AddTemplateFunc("hasGroup", func(cmds []*cobra.Command, id string) bool {
		return slices.ContainsFunc(cmds, func(c *cobra.Command) bool { return c.GroupID == id && c.IsAvailableCommand() })
	})
	cobra.EnableCommandSorting = false
}

func (a *app) cmdHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "What a command does", Hidden: true, Args: cobra.ArbitraryArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage(cmd.Root(), "there is no command "+strings.Join(args, " "))
			}
			return c.Help()
		},
	}
}

// group is what a command does that only has commands below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	why := "there is no command " + cmd.CommandPath() + " " + args[0]
	cmd.SuggestionsMinimumDistance = 2 // what cobra takes for its own words
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		why += "; did you mean " + strings.Join(near, ", ") + "?"
	}
	return usage(cmd, why)
}

// usage is an error of how a command was called.
func usage(cmd *cobra.Command, why string) error {
	return api.Fail(api.ExitUsage, why, cmd.CommandPath()+" --help")
}

// args checks the number of arguments.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		switch {
		case len(got) < least:
			return usage(cmd, "something is missing: "+cmd.UseLine())
		case len(got) > most:
			return usage(cmd, "too many arguments (quote a text of several words): "+cmd.UseLine())
		}
		return nil
	}
}

// prepare runs before every command: folders, settings, colours.
func (a *app) prepare(cmd *cobra.Command) error {
	a.json = a.json || a.jq != ""
	var err error
	if a.folders, err = config.Find(a.home, a.env); err != nil {
		return api.Fail(api.ExitUsage, err.Error(), "kith --help")
	}
	if a.set, a.broken = config.Load(a.folders.Config, a.env); a.broken != nil {
		a.set = &config.Settings{Config: config.Default(), Path: a.folders.Config}
	} else if cmd.Flags().Changed("color") {
		if err := a.set.Set("color", a.color, config.FromFlag); err != nil {
			return err
		}
		if a.set.Check() != nil {
			return usage(cmd, "--color is auto, always or never")
		}
	}
	a.writers(a.set.Color)
	cmd.Root().SetOut(a.out)
	cmd.Root().SetErr(a.err)
	if a.broken != nil && cmd.Annotations[toleratesBroken] == "" {
		return api.Fail(api.ExitUsage, "the settings cannot be used: "+a.broken.Error(), "kith config show --origin")
	}
	return nil
}

// toleratesBroken marks commands that run without settings.
const toleratesBroken = "tolerates-broken-settings"

func tolerant(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{toleratesBroken: "yes"}
	return cmd
}

// log is where the node's own words go.
func (a *app) log(level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil || a.quiet {
		l = slog.LevelError
	}
	if a.verbose {
		l = min(l, slog.LevelDebug)
	}
	o := &slog.HandlerOptions{Level: l}
	if a.json {
		return slog.New(slog.NewJSONHandler(a.err, o))
	}
	return slog.New(slog.NewTextHandler(a.err, o))
}
