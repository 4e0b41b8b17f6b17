package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// ProfileChange is what shall become of our profile; nil: as it is.
type ProfileChange struct {
	Name    *string
	Handles *[]string
	Picture *chatpb.File // one without a key takes it away
}

// SetProfile changes what we say of ourselves, and tells contacts and our other devices.
func (e *Engine) SetProfile(t *Turn, p ProfileChange) (view.Profile, error) {
	problem := func(why string) (view.Profile, error) {
		return view.Profile{}, &view.Problem{Class: view.ErrUsage, Message: why, Hint: "kith id set --help"}
	}
	switch {
	case e.self.Removed:
		return view.Profile{}, &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	case p.Name != nil && (*p.Name == "" || chat.CleanName(*p.Name) != *p.Name):
		return problem(fmt.Sprintf("a name has 1 to %d bytes, and no control characters", chat.MaxName))
	case p.Picture != nil && proto.Size(p.Picture) > people.MaxPicture:
		return problem(fmt.Sprintf("the picture's description has more than %d bytes", people.MaxPicture))
	}
	if p.Handles != nil {
		if len(*p.Handles) > people.MaxHandles {
			return problem(fmt.Sprintf("at most %d handles", people.MaxHandles))
		}
		clean := people.Handles(*p.Handles)
		if len(clean) != len(*p.Handles) {
			return problem("a handle is a word, or a name under a domain: " + people.ErrName.Error())
		}
		e.self.Handles = clean
	}
	if p.Name != nil {
		e.self.Name = *p.Name
	}
	if p.Picture != nil {
		e.self.Picture, e.self.Pictures = e.keepPicture(t, e.user, e.self.Pictures, p.Picture, true)
	}
	e.self.ProfileAt = e.desk(t).Stamp()
	e.profileChanged(t)
	e.flush(t)
	return Profile(t.Tx)
}

// profileChanged keeps our profile, and tells everybody who may know.
func (e *Engine) profileChanged(t *Turn) {
	e.saveSelf(t)
	e.notice(t, view.Notice{Type: "identity", Text: "profile"})
	e.tellReach(t)
}

// tellProfile sends our profile to a device that has not been told the newest; to those of mere members of a group of ours
// no more than our name.
func (e *Engine) tellProfile(t *Turn, id identity.DeviceID) {
	dev := e.peerDevice(t, id) // as it is now: a reach that went before has moved its session on
	if dev == nil || (len(dev.Sessions) == 0 && len(dev.Record) == 0) || !e.maySpeak(t, dev) {
		return
	}
	c := e.contact(t, identity.UserID(dev.User))
	p := &chatpb.Profile{Name: e.self.Name, Handles: e.self.Handles, Changed: e.self.ProfileAt}
	told := &dev.ToldProfile
	if c != nil && c.State != contactAccepted {
		p = &chatpb.Profile{Name: e.self.Name, NameOnly: true, Changed: max(e.self.ProfileAt, 1)}
		told = &dev.ToldName
	} else if c == nil { // a device of ours
		p.Device, p.Changed = e.self.DeviceName, max(e.self.ProfileAt, 1)
	}
	if f := (&chatpb.File{}); !p.NameOnly && len(e.self.Picture) > 0 && proto.Unmarshal(e.self.Picture, f) == nil {
		p.Picture = f
	}
	if *told >= p.Changed {
		return
	}
	*told = p.Changed
	e.saveDevice(t, dev)
	e.supersede(t, id, chat.KindProfile)
	e.sendControl(t, chat.KindProfile, p, identity.UserID(dev.User), []identity.DeviceID{id})
}

// gotProfile takes in what a contact says of itself, or what another device of ours changed.
func (e *Engine) gotProfile(t *Turn, a arrival) bool {
	p := &chatpb.Profile{}
	if proto.Unmarshal(a.content.Payload, p) != nil || proto.Size(p.Picture) > people.MaxPicture {
		return false
	}
	p.Changed = min(p.Changed, uint64(t.Now.Add(dht.MaxSkew).UnixMilli()))
	if p.Picture.GetSize() > transfer.MaxPreview {
		p.Picture = nil
	}
	name, handles := chat.CleanName(p.Name), people.Handles(p.Handles)
	picture, _ := proto.Marshal(p.Picture)
	if a.own {
		if dev := e.peerDevice(t, a.sender.Device()); dev != nil && p.Device != "" {
			dev.Name = chat.CleanName(p.Device)
			e.saveDevice(t, dev)
		}
		if p.Changed > max(e.self.ProfileAt, 1) && name != "" {
			e.self.Name, e.self.Handles, e.self.ProfileAt = name, handles, p.Changed
			if string(picture) != string(e.self.Picture) {
				e.self.Picture, e.self.Pictures = e.keepPicture(t, e.user, e.self.Pictures, p.Picture, false)
			}
			e.profileChanged(t)
		}
		return true
	}
	c := a.contact
	if p.NameOnly || c.State != contactAccepted {
		e.gotName(t, c, name, p.Changed)
		return true
	}
	if p.Changed <= c.ProfileAt {
		return true
	}
	c.Name, c.ProfileAt = name, p.Changed
	if string(picture) != string(c.Picture) {
		c.Picture, c.Pictures = e.keepPicture(t, a.sender.User, c.Pictures, p.Picture, false)
	}
	c.Names = people.Merge(c.Names, handles, t.Now)
	e.saveContact(t, c)
	v := contactView(c, e.live)
	e.notice(t, view.Notice{Type: "contact", Contact: &v})
	e.namesAt = earlier(e.namesAt, people.NextAsk(c))
	e.tickNames(t)
	return true
}

// gotName takes in the name of somebody with whom we share a group, or of a contact that did not know that it is one.
func (e *Engine) gotName(t *Turn, c *pb.Contact, name string, at uint64) {
	if at <= max(c.NameAt, c.ProfileAt) || name == "" {
		return
	}
	c.Name, c.NameAt = name, at
	e.nameAfter(t, c)
	e.saveContact(t, c)
	v := contactView(c, e.live)
	e.notice(t, view.Notice{Type: "contact", Contact: &v})
}

// keepPicture has the file of a person's picture brought to relays, if it is ours, or fetched, and the one before let go.
// Its row in the table of transfers stands under the person's id in place of a message's.
func (e *Engine) keepPicture(t *Turn, u identity.UserID, old []uint64, f *chatpb.File, mine bool) (raw []byte, numbers []uint64) {
	e.onFiles(t, func(ft *transfer.Turn, w transfer.World) {
		e.files.Forget(ft, w, old)
		if f == nil || len(f.Key) == 0 {
			return
		}
		raw, _ = proto.Marshal(f)
		if list := []*chatpb.File{f}; mine {
			numbers = e.files.Stands(ft, u, u[:], f)
		} else {
			numbers = e.files.Came(ft, w, u, u[:], list)
		}
		e.files.Tick(ft, w)
	})
	return raw, numbers
}

// tickNames asks the DNS about the names of contacts that are due, and plans the next look.
func (e *Engine) tickNames(t *Turn) {
	if !due(e.namesAt, t.Now) {
		return
	}
	e.namesAt = time.Time{}
	for _, c := range e.contacts(t) {
		if c.State != contactAccepted && c.State != contactPending || len(c.User) != 32 {
			continue
		}
		if n := people.Ask(c, t.Now); n != nil {
			t.Out.Names = append(t.Out.Names, NameQuery{User: identity.UserID(c.User), Name: n.Name})
			e.saveContact(t, c)
		}
		e.namesAt = earlier(e.namesAt, people.NextAsk(c))
	}
}

// NameChecked says whom the DNS named: a user, people.ErrNoRecord or ErrTwoRecords, or people.ErrUnanswered.
func (e *Engine) NameChecked(t *Turn, q NameQuery, found identity.UserID, err error) {
	c := e.contact(t, q.User)
	if c == nil {
		return
	}
	i := slices.IndexFunc(c.Names, func(n *pb.Named) bool { return n.Name == q.Name })
	if i < 0 {
		return // the contact has dropped it meanwhile
	}
	before := c.Names[i].Verified
	lost := people.Answered(c.Names[i], q.User, found, err, t.Now)
	e.saveContact(t, c)
	e.namesAt = earlier(e.namesAt, people.NextAsk(c))
	if before == c.Names[i].Verified {
		return
	}
	v := contactView(c, e.live)
	n := view.Notice{Type: "contact", Contact: &v, Text: q.Name + " is verified"}
	if lost {
		n.Text = q.Name + " is not verified any more: " + c.Names[i].Error
	}
	e.notice(t, n)
}

// Profile is what we say of ourselves.
func Profile(tx store.Tx) (view.Profile, error) {
	self := &pb.Self{}
	if !store.Row(tx, store.BucketMeta, keySelf, self) {
		return view.Profile{}, view.ErrNoIdentity
	}
	v := people.Show(self)
	v.Picture = pictureOf(tx, self.Pictures)
	return v, tx.Err()
}

// foundBy notes the name under which the DNS named a contact just now.
func (e *Engine) foundBy(t *Turn, c *pb.Contact, name string) {
	c.Names = people.Merge(c.Names, []string{name}, t.Now)
	i := slices.IndexFunc(c.Names, func(n *pb.Named) bool { return n.Name == name })
	c.Names[i].Found = true
	people.Answered(c.Names[i], identity.UserID(c.User), identity.UserID(c.User), nil, t.Now)
	e.namesAt = earlier(e.namesAt, people.NextAsk(c))
}

// pictureOf is a person's picture, as far as it is here; nil: there is none.
func pictureOf(tx store.Tx, numbers []uint64) *view.File {
	if list := transfer.Files(tx, numbers); len(list) == 1 {
		return &list[0]
	}
	return nil
}

// quarantined says whether a list is of an account epoch that a person has to accept first: nothing that its devices say
// counts until then, whoever passes it on.
func (e *Engine) quarantined(t *Turn, l *identity.DeviceList) bool {
	c, known := e.contact(t, l.User()), e.listOf(t, l.User())
	return c != nil && known != nil && c.Verified && l.Epoch() > known.Epoch()
}

// forked says whether a contact's account key is proven to have signed two lists for one place.
func forked(c *pb.Contact) bool { return len(c.Fork) > 0 || len(c.Proof) > 0 }

// learnProof takes in the proof that somebody's account key signed two lists for one place, whoever found it: nothing is
// sent to them until a person has looked. Our other devices are told, and the devices that the proof is about: honest ones
// tell everybody who knows them. Others whom they may know are not, since that would say whom we know.
func (e *Engine) learnProof(t *Turn, p *witness.Proof) bool {
	first, _ := p.Lists()
	if p.User() == e.user {
		return e.learnOwnProof(t, p)
	}
	c := e.contact(t, p.User())
	if c == nil || forked(c) {
		return c != nil
	}
	known := e.listOf(t, p.User())
	if known != nil && known.Epoch() > first.Epoch() {
		return true // that account key is nobody's any more
	}
	c.Proof = p.Bytes()
	if other := p.Other(known); other != nil {
		c.Fork = other.Bytes()
	}
	e.saveContact(t, c)
	v := contactView(c, e.live)
	e.notice(t, view.Notice{Type: "identity", Contact: &v, Text: c.Handle + ": two different device lists carry one number. One of them is forged with the account key."})
	r := &chatpb.Records{Proof: c.Proof}
	e.sendControl(t, chat.KindRecords, r, e.user, e.siblings())
	if known != nil && near(c) {
		e.sendControl(t, chat.KindRecords, r, p.User(), deviceIDs(known))
	}
	return true
}

// twoKeys and twoLists show a person the two things of which one may be somebody else's.
func twoKeys(c *pb.Contact) string {
	old, err1 := identity.ParseDeviceList(c.List)
	next, err2 := identity.ParseDeviceList(c.NextList)
	if err1 != nil || err2 != nil {
		return ""
	}
	return ": until now " + old.Fingerprint() + ", now " + next.Fingerprint()
}

func twoLists(c *pb.Contact) string {
	p, err := witness.ParseProof(proofOf(c))
	if err != nil {
		return ""
	}
	a, b := p.Lists()
	x, y := a.Hash(), b.Hash()
	return ": " + shortID(x[:]) + " and " + shortID(y[:])
}

// verifiable finds a contact that can be verified.
func verifiable(t *Turn, who string) (*pb.Contact, error) {
	c, err := talk.FindContact(t.Tx, who)
	if err == nil && (len(c.User) != 32 || c.State != contactAccepted) {
		err = &view.Problem{Class: view.ErrRefused, Message: c.Handle + " is not accepted yet", Hint: "kith contact show " + c.Handle}
	}
	return c, err
}

// VerifyContact compares the safety number that a contact reads out with ours, in digits or in words.
func (e *Engine) VerifyContact(t *Turn, who, said string) (view.Contact, error) {
	c, err := verifiable(t, who)
	if err != nil {
		return view.Contact{}, err
	}
	user := identity.UserID(c.User)
	letters, digits := strings.ToLower(strings.Join(strings.Fields(said), " ")), strings.NewReplacer(" ", "", "-", "", "\n", "", "\t", "")
	if letters != witness.SafetyWords(e.user, user) && digits.Replace(said) != digits.Replace(identity.SafetyNumber(e.user, user)) {
		if n, noun := safetyShape(letters, digits.Replace(said)); noun != "" {
			return view.Contact{}, &view.Problem{
				Class:   view.ErrUsage,
				Message: fmt.Sprintf("a safety number has 60 digits or 14 words, and here are %d %s: something was left out", n, noun),
				Hint:    "kith contact verify " + c.Handle,
			}
		}
		return view.Contact{}, &view.Problem{
			Class: view.ErrEpochChanged, Message: "this is not the safety number of you and " + c.Handle + ": it was misread, or somebody else answers for one of you",
			Hint: "kith contact show " + c.Handle,
		}
	}
	c.Verified = true
	e.changeContact(t, c)
	return e.shown(t, c), t.Tx.Err()
}

// safetyShape says how many digits or words were given where a safety number has more or fewer; no noun: as many as it has. What
// is cut off must not alarm as another number does.
func safetyShape(letters, digits string) (n int, noun string) {
	n, noun = len(strings.Fields(letters)), "words"
	if strings.Trim(digits, "0123456789") == "" {
		n, noun = len(digits), "digits"
	}
	if noun == "digits" && n == 60 || noun == "words" && n == 14 {
		return 0, ""
	}
	return n, noun
}

// codeFor is what this device shows a contact.
func codeFor(own, theirs *identity.DeviceList) witness.Code {
	return witness.NewCode(own.User(), theirs.User(), own.Head(), theirs.Head())
}

// CompareCode verifies a contact by the code that its device shows: then both of us know the same devices of both. If
// not, found says what differs, and what one of us lacks is looked for. A new account epoch that waits for a person is
// accepted if it is the one that the contact shows.
func (e *Engine) CompareCode(t *Turn, who, said string) (v view.Contact, found *view.Problem, err error) {
	c, err := verifiable(t, who)
	if err != nil {
		return v, nil, err
	}
	theirs, err := witness.ParseCode(said)
	known := e.listOf(t, identity.UserID(c.User))
	if err != nil || known == nil {
		return v, nil, &view.Problem{Class: view.ErrUsage, Message: "this is not a whole code: it was cut, or mistyped", Hint: "kith contact verify " + c.Handle}
	}
	if next, err := e.lists.Get(c.NextList); err == nil && witness.Compare(theirs, codeFor(e.list, next)) == witness.Agreed {
		if _, err := e.AcceptContact(t, c.Handle); err != nil {
			return v, nil, err
		}
		c, known = e.contact(t, next.User()), next
	}
	if found = e.differs(t, c, known, witness.Compare(theirs, codeFor(e.list, known))); found == nil {
		c.Verified = true
		e.changeContact(t, c)
	}
	e.flush(t)
	return e.shown(t, c), found, t.Tx.Err()
}

// differs is what a person is told of two codes that do not agree.
func (e *Engine) differs(t *Turn, c *pb.Contact, known *identity.DeviceList, f witness.Finding) *view.Problem {
	class, message := view.ErrRefused, ""
	switch f {
	case witness.Agreed:
		return nil
	case witness.TheirsNewer:
		e.need(t, dht.UserKey(known.User()))
		message = c.Handle + " has a device list that this device does not know yet; it is being looked for: compare again in a moment"
	case witness.OursOlder:
		for _, d := range deviceIDs(known) {
			e.pushTo(t, known.User(), d)
		}
		message = c.Handle + " knows an older list of your devices; this device sends it the newest: compare again in a moment"
	case witness.OursNewer:
		e.need(t, dht.UserKey(e.user))
		message = c.Handle + " knows a list of your devices that this one does not; it is being looked for: compare again in a moment"
	case witness.Ghost:
		class = view.ErrEpochChanged
		message = "this device knows a device list of " + c.Handle + " that theirs does not: somebody else may have signed it, and added a device"
	case witness.Forked:
		e.need(t, dht.UserKey(known.User()))
		class, message = view.ErrEpochChanged, "you and "+c.Handle+" were shown different device lists with one number: if nothing was mistyped, somebody else has the account key of one of you"
	default:
		class, message = view.ErrEpochChanged, "this is not the code of "+c.Handle+" for you: it is of other people, or somebody else answers for one of you"
	}
	return &view.Problem{Class: class, Message: message, Hint: "kith contact verify " + c.Handle}
}
