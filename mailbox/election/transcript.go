package election

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/dht"
)

// ErrInvalid is the one error for a transcript that cannot be read.
var ErrInvalid = errors.New("election: invalid transcript")

// Transcript is everything that an election looked at. It holds the secret
// seed and stays on the device.
type Transcript struct{ raw []byte }

const transcriptVersion = 1

// Bytes encodes the transcript: version u8 = 1 | seed 32 | now ms u64 | policy
// | candidates u8 × | incumbents u8 × (peer id LP8, since ms u64) | pins u8 ×
// LP8. Policy: R u8, W u8, S u8, pool u8, term, jitter, dead, swap in seconds
// u32 each, caps u8. Candidate: see appendCandidate. LP8 is a length byte and
// the bytes; times are unix milliseconds, 0 for none.
func (t Transcript) Bytes() []byte { return t.raw }

func (in *input) transcript() Transcript {
	b := cryptobyte.NewBuilder(make([]byte, 0, transcriptHead+len(in.candidates)*candidateSize))
	b.AddUint8(transcriptVersion)
	b.AddBytes(in.seed[:])
	addTime(b, in.now)
	p := in.policy
	b.AddBytes([]byte{byte(p.R), byte(p.W), byte(p.S), byte(p.Pool)})
	for _, d := range []time.Duration{p.Term, p.TermJitter, p.Dead, p.SwapEvery} {
		b.AddUint32(uint32(min(d/time.Second, 1<<32-1)))
	}
	b.AddUint8(flag(p.Caps))
	b.AddUint8(byte(len(in.candidates)))
	for _, c := range in.candidates {
		addCandidate(b, &c)
	}
	b.AddUint8(byte(len(in.incumbents)))
	for _, i := range in.incumbents {
		addLP8(b, i.Peer)
		addTime(b, i.Since)
	}
	b.AddUint8(byte(len(in.pins)))
	for _, p := range in.pins {
		addLP8(b, p)
	}
	return Transcript{raw: b.BytesOrPanic()}
}

// appendCandidate is peer id LP8 | addresses u8 × LP8 | source u8 | family 8 |
// known, last seen, failed, leaving ms u64 each | good, bad, week good, week
// bad u32 each.
func appendCandidate(raw []byte, c Candidate) []byte {
	b := cryptobyte.NewBuilder(raw)
	addCandidate(b, &c)
	return b.BytesOrPanic()
}

// About what a transcript takes, so that it is written in one piece: without candidates, and for one with two addresses.
const transcriptHead, candidateSize = 512, 128

func addCandidate(b *cryptobyte.Builder, c *Candidate) {
	addLP8(b, c.Peer.ID)
	b.AddUint8(byte(len(c.Peer.Addrs)))
	for _, a := range c.Peer.Addrs {
		addLP8(b, a)
	}
	b.AddUint8(byte(c.Source))
	b.AddBytes(c.Family[:])
	for _, t := range []time.Time{c.Known, c.LastSeen, c.Failed, c.LeavingAt} {
		addTime(b, t)
	}
	for _, n := range []uint32{c.Good, c.Bad, c.WeekGood, c.WeekBad} {
		b.AddUint32(n)
	}
}

// addLP8 cuts what is too long: it only keeps two different orders equal.
func addLP8(b *cryptobyte.Builder, raw []byte) {
	raw = raw[:min(len(raw), 255)]
	b.AddUint8(byte(len(raw)))
	b.AddBytes(raw)
}

func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.IsZero() {
		b.AddUint64(0)
		return
	}
	b.AddUint64(uint64(min(max(t.UnixMilli(), 0), maxMillis)))
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// ParseTranscript decodes what Bytes made; its only error is ErrInvalid.
func ParseTranscript(raw []byte) (Transcript, error) {
	if _, ok := parseInput(raw); !ok {
		return Transcript{}, ErrInvalid
	}
	return Transcript{raw: append([]byte(nil), raw...)}, nil
}

// Recompute runs the election again.
func (t Transcript) Recompute() (Result, error) {
	in, ok := parseInput(t.raw)
	if !ok {
		return Result{}, ErrInvalid
	}
	r := in.elect()
	r.Transcript = t
	return r, nil
}

// Row is what an election made of one candidate.
type Row struct {
	Peer    []byte // peer id
	Rank    int    // -1: not chosen
	Standby bool
	Source  Source
	Up      int    // availability over 30 days, in percent
	Weight  int    // in 1/1000
	Score   uint64 // the lower, the sooner
	Reason  string
}

// Rows recomputes the election: the chosen by rank, then the others by score.
func (t Transcript) Rows() ([]Row, error) {
	in, ok := parseInput(t.raw)
	if !ok {
		return nil, ErrInvalid
	}
	r := in.elect()
	chosen := make([]Row, len(r.Members)+len(r.Standbys))
	var others []Row
	for _, c := range in.rows {
		x := Row{
			Peer: c.Peer.ID, Rank: c.place.rank, Standby: c.place.standby, Source: c.Source,
			Up: int(up(c.Good, c.Bad) * 100 / one), Weight: int(c.weight * 1000 / one), Score: c.score, Reason: c.reason,
		}
		if x.Rank >= 0 {
			chosen[x.Rank] = x
			continue
		}
		switch {
		case x.Reason != "":
		case c.weak:
			x.Reason = "was less than 85 % up this week, and others were not"
		default:
			x.Reason = "others were faster"
		}
		others = append(others, x)
	}
	return append(chosen, others...), nil
}

// Explain gives the rules in force, and then one line per candidate.
func (t Transcript) Explain() []string {
	rows, err := t.Rows()
	if err != nil {
		return nil
	}
	lines := t.rules()
	for _, r := range rows {
		role := "not chosen"
		if r.Rank >= 0 {
			role = fmt.Sprintf("member %d", r.Rank+1)
			if r.Standby {
				role = fmt.Sprintf("standby %d", r.Rank+1)
			}
		}
		key, _ := dht.PeerKey(r.Peer)
		lines = append(lines, fmt.Sprintf("%s  %-10s  up %d %%  weight %d.%03d  %s",
			hex.EncodeToString(key)[:16], role, r.Up, r.Weight/1000, r.Weight%1000, r.Reason))
	}
	return lines
}

// rules says what the election went by.
func (t Transcript) rules() []string {
	in, ok := parseInput(t.raw)
	if !ok {
		return nil
	}
	p := in.policy
	r := in.elect()
	result := fmt.Sprintf("result: %d members, %d standbys, custody at %d signatures", len(r.Members), len(r.Standbys), r.W)
	if r.Thin {
		result += ", thin"
	}
	caps := "caps: none (local network)"
	if p.Caps {
		caps = fmt.Sprintf("caps: 1 of a network and of a family, %d newcomers, %d of a source", newcomers, (p.R+1)/2)
	}
	return []string{
		fmt.Sprintf("wanted: %d members, %d standbys, custody at %d signatures; %d candidates, %d served before, %d pinned",
			p.R, p.S, p.W, len(in.candidates), len(in.incumbents), len(in.pins)),
		caps, result,
	}
}

func parseInput(raw []byte) (*input, bool) {
	s := cryptobyte.String(raw)
	var in input
	var version, n uint8
	if len(raw) > MaxTranscript || !s.ReadUint8(&version) || version != transcriptVersion ||
		!s.CopyBytes(in.seed[:]) || !readTime(&s, &in.now) || !readPolicy(&s, &in.policy) || !s.ReadUint8(&n) {
		return nil, false
	}
	in.candidates = make([]Candidate, n)
	for i := range in.candidates {
		if !readCandidate(&s, &in.candidates[i]) {
			return nil, false
		}
	}
	if !s.ReadUint8(&n) || n > maxIncumbents {
		return nil, false
	}
	for range n {
		var i Incumbent
		if !readLP8(&s, &i.Peer) || !readTime(&s, &i.Since) {
			return nil, false
		}
		in.incumbents = append(in.incumbents, i)
	}
	if !s.ReadUint8(&n) || n > maxPins {
		return nil, false
	}
	for range n {
		var p []byte
		if !readLP8(&s, &p) {
			return nil, false
		}
		in.pins = append(in.pins, p)
	}
	return &in, s.Empty() && (normal(in.candidates) || len(normalised(in.candidates)) == len(in.candidates))
}

func readPolicy(s *cryptobyte.String, p *Policy) bool {
	var counts [4]byte
	var seconds [4]uint32
	if !s.CopyBytes(counts[:]) {
		return false
	}
	for i := range seconds {
		if !s.ReadUint32(&seconds[i]) {
			return false
		}
	}
	var caps uint8
	if !s.ReadUint8(&caps) || caps > 1 {
		return false
	}
	*p = Policy{
		R: int(counts[0]), W: int(counts[1]), S: int(counts[2]), Pool: int(counts[3]), Caps: caps == 1,
		Term: time.Duration(seconds[0]) * time.Second, TermJitter: time.Duration(seconds[1]) * time.Second,
		Dead: time.Duration(seconds[2]) * time.Second, SwapEvery: time.Duration(seconds[3]) * time.Second,
	}
	return *p == p.filled()
}

func readCandidate(s *cryptobyte.String, c *Candidate) bool {
	var n, source uint8
	if !readLP8(s, &c.Peer.ID) || !s.ReadUint8(&n) || n > dht.MaxAddrs {
		return false
	}
	if n > 0 {
		c.Peer.Addrs = make([][]byte, n)
	}
	for i := range c.Peer.Addrs {
		if !readLP8(s, &c.Peer.Addrs[i]) {
			return false
		}
	}
	if !s.ReadUint8(&source) || !s.CopyBytes(c.Family[:]) {
		return false
	}
	c.Source = Source(source)
	for _, t := range []*time.Time{&c.Known, &c.LastSeen, &c.Failed, &c.LeavingAt} {
		if !readTime(s, t) {
			return false
		}
	}
	for _, n := range []*uint32{&c.Good, &c.Bad, &c.WeekGood, &c.WeekBad} {
		if !s.ReadUint32(n) {
			return false
		}
	}
	return true
}

func readLP8(s *cryptobyte.String, out *[]byte) bool {
	var v cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&v) {
		return false
	}
	*out = v
	return true
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	var millis uint64
	if !s.ReadUint64(&millis) || millis > maxMillis {
		return false
	}
	if millis != 0 {
		*t = time.UnixMilli(int64(millis)).UTC()
	}
	return true
}

// maxMillis is the last millisecond that we accept: the year 9999.
const maxMillis = 253402300799999
