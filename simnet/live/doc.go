// Package live plays a population with the very nodes that people run - p2p.Start with libp2p, kad-dht and bbolt files - in
// virtual time: their packets cross simulated links (github.com/marcopolo/simnet), their clocks are those of a
// testing/synctest bubble, which stands still while anybody computes and jumps when everybody waits.
//
// It takes what simnet/crowd takes and gives figures of the same names, so that the one can be held against the other.
//
// It does not guarantee the same bytes from the same seed: the script (who comes, goes and writes when) follows from the
// seed, but goroutines run in the order in which the machine runs them, and libp2p draws its own randomness.
//
// Time stands still while a goroutine waits for a lock whose holder waits for time: then nothing ends. What the nodes do must
// not hold a lock over a wait; where a library does, the node has a seam (kad.Config.Alone).
package live
