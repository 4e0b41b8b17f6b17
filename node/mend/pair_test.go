package mend_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// A pair is two devices with real sessions, and what the engine does with them by the rules of this package, without
// relays, people and everything else: what a device keeps is in a store, a crash rolls a turn back, and a copy of the store
// can be put back. Faults are rules left out: what the schedules must notice.

type faults struct {
	neverAnew   bool // sessions are never given up
	noResend    bool // what is asked for is not sent again
	earlyAck    bool // an acknowledgement leaves before the commit
	noGuard     bool // nonces have no random part
	forgetShown bool // what was shown is not remembered
}

type packet struct {
	env  []byte
	sent time.Time
}

type pair struct {
	rng   *rand.Rand
	now   time.Time
	ends  [2]*end
	wire  [2][]packet // to each end
	held  [2][]packet // ... a month late
	fault faults
	dark  bool // the directory does not answer

	keys     map[string]bool // tag and nonce of everything that was sealed
	tags     map[string]bool
	repeated int // tags that were sealed twice: keys that a copy repeats
	reused   int // ... with one nonce
}

type end struct {
	p     *pair
	at    int
	keys  *identity.DeviceKeys
	user  identity.UserID
	rng   io.Reader
	disk  store.Store
	book  *session.Book
	mail  time.Time
	meter *mend.Meter
	unop  int
	back  bool    // an older copy was put back
	says  *record // what the directory has of it
}

// record is what a device publishes.
type record struct {
	bundle *identity.Bundle
	number uint64
}

// turn is one transaction with what is to be done after it.
type turn struct {
	store.Tx
	out     [][]byte
	publish *record
}

var keySelf, errCrash = []byte("self"), errors.New("crash")

const (
	kindText  = uint32(chat.KindText)
	life      = 30 * 24 * time.Hour
	retryAged = 60 * time.Second
)

// sources of keys and entropy are made once: they are dear.
type cast struct{ keys [2]*identity.DeviceKeys }

func newCast() *cast {
	c := &cast{}
	for i := range c.keys {
		keys, err := identity.NewDeviceKeys(rand.NewChaCha8([32]byte{byte(i + 1)}))
		if err != nil {
			panic(err)
		}
		c.keys[i] = keys
	}
	return c
}

// guardless is entropy whose 8-byte reads, the guards of nonces, are zero.
type guardless struct{ io.Reader }

func (g guardless) Read(b []byte) (int, error) {
	n, err := g.Reader.Read(b)
	if len(b) == 8 {
		clear(b)
	}
	return n, err
}

func newPair(c *cast, seed uint64, f faults) *pair {
	p := &pair{
		rng: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2031, 3, 1, 8, 0, 0, 0, time.UTC), fault: f,
		keys: map[string]bool{}, tags: map[string]bool{},
	}
	for i := range p.ends {
		var s [32]byte
		binary.BigEndian.PutUint64(s[:], seed)
		s[31] = byte(i)
		e := &end{p: p, at: i, keys: c.keys[i], user: identity.UserID{byte(i + 1)}, rng: rand.NewChaCha8(s), disk: store.NewMemory(), meter: mend.NewMeter()}
		if f.noGuard {
			e.rng = guardless{e.rng}
		}
		p.ends[i] = e
	}
	for i, e := range p.ends {
		peer := p.ends[1-i].keys.ID()
		e.do(func(t *turn) error {
			e.put(t, &pb.PeerDevice{Device: peer[:]})
			store.PutRow(t, store.BucketMeta, keySelf, &pb.Self{Generation: uint64(p.now.UnixMilli())})
			e.rotate(t, 1)
			return nil
		})
		e.load()
	}
	return p
}

// do runs one turn; what it wants done is done when it has committed.
func (e *end) do(fn func(*turn) error) {
	t := &turn{}
	err := e.disk.Update(func(tx store.Tx) error { t.Tx = tx; return fn(t) })
	if err != nil {
		if e.p.fault.earlyAck {
			e.send(t.out)
		}
		e.load()
		return
	}
	if t.publish != nil && (e.says == nil || t.publish.bundle.Generation() > e.says.bundle.Generation() ||
		t.publish.bundle.Generation() == e.says.bundle.Generation() && t.publish.number > e.says.number) {
		e.says = t.publish
	}
	e.send(t.out)
}

func (e *end) send(envelopes [][]byte) {
	for _, env := range envelopes {
		e.p.wire[1-e.at] = append(e.p.wire[1-e.at], packet{env, e.p.now})
	}
}

// load reads what memory knows from the disk, as after a crash.
func (e *end) load() {
	e.book, e.unop = session.NewBook(), 0
	peer := e.p.ends[1-e.at].keys.ID()
	_ = e.disk.View(func(tx store.Tx) error {
		tx.Scan(store.BucketSessions, nil, func(id, raw []byte) bool {
			if s, err := session.ParseSession(raw); err == nil {
				e.book.Put(session.Ref{Device: peer, Session: [8]byte(id)}, s)
			}
			return true
		})
		return nil
	})
}

func (e *end) self(t *turn) *pb.Self {
	s := &pb.Self{}
	store.Row(t, store.BucketMeta, keySelf, s)
	return s
}

func (e *end) peer(t *turn) *pb.PeerDevice {
	d, id := &pb.PeerDevice{}, e.p.ends[1-e.at].keys.ID()
	store.Row(t, store.BucketDevices, id[:], d)
	return d
}

func (e *end) put(t *turn, d *pb.PeerDevice) { store.PutRow(t, store.BucketDevices, d.Device, d) }

// rotate makes the next bundle and publishes it.
func (e *end) rotate(t *turn, number uint64) {
	s := e.self(t)
	b, pre, err := identity.NewBundle(e.rng, e.keys, identity.BundleFields{
		User: e.user, Generation: s.Generation, Number: number, Issued: e.p.now, NotAfter: e.p.now.Add(identity.BundleLifetime),
	})
	if err != nil {
		panic(err)
	}
	var old [][]byte
	t.Scan(store.BucketPrekeys, nil, func(id, raw []byte) bool {
		row := &pb.Prekey{}
		if proto.Unmarshal(raw, row) == nil && row.Superseded != 0 && e.p.now.Sub(time.UnixMilli(row.Superseded)) > 4*24*time.Hour {
			old = append(old, slices.Clone(id))
		}
		return true
	})
	for _, id := range old {
		t.Delete(store.BucketPrekeys, id)
	}
	if prev := (&pb.Prekey{}); len(s.Bundle) > 0 {
		if pb0, err := identity.ParseBundle(s.Bundle); err == nil {
			h := pb0.Hash()
			if store.Row(t, store.BucketPrekeys, h[:8], prev) {
				prev.Superseded = e.p.now.UnixMilli()
				store.PutRow(t, store.BucketPrekeys, h[:8], prev)
			}
		}
	}
	h := b.Hash()
	store.PutRow(t, store.BucketPrekeys, h[:8], &pb.Prekey{Secret: pre.Marshal()})
	s.Bundle, s.BundleDue = b.Bytes(), e.p.now.Add(24*time.Hour).UnixMilli()
	s.RecordNumber++
	store.PutRow(t, store.BucketMeta, keySelf, s)
	t.publish = &record{b, s.RecordNumber}
}

// say writes content into the outbox, sealed if that is possible.
func (e *end) say(t *turn, kind chat.Kind, payload []byte) {
	content := append(binary.BigEndian.AppendUint16(nil, uint16(kind)), payload...)
	id := sha256.Sum256(append([]byte{byte(e.at)}, content...))
	store.PutRow(t, store.BucketMessages, id[:], &pb.Message{Id: id[:], Content: content, Mine: true})
	e.queue(t, &pb.Delivery{Message: id[:], Kind: uint32(kind), Created: e.p.now.UnixMilli(), Expires: e.p.now.Add(life).UnixMilli()})
}

func (e *end) queue(t *turn, d *pb.Delivery) {
	n := store.NextCounter(t, "delivery")
	e.attempt(t, n, d)
}

// attempt seals what is not sealed, and sends it.
func (e *end) attempt(t *turn, n uint64, d *pb.Delivery) {
	m := &pb.Message{}
	if len(d.Envelope) == 0 && store.Row(t, store.BucketMessages, d.Message, m) {
		d.Envelope = e.seal(t, m.Content, d)
	}
	if len(d.Envelope) > 0 {
		t.out = append(t.out, d.Envelope)
		if d.Left == 0 {
			d.Left = e.p.now.UnixMilli()
		}
	}
	store.PutRow(t, store.BucketOutbox, store.U64(n), d)
}

func (e *end) sessions(t *turn, d *pb.PeerDevice) (all []*session.Session) {
	for _, id := range d.Sessions {
		if s, err := session.ParseSession(t.Get(store.BucketSessions, id)); err == nil {
			all = append(all, s)
		}
	}
	return all
}

func (e *end) keep(t *turn, s *session.Session) {
	id := s.ID()
	t.Put(store.BucketSessions, id[:], s.Marshal())
	e.book.Put(session.Ref{Device: e.p.ends[1-e.at].keys.ID(), Session: id}, s)
}

func (e *end) add(t *turn, d *pb.PeerDevice, s *session.Session) {
	id := s.ID()
	for _, gone := range mend.Add(d, id[:], e.p.now) {
		e.book.Remove(session.Ref{Device: e.p.ends[1-e.at].keys.ID(), Session: [8]byte(gone)})
		t.Delete(store.BucketSessions, gone)
	}
	e.keep(t, s)
	e.put(t, d)
}

func (e *end) me() session.Self { return session.Self{User: e.user, Keys: e.keys} }

// seal is the engine's: on the session that was answered last, else on a new one.
func (e *end) seal(t *turn, content []byte, x *pb.Delivery) []byte {
	d := e.peer(t)
	if e.unop >= 3 && e.mayRenew(d) {
		e.unop = 0
		mend.Retire(d, nil, e.p.now)
	}
	all := e.sessions(t, d)
	i := session.Choose(all)
	if i < 0 || all[i].Initiated() && !all[i].Established() && e.p.now.Sub(time.UnixMilli(d.Begun)) >= 48*time.Hour {
		if b := e.bundle(t, d); b != nil && (i < 0 || b.Number() > d.BegunAt) {
			s, err := session.Initiate(e.rng, e.me(), b)
			if err != nil {
				panic(err)
			}
			d.Begun, d.BegunAt = e.p.now.UnixMilli(), b.Number()
			e.add(t, d, s)
			all, i = append(all, s), len(all)
		}
	}
	if i < 0 {
		return nil
	}
	counter := mend.Count(t, d, x, e.p.now)
	env, err := all[i].Seal(e.rng, session.Body{
		Counter: counter, Content: content, Generation: e.self(t).Generation, Received: d.Received, Sent: d.Sent,
	})
	if err != nil {
		panic(err)
	}
	e.keep(t, all[i])
	e.put(t, d)
	e.p.sealed(env)
	return env
}

// sealed counts keys that meet a nonce twice: one tag stands for one key of one session.
func (p *pair) sealed(env []byte) {
	message := env
	if _, ok := session.ParseFirstFlight(env); ok {
		message = env[firstFlight:]
	}
	tag, nonce := string(message[1:9]), string(message[1:17])
	if p.tags[tag] {
		p.repeated++
	}
	if p.keys[nonce] {
		p.reused++
	}
	p.tags[tag], p.keys[nonce] = true, true
}

const firstFlight = 1285 // bytes before the message

func (e *end) mayRenew(d *pb.PeerDevice) bool {
	return !e.p.fault.neverAnew && mend.MayRenew(d, e.p.now)
}

// bundle is the peer's, looked up when it is not known or old.
func (e *end) bundle(t *turn, d *pb.PeerDevice) *identity.Bundle {
	b, err := identity.ParseBundle(d.Record)
	if (err != nil || e.p.now.Sub(b.Issued()) > 24*time.Hour) && !e.p.dark {
		says := e.p.ends[1-e.at].says
		d.Record, b = says.bundle.Bytes(), says.bundle
		mend.Newer(d, b.Generation())
	}
	return b
}

// lost gives up the sessions but keep, and seals anew what is not acknowledged.
func (e *end) lost(t *turn, d *pb.PeerDevice, keep []byte) {
	if e.p.fault.neverAnew {
		return
	}
	mend.Retire(d, keep, e.p.now)
	e.put(t, d)
	for n, x := range e.outbox(t) {
		if len(x.Envelope) > 0 {
			e.again(t, n, x)
		}
	}
}

func (e *end) again(t *turn, n uint64, x *pb.Delivery) {
	x.Envelope, x.Left, x.Resealed = nil, 0, e.p.now.UnixMilli()
	x.Repairs++
	e.attempt(t, n, x)
}

func (e *end) outbox(t *turn) map[uint64]*pb.Delivery {
	all := map[uint64]*pb.Delivery{}
	t.Scan(store.BucketOutbox, nil, func(key, raw []byte) bool {
		d := &pb.Delivery{}
		if proto.Unmarshal(raw, d) == nil {
			all[binary.BigEndian.Uint64(key)] = d
		}
		return true
	})
	return all
}

// learn takes in the record that the directory has of the peer.
func (e *end) learn(t *turn) {
	if e.p.dark {
		return
	}
	d, says := e.peer(t), e.p.ends[1-e.at].says
	old, err := identity.ParseBundle(d.Record)
	if err == nil && (says.bundle.Generation() < old.Generation() || says.bundle.Generation() == old.Generation() && says.bundle.Number() <= old.Number()) {
		return
	}
	lost := mend.Newer(d, says.bundle.Generation())
	d.Record = says.bundle.Bytes()
	e.put(t, d)
	if lost {
		e.lost(t, d, nil)
		return
	}
	oldest := &pb.Delivery{}
	for _, x := range e.outbox(t) {
		if oldest.Created == 0 || x.Created < oldest.Created {
			oldest = x
		}
	}
	if oldest.Left != 0 && mend.Silent(time.UnixMilli(oldest.Left), says.bundle.Issued(), e.p.now) && e.mayRenew(d) {
		e.lost(t, d, nil)
	}
}

// own compares the directory's record of this device with its own.
func (e *end) own(t *turn) {
	s := e.self(t)
	if e.p.dark || e.says == nil || string(e.says.bundle.Bytes()) == string(s.Bundle) || e.says.number < s.RecordNumber {
		return
	}
	s.RecordNumber = max(s.RecordNumber, e.says.number)
	s.Generation = max(s.Generation, e.says.bundle.Generation())
	store.PutRow(t, store.BucketMeta, keySelf, s)
	e.afresh(t)
}

// afresh is the engine's Afresh.
func (e *end) afresh(t *turn) {
	s := e.self(t)
	if e.p.fault.neverAnew || e.p.now.Sub(time.UnixMilli(s.Afresh)) < time.Hour {
		return
	}
	s.Afresh = e.p.now.UnixMilli()
	s.Generation = mend.Above(e.p.now, s.Generation)
	s.RecordNumber = mend.Above(e.p.now, s.RecordNumber)
	store.PutRow(t, store.BucketMeta, keySelf, s)
	d := e.peer(t)
	d.Sent = mend.NewBlock(e.p.now, d.Sent)
	e.put(t, d)
	e.rotate(t, mend.Above(e.p.now, 0))
	e.lost(t, d, nil)
	e.say(t, chat.KindReach, t.nonce(e)) // so that the peer hears of it
}

func (t *turn) nonce(e *end) []byte { return binary.BigEndian.AppendUint64(nil, e.p.rng.Uint64()) }

// receive takes an envelope; true: it may go from the relay.
func (e *end) receive(env []byte, crash bool) {
	e.do(func(t *turn) error {
		name := sha256.Sum256(env)
		if t.Get(store.BucketSeen, name[:]) != nil {
			return nil
		}
		e.mail = e.p.now
		body, id, ok := e.open(t, env)
		if !ok {
			e.unop++
			return nil
		}
		e.unop = 0
		t.Put(store.BucketSeen, name[:], []byte{1})
		e.hear(t, body, id)
		e.take(t, body.Content)
		if crash {
			return errCrash
		}
		return nil
	})
}

func (e *end) open(t *turn, env []byte) (body session.Body, id [8]byte, ok bool) {
	d := e.peer(t)
	if f, first := session.ParseFirstFlight(env); first {
		key := slices.Concat(f.Prekey[:], f.EA[:])
		if sid := t.Get(store.BucketFlights, key); sid != nil {
			return e.openWith(t, [8]byte(sid), env)
		}
		row := &pb.Prekey{}
		if !store.Row(t, store.BucketPrekeys, f.Prekey[:], row) {
			return body, id, false
		}
		pre, err := identity.ParsePrekey(row.Secret)
		if err != nil {
			return body, id, false
		}
		s, _, body, err := session.Accept(e.me(), pre, func(session.Sender) error { return nil }, env, e.p.now)
		if err != nil {
			return body, id, false
		}
		id = s.ID()
		e.add(t, d, s)
		t.Put(store.BucketFlights, key, id[:])
		return body, id, true
	}
	if ref, found := e.book.Find(env); found {
		return e.openWith(t, ref.Session, env)
	}
	for _, ref := range e.book.Trial(env, 64) {
		if body, id, ok = e.openWith(t, ref.Session, env); ok {
			return body, id, ok
		}
	}
	return body, id, false
}

func (e *end) openWith(t *turn, id [8]byte, env []byte) (session.Body, [8]byte, bool) {
	s, err := session.ParseSession(t.Get(store.BucketSessions, id[:]))
	if err != nil {
		return session.Body{}, id, false
	}
	body, err := s.Open(env, e.p.now)
	if err != nil {
		return body, id, false
	}
	e.keep(t, s)
	return body, id, true
}

func (e *end) hear(t *turn, b session.Body, id [8]byte) {
	d := e.peer(t)
	d.Heard = e.p.now.UnixMilli()
	said := mend.Heard(d, b, e.p.now)
	e.put(t, d)
	switch {
	case said.Behind:
		e.own(t)
		if d = e.peer(t); e.mayRenew(d) {
			e.lost(t, d, nil)
		}
	case said.Lost:
		e.lost(t, d, id[:])
	}
}

// take acts on content, once, and acknowledges it.
func (e *end) take(t *turn, content []byte) {
	id := sha256.Sum256(append([]byte{byte(1 - e.at)}, content...))
	kind, payload := chat.Kind(binary.BigEndian.Uint16(content)), content[2:]
	if kind == chat.KindAck {
		e.acked(t, payload)
		return
	}
	known := t.Get(store.BucketMessages, id[:]) != nil && !e.p.fault.forgetShown
	if !known {
		switch kind {
		case chat.KindMissing:
			e.missing(t, payload)
		case chat.KindGone:
			g, d := &chatpb.Gone{}, e.peer(t)
			_ = proto.Unmarshal(payload, g)
			for _, s := range g.Spans {
				mend.Settle(d, s.From, s.To)
			}
			e.put(t, d)
		case chat.KindText:
			store.PutRow(t, store.BucketMessages, id[:], &pb.Message{Id: id[:], Content: content})
			shown := t.Get(store.BucketTexts, id[:])
			t.Put(store.BucketTexts, id[:], append(shown, 1))
		}
	}
	if env := e.seal(t, append(binary.BigEndian.AppendUint16(nil, uint16(chat.KindAck)), id[:]...), nil); env != nil {
		t.out = append(t.out, env)
	}
}

func (e *end) acked(t *turn, id []byte) {
	for n, x := range e.outbox(t) {
		if string(x.Message) != string(id) {
			continue
		}
		t.Delete(store.BucketOutbox, store.U64(n))
		m := &pb.Message{}
		if store.Row(t, store.BucketMessages, id, m) {
			if !chat.KindOf(slices.Concat([]byte{1}, m.Content, make([]byte, chat.HeaderSize))).Visible() {
				t.Delete(store.BucketMessages, id)
				continue
			}
			m.Done = []*pb.Done{{}}
			store.PutRow(t, store.BucketMessages, id, m)
		}
	}
}

func (e *end) missing(t *turn, payload []byte) {
	m := &chatpb.Missing{}
	d := e.peer(t)
	if proto.Unmarshal(payload, m) != nil || e.p.fault.noResend || !e.meter.Asks(identity.DeviceID(d.Device), e.p.now) {
		return
	}
	waiting := map[string]bool{}
	for _, x := range e.outbox(t) {
		waiting[string(x.Message)] = true
	}
	gone := mend.Find(t, d, m.Spans, func(counter uint64, id []byte) mend.Fate {
		row := &pb.Message{}
		switch {
		case !store.Row(t, store.BucketMessages, id, row):
			return mend.Gone
		case waiting[string(id)]:
			return mend.Comes
		case len(row.Done) == 0:
			return mend.Gone
		case !e.meter.Sends(identity.DeviceID(d.Device), e.p.now):
			return mend.Later
		}
		row.Done = nil
		store.PutRow(t, store.BucketMessages, id, row)
		e.queue(t, &pb.Delivery{Message: id, Kind: kindText, Created: e.p.now.UnixMilli(), Expires: e.p.now.Add(life).UnixMilli(), Counter: counter})
		return mend.Comes
	})
	for part := range slices.Chunk(gone, mend.MaxSpans) {
		raw, _ := proto.Marshal(&chatpb.Gone{Spans: part})
		e.say(t, chat.KindGone, distinct(e, raw))
	}
}

// distinct makes two equal messages differ, as the nonce of content does: an unknown field of the message.
func distinct(e *end, raw []byte) []byte {
	return binary.BigEndian.AppendUint64(append(raw, 0x79), e.p.rng.Uint64())
}

// tick does what is due.
func (e *end) tick() {
	e.do(func(t *turn) error {
		if s := e.self(t); s.BundleDue <= e.p.now.UnixMilli() {
			b, err := identity.ParseBundle(s.Bundle)
			if err != nil {
				return err
			}
			e.rotate(t, b.Number()+1)
		}
		e.own(t)
		d := e.peer(t)
		for _, gone := range mend.Expired(d, e.p.now) {
			t.Delete(store.BucketSessions, gone)
		}
		e.put(t, d)
		e.work(t)
		d = e.peer(t)
		spans := mend.Ask(d, e.mail, e.p.now)
		e.put(t, d)
		if len(spans) > 0 {
			raw, _ := proto.Marshal(&chatpb.Missing{Spans: spans})
			e.say(t, chat.KindMissing, distinct(e, raw))
		}
		return nil
	})
}

// work looks at what is on its way: expired, to be repaired, or sent another time.
func (e *end) work(t *turn) {
	renewed := false
	for n := uint64(1); n <= store.Counter(t, "delivery"); n++ {
		x := &pb.Delivery{}
		if !store.Row(t, store.BucketOutbox, store.U64(n), x) {
			continue
		}
		d := e.peer(t)
		switch {
		case x.Expires <= e.p.now.UnixMilli():
			t.Delete(store.BucketOutbox, store.U64(n))
			continue
		case mend.LookAgain(d, time.UnixMilli(x.Created), e.p.now):
			e.put(t, d)
			e.learn(t)
			store.Row(t, store.BucketOutbox, store.U64(n), x)
			d = e.peer(t)
		}
		pause := time.Duration(0)
		if x.Repairs > 0 {
			pause = min(10*time.Minute<<min(x.Repairs-1, 16), 12*time.Hour)
		}
		lost := x.Left != 0 && d.Heard > x.Left && e.p.now.Sub(time.UnixMilli(x.Left)) >= retryAged
		if lost && e.p.now.Sub(time.UnixMilli(x.Resealed)) >= pause {
			if x.Repairs >= 2 && !renewed && e.mayRenew(d) {
				renewed = true
				mend.Retire(d, nil, e.p.now)
				e.put(t, d)
			}
			e.again(t, n, x)
			continue
		}
		e.attempt(t, n, x)
	}
}

// copied is the disk as it is now.
func (e *end) copied() store.Store {
	c := store.NewMemory()
	_ = e.disk.View(func(from store.Tx) error {
		return c.Update(func(to store.Tx) error {
			for _, b := range store.Buckets() {
				from.Scan(b, nil, func(k, v []byte) bool { to.Put(b, k, v); return true })
			}
			return nil
		})
	})
	return c
}
