// Package prekey moves one-time bundles over libp2p: the server and the client
// of /kith/prekey/1, and a relay's stock on disk. A device answers for itself,
// a relay for the front doors that it leases; rules and frames are those of
// package stock.
//
// It guarantees: a bundle is off the disk before it is handed out, and answered
// for only after the commit; memory, streams and time are bounded whoever asks;
// the file of a relay's stock that is damaged is laid anew, and rows that are
// damaged are dropped and counted: the stock is there to be used up. It does
// not: queue or repeat anything, or decide whether a bundle is any good.
package prekey
