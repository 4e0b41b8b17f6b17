// Package node is the engine of one device: what it sends, to which devices, by which way, what it believes, and what a
// person sees of it.
//
// The engine is a pure state machine. Every method takes a Turn (time, entropy, one store transaction, a place for
// effects); nothing here waits, dials or reads a clock. Guarantees, given that the caller commits the transaction
// before it performs the effects:
//   - a message that Send returned is on disk and will be tried until its devices acknowledge it, or 30 days passed;
//   - a message is shown once, whatever was delivered how often and by which way;
//   - a stage is evidence: custody means that W relays signed, delivered means that the device said so;
//   - a device that its user's newest known list does not name gets nothing.
//
// What it keeps in memory (session tags, due times, who is online) is derived from the store and rebuilt by Load; after
// a failed commit the caller must Load again, because memory may be ahead of the disk.
package node

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/outbox"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/prekeys"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// Config is what a person may choose.
type Config struct {
	Pins   []dht.Peer      // relays chosen by hand
	Policy election.Policy // of the election of our own relays

	// Unreachable is how long a message has to find neither a relay nor a device before the person's fallback is asked
	// for (border.go); 0: there is none.
	Unreachable time.Duration

	Events int // how many notices are kept for whoever asks for them later; 0: 10,000
}

// Engine is one device. It belongs to one goroutine.
type Engine struct {
	cfg     Config
	self    *pb.Self
	keys    *identity.DeviceKeys
	account *identity.Account // nil unless this is the admin device
	user    identity.UserID
	device  identity.DeviceID
	list    *identity.DeviceList // our own, newest

	book  *session.Book
	peers map[string][]identity.DeviceID // peer id -> devices that say it is theirs
	live  map[string]bool                // peer id -> a connection is up

	out     outbox.Index
	wants   outbox.Wants // directory keys that we need
	publish outbox.Wants // directory keys of ours that are not stored anywhere yet
	round   *round       // election in progress
	roundAt time.Time    // when to start the next one; zero: no need
	lookAt  time.Time    // ... if that is nothing but the next look at who serves us
	pinned  bool         // a relay was chosen by hand
	reachAt time.Time    // when to tell contacts how to reach us; zero: nothing new
	stats   Stats

	timesAt time.Time                 // when something is to be erased; zero: nothing
	typing  map[typist]time.Time      // who is writing, and when we stop believing it
	typed   map[chat.ChatID]time.Time // when we last said so

	ownAt       time.Time // when to look for lists of ours that somebody else signed
	read        bool      // ... and that was answered since the start
	prekeysAt   time.Time // when to forget old prekeys
	drains      *prekeys.Drains
	openings    prekeys.Openings
	stocked     map[string]bool // relays that were given bundles in this round
	namesAt     time.Time       // when to ask the DNS about contacts' names
	roundFailed int             // rounds in a row
	watched     uint32          // epoch that Watches was last said to change for

	pushed    map[identity.DeviceID]pushed    // the list head of ours that a device was sent last
	checks    map[identity.DeviceID]time.Time // when to look for deliveries that a device must have missed
	parked    map[identity.UserID]int         // envelopes of a user that wait
	unparking bool

	mailAt  time.Time                       // when a relay last gave us something
	missing map[identity.DeviceID]time.Time // when to ask a device for what did not come
	meter   *mend.Meter                     // what we do for those that ask us
	unopen  map[identity.DeviceID]int       // envelopes in a row over a device's own stream that did not open
	lostAt  map[identity.DeviceID]time.Time // when a device last told that it has lost its sessions

	historyAt time.Time                  // when to compare the past with our other devices; zero: as its row says
	compared  time.Time                  // ... and when that was done last
	gaps      map[identity.DeviceID]bool // with which it still has to be done

	files   *transfer.Ledger
	reviews outbox.Due     // when to audit a delivery, or warn of its end
	asks    map[string]ask // audits whose answer is on its way
	rooms   map[string]*room
	passes  map[string][]byte // relay, secret and certificate -> our pass; derived
	issued  map[string]issued // device -> its passes into our boxes; derived
	sealed  map[string]sealed // directory key -> the sealed copy of our set; derived

	reachAsked map[identity.DeviceID]time.Time // when we last asked a device for its reach
	reachTold  map[identity.DeviceID]time.Time // ... and answered one that asked for ours

	groups groupDesk

	observed map[string]observation // relay -> counted since its row was written
	adverts  map[string]*dht.Advert // relay -> its row's, as it was read last
	lists    store.Parsed[*identity.DeviceList]
	records  store.Parsed[*dht.DeviceRecord]
	sets     store.Parsed[*dht.SetRecord]
	rows     rows
	boxKeys  map[uint32]ed25519.PrivateKey
	boxesOf  map[string]identity.DeviceID // directory key of a set that we look up -> whose it is
}

// Stats counts what hostile or broken peers sent.
type Stats struct {
	Dropped   uint64 // envelopes that do not authenticate, or say what their sender may not say
	Duplicate uint64
	Parked    uint64
}

// Stats returns the counters since Load.
func (e *Engine) Stats() Stats { return e.stats }

var keySelf = []byte("self")

// Load reads the engine's state. It returns view.ErrNoIdentity on an empty store.
func Load(t *Turn, c Config) (*Engine, error) {
	e := &Engine{
		cfg: c, self: &pb.Self{}, book: session.NewBook(), peers: map[string][]identity.DeviceID{}, live: map[string]bool{}, out: outbox.New(),
		wants: outbox.NewWants(), publish: outbox.NewWants(), rows: newRows(),
		boxKeys: map[uint32]ed25519.PrivateKey{}, lists: store.Parsed[*identity.DeviceList]{Parse: identity.ParseDeviceList},
		records: store.Parsed[*dht.DeviceRecord]{Parse: dht.ParseDeviceRecord}, sets: store.Parsed[*dht.SetRecord]{Parse: dht.ParseSetRecord},
		reviews: outbox.NewDue(), asks: map[string]ask{}, rooms: map[string]*room{},
		groups: newGroupDesk(), passes: map[string][]byte{}, issued: map[string]issued{}, sealed: map[string]sealed{}, reachAsked: map[identity.DeviceID]time.Time{}, reachTold: map[identity.DeviceID]time.Time{},
		observed: map[string]observation{}, adverts: map[string]*dht.Advert{}, boxesOf: map[string]identity.DeviceID{},
		files: transfer.Load(t.Tx), pushed: map[identity.DeviceID]pushed{}, gaps: map[identity.DeviceID]bool{}, checks: map[identity.DeviceID]time.Time{}, missing: map[identity.DeviceID]time.Time{}, meter: mend.NewMeter(), unopen: map[identity.DeviceID]int{}, lostAt: map[identity.DeviceID]time.Time{}, parked: map[identity.UserID]int{},
		typing: map[typist]time.Time{}, typed: map[chat.ChatID]time.Time{}, drains: prekeys.NewDrains(t.Now), openings: prekeys.Openings{}, stocked: map[string]bool{},
	}
	if !store.Row(t.Tx, store.BucketMeta, keySelf, e.self) {
		return nil, view.ErrNoIdentity
	}
	if err := e.parseSelf(); err != nil {
		return nil, err
	}
	e.renewSoon(t)
	e.loadPeople(t)
	e.desk(t).IndexAll()
	e.timesAt = talk.NextTime(t.Tx)
	e.loadSessions(t)
	e.loadOutbox(t)
	e.dropParked(t)
	e.foldCounters(t)
	for _, p := range c.Pins {
		e.pin(t, p)
	}
	e.publishOwn(t)
	e.needMissing(t)
	e.planElection(t, 0)
	e.meetFriends(t)
	return e, t.Tx.Err()
}

// needMissing looks for the records without which something cannot go on: what was asked for before the process ended is
// in no row of its own.
func (e *Engine) needMissing(t *Turn) {
	var keys []string
	t.Tx.Scan(store.BucketDevices, nil, func(_, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) == nil && len(d.Record) == 0 {
			keys = append(keys, dht.DeviceKey(identity.DeviceID(d.Device)))
		}
		return true
	})
	for _, c := range e.contacts(t) {
		if len(c.List) == 0 {
			keys = append(keys, dht.UserKeyFromPrefix([talk.ContactKeySize]byte(c.User[:talk.ContactKeySize])))
		}
	}
	if len(e.self.Record) > 0 { // whether the network has a newer one than we know of: learnOwnRecord
		keys = append(keys, dht.DeviceKey(e.device))
	}
	e.ownAt = t.Now.Add(ownListEvery)
	keys = append(keys, dht.UserKey(e.user)) // whether somebody else has signed lists of ours: also before we sign the next
	for _, key := range keys {
		e.need(t, key)
	}
}

// meetFriends asks for a connection to our other devices, and, while no relay serves us, to our contacts' devices: they
// could not leave anything for us while we were away.
func (e *Engine) meetFriends(t *Turn) {
	alone := e.frontDoor(t) == nil
	t.Tx.Scan(store.BucketDevices, nil, func(_, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) == nil && d.Endpoint != nil && (alone && e.maySpeak(t, d) || string(d.User) == string(e.user[:])) {
			t.Out.Connects = append(t.Out.Connects, toPeer(d.Endpoint))
		}
		return len(t.Out.Connects) < maxMeet
	})
}

func (e *Engine) parseSelf() error {
	var err error
	if e.keys, err = identity.ParseDeviceKeys(e.self.DeviceKeys); err != nil {
		return err
	}
	e.account = nil
	if len(e.self.Account) > 0 {
		if e.account, err = identity.ParseAccount(e.self.Account); err != nil {
			return err
		}
	}
	if e.list, err = identity.ParseDeviceList(e.self.List); err != nil {
		return err
	}
	e.user, e.device = identity.UserID(e.self.User), e.keys.ID()
	return nil
}

func (e *Engine) loadPeople(t *Turn) {
	for _, c := range e.contacts(t) {
		e.namesAt = earlier(e.namesAt, people.NextAsk(c))
		if len(c.User) == 32 && talk.Chat(t.Tx, chat.Direct(e.user, identity.UserID(c.User))) == nil {
			e.adoptChat(t, c)
		}
	}
	t.Tx.Scan(store.BucketDevices, nil, func(_, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) != nil {
			return true
		}
		e.planAsk(d)
		if d.Endpoint != nil {
			peer := string(d.Endpoint.Id)
			e.peers[peer] = append(e.peers[peer], identity.DeviceID(d.Device))
		}
		return true
	})
}

// adoptChat makes the conversation of a contact of a build in which a contact was its conversation.
func (e *Engine) adoptChat(t *Turn, c *pb.Contact) {
	e.saveContact(t, c)
	row := talk.Chat(t.Tx, chat.Direct(e.user, identity.UserID(c.User)))
	for _, id := range talk.IDs(t.Tx, row) {
		if m := (&pb.Message{}); talk.Row(t.Tx, id, m) && m.Unsent {
			c.Waiting = append(c.Waiting, id)
		}
	}
	e.saveContact(t, c)
}

func (e *Engine) loadSessions(t *Turn) {
	t.Tx.Scan(store.BucketSessions, nil, func(key, value []byte) bool {
		if s, err := session.ParseSession(value); err == nil && len(key) == 40 {
			e.book.Put(session.Ref{Device: identity.DeviceID(key[:32]), Session: [8]byte(key[32:])}, s)
		}
		return true
	})
}

// Deadline is when Tick wants to be called next; zero: never. It names only what Tick will act on, so that a tick is
// always followed by a later deadline.
func (e *Engine) Deadline() time.Time {
	next := earlier(e.out.Deadline(), e.publish.Next())
	if e.self.Removed {
		return earlier(next, e.timesAt)
	}
	for _, at := range []time.Time{e.wants.Next(), e.reviews.Next(), e.files.Deadline(), e.reachAt, e.ownAt, e.namesAt, e.prekeysAt, e.groups.asks.Next(), unixMilli(e.self.BundleDue), e.timesAt, e.historyAt} {
		next = earlier(next, at)
	}
	for _, at := range e.typing {
		next = earlier(next, at)
	}
	for _, m := range []map[identity.DeviceID]time.Time{e.checks, e.missing} {
		for _, at := range m {
			next = earlier(next, at)
		}
	}
	if e.round != nil {
		return earlier(next, e.round.until)
	}
	return earlier(next, e.roundAt)
}

// Tick does what is due.
func (e *Engine) Tick(t *Turn) {
	if e.self.Removed { // what is left to say is that it is gone, and to do that messages disappear
		e.tickPublish(t)
		e.tickTalk(t)
		e.flush(t)
		return
	}
	e.renew(t)
	e.tickPrekeys(t)
	if due(e.ownAt, t.Now) { // somebody else may have signed lists of ours, or this store be an older copy
		e.ownAt = t.Now.Add(ownListEvery + jitter(t.Rand, ownListEvery/4))
		e.need(t, dht.UserKey(e.user))
		e.need(t, dht.DeviceKey(e.device))
	}
	e.tickNames(t)
	e.tickRepair(t)
	e.tickMissing(t)
	e.tickLookups(t)
	e.tickPublish(t)
	e.tickElection(t)
	e.tickReviews(t)
	e.tickGroups(t)
	e.tickHistory(t)
	e.tickFiles(t)
	e.tickTalk(t)
	if due(e.reachAt, t.Now) {
		e.reachAt = time.Time{}
		e.tellReach(t)
	}
	e.flush(t)
}

// PeerUp says that a connection to a peer stands: whatever waits for it, or for anybody to ask, is tried now.
func (e *Engine) PeerUp(t *Turn, peer []byte) {
	e.out.RetryAway(string(peer), len(e.live) == 0, t.Now)
	e.live[string(peer)] = true
	for _, d := range e.peers[string(peer)] {
		e.out.Linked(d, t.Now, dialHeadStart)
	}
	e.wants.Hurry(t.Now)
	e.publish.Hurry(t.Now)
	e.observe(t, peer, true)
	e.askRooms(t, peer)
	e.onFiles(t, e.files.Hurry)
	e.Tick(t)
}

// PeerDown says that the last connection to a peer is gone.
func (e *Engine) PeerDown(t *Turn, peer []byte) {
	delete(e.live, string(peer))
	for _, d := range e.peers[string(peer)] {
		e.out.GiveUpDirect(d, t.Now) // what was written last may not have arrived
	}
	e.flush(t)
}

// Names of the counters.
const (
	counterChat     = "chat"
	counterDelivery = "delivery"
	counterReach    = "reach"
	counterSet      = "set"
	counterParked   = "parked"
	counterSeen     = "seen"

	counterRequests      = "requests"    // of strangers, taken on counterRequestDay
	counterRequestDay    = "request day" // unix days
	counterRequestWarned = "request warned"
)

func (e *Engine) saveSelf(t *Turn) { store.PutRow(t.Tx, store.BucketMeta, keySelf, e.self) }

func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// takeDue takes the devices out of a plan whose time has come, in the order of their ids.
func takeDue(plan map[identity.DeviceID]time.Time, now time.Time) (ids []identity.DeviceID) {
	for id, at := range plan {
		if due(at, now) {
			ids = append(ids, id)
			delete(plan, id)
		}
	}
	slices.SortFunc(ids, func(a, b identity.DeviceID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// unixMilli reads a stored time; 0 is no time.
func unixMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// millis stores a time; no time is 0.
func millis(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

func toPeer(p *pb.Endpoint) dht.Peer {
	if p == nil {
		return dht.Peer{}
	}
	return dht.Peer{ID: p.Id, Addrs: p.Addrs}
}

func fromPeer(p dht.Peer) *pb.Endpoint { return &pb.Endpoint{Id: p.ID, Addrs: p.Addrs} }

func samePeer(a *pb.Endpoint, b dht.Peer) bool {
	if a == nil || !bytes.Equal(a.Id, b.ID) || len(a.Addrs) != len(b.Addrs) {
		return false
	}
	for i := range a.Addrs {
		if !bytes.Equal(a.Addrs[i], b.Addrs[i]) {
			return false
		}
	}
	return true
}
