package session

import "encoding/binary"

// bodyVersion is the first byte of every body.
const bodyVersion = 1

// Fields of a body. A reader skips fields that it does not know, so later versions may add
// some; what a receiver must not ignore goes into the header's flags instead.
const (
	tlvEnd      = 0 // zero padding to the end of the class
	tlvPQKey    = 1 // next epoch's encapsulation key, epoch 4 | key 1184
	tlvPQCipher = 2 // its ciphertext, epoch 4 | ciphertext 1088
	tlvCounter  = 3 // u64
	tlvOwnHead  = 4 // 12 bytes
	tlvYourHead = 5 // 12 bytes
	tlvToken    = 6
	tlvContent  = 7
	tlvStanding = 8 // generation u64, received u64, sent u64
)

// Body is what one envelope carries. Fields at their zero value are not encoded.
type Body struct {
	Counter  uint64   // of the message, per device pair, without gaps, from 1; kept by the caller. 0 = it has none
	OwnHead  [12]byte // digest of the sender's own device list head
	YourHead [12]byte // digest of the recipient's list head as the sender knows it
	Token    []byte   // fresh admission for the sender's mailbox, at most MaxToken bytes
	Content  []byte   // the same bytes for every device, at most MaxContent

	// How the sender stands with the recipient: the generation of its bundle, the highest counter that it knows of the
	// recipient's, and the highest that it has used. Left out together where they would make the envelope larger.
	Generation uint64
	Received   uint64
	Sent       uint64
}

// fields are a body with what Seal and Open add and take out.
type fields struct {
	Body
	pqKey, pqCipher []byte // of the next epoch, whose number stands first
}

// encode writes the body and pads it with zeros to its size class.
func (b fields) encode() ([]byte, error) {
	if len(b.Content) > MaxContent || len(b.Token) > MaxToken {
		return nil, ErrTooLarge
	}
	class := ClassOf(b.size())
	out := append(make([]byte, 0, class), bodyVersion)
	if b.pqKey != nil {
		out = appendTLV(out, tlvPQKey, b.pqKey)
	}
	if b.pqCipher != nil {
		out = appendTLV(out, tlvPQCipher, b.pqCipher)
	}
	if b.Counter != 0 {
		out = binary.BigEndian.AppendUint64(append(out, tlvCounter, 0, 8), b.Counter)
	}
	if b.OwnHead != [digestSize]byte{} {
		out = appendTLV(out, tlvOwnHead, b.OwnHead[:])
	}
	if b.YourHead != [digestSize]byte{} {
		out = appendTLV(out, tlvYourHead, b.YourHead[:])
	}
	if len(b.Token) > 0 {
		out = appendTLV(out, tlvToken, b.Token)
	}
	if len(b.Content) > 0 {
		out = appendTLV(out, tlvContent, b.Content)
	}
	if b.Generation != 0 && len(out)+tlvHead+standingSize <= class {
		out = append(out, tlvStanding, 0, standingSize)
		for _, n := range [...]uint64{b.Generation, b.Received, b.Sent} {
			out = binary.BigEndian.AppendUint64(out, n)
		}
	}
	return out[:class], nil
}

// size is the body without padding.
func (b fields) size() int {
	size := 1
	for _, n := range [...]int{len(b.pqKey), len(b.pqCipher), len(b.Token), len(b.Content)} {
		if n > 0 {
			size += tlvHead + n
		}
	}
	if b.Counter != 0 {
		size += tlvHead + 8
	}
	for _, head := range [...][digestSize]byte{b.OwnHead, b.YourHead} {
		if head != [digestSize]byte{} {
			size += tlvHead + digestSize
		}
	}
	return size
}

// fits says whether n bytes more leave the body in a size that every mailbox takes from anybody, or
// in the size that it has anyway.
func (b fields) fits(n int) bool {
	size := b.size()
	return size+n <= maxOpenClass || ClassOf(size+n) == ClassOf(size)
}

func appendTLV(out []byte, kind byte, value []byte) []byte {
	out = append(out, kind)
	out = binary.BigEndian.AppendUint16(out, uint16(len(value)))
	return append(out, value...)
}

// parseBody reads a padded body. Kinds ascend strictly, so no field stands twice; the result
// refers to raw's memory.
func parseBody(raw []byte) (fields, bool) {
	var b fields
	if len(raw) == 0 || raw[0] != bodyVersion {
		return b, false
	}
	rest, last := raw[1:], byte(tlvEnd)
	for len(rest) > 0 && rest[0] != tlvEnd {
		if len(rest) < tlvHead || rest[0] <= last {
			return fields{}, false
		}
		last = rest[0]
		size := int(binary.BigEndian.Uint16(rest[1:]))
		rest = rest[tlvHead:]
		if size > len(rest) || !b.set(last, rest[:size:size]) {
			return fields{}, false
		}
		rest = rest[size:]
	}
	return b, allZero(rest)
}

// set takes one field and says whether it is acceptable; unknown kinds are, and what is no key of an
// epoch does no harm.
func (b *fields) set(kind byte, value []byte) bool {
	switch kind {
	case tlvPQKey:
		if len(value) == epochNumberSize+ekSize {
			b.pqKey = value
		}
	case tlvPQCipher:
		if len(value) == epochNumberSize+ctSize {
			b.pqCipher = value
		}
	case tlvCounter:
		if len(value) != 8 {
			return false
		}
		b.Counter = binary.BigEndian.Uint64(value)
	case tlvOwnHead:
		return copy(b.OwnHead[:], value) == digestSize && len(value) == digestSize
	case tlvYourHead:
		return copy(b.YourHead[:], value) == digestSize && len(value) == digestSize
	case tlvToken:
		b.Token = value
		return len(value) <= MaxToken
	case tlvContent:
		b.Content = value
		return len(value) <= MaxContent
	case tlvStanding:
		if len(value) != standingSize {
			return false
		}
		b.Generation, b.Received, b.Sent = binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:]), binary.BigEndian.Uint64(value[16:])
	}
	return true
}

func allZero(raw []byte) bool {
	var all byte
	for _, x := range raw {
		all |= x
	}
	return all == 0
}
