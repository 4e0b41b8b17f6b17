// Package boltstore keeps the store of one device in one sealed bbolt file, `node.db`.
//
// The layout, per row of package node's buckets:
//
//	bbolt bucket   one byte: the number of the store.Bucket
//	key            named bucket: HMAC of bucket | 0 | key, 16 bytes; ordered bucket: the key itself
//	value          sealed: named bucket: u16 length | key | value; ordered bucket: value
//	sealed under   the vault's current key of the bucket's class, with bucket | 0 | stored key as associated data
//	header         bbolt bucket "header": "version" u32 in the clear, "sums" sealed, "lasting" and "fleeting": marks of the keys
//
// "sums" holds, for each bucket, the number of its rows and the exclusive-or of a keyed digest of each: written in the
// transaction that changes them, compared by Check.
//
// What it guarantees: an Update that returns nil is on disk (fsynced); one that returns an error left nothing; no value
// and no name is readable without the vault's key; a value that was changed, moved to another place or exchanged for
// another's is never returned, but named as damaged; Check finds every row that is damaged, missing, added or older
// than it should be; a file of a newer version is refused, one of an older version opens; one process at a time writes.
//
// It owns the key file beside it, `vault.key`, as well: Renew and Rotate bring fresh keys, seal all rows of a class again
// and destroy the old keys, so that a row which was deleted before is gone however long the file keeps its bytes; a crash at
// any step leaves both files good. A store that is older than its keys opens and says so (Restored, Forget).
//
// What it does not: it hides neither how many rows a bucket holds, nor how long they are, nor which changed between
// two copies of the file; it cannot tell that both files were exchanged for older copies, or the store for one younger than
// the last rotation (the engine compares its published numbers with the network for that); and until the next rotation
// deleted bytes lie in free pages, sealed under a key that is still there.
package boltstore
