package mend

import (
	"time"

	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node/pb"
)

const blockBits = 32

func block(counter uint64) uint64 { return counter >> blockBits }

// believable says whether a counter's block has begun, as far as clocks may differ.
func believable(counter uint64, now time.Time) bool {
	return int64(block(counter)) <= now.Add(ahead).Unix()
}

// NewBlock is the count from which a device goes on that has lost it: the next counter lies above all that may have been
// used, and above what was seen.
func NewBlock(now time.Time, seen uint64) uint64 {
	return max(uint64(max(now.Unix(), 1)), block(seen)+1) << blockBits
}

// Above is a number, of a record or a set, above one that was seen and above all that were drawn before: they are counted
// one by one, and less than one a millisecond.
func Above(now time.Time, seen uint64) uint64 { return max(uint64(max(now.UnixMilli(), 0)), seen) + 1 }

// Verdict is what an opened body says of the two ends.
type Verdict struct {
	Lost   bool // the peer has lost its sessions and told a new generation
	Behind bool // the peer has had more from us than we know of: we have lost ours
}

// Heard takes in what a body says about counters and generation.
func Heard(d *pb.PeerDevice, b session.Body, now time.Time) Verdict {
	v := Verdict{Lost: Newer(d, b.Generation)}
	if b.Received > d.Sent && believable(b.Received, now) {
		d.Sent, v.Behind = NewBlock(now, b.Received), true
	}
	switch {
	case !believable(max(b.Counter, b.Sent), now):
	case b.Generation == 0: // of a build that counts everything, and does not answer
		d.Received = max(d.Received, b.Counter)
	default:
		note(d, b.Counter, b.Sent, now)
	}
	return v
}

// Newer takes in the generation that a device tells; true: it has lost its sessions since.
func Newer(d *pb.PeerDevice, generation uint64) bool {
	lost := d.Generation != 0 && generation > d.Generation
	d.Generation = max(d.Generation, generation)
	return lost
}

// Retire gives up all sessions with a device but keep: they open what is on its way still, and nothing is sealed on them.
func Retire(d *pb.PeerDevice, keep []byte, now time.Time) {
	var rest [][]byte
	for _, s := range d.Sessions {
		if string(s) == string(keep) {
			rest = append(rest, s)
			continue
		}
		d.Retired = append(d.Retired, &pb.Retired{Session: s, At: now.UnixMilli()})
	}
	d.Sessions = rest
}

// Add notes a new session and returns those that have to go for it.
func Add(d *pb.PeerDevice, id []byte, now time.Time) (gone [][]byte) {
	gone = Expired(d, now)
	for len(d.Sessions)+len(d.Retired) >= MaxSessions {
		if len(d.Retired) > 0 {
			gone = append(gone, d.Retired[0].Session)
			d.Retired = d.Retired[1:]
			continue
		}
		gone = append(gone, d.Sessions[0])
		d.Sessions = d.Sessions[1:]
	}
	d.Sessions = append(d.Sessions, id)
	return gone
}

// Expired takes out the retired sessions whose time is over.
func Expired(d *pb.PeerDevice, now time.Time) (gone [][]byte) {
	var rest []*pb.Retired
	for _, r := range d.Retired {
		if now.Sub(time.UnixMilli(r.At)) > retiredLife {
			gone = append(gone, r.Session)
		} else {
			rest = append(rest, r)
		}
	}
	d.Retired = rest
	return gone
}

// MayRenew says whether sessions with a device may be given up for want of an answer, and notes it.
func MayRenew(d *pb.PeerDevice, now time.Time) bool {
	if now.Sub(time.UnixMilli(d.Renewed)) < renewEvery {
		return false
	}
	d.Renewed = now.UnixMilli()
	return true
}

// Silent says whether a device that published a bundle at a time is there and has not acknowledged what left before.
func Silent(left, issued, now time.Time) bool {
	return !left.IsZero() && now.Sub(left) >= silence && issued.After(left)
}

// LookAgain says whether the record of a device that does not acknowledge is to be looked up, and notes it.
func LookAgain(d *pb.PeerDevice, created, now time.Time) bool {
	if now.Sub(created) < silence || now.Sub(time.UnixMilli(d.Looked)) < askMax {
		return false
	}
	d.Looked = now.UnixMilli()
	return true
}
