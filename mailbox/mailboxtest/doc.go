// Package mailboxtest is the conformance suite of mailbox.Store: every store
// has to pass it, and is compared, operation by operation, with the reference
// model in memory.
//
// Conform checks each promise of mailbox.Tx and mailbox.Store in a small
// universe. Compare runs random transactions, failing and reopening ones among
// them, on a store and on the model, and wants the same results and the same
// state after each. Neither tests durability: that is the store's own affair.
package mailboxtest
