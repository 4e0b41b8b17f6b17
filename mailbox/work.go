package mailbox

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

const workLabel = "kith1 work"

// workPreimage is label | box | envelope id | 8 bytes for the nonce.
func workPreimage(box ID, id EnvelopeID) []byte {
	b := make([]byte, 0, len(workLabel)+32+32+WorkSize)
	b = append(b, workLabel...)
	b = append(b, box[:]...)
	b = append(b, id[:]...)
	return append(b, make([]byte, WorkSize)...)
}

// SolveWork looks for a nonce whose hash has bits leading zero bits. It tries
// at most tries nonces upwards from start, so that a caller can stop between
// two calls; 2^bits tries are needed on average. It needs no entropy: start at
// 0 and go on where the last call ended.
func SolveWork(box ID, id EnvelopeID, bits byte, start, tries uint64) (work []byte, ok bool) {
	b := workPreimage(box, id)
	nonce := b[len(b)-WorkSize:]
	for i := range tries {
		binary.BigEndian.PutUint64(nonce, start+i)
		if zeroBits(sha256.Sum256(b)) >= int(bits) {
			return append([]byte(nil), nonce...), true
		}
	}
	return nil, false
}

// CheckWork says whether H("kith1 work" | box | envelope id | work) has bits
// leading zero bits. Without bits everything passes, an empty work too.
func CheckWork(box ID, id EnvelopeID, bits byte, work []byte) bool {
	if bits == 0 {
		return true
	}
	if len(work) != WorkSize {
		return false
	}
	b := workPreimage(box, id)
	copy(b[len(b)-WorkSize:], work)
	return zeroBits(sha256.Sum256(b)) >= int(bits)
}

func zeroBits(h [32]byte) int {
	n := 0
	for _, c := range h {
		if c != 0 {
			return n + bits.LeadingZeros8(c)
		}
		n += 8
	}
	return n
}
