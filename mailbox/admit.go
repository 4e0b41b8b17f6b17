package mailbox

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/pass"
)

// admitted is by what an envelope may enter a box.
type admitted struct {
	byPass bool
	cert   pass.Cert // with byPass
	mark   [8]byte   // see Entry.Admit
}

// pass judges the pass of a deposit. The signatures of a pass are checked once:
// the relay remembers the passes that it found good. Deposits come one after
// another (Store.Do), so nothing guards the memory.
func (r *Relay) pass(tx Tx, box ID, b Box, raw []byte) (admitted, error) {
	if len(raw) != pass.Size || b.FrontDoor {
		return admitted{}, refuse(BadPass, "deposit")
	}
	cert := pass.Cert(raw[:pass.CertSize])
	seen := sha256.Sum256(append(box[:len(box):len(box)], raw...))
	id, known := r.passes[seen]
	if !known {
		if _, ok := pass.Check(raw, boxKey(tx, box, b), r.peer); !ok {
			return admitted{}, refuse(BadPass, "deposit")
		}
		if len(r.passes) >= passesSeen {
			clear(r.passes)
		}
		id = cert.ID()
		r.passes[seen] = id
	}
	return admitted{byPass: true, cert: cert, mark: id}, nil
}

// boxKey is the public key of a box; nil where neither row nor set has it.
func boxKey(tx Tx, id ID, b Box) ed25519.PublicKey {
	if b.Key != [32]byte{} {
		return b.Key[:]
	}
	raw, err := tx.Set(id)
	if err != nil {
		return nil
	}
	set, err := dht.ParseSetRecord(raw)
	if err != nil {
		return nil
	}
	return set.Box()
}

// store admits an entry that is new to its box under the quotas and adds it.
func (r *Relay) store(tx Tx, box ID, a admitted, e Entry, envelope []byte) error {
	e.Admit, e.ByPass = a.mark, a.byPass
	b, _ := tx.Box(box)
	if err := r.quotas(tx, box, b.FrontDoor, e); err != nil {
		return err
	}
	if old, known := tx.Find(box, e.ID); known && !old.Buried { // expired, and its day not yet over
		if err := tx.Bury(box, e.ID); err != nil {
			return err
		}
	}
	if _, known := tx.Pass(box, a.mark); a.byPass && !known {
		if err := tx.PutPass(box, a.cert); err != nil {
			return err
		}
	}
	return tx.Add(box, e, envelope)
}

// quotas says whether there is room for an entry. Passes and strangers each
// have a share of their own. What counts are the entries still on disk: an
// expired envelope keeps its place until its day is dropped.
func (r *Relay) quotas(tx Tx, box ID, front bool, e Entry) error {
	size, l := uint64(e.Size), &r.limits
	used, strangers := tx.Usage(box), tx.By(box, pass.ID{})
	if !e.ByPass && !front {
		strangers = Usage{}
		switch {
		case used.Count >= int(l.BoxCount):
			return refuse(Full, "envelopes of the box")
		case used.Bytes+size > l.BoxBytes:
			return refuse(Full, "bytes of the box")
		case used.Tombs >= int(l.BoxTombs):
			return refuse(Full, "tombstones of the box")
		}
	} else if e.ByPass {
		mine := tx.By(box, e.Admit)
		switch {
		case mine.Count >= int(l.PassCount):
			return refuse(Full, "envelopes of the pass")
		case mine.Bytes+size > l.PassBytes:
			return refuse(Full, "bytes of the pass")
		case mine.Tombs >= l.shareOfTombs():
			return refuse(Full, "tombstones of the pass")
		case used.Count-strangers.Count >= int(l.BoxCount):
			return refuse(Full, "envelopes of the box")
		case used.Bytes-strangers.Bytes+size > l.BoxBytes:
			return refuse(Full, "bytes of the box")
		case used.Tombs-strangers.Tombs >= int(l.BoxTombs):
			return refuse(Full, "tombstones of the box")
		}
	} else if err := l.strangers(strangers, size); err != nil {
		return err
	}
	if !r.fits(tx, used, size) {
		return refuse(Full, "bytes of the relay")
	}
	return nil
}

func (l *Limits) strangers(used Usage, size uint64) error {
	switch {
	case used.Count >= int(l.FrontCount):
		return refuse(Full, "envelopes of strangers")
	case used.Bytes+size > uint64(l.FrontCount)*uint64(l.FrontEnvelope):
		return refuse(Full, "bytes of strangers")
	case used.Tombs >= l.shareOfTombs():
		return refuse(Full, "tombstones of strangers")
	}
	return nil
}

// shareOfTombs is how many tombstones of a box one pass may cause, and all
// strangers together.
func (l *Limits) shareOfTombs() int { return max(1, int(l.BoxTombs)/tombShare) }

// fits says whether the relay has room for one more envelope of a box that
// holds used. What boxes cost above their floors is bounded so that the floor
// of every other box is free, of those that may still come too.
func (r *Relay) fits(tx Tx, used Usage, size uint64) bool {
	after := Usage{Count: used.Count + 1, Tombs: used.Tombs, Bytes: used.Bytes + size}.OverFloor()
	if after == 0 {
		return true
	}
	total := tx.Total()
	floors := uint64(max(int(r.limits.MaxBoxes), total.Boxes)) * BoxFloor
	return total.Over+after-used.OverFloor()+min(floors, r.limits.MaxBytes) <= r.limits.MaxBytes
}

// workBits is the work that a stranger is asked now: one bit more for each full
// quarter of the strangers' places in use.
func (r *Relay) workBits(tx Tx, box ID) byte {
	if r.limits.NoWork {
		return 0
	}
	used := uint64(tx.By(box, pass.ID{}).Count)
	return r.limits.FrontWork + byte(min(used*(frontSteps+1)/uint64(r.limits.FrontCount), frontSteps))
}

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
