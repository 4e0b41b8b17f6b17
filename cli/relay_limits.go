package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node/api"
)

// limitFlags are the limits that can be changed at run time: the flag and the setting that keeps it.
var limitFlags = []struct{ flag, setting, doc string }{
	{"max-bytes", "relay_max_bytes", "all mail, for example 20GiB"},
	{"max-boxes", "relay_max_boxes", "mailboxes"},
	{"box-bytes", "relay_box_bytes", "mail of one mailbox, for example 64MiB"},
	{"box-count", "relay_box_count", "messages of one mailbox"},
	{"contact-bytes", "relay_pass_bytes", "mail of one contact's device in one mailbox, for example 16MiB"},
	{"contact-count", "relay_pass_count", "messages of one contact's device in one mailbox"},
	{"blob-bytes", "relay_blob_bytes", "all attachments, for example 50GiB"},
	{"box-blob-bytes", "relay_box_blob_bytes", "attachments of one mailbox, for example 2GiB"},
	{"rate", "relay_rate", "requests a second of one peer"},
	{"burst", "relay_burst", "requests of one peer at once"},
}

func (a *app) relayLimits() *cobra.Command {
	cmd := &cobra.Command{
		Use: "limits", Args: args(0, 0), Short: "What you give as a relay: show it, or change it",
		Long: `Shows the limits of this relay. With flags it changes them: at once, and in the settings for the next start. A limit below
what is held now deletes nothing: the relay refuses new mail until there is room again. There is at most one mailbox for
each 128 KiB of all mail. A change ends the open streams, which come back.`,
		Example: "  kith relay limits\n  kith relay limits --max-bytes 20GiB --max-boxes 100000\n  kith relay limits --jq .limits",
	}
	given := map[string]*string{}
	for _, l := range limitFlags {
		given[l.flag] = cmd.Flags().String(l.flag, "", l.doc)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wanted api.RelayLimits
		changes := false
		for _, l := range limitFlags {
			if !cmd.Flags().Changed(l.flag) {
				continue
			}
			changes = true
			if err := a.wish(&wanted, l.setting, *given[l.flag]); err != nil {
				return usage(cmd, "--"+l.flag+" "+err.Error())
			}
		}
		return a.doRelayLimits(cmd, wanted, changes)
	}
	return cmd
}

// wish puts one limit, checked as the settings check it, into a request; all others stay zero: as they are.
func (a *app) wish(into *api.RelayLimits, setting, value string) error {
	if err := a.set.Set(setting, value, config.FromFlag); err != nil {
		return err
	}
	if err := a.set.Check(); err != nil {
		return err
	}
	c := a.set.Config
	switch setting {
	case "relay_max_bytes":
		into.MaxBytes = uint64(c.RelayMaxBytes)
	case "relay_max_boxes":
		into.MaxBoxes = uint32(c.RelayMaxBoxes)
	case "relay_box_bytes":
		into.BoxBytes = uint64(c.RelayBoxBytes)
	case "relay_box_count":
		into.BoxCount = uint32(c.RelayBoxCount)
	case "relay_pass_bytes":
		into.PassBytes = uint64(c.RelayPassBytes)
	case "relay_pass_count":
		into.PassCount = uint32(c.RelayPassCount)
	case "relay_blob_bytes":
		into.BlobBytes = uint64(c.RelayBlobs)
	case "relay_box_blob_bytes":
		into.BoxBlobBytes = uint64(c.RelayBoxBlobs)
	case "relay_rate":
		into.Rate = c.RelayRate
	case "relay_burst":
		into.Burst = c.RelayBurst
	}
	return nil
}

func (a *app) doRelayLimits(cmd *cobra.Command, wanted api.RelayLimits, changes bool) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	method, req := "relay_status", any(api.None{})
	if changes {
		method, req = "relay_limits", wanted
	}
	return ask(cmd.Context(), a, c, method, req, func(r api.Relay) {
		a.showLimits(r)
		if changes {
			a.note("kept in %s", a.folders.Config)
		}
	})
}

func (a *app) showLimits(r api.Relay) {
	rate := fmt.Sprintf("%d requests a second, %d at once", r.Limits.Rate, r.Limits.Burst)
	if r.Limits.Rate < 0 {
		rate = "no limit"
	}
	a.out.Table([][]any{
		{"all mail", config.Size(r.Limits.MaxBytes).String(), "holds " + config.Size(r.Bytes).String()},
		{"mailboxes", fmt.Sprint(r.Limits.MaxBoxes), fmt.Sprintf("holds %d", r.Boxes)},
		{"one mailbox", fmt.Sprintf("%s, %d messages", config.Size(r.Limits.BoxBytes), r.Limits.BoxCount), ""},
		{"one contact's device there", fmt.Sprintf("%s, %d messages", config.Size(r.Limits.PassBytes), r.Limits.PassCount), ""},
		{"all attachments", config.Size(r.Limits.BlobBytes).String(), "holds " + size(uint64(r.Blobs.Bytes))},
		{"attachments of one mailbox", config.Size(r.Limits.BoxBlobBytes).String(), ""},
		{"one peer", rate, ""},
	})
	if !r.Enabled {
		a.note("this node holds no mail for others")
		a.next("kith relay enable")
	}
}

// keepLimits writes the limits that a person chose while the node runs into the settings: those that differ from what
// the file says already. Zero is the default.
func (a *app) keepLimits(l mailbox.Limits, r relay.Rate) error {
	kept, err := config.Load(a.folders.Config, func(string) string { return "" })
	if err != nil {
		return err
	}
	wanted := kept.Config
	put(&wanted.RelayMaxBytes, config.Size(l.MaxBytes))
	put(&wanted.RelayMaxBoxes, int(l.MaxBoxes))
	put(&wanted.RelayBoxBytes, config.Size(l.BoxBytes))
	put(&wanted.RelayBoxCount, int(l.BoxCount))
	put(&wanted.RelayPassBytes, config.Size(l.PassBytes))
	put(&wanted.RelayPassCount, int(l.PassCount))
	put(&wanted.RelayBlobs, config.Size(l.BlobBytes))
	put(&wanted.RelayBoxBlobs, config.Size(l.BoxBlobBytes))
	put(&wanted.RelayRate, r.PerSecond)
	put(&wanted.RelayBurst, r.Burst)
	chosen := config.Settings{Config: wanted}
	for _, l := range limitFlags {
		if value := chosen.Get(l.setting); value != kept.Get(l.setting) {
			if err := config.Keep(a.folders.Config, l.setting, config.Text(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

func put[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}
