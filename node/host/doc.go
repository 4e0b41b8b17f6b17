// Package host builds the libp2p hosts of a node, and says which addresses they dial and tell.
//
// A device has one host of its own: its key is in the device's records, it listens, and others find it there. It
// refuses to dial what strangers could aim it at (this machine, link-local addresses, forms that nest), and bounds what
// libp2p takes for connections and streams: for a person by default, for a relay while the device serves as one.
//
// What it does not do: it knows no protocol of kith's own, and it keeps no connection alive.
package host
