package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/scenario"
)

func (a *app) cmdCompletion() *cobra.Command {
	return tolerant(&cobra.Command{
		Use: "completion bash|zsh|fish|powershell", GroupID: groupMachine, Args: args(1, 1),
		Short: "Completion of commands for your shell",
		Example: `  source <(kith completion bash)
  kith completion fish > ~/.config/fish/completions/kith.fish`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			// The script is ours, and shells need its bytes as they are.
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return usage(cmd, "there is no completion for "+args[0])
		},
	})
}

// completing tells the shell what may stand where. A text is never a file name.
func (a *app) completing(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	_ = root.MarkPersistentFlagDirname("home")
	_ = root.RegisterFlagCompletionFunc("passphrase-file", files)
	for _, to := range []struct {
		path  []string
		names func(*cobra.Command) []string
	}{
		{[]string{"send"}, a.chats},
		{[]string{"chat"}, a.chats},
		{[]string{"read"}, a.chats},
		{[]string{"location"}, a.chats},
		{[]string{"card"}, a.chats},
		{[]string{"pin"}, a.chats},
		{[]string{"mute"}, a.chats},
		{[]string{"timer"}, a.chats},
		{[]string{"draft"}, a.chats},
		{[]string{"typing"}, a.chats},
		{[]string{"tail"}, a.chats},
		{[]string{"group", "members"}, a.groups},
		{[]string{"group", "add"}, a.groups},
		{[]string{"group", "remove"}, a.groups},
		{[]string{"group", "admin"}, a.groups},
		{[]string{"group", "set"}, a.groups},
		{[]string{"group", "leave"}, a.groups},
		{[]string{"ping"}, a.handles},
		{[]string{"relay", "explain"}, a.handles},
		{[]string{"contact", "show"}, a.handles},
		{[]string{"contact", "rename"}, a.handles},
		{[]string{"contact", "accept"}, a.handles},
		{[]string{"contact", "ignore"}, a.handles},
		{[]string{"contact", "block"}, a.handles},
		{[]string{"contact", "verify"}, a.handles},
		{[]string{"device", "remove"}, a.deviceIDs},
		{[]string{"sim", "run"}, func(*cobra.Command) []string { return scenario.Library() }},
		{[]string{"sim", "sweep"}, func(*cobra.Command) []string { return scenario.Library() }},
	} {
		cmd, _, err := root.Find(to.path)
		if err != nil {
			panic(err) // only our own bug: the table names a command that is not there
		}
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return to.names(cmd), cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// files leaves completion to the shell.
func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// handles are the names of our contacts. A node or store that cannot be asked completes nothing.
func (a *app) handles(cmd *cobra.Command) (out []string) {
	var l api.Contacts
	a.lookUp(cmd, "contacts", &l)
	for _, c := range l.Contacts {
		out = append(out, c.Handle)
	}
	return out
}

// chats are the handles of our conversations.
func (a *app) chats(cmd *cobra.Command) []string { return a.conversations(cmd, "") }

func (a *app) groups(cmd *cobra.Command) []string { return a.conversations(cmd, "group") }

func (a *app) conversations(cmd *cobra.Command, kind string) (out []string) {
	var l api.Chats
	a.lookUp(cmd, "inbox", &l)
	for _, c := range l.Chats {
		if kind == "" || c.Kind == kind {
			out = append(out, c.Handle)
		}
	}
	return out
}

func (a *app) deviceIDs(cmd *cobra.Command) (out []string) {
	var l api.Devices
	a.lookUp(cmd, "devices", &l)
	for _, d := range l.Devices {
		if !d.This {
			out = append(out, short(d.Device))
		}
	}
	return out
}

func (a *app) lookUp(cmd *cobra.Command, method string, answer any) {
	if a.prepare(cmd) != nil {
		return
	}
	if c, err := a.reader(); err == nil {
		_ = c.Call(cmd.Context(), method, api.None{}, answer)
	}
}
