// Package mend holds the rules by which two devices find each other again when one of them has lost what it knew: when
// sessions are given up, which counters have not come and when they are asked for, and what the answer to that is.
//
// Every message that people would miss has a counter of the pair of devices that it goes between; acknowledgements and the
// like have none. A counter is a block, the upper 32 bits, and a number in it from 1, without gaps; a device that has lost
// its count begins the block of that second.
//
// It changes rows of the store and nothing else, a device's row field by field: what its fields refer to stays. The engine
// acts on it, and so do the random schedules of this package's tests.
package mend
