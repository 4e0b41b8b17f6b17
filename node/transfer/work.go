package transfer

import (
	"crypto/ed25519"
	"io"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// Tick begins what is due.
func (l *Ledger) Tick(t *Turn, w World) {
	queue := append(l.queue, l.due.Take(t.Now)...)
	l.queue = nil
	for len(queue) > 0 && len(l.active) < maxActive {
		n := queue[0]
		queue = queue[1:]
		switch row := load(t.Tx, n); {
		case row == nil, l.active[n] != 0:
		case l.crowded(row):
			l.queue = append(l.queue, n)
		default:
			l.begin(t, w, n, row)
		}
	}
	l.queue = append(l.queue, queue...)
}

// crowded reports whether a fetch that nobody asked for has to wait for others of its kind. Sources that somebody names
// may never answer: his files hold up one another, and not what other people send, or what is sent and saved here.
func (l *Ledger) crowded(row *pb.Transfer) bool {
	if row.State != stateFetching || row.Asked {
		return false
	}
	of := 0
	for _, author := range l.guests {
		if author == string(row.User) {
			of++
		}
	}
	return of >= maxGuestsOf || len(l.guests) >= maxGuests
}

// over notes that no job of a row runs any more.
func (l *Ledger) over(n uint64) {
	delete(l.active, n)
	delete(l.guests, n)
}

func (l *Ledger) begin(t *Turn, w World, n uint64, row *pb.Transfer) {
	l.tried[n] = t.Now
	j := Job{Number: n, File: fileOf(row), Up: row.Up}
	complete := row.State == stateHere || row.State == stateUploading
	switch {
	case complete && row.Path != "":
		j.Kind, j.Folder = Save, row.Path
	case complete && row.Expires != 0 && row.Expires <= t.Now.UnixMilli():
		l.expire(t, w, n, row)
		return
	case row.State == stateUploading:
		j.Kind, j.Expires = Upload, time.UnixMilli(row.Expires)
		if j.Sources, j.Need, j.Box = targets(w, row); j.Need == 0 {
			l.uploaded(t, n, row)
			return
		}
		if len(j.Sources) == 0 {
			l.again(t, n, row, "no relay of ours is known yet; it is served from this device")
			return
		}
	case row.State == stateFetching:
		j.Kind, j.Sources = Fetch, sources(w, row, j)
		if len(j.Sources) == 0 {
			l.again(t, n, row, "nobody who has it is known")
			return
		}
	default:
		return
	}
	l.active[n] = j.Kind
	if j.Kind == Fetch && !row.Asked {
		l.guests[n] = string(row.User)
	}
	t.Jobs = append(t.Jobs, j)
	if row.Attempts == 0 && !row.Small {
		t.Changed = append(t.Changed, viewOf(n, row))
	}
}

// targets are relays of ours that lack a file, and how many of them it still needs: 0 when there are enough.
func targets(w World, row *pb.Transfer) (out []Source, need int, box ed25519.PrivateKey) {
	relays, quorum, box := w.Relays()
	for _, r := range relays {
		if !slices.ContainsFunc(row.Peers, func(p []byte) bool { return string(p) == string(r.ID) }) {
			out = append(out, Source{Peer: r, Relay: true})
		}
	}
	if need = quorum - len(row.Peers); len(relays) == 0 {
		need = 1
	}
	return out, max(need, 0), box
}

// sources are those who may have a file: devices and relays of its author, and the relays that its message names.
func sources(w World, row *pb.Transfer, j Job) []Source {
	out := w.Sources(identity.UserID(row.User))
	for _, r := range j.File.Relays {
		known := slices.ContainsFunc(out, func(s Source) bool { return string(s.Peer.ID) == string(r.Id) })
		if !known {
			out = append(out, Source{Peer: dht.Peer{ID: r.Id, Addrs: r.Addrs}, Relay: true})
		}
	}
	return out[:min(len(out), maxSources)]
}

// again plans the next try.
func (l *Ledger) again(t *Turn, n uint64, row *pb.Transfer, why string) {
	row.Attempts++
	row.Error = why
	if row.State == stateFetching && row.Expires != 0 && row.Expires <= t.Now.UnixMilli() {
		row.State, row.Path, row.Asked, row.Expires = stateOffered, "", false, 0 // a person may ask again
		l.tell(t, n, row)
		return
	}
	row.Next = t.Now.Add(pause(t.Rand, row.Attempts)).UnixMilli()
	l.save(t, n, row)
}

// pause is a random part of a time that doubles with every try.
func pause(rng io.Reader, attempts uint32) time.Duration {
	ceiling := min(retryMin<<min(attempts, 16), retryMax)
	var b [4]byte
	if _, err := io.ReadFull(rng, b[:]); err != nil {
		panic("transfer: no entropy: " + err.Error())
	}
	part := time.Duration(uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2])) * (ceiling / 2) >> 24
	return ceiling/2 + part
}

// Ended takes how a job ended and plans what follows from it.
func (l *Ledger) Ended(t *Turn, w World, r Result) {
	if l.active[r.Number] != r.Kind {
		return // it was dropped meanwhile
	}
	l.over(r.Number)
	if row := load(t.Tx, r.Number); row != nil {
		if l.ended(t, w, row, r); r.Kind == Fetch && !row.Asked && row.State != stateFetching {
			l.nextOf(t, identity.UserID(row.User))
		}
	}
	l.Tick(t, w)
}

func (l *Ledger) ended(t *Turn, w World, row *pb.Transfer, r Result) {
	for _, p := range r.Stored {
		if !slices.ContainsFunc(row.Peers, func(o []byte) bool { return string(o) == string(p) }) {
			row.Peers = append(row.Peers, p)
		}
	}
	if r.Moved {
		row.Attempts = 0
	}
	switch {
	case r.Err == nil && r.Kind == Upload:
		l.uploaded(t, r.Number, row)
		return
	case r.Err == nil && r.Kind == Fetch:
		row.State, row.Expires = stateHere, 0
	case r.Err == nil:
		row.Saved, row.Path = r.Saved, ""
		if !row.Up {
			row.Expires = t.Now.Add(Life).UnixMilli()
		}
	case r.Lost && !row.Up:
		row.State, row.Expires = stateFetching, t.Now.Add(Life).UnixMilli()
		l.again(t, r.Number, row, r.Err.Error())
		return
	case r.Kind == Save && r.Final && !row.Up: // its chunks are of no use to anybody
		row.State, row.Path, row.Error = stateFailed, "", r.Err.Error()
		l.letGo(t, w, r.Number, row)
		l.tell(t, r.Number, row)
		return
	case r.Kind == Save:
		row.Path, row.Error = "", r.Err.Error()
		l.tell(t, r.Number, row)
		return
	case r.Final:
		row.State, row.Path, row.Error = stateFailed, "", r.Err.Error()
		l.tell(t, r.Number, row)
		return
	default:
		l.again(t, r.Number, row, r.Err.Error())
		return
	}
	row.Error, row.Attempts, row.Next = "", 0, 0
	l.tell(t, r.Number, row)
}

func (l *Ledger) uploaded(t *Turn, n uint64, row *pb.Transfer) {
	row.State, row.Error, row.Attempts, row.Next = stateHere, "", 0, 0
	l.tell(t, n, row)
}

// tell saves a row and has the person hear of it.
func (l *Ledger) tell(t *Turn, n uint64, row *pb.Transfer) {
	l.save(t, n, row)
	t.Changed = append(t.Changed, viewOf(n, row))
}

// Hurry tries again what waits: somebody may be there now who was not before.
func (l *Ledger) Hurry(t *Turn, w World) {
	for n, at := range l.tried {
		if next := l.due.At(n); next.After(t.Now) && l.active[n] == 0 {
			row := load(t.Tx, n)
			if row == nil || row.State != stateFetching && row.State != stateUploading {
				delete(l.tried, n)
				continue
			}
			soon := at.Add(hurryAfter)
			if soon.Before(next) {
				l.due.Set(n, soon)
			}
		}
	}
	l.Tick(t, w)
}

// expire lets our chunks of a file go, unless its message is still on its way.
func (l *Ledger) expire(t *Turn, w World, n uint64, row *pb.Transfer) {
	if row.Up && w.Pending(row.Message) {
		row.Expires = t.Now.Add(day).UnixMilli()
		l.save(t, n, row)
		return
	}
	if row.Standing { // the relays have let it go
		row.State, row.Peers, row.Expires = stateUploading, nil, t.Now.Add(Life).UnixMilli()
		l.save(t, n, row)
		return
	}
	row.State, row.Path = stateGone, ""
	l.letGo(t, w, n, row)
	l.tell(t, n, row)
}

// letGo ends what runs for a row, and drops its chunks if no other row names them.
func (l *Ledger) letGo(t *Turn, w World, n uint64, row *pb.Transfer) {
	j := Job{Number: n, Kind: Drop, File: fileOf(row), Up: row.Up}
	if row.Up && row.State != stateGone { // what has expired here has at the relays
		relays, _, box := w.Relays()
		for _, r := range relays {
			j.Sources, j.Box = append(j.Sources, Source{Peer: r, Relay: true}), box
		}
	}
	scan(t.Tx, func(other uint64, o *pb.Transfer) {
		if other != n && o.State != stateGone && o.State != stateOffered && o.State != stateWaiting && string(fileOf(o).GetManifest()) == string(j.File.Manifest) {
			j.Kind = Stop
		}
	})
	l.over(n)
	delete(l.tried, n)
	l.due.Set(n, time.Time{})
	t.Jobs = append(t.Jobs, j)
}

// Forget drops the files of a message that is gone: unsent, deleted for good, or expired.
func (l *Ledger) Forget(t *Turn, w World, numbers []uint64) {
	for _, n := range numbers {
		row := load(t.Tx, n)
		if row == nil {
			continue
		}
		t.Tx.Delete(store.BucketTransfers, key(n))
		l.letGo(t, w, n, row)
		if row.Preview != 0 {
			l.Forget(t, w, []uint64{row.Preview})
		}
	}
}
