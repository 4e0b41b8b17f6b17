package session

import (
	"cmp"
	"slices"

	"github.com/kith-im/kith/crypto/identity"
)

// Ref names a session: the peer's device and the session's id.
type Ref struct {
	Device  identity.DeviceID
	Session [8]byte
}

func (r Ref) compare(o Ref) int {
	if c := slices.Compare(r.Device[:], o.Device[:]); c != 0 {
		return c
	}
	return slices.Compare(r.Session[:], o.Session[:])
}

// Book says which session an envelope belongs to. It knows the tags of the next 32 messages of
// each session's receiving chain, of the first 32 of the chain to come, and of all skipped
// messages. It lives in memory only, about 4 KiB a session, and is rebuilt with Put from stored
// sessions; the order of the calls does not matter to what it finds.
type Book struct {
	byTag map[[tagSize]byte]*entry
	byRef map[Ref]*entry
	order []*entry // latest received first
	next  int      // where the tail of the next trial begins
	kept  int      // skipped messages of all sessions
}

// entry is what the book knows of one session.
type entry struct {
	ref      Ref
	received int64
	ad       [keySize]byte
	recv     lane
	next     lane
	skipped  [][tagSize]byte
}

// lane is the window of one receiving chain; zero if the chain does not exist.
type lane struct {
	head headKey
	from uint32
	tags [][tagSize]byte
}

// NewBook returns an empty book.
func NewBook() *Book {
	return &Book{byTag: map[[tagSize]byte]*entry{}, byRef: map[Ref]*entry{}}
}

// Put indexes a session under ref, replacing what stood there. Call it whenever the session has
// received something. It costs about 15 µs.
func (b *Book) Put(ref Ref, s *Session) {
	e := b.byRef[ref]
	if e == nil {
		e = &entry{ref: ref}
		b.byRef[ref] = e
	} else {
		b.unrank(e)
	}
	var recv lane
	if s.recv.live {
		recv = e.window(s.recv.head, s.recv.n)
	}
	next := e.window(s.nextRecv, 0)
	sameRecv, sameNext := recv.shared(e.recv), next.shared(e.next)
	b.drop(e, e.recv.tags[:len(e.recv.tags)-sameRecv])
	b.drop(e, e.next.tags[:len(e.next.tags)-sameNext])
	b.keep(e, s.skipped)
	b.add(e, recv.tags[sameRecv:])
	b.add(e, next.tags[sameNext:])
	e.recv, e.next, e.received, e.ad = recv, next, s.lastReceived, s.ad
	at, _ := slices.BinarySearchFunc(b.order, e, (*entry).compare)
	b.order = slices.Insert(b.order, at, e)
}

// keep brings the tags of skipped messages up to date. Both lists are oldest first, so what is
// gone and what is new show in one walk, however many stay.
func (b *Book) keep(e *entry, skipped []skippedKey) {
	old, tags := e.skipped, make([][tagSize]byte, len(skipped))
	for i, k := range skipped {
		tags[i] = k.tag
		at := 0
		for at < len(old) && old[at] != k.tag {
			at++
		}
		b.drop(e, old[:at])
		if at < len(old) {
			old = old[at+1:]
		} else {
			old = nil
			b.add(e, tags[i:i+1])
		}
	}
	b.drop(e, old)
	b.kept += len(tags) - len(e.skipped)
	e.skipped = tags
}

// Remove forgets ref.
func (b *Book) Remove(ref Ref) {
	e := b.byRef[ref]
	if e == nil {
		return
	}
	b.unrank(e)
	b.drop(e, e.recv.tags)
	b.drop(e, e.next.tags)
	b.drop(e, e.skipped)
	b.kept -= len(e.skipped)
	delete(b.byRef, ref)
}

// Excess names the session that has to forget keys of skipped messages ([Session.Forget]) so that all sessions together
// keep at most 65,536, and how many: the one that received longest ago. Put it again then, and ask again; n is 0 when
// nothing is in excess.
func (b *Book) Excess() (ref Ref, n int) { return b.excess(maxSkippedAll) }

func (b *Book) excess(limit int) (ref Ref, n int) {
	if b.kept <= limit {
		return Ref{}, 0
	}
	for _, e := range slices.Backward(b.order) {
		if len(e.skipped) > 0 {
			return e.ref, min(b.kept-limit, len(e.skipped))
		}
	}
	return Ref{}, 0
}

func (b *Book) add(e *entry, tags [][tagSize]byte) {
	for _, tag := range tags {
		b.byTag[tag] = e
	}
}

func (b *Book) drop(e *entry, tags [][tagSize]byte) {
	for _, tag := range tags {
		if b.byTag[tag] == e {
			delete(b.byTag, tag)
		}
	}
}

func (b *Book) unrank(e *entry) {
	if at, ok := slices.BinarySearchFunc(b.order, e, (*entry).compare); ok {
		b.order = slices.Delete(b.order, at, at+1)
	}
}

// Find looks the tag of an envelope of either type up. It proves nothing: Open does.
func (b *Book) Find(envelope []byte) (Ref, bool) {
	m, ok := messageOf(envelope)
	if !ok {
		return Ref{}, false
	}
	e := b.byTag[m.tag()]
	if e == nil {
		return Ref{}, false
	}
	return e.ref, true
}

// Trial tries header keys, at most budget of them (about 0.4 µs each), and returns the session
// whose key fits, if any: for messages more than 32 ahead, whose tag nobody knows. The first half
// of the budget goes to the sessions that received last, the other half continues where the
// previous call stopped, so that an envelope kept for later reaches every session in the end.
func (b *Book) Trial(envelope []byte, budget int) []Ref {
	m, ok := messageOf(envelope)
	if !ok {
		return nil
	}
	front := min(len(b.order), budget/4)
	for _, e := range b.order[:front] {
		if e.fits(m) {
			return []Ref{e.ref}
		}
	}
	tail := b.order[front:]
	for range min(len(tail), budget/2-front) {
		b.next = (b.next + 1) % len(tail)
		if e := tail[b.next]; e.fits(m) {
			return []Ref{e.ref}
		}
	}
	return nil
}

// Len is the number of sessions in the book.
func (b *Book) Len() int { return len(b.order) }

// compare orders by the last message received, newest first, then by name: a total order.
func (e *entry) compare(o *entry) int {
	return cmp.Or(cmp.Compare(o.received, e.received), e.ref.compare(o.ref))
}

// fits tries both header keys of the session on m: two trials.
func (e *entry) fits(m message) bool {
	for _, l := range []*lane{&e.recv, &e.next} {
		if l.tags == nil {
			continue
		}
		if _, ok := l.head.open(&e.ad, m); ok {
			return true
		}
	}
	return false
}

// window makes the window of a chain. The tags that e holds already, of the same chain or of
// the chain that was still to come, are not computed again.
func (e *entry) window(head headKey, from uint32) lane {
	l := lane{head: head, from: from, tags: make([][tagSize]byte, window)}
	known := 0
	for _, old := range []lane{e.recv, e.next} {
		if n := l.shared(old); n > 0 {
			l.head = old.head
			known = copy(l.tags, old.tags[window-n:])
		}
	}
	l.head.tags(from+uint32(known), l.tags[known:])
	return l
}

// shared is how many tags at the start of l stand at the end of old.
func (l lane) shared(old lane) int {
	if old.tags == nil || l.tags == nil || old.head.secret != l.head.secret || l.from < old.from || l.from-old.from >= window {
		return 0
	}
	return window - int(l.from-old.from)
}
