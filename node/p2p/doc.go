// Package p2p runs one device on the network: it gives the engine of package
// node its time, its entropy, its store and its peers, and performs the
// engine's effects.
//
// What it guarantees: one goroutine owns the engine; nothing leaves the device
// before the store transaction that decided it is durable; every performer
// answers with an input, also when it fails or is told to stop; every queue is
// bounded and every read has a deadline or is a held stream with a size limit,
// so that a stuck peer delays neither the loop nor other peers; a store that
// cannot write keeps the node up and is tried again.
//
// What it does not: it decides nothing about messages (package node), hides
// neither addresses nor times from peers and relays, and answers nobody who is
// not spoken to by the engine with more than a closed stream.
package p2p
