package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdDevice() *cobra.Command {
	cmd := &cobra.Command{
		Use: "device", GroupID: groupSelf, Args: cobra.ArbitraryArgs, Short: "Your devices",
		Example: "  kith device add        # then on the new one: kith init --link LINK\n  kith device list", RunE: group,
	}
	cmd.AddCommand(a.deviceList(), a.deviceAdd(), a.deviceRemove(), a.deviceLeave(), a.deviceHistory())
	return cmd
}

func (a *app) deviceList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Args: args(0, 0), Short: "Every device of yours", Example: "  kith device list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "devices", api.None{}, a.showDevices)
		},
	}
}

func (a *app) showDevices(l api.Devices) {
	var rows [][]any
	for _, d := range l.Devices {
		words := ""
		for _, w := range []struct {
			say  bool
			word string
		}{{d.This, "this device "}, {d.Admin, "admin "}, {d.Online && !d.This, "online "}} {
			if w.say {
				words += w.word
			}
		}
		rows = append(rows, []any{short(d.Device), words, term.In(term.Bold, d.Name)})
	}
	a.out.Table(rows)
}

func (a *app) deviceAdd() *cobra.Command {
	var ttl time.Duration
	var qr bool
	cmd := &cobra.Command{
		Use: "add", Args: args(0, 0), Short: "Make a link for one more device of yours",
		Long:    "Makes a link for one more device of yours. Whoever has the link becomes you: show it to nobody.",
		Example: "  kith device add\n  kith device add --jq .text",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "device_offer", api.TTLRequest{TTLSeconds: seconds(ttl)}, func(v view.Invite) {
				a.showLink(v, qr, "works once, until "+until(v.Expires)+"; leave this node running meanwhile", "kith init --link")
			})
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long the link works (default 1 hour)")
	cmd.Flags().BoolVar(&qr, "qr", false, "draw the QR code also without a terminal")
	return cmd
}

func (a *app) deviceRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "remove DEVICE", Args: args(1, 1), Short: "Remove a device: it gets nothing more",
		Example: "  kith device remove old-phone --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return usage(cmd, "removing a device cannot be undone: say --yes")
			}
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "device_remove", api.DeviceRequest{Device: args[0]}, func(d view.Device) {
				a.out.Printf("%s is removed\n", term.In(term.Bold, d.Name))
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "it cannot be undone, and I mean it")
	return cmd
}

func (a *app) deviceLeave() *cobra.Command {
	var yes, all bool
	cmd := &cobra.Command{
		Use: "leave", Args: args(0, 0), Short: "Leave with this device, or with every device of yours",
		Long: `Takes this device off your list: it gets and sends nothing more, your other devices go on. The admin device signs that
itself, and with it goes the key that changes the list: then only the recovery phrase adds and removes devices. Any other
device asks the admin device, and is out when that has answered. With --all you leave with every device, and senders are
told. Nothing is deleted: your files stay.`,
		Example: "  kith device leave --yes\n  kith device leave --all --yes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				return usage(cmd, "leaving cannot be undone: say --yes")
			}
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "leave", api.LeaveRequest{All: all}, func(v api.Left) {
				if v.Asked {
					a.out.Printf("asked; this device is out when the admin device has answered\n")
					a.next("kith status")
					return
				}
				a.out.Printf("left; senders are told as they meet the new list\n")
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "it cannot be undone, and I mean it")
	cmd.Flags().BoolVar(&all, "all", false, "every device: the person leaves")
	return cmd
}

func (a *app) deviceHistory() *cobra.Command {
	var q api.HistoryRequest
	var get bool
	cmd := &cobra.Command{
		Use: "history", Args: args(0, 0), Short: "Whether your devices have the same past, and how to get it",
		Long: `Shows for each other device of yours whether this one has compared the past with it. A new device asks for the last 30
days by itself, and one that was away for long for what it missed; --get asks all of them for everything, or for --days.`,
		Example: "  kith device history\n  kith device history --get",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !get && cmd.Flags().Changed("days") {
				return usage(cmd, "--days goes with --get")
			}
			if !get {
				c, err := a.reader()
				if err != nil {
					return err
				}
				return ask(cmd.Context(), a, c, "history", api.None{}, a.showHistory)
			}
			c, err := a.node()
			if err != nil {
				return err
			}
			defer c.Close()
			return ask(cmd.Context(), a, c, "history_ask", q, a.showHistory)
		},
	}
	cmd.Flags().BoolVar(&get, "get", false, "compare with all of them now, and fetch what is missing here")
	cmd.Flags().IntVar(&q.Days, "days", 0, "no further back than this (default: all of it)")
	return cmd
}

func (a *app) showHistory(h api.History) {
	if len(h.Devices) == 0 {
		a.note("there is no other device of yours")
		return
	}
	var rows [][]any
	for _, d := range h.Devices {
		state := d.State
		if !d.Equal.IsZero() {
			state += " " + when(d.Equal)
		}
		rows = append(rows, []any{short(d.Device), state, term.In(term.Bold, d.Name)})
	}
	a.out.Table(rows)
}
