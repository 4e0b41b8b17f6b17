package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdLocation() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use: "location TO LAT LON [LABEL]", GroupID: groupTalk, Args: args(3, 4), Short: "Send a place",
		Long:    "Sends a place, in degrees north and east. What is south or west begins with a minus.",
		Example: "  kith location bob 52.5163 13.3777 \"at the gate\"\n  kith location bob -33.8568 151.2153",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := api.LocationRequest{To: args[0], Key: f.key}
			var err, err2 error
			q.Lat, err = strconv.ParseFloat(strings.TrimSpace(args[1]), 64)
			if q.Lon, err2 = strconv.ParseFloat(strings.TrimSpace(args[2]), 64); err != nil || err2 != nil {
				return usage(cmd, "a place is two numbers: degrees north and degrees east")
			}
			if len(args) == 4 {
				q.Label = args[3]
			}
			return a.sendAs(cmd, "location_send", q, f)
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) cmdCard() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use: "card TO CONTACT", GroupID: groupTalk, Args: args(2, 2), Short: "Introduce a contact of yours to somebody",
		Long:    "Sends the name and the user id of a contact, or yours with me. The other side can ask to be a contact with it.",
		Example: "  kith card bob carol\n  kith card bob me",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.sendAs(cmd, "card_send", api.CardRequest{To: args[0], Contact: args[1], Key: f.key}, f)
		},
	}
	f.add(cmd)
	return cmd
}
