// Package mailbox holds the rules of a relay's boxes: who may deposit, fetch
// and acknowledge, what a relay refuses, and when things expire.
//
// A box is named by the hash of a public key; whoever holds the private key
// owns it. A relay serves a box under a lease that it countersigned (Commit).
// While the lease runs contacts deposit by passes (package pass) and strangers by
// work, each within a share of their own; the owner fetches and acks. The relays
// of a set pull from each other what they lack. The package decides; a Store
// keeps: NewMemory is the reference model, package boltbox the durable one.
//
// Guarantees. A receipt is signed only after the commit that holds the
// envelope. An unexpired envelope that has a receipt is never evicted; only
// its owner's ack or its expiry removes it. Nobody takes the room of another
// pass, of strangers, or the floor of another box. What was acknowledged here
// does not come back from another relay. Fetch hides an expired envelope at
// its very millisecond. A refusal changes nothing and is typed. Nothing is
// deleted because a clock jumped: see Clock. Results depend on the arguments
// and the store alone.
//
// Not guaranteed. A relay that lies (signs and drops, or reads the times and
// sizes it sees) is bounded by the other members of a set, not by this
// package. Several passes together can fill a box.
package mailbox
