package result

import (
	"fmt"
	"slices"

	"github.com/kith-im/kith/node/strict"
)

// renamed are figures that had another name before, in kinds that called the same thing differently.
var renamed = map[string]string{
	"users": "users.count", "devices": "devices.count", "relays": "relays.count", "relays.died": "relay.deaths.count",
	"unfinished.count": "pending.count", "events": "events.count",
}

// Unknown says that a figure is not among those that are known, and which was probably meant: what was called so before, or the
// nearest name.
func Unknown(name string, known []string) string {
	if now := renamed[name]; slices.Contains(known, now) {
		return fmt.Sprintf("there is no figure %q any more; it is called %q", name, now)
	}
	return strict.Unknown("figure", name, known)
}
