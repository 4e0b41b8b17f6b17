// Package boltbox keeps the boxes of a relay in one bbolt file.
//
// Guarantees. Do returns nil only after an fsync that covers its writes, and
// only then are receipts signed. Callers that wait together share a commit. A
// transaction that fails leaves nothing behind. Every stored value is checked
// by hash when it is read: a damaged one is counted (Stats) and not served.
// Scrub finds it before somebody asks, while the store is in use, and
// Contents.Mend puts a good copy in its place. A full disk is ErrDiskFull:
// nothing was answered, nothing changed, and the next transaction works once
// there is room. Envelopes are refused while there is still room for acks.
// Creation is atomic: the file appears under its name when it is complete. So
// is the copy without free pages that Open makes of a file of more than 64 MiB
// most of which is free, and the upgrade from an earlier format: one commit.
//
// Not guaranteed. Any other failure of a write or of fsync ends the store
// until it is opened again, because after a failed fsync nobody knows what
// the disk holds. The file is not encrypted: envelopes are, and what a relay
// sees of them it sees in memory too. Damage is not repaired from within: the
// other members of a set have the copies. A file whose pages are damaged is
// not opened at all; Check reads it as far as it goes.
//
// # Layout
//
// Format 2. All numbers are big-endian. check(x) is the first 8 bytes of
// SHA-256 over the label "kith1 boltbox", the bucket's name, the key and x.
//
//	bucket   key          value
//	meta     "format"     u32 = 2
//	meta     "seq"        last arrival number u64 | check
//	meta     "clock"      trusted ms u64 | held ms u64 | last ms u64 | check   (0: none)
//	meta     "leaving"    ms u64 | check   (0, or no row: stays)
//	box      box id 32    number u64 | core 32 | rank u8 | flags u8 | lease end ms u64 | reserved ms u64 | [key 32] | check
//	                      flags: 1 member, 2 front door; key: the box's public key, left out where it is zero
//	set      box id 32    signed set record as received | check
//	pass     box id 32 |  certificate 97 | check
//	         pass id 8
//	sum      day u32      entries u64 | xor of their checks u64 | check
//	i<day>   seq u64      box id 32 | envelope id 32 | stored ms u64 | expires ms u64 | size u32 | flags u8 | [admit 8] | check
//	                      flags: 1 buried, 2 by pass, 4 came as a copy; admit: pass id or work nonce, left out where it is zero
//	e<day>   seq u64      the envelope, checked by its id
//
// Format 1 had neither pass, leaving, key nor admit: its rows are rows of
// format 2 as they are, so that the upgrade writes the format and the empty
// table.
//
// A deposit appends to one i and one e bucket: both keys ascend, so a commit of
// many deposits writes few pages. Days are days of expiry; dropping one is
// dropping two buckets. An ack rewrites the index value and deletes the
// envelope. The sum of a day shows at open that index entries are missing.
//
// The index is also held in memory (about 175 bytes for each envelope not yet
// expired), rebuilt at open from the i buckets alone. The transaction works on
// this index plus an overlay of its own; bbolt is written once per commit.
package boltbox
