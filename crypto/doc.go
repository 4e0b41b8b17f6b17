// Package crypto is the map of kith's cryptography. It holds no code: the
// rooms below do, and each is pure (time and entropy are arguments).
//
//	identity/  who a user is, which devices speak for them, the keys with
//	           which a session begins, the numbers that two people compare
//	session/   what two devices say to each other: handshake, double ratchet
//	           with encrypted headers, padded envelopes
//	vault/     secrets at rest under a passphrase
//
// # One suite
//
// There is one suite and nothing to negotiate, so nothing to downgrade:
// X25519 and ML-KEM-768 together for key agreement, Ed25519 for signatures,
// SHA-256 for hashes, HKDF and HMAC with SHA-256 for derivation,
// ChaCha20-Poly1305 for sealing (XChaCha20-Poly1305 at rest, where nonces are
// random and keys live long), Argon2id for what a person types. All of them
// come from the standard library and golang.org/x/crypto; none is ours. The
// suite number stands in every bundle, under its signature.
//
// # Which key signs or opens what
//
//	recovery phrase   12 words on paper; Argon2id gives the root seed
//	root key          certifies account keys; on no device after set-up
//	account key       one per epoch, on the admin device; signs device lists
//	device key        one per device, never leaves it; signs bundles and
//	                  device records
//	identity key IK   one per device, X25519; authenticates sessions
//	prekey            one per bundle, replaced daily, deleted once no mail can
//	                  need it; X25519 and ML-KEM; opens first flights only
//	message key       one per message, erased when used
//	store key         numbered, in the vault's file; seals what is on disk
//
// A thief of one device reads that device. The admin device's account key
// makes new lists until its owner takes the phrase and opens the next epoch,
// which outranks every list of the one before. A thief of the phrase is the
// user.
//
// # Rules that hold in every room
//
// What is hashed, signed or bound as associated data is fixed big-endian
// binary, read strictly (a length too many or a byte left over refuses it) and
// kept as received, so that nobody ever signs a re-encoding. Every use of a
// key has its own label, exact ASCII that begins with "kith1 ". Signatures are
// over the label "kith1 <record> sig" and all bytes of the record before the
// signature.
//
// Hostile input meets one error per room, without a reason. Errors for people
// (a mistyped phrase, a passphrase) do say what is wrong.
//
// A key is built from bytes drawn from the entropy that was passed in, never
// by a GenerateKey that may ignore its reader. The one exception is ML-KEM
// encapsulation, which the standard library does not let anyone seed: hence no
// decision anywhere depends on the bytes of a ciphertext.
//
// # What is not here
//
// Signatures are classical: an adversary with a quantum computer can
// impersonate, though not read what was said before. There is no log of keys
// that the whole world sees; a false device list is noticed by comparing heads
// with contacts, and a false user id by comparing safety numbers. Go does not
// promise to wipe secrets from memory.
package crypto
