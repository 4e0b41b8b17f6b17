// Package frame cuts a stream into frames of one protobuf message each, and
// gathers frames into few writes.
//
// What it guarantees: a size is checked before memory is taken for it, memory
// follows the bytes that came, the fields of a message are counted before it
// is decoded, every frame that has begun has a deadline, and an idle stream
// holds no buffer. What it does not: it knows no protocol, and checks nothing
// inside a message.
package frame
