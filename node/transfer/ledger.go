package transfer

import (
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/outbox"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// The states of a row.
const (
	stateOffered   = iota + 1 // nothing is fetched until a person asks
	stateFetching             // also between two tries
	stateUploading            // every chunk is here, and goes to relays of ours
	stateHere                 // every chunk is here
	stateFailed               // for good: what was sent is not what was described
	stateGone                 // our chunks of it were let go
	stateWaiting              // is fetched unasked when others of its author have ended
)

// Turn is one call: the time, entropy, a transaction, and what comes of it.
type Turn struct {
	Now  time.Time
	Rand io.Reader
	Tx   store.Tx

	Jobs    []Job           // to be done after the commit
	Changed []view.Transfer // what a person hears of: beginnings and ends
}

// World is what a device knows beside its files.
type World interface {
	// Sources are the devices that may have what an author sent, and the relays that keep it for them.
	Sources(author identity.UserID) []Source
	// Relays are those of our mailbox, how many of them have to hold a file, and the key that they know us by.
	Relays() (relays []dht.Peer, quorum int, box ed25519.PrivateKey)
	// Friend reports whether an author's files are fetched without being asked for.
	Friend(author identity.UserID) bool
	// Pending reports whether a message of ours is still on its way to somebody.
	Pending(message []byte) bool
}

// Source is a peer that may have chunks of a file, or take them.
type Source struct {
	Peer  dht.Peer
	Relay bool // a relay: it is asked under another name than a person's device
}

// Kind says what a Job is.
type Kind uint8

// The kinds of jobs.
const (
	Fetch  Kind = iota + 1 // get the chunks that are missing
	Upload                 // bring each source the chunks that it lacks
	Save                   // write the file into a folder
	Drop                   // end what runs for it, and let its chunks go
	Stop                   // end what runs for it; the chunks stay
)

// Job is work on one file, answered with a Result; Drop and Stop are not.
type Job struct {
	Number  uint64
	Kind    Kind
	File    *chatpb.File
	Up      bool               // sealed on this device
	Sources []Source           // of Drop: relays that have it
	Need    int                // of Upload: so many of the sources are enough
	Box     ed25519.PrivateKey // of Upload and Drop: the key that the relays know us by
	Expires time.Time          // of Upload
	Folder  string             // of Save
}

// Result is how a Job ended.
type Result struct {
	Number uint64
	Kind   Kind
	Err    error
	Final  bool     // of Err: to try again would change nothing
	Lost   bool     // of Save: chunks that were here are not any more
	Moved  bool     // chunks came or went: the next try is soon
	Stored [][]byte // of Upload: relays that hold every chunk
	Saved  string   // of Save: the path
}

// Ledger keeps the rows of this device's files and says what is to be done. It belongs to the engine's goroutine.
type Ledger struct {
	due    outbox.Due
	active map[uint64]Kind
	guests map[uint64]string    // of these, fetches that nobody asked for, and their authors
	queue  []uint64             // due, and waiting for others to end
	tried  map[uint64]time.Time // last try, for Hurry
}

// Load reads the rows. What was under way when the process ended is due at once.
func Load(tx store.Tx) *Ledger {
	l := &Ledger{due: outbox.NewDue(), active: map[uint64]Kind{}, guests: map[uint64]string{}, tried: map[uint64]time.Time{}}
	tx.Scan(store.BucketTransfers, nil, func(key, value []byte) bool {
		if row := (&pb.Transfer{}); len(key) == 8 && proto.Unmarshal(value, row) == nil {
			l.due.Set(number(key), dueAt(row))
		}
		return true
	})
	return l
}

// dueAt is when something has to happen to a row; zero: never.
func dueAt(row *pb.Transfer) time.Time {
	complete := row.State == stateHere || row.State == stateUploading
	busy := row.State == stateFetching || row.State == stateUploading || complete && row.Path != ""
	switch {
	case busy:
		return time.UnixMilli(max(row.Next, 1))
	case row.State == stateHere && row.Expires != 0:
		return time.UnixMilli(row.Expires)
	}
	return time.Time{}
}

func number(key []byte) uint64 { return binary.BigEndian.Uint64(key) }

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func load(tx store.Tx, n uint64) *pb.Transfer {
	row := &pb.Transfer{}
	raw := tx.Get(store.BucketTransfers, key(n))
	if raw == nil || proto.Unmarshal(raw, row) != nil {
		return nil
	}
	return row
}

func (l *Ledger) save(t *Turn, n uint64, row *pb.Transfer) {
	raw, err := proto.Marshal(row)
	if err != nil {
		panic("transfer: a row does not encode: " + err.Error()) // it holds nothing but plain fields
	}
	t.Tx.Put(store.BucketTransfers, key(n), raw)
	if _, runs := l.active[n]; !runs {
		l.due.Set(n, dueAt(row))
	}
}

// add gives a row a number, which no other row ever had.
func (l *Ledger) add(t *Turn, row *pb.Transfer) uint64 {
	n := uint64(1)
	if raw := t.Tx.Get(store.BucketMeta, counterKey); len(raw) == 8 {
		n = number(raw) + 1
	}
	t.Tx.Put(store.BucketMeta, counterKey, key(n))
	l.save(t, n, row)
	return n
}

var counterKey = []byte("n/transfer")

// Deadline is when Tick wants to be called; zero: never.
func (l *Ledger) Deadline() time.Time { return l.due.Next() }
