// Package model is the population model: ten thousand to ten million devices in virtual time, each a few dozen bytes,
// driven by the functions that decide in production.
//
// Elections are election.Choose, standbys take over by repair.TakesOver after repair.Patience, tries wait below
// outbox.Ceiling, mail lives mailbox.MaxTTL, envelopes have the sizes of crypto/session. What is left out is keys,
// bytes and the conversation on the wire: an envelope is twelve bytes that say when it was written, by which device,
// of what size, and which seats of the box hold it.
//
// One Config gives one Result, byte for byte: one goroutine, one generator, events ordered by time and number.
// docs/simulation.md says what is modelled, what is not, and what the model was checked against.
package model
