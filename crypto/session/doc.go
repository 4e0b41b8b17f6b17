// Package session seals messages between two devices: a handshake from a published bundle, a
// double ratchet with encrypted headers, and the padded envelope that a relay sees.
//
// The handshake (suite 1) mixes three X25519 agreements and one ML-KEM-768 encapsulation; the
// initiator's identity travels encrypted. Afterwards every message has its own key. The exact
// bytes are in docs/protocol.md, section "Session".
//
// Guaranteed:
//   - A message opens only in the session of the device that sealed it, once, and unaltered;
//     everything else is [ErrOpen] and leaves the session as it was.
//   - [Accept] keeps nothing, and asks nobody's opinion of a sender, before the enclosed
//     message proved that this sender holds its identity key.
//   - Keys of delivered messages are gone after the next [Session.Marshal]; a stolen session
//     heals with the first round trip that the thief does not control, and against a quantum
//     computer with the first epoch that the thief does not control: an ML-KEM-768 secret that
//     is mixed in after every 50 messages, or a week (1.5 round trips).
//   - Recorded traffic stays closed to a later quantum computer as long as ML-KEM-768 holds for
//     the handshake.
//   - An envelope shows its type, its size class and, in a first flight, the prekey it used.
//     Nothing else distinguishes it from random bytes.
//   - A session restored from an old copy never repeats a key together with a nonce.
//
// Not guaranteed:
//   - A replayed first flight is accepted again by [Accept]: the caller keeps the cache of
//     (prekey id, EA) for as long as the prekey's secret lives.
//   - Authentication is classical, and whoever steals a prekey's X25519 secret can pose as anybody
//     towards that device until the secret is deleted.
//   - Epochs under a relay that drops every message of their size: they wait until one comes
//     through, [Session.Stalled] tells, and from the 8th chain on all messages that leave room
//     have that size. They wait likewise while a side sends nothing that leaves room.
//   - Erasure from memory: Go may have copied a key.
//
// The package is pure: time and entropy are arguments. The one exception is the ML-KEM
// encapsulation in [Initiate] and [Session.Open], which the standard library does not allow to be
// seeded.
package session
