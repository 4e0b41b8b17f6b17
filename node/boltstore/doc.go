// Package boltstore keeps the store of one device in one sealed bbolt file, `node.db`.
//
// The layout, per row of package node's buckets:
//
//	bbolt bucket   one byte: the number of the store.Bucket
//	key            named bucket: HMAC of bucket | 0 | key, 16 bytes; ordered bucket: the key itself
//	value          sealed: named bucket: u16 length | key | value; ordered bucket: value
//	sealed under   the vault's key, with bucket | 0 | stored key as associated data
//	header         bbolt bucket "header": "version" u32 in the clear, "sums" sealed
//
// "sums" holds, for each bucket, the number of its rows and the exclusive-or of a keyed digest of each: written in the
// transaction that changes them, compared by Check.
//
// What it guarantees: an Update that returns nil is on disk (fsynced); one that returns an error left nothing; no value
// and no name is readable without the vault's key; a value that was changed, moved to another place or exchanged for
// another's is never returned, but named as damaged; Check finds every row that is damaged, missing, added or older
// than it should be; a file of a newer version is refused, one of an older version opens; one process at a time writes.
//
// What it does not: it hides neither how many rows a bucket holds, nor how long they are, nor which changed between
// two copies of the file; it cannot tell that the whole file was exchanged for an older copy of itself (the engine
// compares its published numbers with the network for that); and deleted bytes stay in free pages until reused, sealed.
package boltstore
