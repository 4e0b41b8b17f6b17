// Package stock is what relays do with one-time bundles: the owner of a front
// door leaves some there, and whoever is about to begin a session with its
// device takes one. It has the rules, the frames of /kith/prekey/1, and a store
// in memory.
//
// It guarantees: only the owner of a box that the relay leases leaves bundles
// for it, each signed by a device and marked one-time; a bundle is handed out
// once, and not after its freshness mark; boxes and the relay hold no more than
// their limits. It does not: say whose device it is, or that nobody else has
// seen the bundle. Whoever uses one verifies it, and does without if there is
// none.
package stock
