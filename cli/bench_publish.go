package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/bench"
)

func (a *app) benchPublish() *cobra.Command {
	var p bench.Publish
	cmd := tolerant(&cobra.Command{
		Use: "publish", Args: args(0, 0), Short: "Many publish to one mailbox that several relays hold",
		Long: `Starts relays on this machine with their usual limits, and lets publishers write into one mailbox. A message counts as in
custody when W relays have signed for it. Then its owner fetches from every relay that lives: all that was in custody has
to be there. With --kill so many relays are killed for good when half of the messages are out: what W > 1 is for.`,
		Example: `  kith bench publish                        # 30 publishers, 300 messages of 1.4 KB each, 3 relays, W = 2
  kith bench publish --kill 1               # nothing is lost
  kith bench publish --kill 1 --w 1         # the control: it loses`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doBenchPublish(cmd, p) },
	})
	f := cmd.Flags()
	f.IntVar(&p.Publishers, "publishers", 30, "how many write, each with a libp2p host of its own")
	f.IntVar(&p.Messages, "messages", 300, "how many each of them writes")
	f.IntVar(&p.Bytes, "bytes", 1400, "size of a message, sealed")
	f.IntVar(&p.Relays, "relays", 3, "relays that hold the mailbox")
	f.IntVar(&p.W, "w", 2, "how many of them have to sign for a message")
	f.IntVar(&p.Kill, "kill", 0, "how many of them are killed at half time")
	f.StringVar(&p.Over, "over", bench.TCP, "tcp or quic")
	f.StringVar(&p.Folder, "folder", "", "where the relays keep their files (default: the temporary folder)")
	_ = cmd.MarkFlagDirname("folder")
	return cmd
}

func (a *app) doBenchPublish(cmd *cobra.Command, p bench.Publish) error {
	for _, c := range []struct {
		ok  bool
		why string
	}{
		{p.Publishers >= 1 && p.Publishers <= bench.MaxPublishers, fmt.Sprintf("--publishers is 1 to %d", bench.MaxPublishers)},
		{p.Messages >= 2 && p.Messages <= bench.MaxMessages, fmt.Sprintf("--messages is 2 to %d", bench.MaxMessages)},
		{p.Bytes >= bench.MinBytes && p.Bytes <= bench.MaxBytes, fmt.Sprintf("--bytes is %d to %d", bench.MinBytes, bench.MaxBytes)},
		{p.Relays >= 1 && p.Relays <= bench.MaxRelays, fmt.Sprintf("--relays is 1 to %d", bench.MaxRelays)},
		{p.W >= 1 && p.W <= p.Relays, "--w is 1 to the number of relays"},
		{p.Kill >= 0 && p.Kill <= p.Relays-p.W, "--kill leaves at least W relays"},
		{p.Over == bench.TCP || p.Over == bench.QUIC, "--over is tcp or quic"},
	} {
		if !c.ok {
			return usage(cmd, c.why)
		}
	}
	var err error
	if p.Exe, err = os.Executable(); err != nil {
		return err
	}
	p.Tell = a.showPhase
	a.benchHead(fmt.Sprintf("kith bench publish --publishers %d --messages %d --bytes %d --relays %d --w %d --kill %d --over %s",
		p.Publishers, p.Messages, p.Bytes, p.Relays, p.W, p.Kill, p.Over))
	r, err := p.Run(cmd.Context())
	shown := a.emitAs("result", r, func() {
		a.benchVerdict(r.OK, r.Partial, fmt.Sprintf("%d of %d in custody, %d of them fetched in %d copies, %d lost, %d doubled, %s killed",
			r.Custody, r.Messages, r.Fetched, r.Copies, r.Lost, r.Doubled, count(r.Killed, "relay")))
	})
	if shown != nil {
		return shown
	}
	return a.benchEnded(cmd.Context(), r.OK, r.Why, err)
}
