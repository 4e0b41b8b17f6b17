package people

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/view"
)

// Limits of what strangers and contacts say of themselves.
const (
	// MaxNote is the size of a request's note, in bytes of UTF-8.
	MaxNote = 200
	// MaxHandles is how many handles a person may give itself.
	MaxHandles = 8
	// MaxPicture is the size of a profile picture's description, in bytes. The picture itself is fetched apart.
	MaxPicture = 1024

	// MaxRequests is how many requests of strangers wait at once, each of another person.
	MaxRequests = 64
	// MaxRequestsDay is how many are taken in 24 hours, however soon they are answered.
	MaxRequestsDay = 32
	// MaxAsked is how many requests of our own wait for an answer.
	MaxAsked = 32
	// Forget is when a request that nobody answered, or that was ignored, is forgotten.
	Forget = 30 * 24 * time.Hour
)

// When the DNS is asked about a name.
const (
	recheckEvery = 7 * 24 * time.Hour // while it is verified
	failedEvery  = 24 * time.Hour     // while the domain says otherwise
	silentFirst  = time.Hour          // after no answer; doubles up to failedEvery
	// AskEvery is the least time between two questions for the sake of one contact: what it calls itself is its own
	// choice, and shall not make us ask whomever it likes as often as it likes.
	AskEvery = time.Minute
	// askedAgain is when a question that was never answered, not even with a failure, is put again.
	askedAgain = time.Hour
)

// ErrUnanswered says that the DNS did not answer, which proves nothing in either direction.
var ErrUnanswered = errors.New("the DNS did not answer")

// errSomebodyElse says that the domain names another user.
var errSomebodyElse = errors.New("the domain names somebody else by that name")

// Note cleans the note of a request: one line, printable, short.
func Note(s string) string { return chat.Clean(s, MaxNote) }

// Handles cleans the handles that a person gives itself: what has an @ is a name under a domain or nothing, the rest is
// plain words. Order is kept, and no handle comes twice.
func Handles(in []string) []string {
	var out []string
	for _, s := range in[:min(len(in), MaxHandles)] {
		if strings.Contains(s, "@") {
			n, err := ParseName(s)
			if err != nil {
				continue
			}
			s = n.String()
		}
		if s = chat.CleanName(s); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Merge brings what we know of a person's handles in step with those that it has now. What was verified stays so; what is
// new is asked about at once, if it is a name under a domain.
func Merge(old []*pb.Named, handles []string, now time.Time) []*pb.Named {
	out := slices.DeleteFunc(slices.Clone(old), func(n *pb.Named) bool { return !n.Found && !slices.Contains(handles, n.Name) })
	for _, h := range handles {
		if slices.ContainsFunc(out, func(n *pb.Named) bool { return n.Name == h }) {
			continue
		}
		n := &pb.Named{Name: h}
		if strings.Contains(h, "@") {
			n.Next = now.UnixMilli()
		}
		out = append(out, n)
	}
	return out
}

// Ask is the name of a contact that the DNS is to be asked about now; nil: none. It plans the next question in case that
// this one is never answered.
func Ask(c *pb.Contact, now time.Time) *pb.Named {
	if now.Before(time.UnixMilli(c.Looked).Add(AskEvery)) {
		return nil
	}
	for _, n := range c.Names {
		if n.Next != 0 && n.Next <= now.UnixMilli() {
			c.Looked, n.Next = now.UnixMilli(), now.Add(askedAgain).UnixMilli()
			return n
		}
	}
	return nil
}

// NextAsk is when Ask has something to ask about a contact; zero: never.
func NextAsk(c *pb.Contact) time.Time {
	next := int64(0)
	for _, n := range c.Names {
		if n.Next != 0 && (next == 0 || n.Next < next) {
			next = n.Next
		}
	}
	if next == 0 {
		return time.Time{}
	}
	return time.UnixMilli(max(next, time.UnixMilli(c.Looked).Add(AskEvery).UnixMilli()))
}

// Answered takes the DNS's answer about a name of user's. It reports whether the name was verified and is not any more.
func Answered(n *pb.Named, user, found identity.UserID, err error, now time.Time) (lost bool) {
	if err == nil && found != user {
		err = errSomebodyElse
	}
	ms := now.UnixMilli()
	switch {
	case err == nil:
		if !n.Verified {
			n.Verified, n.Since = true, ms
		}
		n.Checked, n.Error, n.Failed, n.Next = ms, "", 0, now.Add(recheckEvery).UnixMilli()
	case errors.Is(err, ErrUnanswered):
		n.Error, n.Failed = ErrUnanswered.Error(), n.Failed+1
		n.Next = now.Add(min(silentFirst<<min(n.Failed-1, 8), failedEvery)).UnixMilli()
	default:
		lost = n.Verified
		n.Verified, n.Since, n.Checked, n.Error, n.Failed = false, 0, ms, err.Error(), 0
		n.Next = now.Add(failedEvery).UnixMilli()
	}
	return lost
}

// Show is what we say of ourselves, as a view.
func Show(self *pb.Self) view.Profile {
	v := view.Profile{Name: self.Name, Handles: self.Handles}
	for _, h := range self.Handles {
		if n, err := ParseName(h); err == nil {
			v.Records = append(v.Records, view.Record{Name: n.Record(), Text: n.RecordFor(identity.UserID(self.User))})
		}
	}
	return v
}

// ShowNames shows a contact's handles.
func ShowNames(names []*pb.Named) []view.Name {
	at := func(ms int64) time.Time {
		if ms == 0 {
			return time.Time{}
		}
		return time.UnixMilli(ms).UTC()
	}
	var out []view.Name
	for _, n := range names {
		out = append(out, view.Name{Name: n.Name, Verified: n.Verified, Since: at(n.Since), Checked: at(n.Checked), Error: n.Error})
	}
	return out
}
