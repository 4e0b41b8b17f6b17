package transfer

import (
	"encoding/hex"
	"errors"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Errors of what a person asks for.
var (
	ErrGone   = errors.New("the file is not here any more, and nobody keeps it")
	ErrFailed = errors.New("the file cannot be had")
)

// Save writes a file into a folder as soon as it is here, and fetches it first if need be.
func (l *Ledger) Save(t *Turn, w World, n uint64, preview bool, folder string) error {
	row := load(t.Tx, n)
	if row != nil && preview {
		n = row.Preview
		row = load(t.Tx, n)
	}
	switch {
	case row == nil, row.State == stateGone && row.Up:
		return ErrGone
	case row.State == stateFailed:
		return ErrFailed
	case row.State == stateOffered, row.State == stateGone, row.State == stateWaiting:
		row.State = stateFetching
	}
	if row.State == stateFetching {
		row.Expires = t.Now.Add(Life).UnixMilli()
	}
	row.Asked, row.Path, row.Saved, row.Error, row.Attempts, row.Next = true, folder, "", "", 0, 0
	l.save(t, n, row)
	l.Tick(t, w)
	return nil
}

// Cancel ends the fetching or the upload of a file, or takes back that it be saved. What is here stays.
func (l *Ledger) Cancel(t *Turn, n uint64) bool {
	row := load(t.Tx, n)
	if row == nil || dueAt(row).IsZero() || row.State == stateHere && row.Path == "" {
		return false
	}
	switch row.State {
	case stateFetching:
		row.State, row.Asked, row.Expires = stateOffered, false, 0
	case stateUploading:
		row.State = stateHere
	}
	l.over(n)
	row.Path, row.Error, row.Attempts, row.Next = "", "", 0, 0
	t.Jobs = append(t.Jobs, Job{Number: n, Kind: Stop, File: fileOf(row)})
	l.tell(t, n, row)
	return true
}

// Accepted fetches what may be fetched unasked of a person who is a friend now.
func (l *Ledger) Accepted(t *Turn, w World, author identity.UserID) {
	left := l.unasked(t, author)
	rows := map[uint64]*pb.Transfer{}
	var numbers []uint64
	scan(t.Tx, func(n uint64, row *pb.Transfer) {
		if row.Up || row.State != stateOffered || string(row.User) != string(author[:]) {
			return
		}
		if row.State = left.take(fileOf(row).GetSize()); row.State != stateOffered {
			numbers, rows[n] = append(numbers, n), row
		}
	})
	for _, n := range numbers {
		rows[n].Expires = t.Now.Add(Life).UnixMilli()
		l.save(t, n, rows[n])
	}
	l.Tick(t, w)
}

// What a person sees of the states.
var words = map[uint32]string{
	stateOffered: "offered", stateFetching: "fetching", stateUploading: "uploading", stateHere: "here", stateFailed: "failed", stateGone: "gone",
}

func word(row *pb.Transfer) string {
	switch {
	case row.State == stateFetching && row.Attempts > 0, row.State == stateWaiting:
		return "queued"
	case row.State == stateHere && row.Path != "":
		return "saving"
	}
	return words[row.State]
}

func viewOf(n uint64, row *pb.Transfer) view.Transfer {
	f := fileOf(row)
	v := view.Transfer{
		Number: n, Message: hexID(row.Message), Index: int(row.Index), Name: SafeName(f.Name), Way: "down", State: word(row),
		Size: f.Size, Error: row.Error, Saved: row.Saved, Preview: row.Small,
	}
	if row.Up {
		v.Way = "up"
	}
	if row.State == stateHere {
		v.Done = f.Size
	}
	return v
}

// Views lists what is on its way or waits to be tried again, and what failed.
func Views(tx store.Tx) []view.Transfer {
	out := []view.Transfer{}
	scan(tx, func(n uint64, row *pb.Transfer) {
		waits := row.State == stateFetching || row.State == stateWaiting || row.State == stateUploading || row.Path != "" || row.State == stateFailed
		if waits && !row.Small {
			out = append(out, viewOf(n, row))
		}
	})
	return out
}

// View is one file as it is now, and whether a person still waits for it to be saved.
func View(tx store.Tx, n uint64, preview bool) (v view.Transfer, waits, ok bool) {
	row := load(tx, n)
	if row != nil && preview {
		n = row.Preview
		row = load(tx, n)
	}
	if row == nil {
		return v, false, false
	}
	return viewOf(n, row), row.Path != "", true
}

// Known reports whether a message names a file.
func Known(tx store.Tx, manifest []byte) (found bool) {
	scan(tx, func(_ uint64, row *pb.Transfer) {
		found = found || row.State != stateGone && string(fileOf(row).GetManifest()) == string(manifest)
	})
	return found
}

// Files are the files of a message as people see them.
func Files(tx store.Tx, numbers []uint64) (out []view.File) {
	for i, n := range numbers {
		row := load(tx, n)
		if row == nil {
			continue
		}
		f := fileOf(row)
		v := view.File{
			Index: i, Name: SafeName(f.Name), Type: SafeType(f.Type), Size: f.Size, State: word(row), Sticker: f.Sticker,
			Saved: row.Saved, Error: row.Error,
		}
		if row.State == stateHere || row.State == stateUploading {
			v.Done = f.Size
		}
		if p := load(tx, row.Preview); row.Preview != 0 && p != nil {
			v.Preview = p.State == stateHere || p.State == stateUploading
		}
		out = append(out, v)
	}
	return out
}

func hexID(id []byte) string { return hex.EncodeToString(id[:min(16, len(id))]) }
