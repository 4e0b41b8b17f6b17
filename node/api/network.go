package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kith-im/kith/node"
)

func status(ctx context.Context, b *Backend, _ None) (Status, error) {
	s := Status{Node: b.State(), Version: b.version}
	err := b.Look(ctx, func(tx node.Tx, e *node.Engine, now time.Time) error {
		var errs [4]error
		var chats []node.ChatView
		var people []node.ContactView
		s.Identity, errs[0] = node.Identity(tx)
		s.Mailbox, errs[1] = node.Mailbox(tx, e, now)
		chats, errs[2] = node.Inbox(tx)
		people, errs[3] = node.Contacts(tx, e)
		for _, c := range chats {
			s.Unread += c.Unread
		}
		s.Contacts, s.Cursor = len(people), newest(tx)
		return errors.Join(errs[:]...)
	})
	s.Hint = statusHint(s)
	return s, err
}

// statusHint is the next step for a person whose node does less than it could.
func statusHint(s Status) string {
	switch {
	case s.Contacts == 0:
		return "kith invite"
	case s.Node.Hint != "":
		return s.Node.Hint
	}
	return s.Mailbox.Hint
}

func mailbox(tx node.Tx, e *node.Engine, now time.Time, _ None) (node.MailboxView, error) {
	return node.Mailbox(tx, e, now)
}

func explain(tx node.Tx, e *node.Engine, now time.Time, _ None) (Explanation, error) {
	return Explanation{}, Fail(ExitFailed, "no election is recorded", "kith relay status")
}

func relayStatus(_ context.Context, b *Backend, _ None) (Relay, error) { return b.Relay(), nil }

func relayEnable(ctx context.Context, b *Backend, _ None) (Relay, error) {
	return b.SetRelay(ctx, true)
}

func relayDisable(ctx context.Context, b *Backend, _ None) (Relay, error) {
	return b.SetRelay(ctx, false)
}

func peers(_ context.Context, b *Backend, _ None) (Peers, error) {
	return Peers{Peers: b.Peers()}, nil
}

func ping(ctx context.Context, b *Backend, q PingRequest) (Pings, error) {
	if q.To == "" {
		return Pings{}, Fail(ExitUsage, "whom to ping is missing", "kith ping --help")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := b.Ping(ctx, q.To)
	return Pings{To: q.To, Pings: list}, err
}

func netcheck(ctx context.Context, b *Backend, _ None) (Checks, error) {
	list, err := b.Netcheck(ctx)
	if err != nil {
		return Checks{}, err
	}
	var box node.MailboxView
	err = b.Look(ctx, func(tx node.Tx, e *node.Engine, now time.Time) (err error) {
		box, err = node.Mailbox(tx, e, now)
		return err
	})
	return Checks{Checks: append(list, checkMailbox(box))}, err
}

func checkMailbox(box node.MailboxView) Check {
	members := 0
	for _, r := range box.Relays {
		if r.Member {
			members++
		}
	}
	switch {
	case members == 0:
		return Check{Result: "warn", What: "mailbox", Why: "no relay holds mail for us while we are away", Fix: "kith relay status"}
	case box.State == "thin":
		return Check{Result: "warn", What: "mailbox", Why: fmt.Sprintf("%d of %d relays hold our mail", members, box.R), Fix: "kith relay explain"}
	}
	return Check{Result: "ok", What: "mailbox", Why: fmt.Sprintf("%d relays hold our mail", members)}
}
