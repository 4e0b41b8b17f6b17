// Package store is what a device keeps: its tables, the transaction that the
// engine works in, and a store in memory, which is the reference model of the
// sealed one (boltstore) and what simulated devices use; where there are many, NewCompact.
//
// Guarantees. Update leaves everything or nothing; a damaged value is never
// half a read, see Tx.Err. Not guaranteed: a store in memory is for one goroutine.
package store
