package cli

import "github.com/spf13/cobra"

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
