package result

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kith-im/kith/node/strict"
)

// renamed are figures that had another name before, in kinds that called the same thing differently.
var renamed = map[string]string{
	"users": "users.count", "devices": "devices.count", "relays": "relays.count", "relays.died": "relay.deaths.count",
	"unfinished.count": "pending.count", "events": "events.count",
}

// Unknown says that a figure is not among those that are known, and which was probably meant: what was called so before, or the
// nearest name, or those that have its words.
func Unknown(name string, known []string) string {
	if now := renamed[name]; slices.Contains(known, now) {
		return fmt.Sprintf("there is no figure %q any more; it is called %q", name, now)
	}
	why := strict.Unknown("figure", name, known)
	if strict.Near(name, known) != "" {
		return why
	}
	said := words(name)
	for n := len(said); n > 0; n-- {
		var some []string
		for _, k := range known {
			if among(said[:n], words(k)) {
				some = append(some, k)
			}
		}
		if len(some) == 1 {
			return why + "; there is " + some[0]
		} else if len(some) > 0 {
			return why + "; there are " + strings.Join(some[:min(len(some), 6)], ", ")
		}
	}
	return why
}

func words(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '_' })
}

// among reports whether all words stand in a name, in their order.
func among(some, all []string) bool {
	for _, w := range all {
		if len(some) > 0 && strings.EqualFold(w, some[0]) {
			some = some[1:]
		}
	}
	return len(some) == 0
}
