// Package dht holds the records that kith publishes in its directory and the
// rules for believing them: device list, device record, mailbox set record,
// lease and relay advert; their keys, their checks, which of two versions
// wins, and when to publish again. docs/protocol.md gives every byte.
//
// It guarantees that a record which parses carries all the signatures it
// needs, has exactly one encoding and stays within the limits of limits.go;
// that Validate ties a value to its key; that Select and Newer prefer the
// highest number whatever the order in which versions arrive.
//
// It does not guarantee that a record is the newest one in the world (a
// directory can withhold), that a peer is reachable, or that a member of a set
// keeps mail. A value past its notAfter mark is stale, not dead: it is believed
// for another Grace.
package dht
