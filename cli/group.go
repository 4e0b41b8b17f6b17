package cli

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdGroup() *cobra.Command {
	cmd := &cobra.Command{
		Use: "group", GroupID: groupPeople, Args: cobra.ArbitraryArgs, Short: "Conversations of several people",
		Long: `A group is its members' own: no server knows that it is there. It is talked to like a person, by its handle. Admins add
and remove members and name it; whoever is removed gets nothing that is said from then on.`,
		Example: "  kith group create Climbing bob carol\n  kith send climbing \"Saturday?\"\n  kith group members climbing", RunE: group,
	}
	cmd.AddCommand(a.groupList(), a.groupCreate(), a.groupMembers(), a.groupAdd(), a.groupRemove(), a.groupAdmin(), a.groupSet(), a.groupLeave())
	return cmd
}

// changeGroup runs a method that changes a group, and shows what it is now.
func (a *app) changeGroup(cmd *cobra.Command, method string, q any) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(cmd.Context(), a, c, method, q, func(g view.Group) {
		a.out.Printf("%s  %s: %s\n", term.In(term.Bold, g.Handle), membersWords(g), g.Name)
	})
}

// membersWords say who is in a group.
func membersWords(g view.Group) string {
	if g.Left {
		return "you are no member"
	}
	var others []string
	for _, m := range g.Members {
		if !m.Me {
			others = append(others, m.Handle)
		}
	}
	words := count(len(g.Members), "member")
	if len(others) > 0 && len(others) <= 8 {
		words += ", " + strings.Join(append([]string{"you"}, others[:len(others)-1]...), ", ") + " and " + others[len(others)-1]
	}
	return words
}

func (a *app) groupList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Args: args(0, 0), Short: "Every group, with what is new in it",
		Example: "  kith group list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			var in api.Chats
			if err := c.Call(cmd.Context(), "inbox", api.None{}, &in); err != nil {
				return err
			}
			in.Chats = slices.DeleteFunc(in.Chats, func(c view.Chat) bool { return c.Kind != "group" })
			return a.emitAs("inbox", in, func() {
				if len(in.Chats) == 0 {
					a.note("no groups yet")
					a.next("kith group create NAME CONTACT")
					return
				}
				var rows [][]any
				for _, c := range in.Chats {
					rows = append(rows, []any{term.In(term.Bold, c.Handle), inboxWords(c), c.Name})
				}
				a.out.Table(rows)
			})
		},
	}
}

func (a *app) groupCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create NAME [CONTACT…]", Args: args(1, maxMembers), Short: "Make a group of contacts",
		Example: "  kith group create Climbing bob carol\n  kith group create \"Saturday in the park\" bob",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeGroup(cmd, "group_create", api.GroupCreateRequest{Name: args[0], Members: args[1:]})
		},
	}
}

// maxMembers is more than a group takes: the node says how many those are.
const maxMembers = 1000

func (a *app) groupMembers() *cobra.Command {
	return &cobra.Command{
		Use: "members GROUP", Args: args(1, 1), Short: "Who is in a group",
		Example: "  kith group members climbing\n  kith group members climbing --jq '.members[].handle'",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "group", api.GroupRequest{Group: args[0]}, a.showGroup)
		},
	}
}

func (a *app) showGroup(g view.Group) {
	if g.Left {
		a.out.Printf("you are no member any more\n")
	}
	var rows [][]any
	for _, m := range g.Members {
		name, role := m.Handle, "member"
		if m.Me {
			name = "me"
		}
		if m.Admin {
			role = "admin"
		}
		rows = append(rows, []any{term.In(term.Bold, name), role, "since " + when(m.Since)})
	}
	a.out.Table(rows)
}

// someMembers makes a command that does something to members of a group.
func (a *app) someMembers(use, short, example, method string) *cobra.Command {
	return &cobra.Command{
		Use: use, Args: args(2, maxMembers), Short: short, Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeGroup(cmd, method, api.GroupMembersRequest{Group: args[0], Members: args[1:]})
		},
	}
}

func (a *app) groupAdd() *cobra.Command {
	return a.someMembers("add GROUP CONTACT…", "Make contacts members of a group", "  kith group add climbing dave erin", "group_add")
}

func (a *app) groupRemove() *cobra.Command {
	return a.someMembers("remove GROUP MEMBER…", "Take members out of a group", "  kith group remove climbing mallory", "group_remove")
}

func (a *app) groupAdmin() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "admin GROUP MEMBER", Args: args(2, 2), Short: "Make a member an admin, or no admin any more",
		Example: "  kith group admin climbing bob\n  kith group admin climbing bob --off",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeGroup(cmd, "group_admin", api.GroupAdminRequest{Group: args[0], Member: args[1], Admin: !off})
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "no admin any more")
	return cmd
}

func (a *app) groupSet() *cobra.Command {
	var q api.GroupSetRequest
	var image string
	var none bool
	cmd := &cobra.Command{
		Use: "set GROUP", Args: args(1, 1), Short: "Name a group or give it a picture, for everybody in it",
		Long:    "Of a picture a small copy is shown, without what a camera wrote into it. `kith save @GROUP` writes it into a folder.",
		Example: "  kith group set climbing --name \"Climbing on Sundays\"\n  kith group set climbing --image rock.jpg\n  kith group set climbing --no-image",
		RunE: func(cmd *cobra.Command, args []string) error {
			if image != "" {
				path, err := filepath.Abs(image)
				if err != nil {
					return usage(cmd, err.Error())
				}
				q.Image = &path
			} else if none {
				q.Image = &image
			}
			if q.Group = args[0]; q.Name == "" && q.Image == nil {
				return usage(cmd, "what is to be set? --name NAME or --image FILE")
			}
			return a.changeGroup(cmd, "group_set", q)
		},
	}
	cmd.Flags().StringVar(&q.Name, "name", "", "what it is called")
	cmd.Flags().StringVar(&image, "image", "", "the file of a picture")
	cmd.Flags().BoolVar(&none, "no-image", false, "no picture any more")
	return cmd
}

func (a *app) groupLeave() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "leave GROUP", Args: args(1, 1), Short: "Leave a group, on all your devices",
		Example: "  kith group leave climbing --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return usage(cmd, "only an admin can bring you back: say --yes")
			}
			return a.changeGroup(cmd, "group_leave", api.GroupRequest{Group: args[0]})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "only an admin can bring me back, and I mean it")
	return cmd
}
