// Package bench measures relays: real relay processes on loopback, real libp2p hosts as their clients, and the same disk
// under both the relays and the fsyncs that the figures are compared with.
//
// What it guarantees: a deposit counts when its receipt was checked, and not before; everything that was counted is
// fetched again, so that a fast relay that loses or doubles mail fails; nothing of a run is left behind, also when it is
// interrupted. The limits and rates of the relays are opened by their settings, which are otherwise the defaults.
//
// What it does not: client and relay share the cores of one machine, so that a relay alone is faster than it says here.
package bench
