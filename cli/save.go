package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdSave() *cobra.Command {
	var q api.SaveRequest
	var file int
	cmd := &cobra.Command{
		Use: "save MSG", GroupID: groupTalk, Args: args(1, 1), Short: "Write a file of a message into a folder",
		Long: `Writes a file of a message into a folder, as soon as it is here; it is fetched first if need be. The node goes on when
you do not wait. A file never replaces another one: a second "photo.jpg" becomes "photo (2).jpg". Its name is the sender's,
without what could lead out of the folder or deceive you.`,
		Example: "  kith save 3fa9c1\n  kith save 3fa9c1 --file 2 --to pictures\n  kith save 3fa9c1 --preview --to /tmp",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(q.Dir)
			if err != nil {
				return usage(cmd, err.Error())
			}
			if file < 1 {
				return usage(cmd, "--file counts from 1")
			}
			q.ID, q.Dir, q.Index = args[0], dir, file-1
			return a.doSave(cmd.Context(), q)
		},
	}
	cmd.Flags().StringVar(&q.Dir, "to", ".", "the folder")
	cmd.Flags().IntVar(&file, "file", 1, "which file of the message")
	cmd.Flags().BoolVar(&q.Preview, "preview", false, "the small picture of the file")
	return cmd
}

func (a *app) doSave(ctx context.Context, q api.SaveRequest) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	watching, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.watchTransfers(watching, c)
	}()
	var saved api.Saved
	err = c.Call(ctx, "file_save", q, &saved)
	stop()
	if <-ended; err != nil {
		return err
	}
	return a.emitAs("saved", saved, func() { a.out.Printf("%s  %s\n", saved.Path, size(saved.Size)) })
}

// progressEvery is how often a line of progress is written, in milliseconds: it is read by people, or from a log.
const progressEvery = 1000

// watchTransfers writes progress to stderr until ctx ends.
func (a *app) watchTransfers(ctx context.Context, c caller) {
	for ctx.Err() == nil {
		began := time.Now()
		var t api.Transfers
		if c.Call(ctx, "transfers", api.TransfersRequest{WaitMS: progressEvery}, &t) != nil {
			return
		}
		for _, v := range t.Transfers {
			if v.State == "fetching" || v.State == "queued" || v.State == "saving" {
				a.note("%s", progressOf(v))
			}
		}
		rest := time.NewTimer(progressEvery*time.Millisecond - time.Since(began))
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
		}
	}
}

// progressOf is one transfer as a line. The name of another stands last: nothing of ours is right of it.
func progressOf(v view.Transfer) string {
	part := 100.0
	if v.Size > 0 {
		part = 100 * float64(v.Done) / float64(v.Size)
	}
	line := fmt.Sprintf("%s %3.0f %% of %s", v.State, part, size(v.Size))
	if v.Error != "" {
		line += " (" + v.Error + ")"
	}
	return line + "  " + term.Clean(v.Name)
}

func (a *app) cmdTransfers() *cobra.Command {
	var cancel string
	var file int
	cmd := &cobra.Command{
		Use: "transfers", GroupID: groupTalk, Args: args(0, 0), Short: "Files on their way",
		Long:    "Lists the files that are being fetched or uploaded, those that wait to be tried again, and those that failed.",
		Example: "  kith transfers\n  kith transfers --cancel 3fa9c1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			if cancel != "" {
				return ask(cmd.Context(), a, c, "transfer_cancel", api.TransferRequest{ID: cancel, Index: file - 1}, func(v view.Transfer) {
					a.out.Printf("%s\n", progressOf(v))
				})
			}
			return ask(cmd.Context(), a, c, "transfers", api.TransfersRequest{}, a.showTransfers)
		},
	}
	cmd.Flags().StringVar(&cancel, "cancel", "", "stop what runs for a file of this message; what is here stays")
	cmd.Flags().IntVar(&file, "file", 1, "which file of the message")
	return cmd
}

func (a *app) showTransfers(t api.Transfers) {
	if len(t.Transfers) == 0 {
		a.note("nothing is on its way")
	}
	for _, v := range t.Transfers {
		a.out.Printf("%s  %-4s  %s\n", term.In(term.Bold, short(v.Message)), v.Way, progressOf(v))
	}
}

// size is a number of bytes as a person reads it.
func size(n uint64) string {
	const step = 1024
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	at, value := 0, float64(n)
	for value >= step && at < len(units)-1 {
		value, at = value/step, at+1
	}
	if at == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[at])
}

// filesToSend makes the paths of files absolute: the node reads them, in a folder of its own.
func filesToSend(cmd *cobra.Command, paths []string, sticker bool) ([]api.FileRequest, error) {
	var out []api.FileRequest
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, usage(cmd, err.Error())
		}
		info, err := os.Stat(abs)
		switch {
		case err != nil:
			return nil, usage(cmd, strings.TrimPrefix(err.Error(), "stat "))
		case !info.Mode().IsRegular():
			return nil, usage(cmd, p+" is no file")
		}
		out = append(out, api.FileRequest{Path: abs, Sticker: sticker})
	}
	return out, nil
}
