package mailbox

import "strconv"

// Code says why a relay refuses. Its number is what travels.
type Code byte

// The codes of a Refusal.
const (
	NotMine     Code = 1 + iota // no lease for this box; Set may hold the newest set
	Full                        // a quota of the box or of the relay is used up
	TooLarge                    // the envelope is over the limit of the box
	Expired                     // the deposit has already expired
	NeedWork                    // Bits says how much work is wanted
	BadPass                     // the pass is not accepted
	RateLimited                 // too much from this peer; ask later
	NotServing                  // this node does not serve as a relay now
	Malformed                   // not a sensible request, or badly signed
)

var codeNames = [...]string{
	NotMine: "not mine", Full: "full", TooLarge: "too large", Expired: "expired", NeedWork: "need work",
	BadPass: "bad pass", RateLimited: "rate limited", NotServing: "not serving", Malformed: "malformed",
}

// String is the code in words.
func (c Code) String() string {
	if int(c) < len(codeNames) && codeNames[c] != "" {
		return codeNames[c]
	}
	return "code " + strconv.Itoa(int(c))
}

// Refusal is a relay's typed "no"; errors.As finds it. A refusal changed nothing.
type Refusal struct {
	Code   Code
	Set    []byte // newest signed set record, with NotMine and where known
	Bits   byte   // leading zero bits wanted, with NeedWork
	Detail string // for logs, never for decisions
}

// Error is "mailbox: refused: code (detail)".
func (r *Refusal) Error() string {
	s := "mailbox: refused: " + r.Code.String()
	if r.Detail != "" {
		s += " (" + r.Detail + ")"
	}
	return s
}

func refuse(code Code, detail string) error { return &Refusal{Code: code, Detail: detail} }
