package boltbox

import (
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

// errMisuse says that the rules broke the contract of mailbox.Tx: our bug.
var errMisuse = errors.New("boltbox: transaction misused")

// errMoved ends a view whose envelope was acknowledged while it ran; the view
// runs again in the writer's turn.
var errMoved = errors.New("boltbox: envelope moved")

// tx is one transaction: the committed index under an overlay of what the
// transaction wrote. bbolt hears of the writes (ops) at the commit.
type tx struct {
	store  *Store
	ix     *index
	view   bool
	inTurn bool     // runs in the writer's goroutine
	reader *bolt.Tx // opened by the first read of a body or set
	moved  bool     // see errMoved
	room   uint64   // bytes for envelopes, once asked for
	asked  bool

	ops   []op
	batch *mailbox.Batch
	over  overlay
}

// overlay is what the transaction changed. Nil maps are empty.
type overlay struct {
	boxes   map[mailbox.ID]*mailbox.Box  // nil: dropped
	sets    map[mailbox.ID][]byte        // nil: dropped
	entries map[entryKey]*added          // entries added here; nil: dropped again
	order   map[mailbox.ID][]*added      // the same by box, by ascending Seq
	buried  map[uint64]struct{}          // committed entries buried here
	usage   map[mailbox.ID]mailbox.Usage // difference to the index
	dropped map[mailbox.Day]struct{}     // committed days dropped here
	gone    map[uint64]struct{}          // committed entries forgotten here
	days    map[mailbox.Day]int          // entries more, or fewer, by day
	total   mailbox.Usage                // difference to the index
	by      map[certKey]mailbox.Usage    // difference to the index
	certs   map[certKey]*pass.Cert       // nil: dropped
	mended  map[uint64][]byte            // bytes of committed entries put back
	clock   *mailbox.Clock
	leave   *time.Time
	seq     uint64 // numbers given here
	bytes   int    // of the envelopes added
}

type entryKey struct {
	box mailbox.ID
	id  mailbox.EnvelopeID
}

type added struct {
	mailbox.Entry
	body []byte
}

// write takes an operation on, unless this is a view.
func (t *tx) write(o op) error {
	if t.view {
		return mailbox.ErrReadOnly
	}
	t.ops = append(t.ops, o)
	return nil
}

// set writes to a map that is made when it is first needed.
func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

func (t *tx) Box(id mailbox.ID) (mailbox.Box, bool) {
	if b, ok := t.over.boxes[id]; ok {
		if b == nil {
			return mailbox.Box{}, false
		}
		return *b, true
	}
	b, ok := t.ix.boxes[id]
	return b, ok
}

func (t *tx) PutBox(id mailbox.ID, b mailbox.Box) error {
	if err := t.write(putBox{id, b}); err != nil {
		return err
	}
	if _, known := t.Box(id); !known {
		t.over.total.Boxes++
	}
	set(&t.over.boxes, id, &b)
	return nil
}

func (t *tx) DropBox(id mailbox.ID) error {
	if used := t.Usage(id); used.Count != 0 || used.Tombs != 0 {
		return errMisuse
	}
	if err := t.write(dropBox{id}); err != nil {
		return err
	}
	if _, known := t.Box(id); known {
		t.over.total.Boxes--
	}
	set(&t.over.boxes, id, nil)
	set(&t.over.sets, id, nil)
	return t.dropPasses(id)
}

func (t *tx) EachBox(fn func(mailbox.ID, mailbox.Box) bool) {
	ids := slices.Clone(t.ix.order) // fn may write
	for id := range t.over.boxes {
		if at, there := slices.BinarySearchFunc(ids, id, compareIDs); !there {
			ids = slices.Insert(ids, at, id)
		}
	}
	for _, id := range ids {
		if b, known := t.Box(id); known && !fn(id, b) {
			return
		}
	}
}

func (t *tx) PutSet(id mailbox.ID, raw []byte) error {
	if err := t.write(putSet{id, raw}); err != nil {
		return err
	}
	set(&t.over.sets, id, raw)
	return nil
}

func (t *tx) Set(id mailbox.ID) ([]byte, error) {
	if raw, ok := t.over.sets[id]; ok {
		return raw, nil
	}
	var raw []byte
	err := t.read(func(r *bolt.Tx) error {
		value := r.Bucket(setBucket).Get(id[:])
		if value == nil {
			return nil
		}
		var ok bool
		if raw, ok = opened(setBucket, id[:], value); !ok {
			return mailbox.ErrDamaged
		}
		return nil
	})
	return raw, err
}

// read runs fn on bbolt's committed state. Anything that bbolt trips over is
// damage: its own structures may be hit as well.
func (t *tx) read(fn func(*bolt.Tx) error) error {
	t.store.touched.Add(pageSize)
	if t.reader == nil {
		r, err := t.store.db.Begin(false)
		if err != nil {
			return err
		}
		t.reader = r
	}
	err := guard(func() error { return fn(t.reader) })
	if errors.Is(err, mailbox.ErrDamaged) {
		t.store.damaged.Add(1)
	}
	return err
}

// done ends the reading; a commit waits for it otherwise.
func (t *tx) done() {
	if t.reader != nil {
		t.store.release(t.reader)
		_ = t.reader.Rollback()
		t.reader = nil
	}
}

func (t *tx) Clock() mailbox.Clock {
	if t.over.clock != nil {
		return *t.over.clock
	}
	return t.ix.clock
}

func (t *tx) SetClock(c mailbox.Clock) error {
	if err := t.write(setClock{c}); err != nil {
		return err
	}
	t.over.clock = &c
	return nil
}

func (t *tx) Receipts() *mailbox.Batch { return t.batch }

func (t *tx) Total() mailbox.Usage {
	u := plus(t.ix.total, t.over.total)
	u.Boxes += len(t.ix.boxes)
	return u
}

func (t *tx) Usage(box mailbox.ID) mailbox.Usage {
	u := t.over.usage[box]
	if c := t.ix.held[box]; c != nil {
		u = plus(u, c.usage)
	}
	return u
}

// count adds an entry to what its box and its share hold, or takes it away. A
// certificate goes with the last entry of its pass.
func (t *tx) count(box mailbox.ID, share pass.ID, by mailbox.Usage) error {
	was := t.Usage(box).OverFloor()
	set(&t.over.usage, box, plus(t.over.usage[box], by))
	t.over.total = plus(t.over.total, by)
	t.over.total.Over += t.Usage(box).OverFloor() - was
	set(&t.over.by, certKey{box, share}, plus(t.over.by[certKey{box, share}], by))
	if _, known := t.Pass(box, share); known && t.By(box, share) == (mailbox.Usage{}) {
		return t.dropPass(box, share)
	}
	return nil
}

func (t *tx) By(box mailbox.ID, id pass.ID) mailbox.Usage {
	u := t.over.by[certKey{box, id}]
	if c := t.ix.held[box]; c != nil {
		u = plus(u, c.by[id])
	}
	return u
}

func (t *tx) Pass(box mailbox.ID, id pass.ID) (pass.Cert, bool) {
	if c, ok := t.over.certs[certKey{box, id}]; ok {
		if c == nil {
			return pass.Cert{}, false
		}
		return *c, true
	}
	c, ok := t.ix.certs[box][id]
	return c, ok
}

func (t *tx) PutPass(box mailbox.ID, c pass.Cert) error {
	if err := t.write(putPass{box, c}); err != nil {
		return err
	}
	set(&t.over.certs, certKey{box, c.ID()}, &c)
	return nil
}

func (t *tx) dropPass(box mailbox.ID, id pass.ID) error {
	if err := t.write(dropPass{box, id}); err != nil {
		return err
	}
	set(&t.over.certs, certKey{box, id}, nil)
	return nil
}

// dropPasses forgets what certificates of a box are left.
func (t *tx) dropPasses(box mailbox.ID) error {
	var ids []pass.ID
	for id := range t.ix.certs[box] {
		ids = append(ids, id)
	}
	for k := range t.over.certs {
		if k.box == box {
			ids = append(ids, k.id)
		}
	}
	for _, id := range ids {
		if err := t.dropPass(box, id); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Leaving() time.Time {
	if t.over.leave != nil {
		return *t.over.leave
	}
	return t.ix.leave
}

func (t *tx) SetLeaving(at time.Time) error {
	if err := t.write(setLeaving{at}); err != nil {
		return err
	}
	t.over.leave = &at
	return nil
}
