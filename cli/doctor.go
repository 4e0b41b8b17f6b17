package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/p2p"
)

func (a *app) cmdDoctor() *cobra.Command {
	return tolerant(&cobra.Command{
		Use: "doctor", GroupID: groupStart, Args: args(0, 0), Short: "Is all well on this machine?",
		Long:    "Looks at the home folder, the settings, the store (all of it, if no node runs) and the disk. 'kith netcheck' looks at the network.",
		Example: "  kith doctor\n  kith doctor --jq '.checks[] | select(.result != \"ok\")'",
		RunE:    func(*cobra.Command, []string) error { return a.doDoctor() },
	})
}

func (a *app) doDoctor() error {
	list := []api.Check{a.checkSettings(), a.checkFolder(), a.checkClock(time.Now()), a.checkDisk()}
	running := a.checkNode()
	list = append(list, running)
	if running.Result != "ok" && p2p.Exists(a.folders.Home) {
		list = append(list, a.checkStore())
	}
	return a.checks("doctor", list)
}

func ok(what, why string) api.Check { return api.Check{Result: "ok", What: what, Why: why} }

func warn(what, why, fix string) api.Check {
	return api.Check{Result: "warn", What: what, Why: why, Fix: fix}
}

func bad(what, why, fix string) api.Check {
	return api.Check{Result: "fail", What: what, Why: why, Fix: fix}
}

func (a *app) checkSettings() api.Check {
	if a.broken != nil {
		return bad("settings", a.broken.Error(), "kith config show --origin")
	}
	return ok("settings", a.folders.Config)
}

func (a *app) checkFolder() api.Check {
	switch err := p2p.CheckHome(a.folders.Home); {
	case errors.Is(err, p2p.ErrNoHome):
		return warn("home", "no identity in "+a.folders.Home, "kith init")
	case err != nil:
		return bad("home", err.Error(), api.HintOf(err))
	}
	return ok("home", a.folders.Home+" is for you alone")
}

// builtAfter is a day before which no clock can be right.
var builtAfter = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (a *app) checkClock(now time.Time) api.Check {
	if now.Before(builtAfter) {
		return bad("clock", "it says "+now.Format(time.DateOnly)+": records of others look unborn, yours look dead", "timedatectl set-ntp true")
	}
	return ok("clock", now.UTC().Format(time.RFC3339))
}

const (
	diskLow  = 64 << 20 // bytes
	diskNone = 4 << 20
)

func (a *app) checkDisk() api.Check {
	dir := a.folders.Home
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	free, err := freeBytes(dir)
	words := fmt.Sprintf("%d MiB free", free>>20)
	switch {
	case err != nil:
		return warn("disk", "free space is unknown: "+err.Error(), "df -h "+quote(dir))
	case free < diskNone:
		return bad("disk", words+": nothing can be stored", "df -h "+quote(dir))
	case free < diskLow:
		return warn("disk", words, "df -h "+quote(dir))
	}
	return ok("disk", words)
}

func (a *app) checkNode() api.Check {
	c, err := api.Dial(p2p.SocketPath(a.folders.Home))
	if err != nil {
		return warn("node", "it is not running", "kith daemon")
	}
	c.Close()
	return ok("node", "it answers")
}

// checkStore reads the whole store.
func (a *app) checkStore() api.Check {
	secret, err := a.readPassphrase()
	if err != nil {
		return bad("store", err.Error(), "kith doctor --passphrase-file FILE")
	}
	v, err := boltstore.ReadKeys(a.folders.Home, secret)
	clear(secret)
	switch {
	case errors.Is(err, vault.ErrNeedPassphrase), errors.Is(err, vault.ErrPassphrase):
		return warn("store", "it was not checked: "+err.Error(), "kith doctor --passphrase-file FILE")
	case err != nil:
		return bad("store", err.Error(), "kith backup --help")
	}
	s, err := boltstore.Open(a.folders.Home, v, boltstore.Options{ReadOnly: true})
	if errors.Is(err, boltstore.ErrLocked) {
		return warn("store", "another process holds it", "kith status")
	}
	if err != nil {
		return bad("store", err.Error(), "kith backup --help")
	}
	defer s.Close()
	if err := errors.Join(p2p.CheckHostKey(a.folders.Home, v), s.Check()); err != nil {
		return bad("store", err.Error(), "kith backup --help")
	}
	if s.Restored() {
		return warn("store", "it is older than its keys: the next start begins anew with everybody", "kith daemon")
	}
	return ok("store", "every row opens and none is missing")
}
