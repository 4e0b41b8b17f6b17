package story

import (
	"errors"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/simnet"
)

// errNotHere is what a command is that only the simulated world can play.
var errNotHere = errors.New("only the simulated world can do that")

// Stage is where a script is played: the simulated world, or real nodes in virtual time.
type Stage interface {
	Clock
	Cast
}

// Clock is the time of a stage.
type Clock interface {
	Now() time.Time
	Run(d time.Duration)
	// RunUntil lets time pass until cond holds, at most d; it reports whether it did.
	RunUntil(d time.Duration, cond func() bool) bool
	Log(who, format string, args ...any)
}

// Cast brings on who plays. A person's node is not started yet, a relay runs.
type Cast interface {
	Person(name string) (Node, error)
	Device(name string, old Node) (Node, error)
	Relay(name string) (Server, error)
}

// Node is a device: an engine in the simulated world, or a real node. View reads also while it is stopped, if it can.
type Node interface {
	Do(fn func(*node.Engine, *node.Turn) error) error
	View(fn func(store.Tx) error)
	Start() error
	Stop()
}

// Server is a relay. Kill ends its process, Wipe takes its disk.
type Server interface {
	Restart() error
	Kill()
	Wipe()
	Held() int
}

// worldStage is the simulated world as a stage.
type worldStage struct{ *simnet.World }

func (w worldStage) Person(name string) (Node, error) { return asNode(w.AddDevice(name)) }

func (w worldStage) Device(name string, old Node) (Node, error) {
	return asNode(w.LinkDevice(name, old.(*simnet.Device)))
}

func asNode(d *simnet.Device, err error) (Node, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (w worldStage) Relay(name string) (Server, error) { return worldRelay{w.AddRelay(name)}, nil }

type worldRelay struct{ *simnet.Relay }

func (r worldRelay) Restart() error { r.Relay.Restart(); return nil }
