// Package blobs keeps sealed chunks of files (crypto/blob) on disk and moves
// them over libp2p: the store, the server of /kith/blob/1 and its client.
// Relays keep chunks for the boxes that they lease, devices keep those of their
// own files; both are asked in the same way.
//
// It guarantees: Put returns when chunk and claim are on the disk; a chunk that
// is returned hashes to its digest, and one that does not is dropped and
// counted; after a crash at any point a chunk has a row and a row has a chunk,
// or Open makes it so; no owner and no store holds more than its quota; sizes
// and counts are checked before memory is taken, and a transfer holds one
// buffer whatever the size.
//
// It does not: decide who may put (Admit does), know a clock of its own
// (Expire is told the time), hide who asks for what from whoever is asked, or
// keep a chunk longer than its claims say. What lies in a store is not
// encrypted again: chunks are.
package blobs
