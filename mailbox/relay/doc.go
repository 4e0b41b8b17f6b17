// Package relay moves the frames of a relay over libp2p: the server that lets
// strangers deposit and owners collect, and the client that a device uses.
//
// What it guarantees: an answer to a deposit or an ack leaves only after the
// store's commit returned; a receipt that Client.Deposit returns was verified
// against the relay's own key, the box and the envelope that was sent; every
// size, count and window is checked before memory is taken for it; a stream
// that breaks the framing is closed and counted.
//
// What it does not: it decides nothing (admission, quotas, leases, expiry and
// signatures of requests are package mailbox), it retries nothing, and it
// hides neither addresses nor times from the relay.
package relay
