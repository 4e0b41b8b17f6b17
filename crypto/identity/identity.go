// Package identity says who a user is and which devices speak for them, in
// records that anyone can verify and nobody has to be trusted to serve.
//
//	phrase -> root -> account key of an epoch -> device list -> device
//	                                                 ^            |
//	                                                 +-- bundle --+
//
// A user is the hash of an offline root key. The root certifies one account
// key per epoch; the account key, which only the admin device holds, signs the
// numbered device list; each device signs its own bundle, which names the user
// and carries the keys with which others begin sessions. List and bundle are
// fixed binary (docs/protocol.md, "Identity"), kept and verified as received.
//
// It guarantees: whoever parses a list or bundle holds exactly the bytes that
// the owner of its keys signed; a device is accepted as a user's only by the
// two-way link of Claims; two lists for one place are recognised as a Fork; no
// public key that comes out is of small order or has a second spelling, and no
// ML-KEM key is malformed.
//
// It does not guarantee: that a list is the newest (compare with what is
// pinned, gossip heads); that a record is recent (Fresh and Usable ask the
// caller's clock); that a user id belongs to the person one has in mind
// (SafetyNumber); post-quantum signatures (all are Ed25519); that secrets are
// wiped from memory, which Go cannot promise.
package identity
