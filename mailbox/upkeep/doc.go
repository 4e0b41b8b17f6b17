// Package upkeep keeps the relay of a running node whole: it visits the other
// relays of its boxes and completes what is missing on either side, asks their
// clocks when its own has jumped, reads through its store once a day and heals
// what it finds spoilt, remembers the relays that it met, and hands everything
// over when the operator lets the relay leave. docs/protocol.md, section 4.10.
//
// It decides nothing: whom to visit, what to believe and when a standby takes
// over is package repair, what may be stored is package mailbox. One goroutine
// keeps the times; visits and the daily scrub run beside it, Drain and Scrub in
// their caller's.
//
// Not guaranteed: what it knows of others is lost with the process and learned
// again, so that a standby counts silence from its own start at the earliest.
package upkeep
