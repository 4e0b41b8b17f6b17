package backup

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/backup/pb"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	rows "github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
)

// A store is written page by page, each in a transaction of its own, so that a node goes on beside it. A cursor is
// stage u8 | conversations u32 | place; conversations that began after the first page are left out, since their people
// are.

const (
	stageHead = iota
	stageContacts
	stageDevices
	stageTalk
	stageEnd
)

const cursorHead = 1 + 4

// Page makes the next records of a backup of a store; a nil cursor is the first, and so is the one after the last.
func Page(tx store.Tx, now time.Time, cursor []byte) (page, next []byte, err error) {
	p := &pager{tx: tx, me: talk.Me(tx)}
	if len(cursor) == 0 {
		p.until = uint32(store.Counter(tx, "chat"))
		p.head(now)
		p.goTo(stageContacts, nil)
		return p.out, p.next, tx.Err()
	}
	if len(cursor) < cursorHead || cursor[0] >= stageEnd {
		return nil, nil, ErrDamaged
	}
	p.until = binary.BigEndian.Uint32(cursor[1:])
	stage, place := cursor[0], cursor[cursorHead:]
	switch stage {
	case stageContacts:
		p.scan(store.BucketContacts, place, p.contact, stageDevices)
	case stageDevices:
		p.scan(store.BucketDevices, place, p.device, stageTalk)
	default:
		p.talk(place)
	}
	return p.out, p.next, tx.Err()
}

type pager struct {
	tx    store.Tx
	me    identity.UserID
	until uint32 // the number of the last conversation
	out   []byte
	next  []byte
}

func (p *pager) put(r *pb.Record) { p.out = frame(p.out, r) }

func (p *pager) full() bool { return len(p.out) >= PageRoom }

func (p *pager) goTo(stage byte, place []byte) {
	p.next = append(binary.BigEndian.AppendUint32([]byte{stage}, p.until), place...)
}

// head is the first page: who this is, where the network was, and all settings.
func (p *pager) head(now time.Time) {
	self := &rows.Self{}
	store.Row(p.tx, store.BucketMeta, []byte("self"), self)
	h := &pb.Head{User: p.me[:], Made: now.UnixMilli(), Name: self.Name, Handles: self.Handles, Picture: self.Picture, ProfileAt: self.ProfileAt}
	p.tx.Scan(store.BucketRelays, nil, func(_, value []byte) bool {
		if r := (&rows.Relay{}); proto.Unmarshal(value, r) == nil && len(r.Addrs) > 0 {
			h.Relays = append(h.Relays, &chatpb.Endpoint{Id: r.Peer, Addrs: r.Addrs})
		}
		return len(h.Relays) < maxRelays
	})
	p.put(&pb.Record{Head: h})
	for _, batch := range talk.SettingBatches(p.tx) {
		p.put(&pb.Record{Settings: batch})
	}
}

// scan writes the rows of a table until the page is full.
func (p *pager) scan(b store.Bucket, from []byte, row func(value []byte), then byte) {
	p.goTo(then, nil)
	p.tx.Scan(b, from, func(key, value []byte) bool {
		if p.full() {
			p.goTo(p.next[0]-1, key)
			return false
		}
		row(value)
		return true
	})
}

// contact writes what we believe of a person. Whom we wait for has no list yet, and the link's secret stays here.
func (p *pager) contact(value []byte) {
	c := &rows.Contact{}
	if proto.Unmarshal(value, c) != nil || c.State == talk.Pending || len(c.List) == 0 || len(c.User) != 32 {
		return
	}
	x := &pb.Contact{
		Person: &chatpb.Person{
			User: c.User, Handle: c.Handle, Name: c.Name, State: c.State, Verified: c.Verified, List: c.List, Changed: c.Changed,
		},
		Added: c.Added, NextList: c.NextList, Fork: c.Fork, Proof: c.Proof, ForkAccepted: c.ForkAccepted, Note: c.Note, Asked: c.Asked,
		Picture: c.Picture, ProfileAt: c.ProfileAt, NameAt: c.NameAt, Wants: c.Wants,
	}
	for _, n := range c.Names {
		x.Names = append(x.Names, n.Name)
	}
	p.put(&pb.Record{Contact: x})
}

// device writes where to find a device of somebody else: its own public record, and its last address.
func (p *pager) device(value []byte) {
	d := &rows.PeerDevice{}
	if proto.Unmarshal(value, d) != nil || string(d.User) == string(p.me[:]) || len(d.Record) == 0 && d.Endpoint == nil {
		return
	}
	x := &pb.Device{Device: d.Device, Record: d.Record}
	if d.Endpoint != nil {
		x.Endpoint = &chatpb.Endpoint{Id: d.Endpoint.Id, Addrs: d.Endpoint.Addrs}
	}
	p.put(&pb.Record{Device: x})
}

// talk writes conversations, from the place (conversation 16 | its place) on.
func (p *pager) talk(place []byte) {
	p.goTo(stageEnd, nil)
	first, within := place[:min(16, len(place))], place[min(16, len(place)):]
	var chats []*rows.Chat
	p.tx.Scan(store.BucketConversations, first, func(_, value []byte) bool {
		c := &rows.Chat{}
		if proto.Unmarshal(value, c) == nil && len(c.Id) == 16 && c.Number <= p.until && c.Number != 0 {
			chats = append(chats, c)
		}
		return true
	})
	for _, c := range chats {
		if string(c.Id) != string(first) {
			within = nil
		}
		if p.full() {
			p.goTo(stageTalk, c.Id)
			return
		}
		if len(within) == 0 {
			p.log(c)
		}
		for within = p.past(c, within); within != nil; within = p.past(c, within) {
			if p.full() {
				p.goTo(stageTalk, slices.Concat(c.Id, within))
				return
			}
		}
		p.put(&pb.Record{Ends: &pb.Ends{Chat: c.Id, Heads: c.Heads}})
	}
	p.next = nil
}

// log writes a group's log, with the lists that prove it.
func (p *pager) log(c *rows.Chat) {
	if c.Kind != talk.Group || talk.RosterOf(p.tx, talk.IDOf(c)) == nil {
		return
	}
	l := talk.LoadLog(p.tx, talk.IDOf(c))
	entries := l.Beyond(nil)
	var parts []*chatpb.Group
	for _, list := range talk.Provers(p.tx, l, entries) {
		parts = append(parts, &chatpb.Group{Lists: [][]byte{list.Bytes()}})
	}
	for _, x := range entries {
		parts = append(parts, &chatpb.Group{Entries: [][]byte{x.Bytes()}})
	}
	for _, page := range talk.Pack(parts) {
		p.put(&pb.Record{Log: &pb.Log{Group: c.Id, Page: page}})
	}
}

// past writes some messages, and how far those of ours came.
func (p *pager) past(c *rows.Chat, from []byte) (next []byte) {
	list, next := talk.Past(p.tx, c, from, pastAtOnce)
	for _, part := range talk.PastParts(c.Id, list) {
		p.put(&pb.Record{Past: part})
	}
	for _, m := range list {
		if s := stages(m); s != nil {
			p.put(&pb.Record{Stages: s})
		}
	}
	return next
}

// stages are how far a message of ours came where that is settled; nil: nothing to say. What was still on its way is not
// said, as it would stand there for ever.
func stages(m *rows.Message) *pb.Stages {
	s := &pb.Stages{Message: bytes.Clone(m.Id), Fallback: m.Fallback}
	for _, d := range m.Done {
		s.Done = append(s.Done, &pb.Stage{Device: d.Device, User: d.User, Stage: d.Stage})
		if len(s.Done) == maxStages {
			break
		}
	}
	if !m.Mine || len(s.Done) == 0 && !s.Fallback {
		return nil
	}
	return s
}
