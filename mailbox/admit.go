package mailbox

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
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

// known says whether a deposit's pass is good, and its id. Signatures are checked
// once: either Vet did, or the relay remembers the passes that it found good.
// Deposits come one after another (Store.Do), so nothing guards the memory.
func (r *Relay) known(tx Tx, d *Deposit) (pass.ID, bool) {
	key := d.PassKey()
	if d.Vetted.key == key {
		return d.Vetted.id, true
	}
	if id, known := r.passes[key]; known {
		return id, true
	}
	if !r.opens(tx, d) {
		return pass.ID{}, false
	}
	if len(r.passes) >= passesSeen {
		clear(r.passes)
	}
	id := certOf(d.Pass).ID()
	r.passes[key] = id
	return id, true
}

// opens checks the signatures of a deposit's pass.
func (r *Relay) opens(tx Tx, d *Deposit) bool {
	b, _ := tx.Box(d.Box)
	_, ok := pass.Check(d.Pass, boxKey(tx, d.Box, b), r.peer)
	return ok
}

// certOf is the certificate in a pass of the right size.
func certOf(raw []byte) pass.Cert { return pass.Cert(raw[:pass.CertSize]) }

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

// store adds an entry, in the place of one of the same envelope that has expired or is outlived.
func store(tx Tx, box ID, a admitted, e Entry, envelope []byte) error {
	e.Admit, e.ByPass = a.mark, a.byPass
	err := tx.Add(box, e, envelope)
	if errors.Is(err, ErrDiskFull) { // only envelopes find no room: others in this commit go on
		return refuse(Full, "disk of the relay")
	}
	if _, known := tx.Pass(box, a.mark); err == nil && a.byPass && !known {
		err = tx.PutPass(box, a.cert)
	}
	return err
}

// quotas says whether there is room for an entry. Passes and strangers each
// have a share of their own and never take each other's. What counts are the
// entries still on disk: an expired envelope keeps its place until its day is
// dropped. It gives that place to the same envelope that comes again.
func (r *Relay) quotas(tx Tx, l Limits, box ID, a admitted, e Entry) error {
	size, share := uint64(e.Size), Entry{ByPass: a.byPass, Admit: a.mark}.Share()
	was, mine, strangers := tx.Usage(box), tx.By(box, share), tx.By(box, pass.ID{})
	used := was
	if old, known := tx.Find(box, e.ID); known {
		used = used.less(old.usage())
		if old.Share() == share {
			mine = mine.less(old.usage())
		}
		if !old.ByPass {
			strangers = strangers.less(old.usage())
		}
	}
	detail := ""
	if a.byPass {
		detail = l.byPass(mine, used.less(strangers), size)
	} else {
		detail = l.byWork(mine)
	}
	if detail == "" && !r.fits(tx, was, used, size) {
		detail = "bytes of the relay"
	}
	if detail != "" {
		return refuse(Full, detail)
	}
	return nil
}

// byPass says what stands in the way of an envelope by a pass that has caused
// mine, in a box where all passes caused all; empty: nothing.
func (l *Limits) byPass(mine, all Usage, size uint64) string {
	switch {
	case mine.Count >= int(l.PassCount):
		return "envelopes of the pass"
	case mine.Bytes+size > l.PassBytes:
		return "bytes of the pass"
	case mine.Tombs >= l.shareOfTombs():
		return "tombstones of the pass"
	case all.Count >= int(l.BoxCount):
		return "envelopes of the box"
	case all.Bytes+size > l.BoxBytes:
		return "bytes of the box"
	case all.Tombs >= int(l.BoxTombs):
		return "tombstones of the box"
	}
	return ""
}

// byWork is byPass for a stranger's envelope, where strangers caused used.
func (l *Limits) byWork(used Usage) string {
	switch {
	case used.Count >= int(l.FrontCount):
		return "envelopes of strangers"
	case used.Tombs >= l.shareOfTombs():
		return "tombstones of strangers"
	}
	return ""
}

// shareOfTombs is how many tombstones of a box one pass may cause, and all
// strangers together.
func (l *Limits) shareOfTombs() int { return max(1, int(l.BoxTombs)/tombShare) }

// forCopies are the limits of what other relays give us by a pass: a quarter of
// its room and of the box stays for deposits, whatever a lying relay makes up
// under the certificates that it has seen. Strangers' envelopes cost it work.
func (l Limits) forCopies() Limits {
	l.BoxCount -= l.BoxCount / 4
	l.BoxBytes -= l.BoxBytes / 4
	l.PassCount -= l.PassCount / 4
	l.PassBytes -= l.PassBytes / 4
	return l
}

// fits says whether the relay has room for one more envelope of a box that
// holds was, and used without what makes way. What boxes cost above their floors is bounded so that the floor
// of every other box is free, of those that may still come too.
func (r *Relay) fits(tx Tx, was, used Usage, size uint64) bool {
	after := Usage{Count: used.Count + 1, Tombs: used.Tombs, Bytes: used.Bytes + size}.OverFloor()
	if after <= was.OverFloor() {
		return true
	}
	total := tx.Total()
	return total.Over+after-was.OverFloor() <= r.limits.MaxOver(total)
}

// MaxOver is what all boxes together may cost above their floors: Usage.Over of a relay that is full.
func (l Limits) MaxOver(total Usage) uint64 {
	return l.MaxBytes - min(uint64(max(int(l.MaxBoxes), total.Boxes))*BoxFloor, l.MaxBytes)
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
