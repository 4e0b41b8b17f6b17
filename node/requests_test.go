package node_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// ask has a device ask a stranger to be a contact.
func (d *device) ask(to *device, note string) (view.Contact, error) {
	d.w.t.Helper()
	user, ok := node.ParseUser(to.user())
	if !ok {
		d.w.t.Fatal("no user id")
	}
	var v view.Contact
	err := d.do(func(e *node.Engine, t *node.Turn) (err error) {
		v, err = e.AskContact(t, node.Ask{User: user, Note: note})
		return err
	})
	d.w.settle()
	return v, err
}

// change runs one of the engine's contact methods.
func (d *device) change(fn func(*node.Engine, *node.Turn, string) (view.Contact, error), who *device) error {
	d.w.t.Helper()
	err := d.do(func(e *node.Engine, t *node.Turn) error { _, err := fn(e, t, who.user()); return err })
	d.w.settle()
	return err
}

// A stranger asks, by relays alone; until a person accepts it learns no more than that relays hold its request, and nothing
// is sent twice. Then both are contacts, with ways and passes, and what was written meanwhile goes out.
func TestARequestIsAcceptedAfterDays(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	a, b := w.person("alice"), w.person("bob")
	b2 := b.link("bob's second")
	b.meetDevice(a) // a way that is not taken
	w.pass(time.Minute)
	w.sent = nil
	if _, err := a.ask(b, "we met\n\x1b[31mat the \u202etram"); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	for _, p := range w.sent {
		if p.from == a && p.relay == nil {
			t.Error("the request went over a direct stream")
		}
		if p.from == a && len(p.envelope) > 4<<10 {
			t.Errorf("an envelope of %d bytes", len(p.envelope))
		}
	}
	if x := a.contact(b.user()); x.State != "pending" || x.Request == nil || x.Request.Stage != "custody" || !x.Request.Mine {
		t.Fatalf("alice sees %+v %+v\n%s", x, x.Request, a.outbox())
	}
	for _, d := range []*device{b, b2} {
		x := d.contact(a.user())
		if x.State != "request" || x.Name != "alice" || x.Request == nil || x.Request.Note != "we met[31mat the tram" || strings.Contains(x.Handle, "alice") {
			t.Fatalf("%s sees %+v %+v", d.name, x, x.Request)
		}
	}
	if _, err := a.trySend(b, "are you there?"); err != nil {
		t.Errorf("writing to somebody who was asked: %v", err)
	}
	told := func() int {
		return count(b.notices, func(n view.Notice) bool { return n.Contact != nil && n.Contact.State == "request" })
	}
	a.say(b, chat.KindRequest, &chatpb.Request{Name: "alice", Note: "hello?", List: a.row().List})
	w.pass(time.Minute)
	if n := told(); n != 1 {
		t.Errorf("told of one request %d times", n)
	}
	sent := len(w.sent)
	w.pass(5 * 24 * time.Hour)
	for _, d := range []*device{b, b2} { // a newer bundle is no reason either
		id, err := hex.DecodeString(d.id())
		w.must(err)
		key := dht.DeviceKey(identity.DeviceID(id))
		a.input(func(e *node.Engine, t *node.Turn) { e.Looked(t, key, w.records[key]) })
	}
	w.pass(time.Hour)
	w.sent = w.sent[sent:]
	again := count(w.sent, func(p parcel) bool { return p.from == a && p.to != b })
	if again != 0 {
		t.Errorf("%d envelopes to somebody who has not answered", again)
	}
	if back := count(w.sent, func(p parcel) bool { return p.from == b && p.to == a }); back != 0 {
		t.Errorf("bob said %d things to somebody whom he has not accepted", back)
	}
	w.must(b.change((*node.Engine).AcceptContact, a))
	w.pass(time.Minute)
	for _, x := range []view.Contact{a.contact(b.user()), b.contact(a.user()), b2.contact(a.user())} {
		if x.State != "accepted" || x.Verified || x.Request != nil {
			t.Errorf("%+v", x)
		}
	}
	if x := b.contact(a.user()); x.Handle != "alice" {
		t.Errorf("bob calls her %s", x.Handle)
	}
	wantTexts(t, b, a, "are you there?")
	wantTexts(t, b2, a, "are you there?")
	id := b2.send(a, "here")
	w.pass(time.Minute)
	if s := b2.stage(id); s != view.StageDelivered {
		t.Errorf("the other way: %s\n%s", s, b2.outbox())
	}
	if x := a.contact(b.user()); x.Relays == 0 {
		t.Errorf("alice knows no relay of bob: %+v", x)
	}
}

// Two who ask each other need nobody to accept.
func TestRequestsThatCross(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	a, b := w.person("alice"), w.person("bob")
	w.pass(time.Minute)
	b.stop()
	if _, err := a.ask(b, ""); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	a.stop()
	w.relays[0].mute, w.relays[1].mute, w.relays[2].mute = true, true, true
	b.start()
	if _, err := b.ask(a, ""); err != nil {
		t.Fatal(err)
	}
	w.relays[0].mute, w.relays[1].mute, w.relays[2].mute = false, false, false
	b.collect()
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.State != "accepted" {
		t.Errorf("bob sees %+v", x)
	}
	a.start()
	w.pass(time.Minute)
	if x := a.contact(b.user()); x.State != "accepted" {
		t.Errorf("alice sees %+v", x)
	}
}

// Without relays the direct way is all there is.
func TestARequestOnTheLocalNetwork(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	a.meetDevice(b)
	if _, err := a.ask(b, "hi"); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.State != "request" {
		t.Fatalf("bob sees %+v\n%s", x, a.outbox())
	}
	w.must(b.change((*node.Engine).AcceptContact, a))
	w.pass(time.Minute)
	if x := a.contact(b.user()); x.State != "accepted" {
		t.Errorf("alice sees %+v", x)
	}
}

// Whoever is ignored or blocked sees what whoever waits sees; what is ignored is forgotten, and can ask again.
func TestIgnoredIsForgotten(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	a, b, c, d := w.person("alice"), w.person("bob"), w.person("carol"), w.person("dave")
	w.pass(time.Minute)
	for _, x := range []*device{a, c, d} {
		if _, err := x.ask(b, ""); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(time.Minute)
	w.must(b.change((*node.Engine).IgnoreContact, a))
	w.must(b.change((*node.Engine).BlockContact, c))
	w.pass(time.Minute)
	for _, x := range []*device{a, c, d} {
		if v := x.contact(b.user()); v.State != "pending" || v.Request == nil || v.Request.Stage != "custody" {
			t.Errorf("%s sees %+v %+v", x.name, v, v.Request)
		}
	}
	if err := b.change((*node.Engine).IgnoreContact, c); err == nil {
		t.Error("a blocked one was ignored")
	}
	rows := b.rows(store.BucketDevices)
	w.pass(32 * 24 * time.Hour)
	if x := b.contact(a.user()); x.State != "" {
		t.Errorf("alice: %+v", x)
	}
	if x := b.contact(d.user()); x.State != "" {
		t.Errorf("dave, whom nobody answered: %+v", x)
	}
	if x := b.contact(c.user()); x.State != "blocked" {
		t.Errorf("carol: %+v", x)
	}
	if n := b.rows(store.BucketDevices); n >= rows {
		t.Errorf("%d device rows of %d are left", n, rows)
	}
	if v := a.contact(b.user()); v.Request == nil || v.Request.Stage != "expired" {
		t.Errorf("alice sees %+v", v.Request)
	}
	if _, err := a.ask(b, "once more"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ask(b, "please"); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.State != "request" || x.Request.Note != "once more" {
		t.Errorf("alice again: %+v", x)
	}
	if x := b.contact(c.user()); x.State != "blocked" {
		t.Errorf("carol again: %+v", x)
	}
}

// However many ask, few are listened to a day, few wait at once, and the person hears of it once.
func TestAFloodOfRequests(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	b := w.person("bob")
	w.pass(time.Minute)
	most := 0
	for i := range people.MaxRequestsDay + 8 {
		x := w.person(text(i))
		w.pass(time.Second)
		if _, err := x.ask(b, strings.Repeat("\u202e!", 5000)); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * time.Second)
		x.stop()
		most = max(most, b.rows(store.BucketContacts))
	}
	if most != people.MaxRequestsDay || b.rows(store.BucketDevices) != most {
		t.Errorf("%d contacts and %d devices after %d strangers asked", most, b.rows(store.BucketDevices), people.MaxRequestsDay+8)
	}
	if n := count(b.notices, func(n view.Notice) bool { return n.Type == "warning" }); n != 1 {
		t.Errorf("told %d times", n)
	}
	w.pass(25 * time.Hour)
	x := w.person("late")
	w.pass(time.Minute)
	if _, err := x.ask(b, ""); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if v := b.contact(x.user()); v.State != "request" {
		t.Errorf("the next day: %+v", v)
	}
}

// A request whose list is not its sender's makes nobody a row.
func TestAskRefusals(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	if _, err := a.ask(a, ""); err == nil {
		t.Error("one can ask oneself")
	}
	w.befriend(a, b)
	if _, err := a.ask(b, ""); err == nil {
		t.Error("a contact is asked")
	}
	c := w.person("carol")
	if _, err := a.ask(c, ""); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if _, err := a.ask(c, ""); err == nil {
		t.Error("somebody is asked twice")
	}
	w.must(a.change((*node.Engine).BlockContact, b))
	if _, err := a.ask(b, ""); err == nil {
		t.Error("somebody blocked is asked")
	}
}

// The largest list, the longest name and note, with addresses and sets: a request still fits a front door.
func TestALargeRequestFitsFrontDoor(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3", "r4", "r5"} {
		w.relay(r)
	}
	a, b := w.person(strings.Repeat("ä", 32)), w.person("bob")
	for i := range 15 {
		a.link(text(i)).stop()
	}
	w.pass(time.Minute)
	w.sent = nil
	if _, err := a.ask(b, strings.Repeat("ö", 500)); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.State != "request" || len(x.Request.Note) != people.MaxNote {
		t.Fatalf("bob sees %+v\n%s", x, a.outbox())
	}
	w.must(b.change((*node.Engine).AcceptContact, a))
	w.pass(time.Minute)
	if x := a.contact(b.user()); x.State != "accepted" {
		t.Errorf("%+v", x)
	}
}

// setProfile changes what a device's person says of itself.
func (d *device) setProfile(p node.ProfileChange) error {
	err := d.do(func(e *node.Engine, t *node.Turn) error { _, err := e.SetProfile(t, p); return err })
	d.w.settle()
	return err
}

// A profile reaches contacts, new contacts and one's own devices, and local handles stay.
func TestProfile(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	a, b, c := w.person("alice"), w.person("bob"), w.person("carol")
	w.befriend(a, b)
	a2 := a.link("alice's second")
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RenameContact(t, a.user(), "ally"); return err }))
	name, handles := "Alice \u00c4", []string{"ace", "Alice@Example.org"}
	au, _ := node.ParseUser(a.user())
	w.dns = map[string]identity.UserID{"alice@example.org": au}
	picture := &chatpb.File{Key: make([]byte, 32), Manifest: make([]byte, 32), Size: 5, Name: "me\x1b.jpg", Type: "image/jpeg"}
	w.must(a.setProfile(node.ProfileChange{Name: &name, Handles: &handles, Picture: picture}))
	w.pass(time.Minute)
	w.befriend(a2, c)
	w.pass(time.Minute)
	for _, d := range []*device{b, c} {
		x := d.contact(a.user())
		if x.Name != name || len(x.Names) != 2 || x.Names[0].Name != "ace" || x.Names[1].Name != "alice@example.org" || x.Picture == nil || x.Picture.Name != "me.jpg" {
			t.Fatalf("%s sees %+v", d.name, x)
		}
		if !x.Names[1].Verified || x.Names[1].Checked.IsZero() || x.Names[0].Verified {
			t.Errorf("%s sees the names %+v", d.name, x.Names)
		}
	}
	if x := b.contact(a.user()); x.Handle != "ally" {
		t.Errorf("the local handle became %s", x.Handle)
	}
	var p view.Profile
	w.must(a2.store.View(func(tx store.Tx) (err error) { p, err = node.Profile(tx); return err }))
	if p.Name != name || len(p.Handles) != 2 || p.Picture == nil || len(p.Records) != 1 || p.Records[0].Text != "alice="+a.user() {
		t.Errorf("alice's second sees %+v", p)
	}
	w.must(a2.store.View(func(tx store.Tx) error {
		list, err := node.Devices(tx, nil)
		for _, d := range list {
			if d.Name == "" {
				t.Errorf("alice's second does not know the name of %+v", d)
			}
		}
		return err
	}))
	newer := "Alice again"
	w.must(a2.setProfile(node.ProfileChange{Name: &newer}))
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.Name != newer || len(x.Names) != 2 {
		t.Errorf("bob sees %+v", x)
	}
	long, evil := strings.Repeat("x", 10<<20), "a\u202eb"
	for _, n := range []string{long, evil, ""} {
		if err := a.setProfile(node.ProfileChange{Name: &n}); err == nil {
			t.Errorf("the name %.10q was taken", n)
		}
	}
	if err := a.setProfile(node.ProfileChange{Handles: &[]string{"al\u0456ce@example.org"}}); err == nil {
		t.Error("a handle with a letter of another alphabet was taken")
	}
}

// A name under a domain is asked about again and again; what the domain takes back is shown, silence takes nothing back.
func TestNamesAreCheckedAgain(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	au, _ := node.ParseUser(a.user())
	bu, _ := node.ParseUser(b.user())
	w.dns = map[string]identity.UserID{"alice@example.org": au, "bob@example.org": bu}
	// alice claims bob's, too
	w.must(a.setProfile(node.ProfileChange{Handles: &[]string{"alice@example.org", "bob@example.org"}}))
	w.pass(10 * time.Minute)
	names := func() []view.Name { return b.contact(a.user()).Names }
	if n := names(); !n[0].Verified || n[1].Verified || n[1].Error == "" {
		t.Fatalf("%+v", n)
	}
	first := names()[0]
	w.pass(8 * 24 * time.Hour)
	if n := names()[0]; !n.Verified || !n.Checked.After(first.Checked) || !n.Since.Equal(first.Since) {
		t.Errorf("after a week: %+v", n)
	}
	w.noDNS = true
	w.pass(8 * 24 * time.Hour)
	if n := names()[0]; !n.Verified || n.Error == "" {
		t.Errorf("while the DNS is silent: %+v", n)
	}
	asked := len(w.asked)
	w.pass(24 * time.Hour)
	if n := len(w.asked) - asked; n > 8 {
		t.Errorf("a silent DNS is asked %d times a day", n)
	}
	w.noDNS, w.dns["alice@example.org"] = false, bu
	w.pass(2 * 24 * time.Hour)
	if n := names()[0]; n.Verified || !strings.Contains(n.Error, "somebody else") {
		t.Errorf("after the domain named another: %+v", n)
	}
	if !b.noticed("not verified any more") {
		t.Error("nobody was told")
	}
	b.stop()
	b.start()
	asked = len(w.asked)
	w.pass(25 * time.Hour)
	if len(w.asked) == asked {
		t.Error("after a start nobody asks any more")
	}
}

func (d *device) noticed(part string) bool {
	return count(d.notices, func(n view.Notice) bool { return contains(n.Text, part) }) > 0
}

// The safety number, as somebody reads it out, verifies a contact on every device of ours.
func TestVerifyContact(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	a, b := w.person("alice"), w.person("bob")
	w.pass(time.Minute)
	if _, err := a.ask(b, ""); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	w.must(b.change((*node.Engine).AcceptContact, a))
	w.pass(time.Minute)
	a2 := a.link("alice's second")
	w.pass(time.Minute)
	au, _ := node.ParseUser(a.user())
	bu, _ := node.ParseUser(b.user())
	number := identity.SafetyNumber(au, bu)
	verify := func(n string) error {
		err := a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.VerifyContact(t, b.user(), n); return err })
		w.settle()
		return err
	}
	for _, wrong := range []string{"", number[:65], "1" + number, strings.Repeat("00000 ", 12)} {
		if verify(wrong) == nil {
			t.Errorf("%q verifies", wrong)
		}
	}
	if err := verify(number[:65]); !errors.Is(err, view.ErrUsage) {
		t.Errorf("a number cut off: %v", err)
	}
	if err := verify(string('0'+(number[0]-'0'+1)%10) + number[1:]); !errors.Is(err, view.ErrEpochChanged) {
		t.Errorf("another number: %v", err)
	}
	if a.contact(b.user()).Verified {
		t.Fatal("control: verified before")
	}
	w.must(verify(strings.ReplaceAll(number, " ", "-\n")))
	w.pass(time.Minute)
	for _, d := range []*device{a, a2} {
		if !d.contact(b.user()).Verified {
			t.Errorf("%s does not know", d.name)
		}
	}
	words := witness.SafetyWords(au, bu)
	for _, wrong := range []string{strings.TrimSuffix(words, "s") + "x", strings.Join(strings.Fields(words)[:7], " "), strings.Join(strings.Fields(words)[1:], " ")} {
		if verify(wrong) == nil {
			t.Errorf("%q verifies", wrong)
		}
	}
	w.must(verify(" " + strings.ToUpper(strings.ReplaceAll(words, " ", "\n  "))))
}

// A contact's profile is bounded, whatever it sends.
func TestAHostileProfile(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	say := func(p *chatpb.Profile) {
		a.say(b, chat.KindProfile, p)
		w.pass(time.Minute)
	}
	say(&chatpb.Profile{Name: strings.Repeat("\u202eN", 500), Handles: []string{"a@b", "\x1b]0;", strings.Repeat("h", 900), "d@e.org"}, Changed: 1 << 62})
	x := b.contact(a.user())
	if len(x.Name) != 64 || strings.Contains(x.Name, "\u202e") || len(x.Names) != 3 || x.Handle != "alice" {
		t.Errorf("%+v", x)
	}
	row := &pb.Contact{}
	w.must(b.store.View(func(tx store.Tx) error {
		user, _ := node.ParseUser(a.user())
		return proto.Unmarshal(tx.Get(store.BucketContacts, user[:20]), row)
	}))
	if row.ProfileAt > uint64(w.now.Add(25*time.Hour).UnixMilli()) {
		t.Errorf("a profile of the year %v keeps every later one out", time.UnixMilli(int64(row.ProfileAt)).Year())
	}
	say(&chatpb.Profile{Name: "x", Picture: &chatpb.File{Name: strings.Repeat("n", 1100)}, Changed: row.ProfileAt + 1})
	if x := b.contact(a.user()); x.Name == "x" {
		t.Error("a profile with a huge picture was taken")
	}
}

// member writes to's person into d's store as a member of a group that both are in, and nothing else to d.
func (d *device) member(to *device) {
	d.w.t.Helper()
	self := to.row()
	raw, err := proto.Marshal(&pb.Contact{User: self.User, Handle: "member-2", State: 5, List: self.List, Chat: 900, Groups: [][]byte{make([]byte, 16)}})
	d.w.must(err)
	d.stop()
	d.w.must(d.store.Update(func(tx store.Tx) error { tx.Put(store.BucketContacts, self.User[:20], raw); return nil }))
	d.start()
}

// Somebody with whom we share a group is no contact: it asks like anybody else, its texts count as asking, and the group
// goes on meanwhile.
func TestAMemberOfAGroupAsks(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	a, b := w.person("alice"), w.person("bob")
	w.pass(time.Minute)
	a.member(b)
	b.member(a)
	if _, err := a.trySend(b, "hello"); err == nil {
		t.Error("a member is written to directly")
	}
	if err := b.change((*node.Engine).AcceptContact, a); err == nil {
		t.Error("somebody who has not asked is accepted")
	}
	if _, err := a.ask(b, "from the club"); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if x := a.contact(b.user()); x.State != "member" || x.Request == nil || !x.Request.Mine || x.Request.Stage != "custody" {
		t.Errorf("alice sees %+v %+v", x, x.Request)
	}
	x := b.contact(a.user())
	if x.State != "member" || x.Request == nil || x.Request.Mine || x.Request.Note != "from the club" || x.Name != "alice" || x.Handle != "alice" {
		t.Fatalf("bob sees %+v %+v", x, x.Request)
	}
	w.must(b.change((*node.Engine).IgnoreContact, a))
	if x := b.contact(a.user()); x.State != "member" || x.Request != nil {
		t.Errorf("ignored: %+v", x)
	}
	handles, name := []string{"ally"}, "alice the first"
	w.must(a.setProfile(node.ProfileChange{Name: &name, Handles: &handles}))
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.Name != name || len(x.Names) != 0 {
		t.Errorf("a member is told %q and %v", x.Name, x.Names)
	}
	a.say(b, chat.KindText, &chatpb.Text{Text: "answer me"})
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.Request == nil {
		t.Errorf("a text did not ask: %+v", x)
	}
	wantTexts(t, b, a)
	w.must(b.change((*node.Engine).AcceptContact, a))
	w.pass(time.Minute)
	for _, x := range []view.Contact{a.contact(b.user()), b.contact(a.user())} {
		if x.State != "accepted" || x.Request != nil {
			t.Errorf("%+v", x)
		}
	}
	if x := b.contact(a.user()); len(x.Names) != 1 {
		t.Errorf("an accepted member is told %v", x.Names)
	}
}

// A request says whose it is with the list in it: a list of another, or one that does not name the device, asks for nobody.
func TestAForgedRequestAsksForNobody(t *testing.T) {
	for name, forge := range map[string]func(w *world, r *chatpb.Request){
		"control":           func(*world, *chatpb.Request) {},
		"another's list":    func(w *world, r *chatpb.Request) { r.List = w.list0("mallory").Bytes() },
		"no list":           func(_ *world, r *chatpb.Request) { r.List = nil },
		"an answer to none": func(_ *world, r *chatpb.Request) { r.Answer = true },
	} {
		w := newWorld(t)
		a, b := w.person("alice"), w.person("bob")
		a.meetDevice(b)
		rec, err := dht.ParseDeviceRecord(b.row().Record)
		w.must(err)
		keys, err := identity.ParseDeviceKeys(a.row().DeviceKeys)
		w.must(err)
		list, err := listOf(a.row().List)
		w.must(err)
		s, err := session.Initiate(seeded("flight"), session.Self{User: userID(a), Keys: keys, Head: list.Head()}, rec.Bundle())
		w.must(err)
		r := &chatpb.Request{Name: "Alice", List: list.Bytes()}
		forge(w, r)
		envelope, err := s.Seal(seeded("envelope"), session.Body{Counter: 1, Content: a.content(chat.Direct(userID(a), userID(b)), chat.KindRequest, r)})
		w.must(err)
		b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, a.self.ID, envelope) })
		w.settle()
		got := b.rows(store.BucketContacts) + b.rows(store.BucketDevices) + b.rows(store.BucketSessions)
		if want := map[bool]int{true: 3, false: 0}[name == "control"]; got != want {
			t.Errorf("%s: %d rows, want %d", name, got, want)
		}
	}
}

// As many as wait at once are enough, on whatever day they came.
func TestTheQueueOfRequestsEnds(t *testing.T) {
	for _, waiting := range []int{people.MaxRequests, people.MaxRequests - 1} {
		w := newWorld(t)
		a, b := w.person("alice"), w.person("bob")
		a.meetDevice(b)
		w.must(b.store.Update(func(tx store.Tx) error {
			for i := range waiting {
				l := w.list0(text(i))
				user := l.User()
				raw, err := proto.Marshal(&pb.Contact{
					User: user[:], Handle: text(i), State: 2, List: l.Bytes(), Chat: uint32(1000 + i), Wants: true, Asked: w.now.UnixMilli(),
				})
				w.must(err)
				tx.Put(store.BucketContacts, user[:20], raw)
			}
			return nil
		}))
		if _, err := a.ask(b, ""); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if taken := b.contact(a.user()).State == "request"; taken != (waiting < people.MaxRequests) {
			t.Errorf("with %d that wait: taken %t", waiting, taken)
		}
	}
}
