package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdSearch() *cobra.Command {
	var q api.SearchRequest
	var since, until string
	cmd := &cobra.Command{
		Use: "search WORDS…", GroupID: groupTalk, Args: cobra.ArbitraryArgs, Short: "Find messages by their words",
		Long: `Finds messages in which all the words stand, or begin a word; the newest come first. The search goes over your own sealed
store: nothing is asked of anybody, and no index lies on the disk in the clear.`,
		Example: `  kith search dinner
  kith search '"see you at eight"' --chat bob
  kith search --from bob --since 7d`,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Query = strings.Join(args, " ")
			for _, f := range []struct {
				text string
				into *time.Time
				name string
			}{{since, &q.Since, "--since"}, {until, &q.Until, "--until"}} {
				at, ok := pointInTime(f.text)
				if !ok {
					return usage(cmd, f.name+" is a date (2026-11-22), a time (2026-11-22T15:04) or how long ago (7d)")
				}
				*f.into = at
			}
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "search", q, a.showFound)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Chat, "chat", "", "in this conversation")
	f.StringVar(&q.From, "from", "", "by this person, or me")
	f.StringVar(&q.Kind, "kind", "", "text, location, card or custom")
	f.StringVar(&since, "since", "", "not older than this")
	f.StringVar(&until, "until", "", "not newer than this")
	f.IntVarP(&q.Limit, "number", "n", 0, "how many (default 50)")
	return cmd
}

func (a *app) showFound(found api.Messages) {
	if len(found.Messages) == 0 {
		a.note("nothing found")
	}
	for _, m := range found.Messages {
		a.showTailed("", m)
	}
}

// pointInTime reads a date, a time or how long ago. Nothing is no time.
func pointInTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	if d, ok := timeSpan(s); ok {
		return time.Now().Add(-d), true
	}
	for _, form := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02 15:04", time.RFC3339} {
		if at, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
