package transfer

import (
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

const errSenseless = "what its sender says of it makes no sense"

// Sent keeps the files of a message that this device sealed, and returns their numbers. They go to our relays.
func (l *Ledger) Sent(t *Turn, author identity.UserID, message []byte, files []*chatpb.File) []uint64 {
	return l.keep(t, author, message, files, func(*chatpb.File, bool) *pb.Transfer {
		return &pb.Transfer{Up: true, State: stateUploading, Expires: t.Now.Add(Life).UnixMilli()}
	})
}

// Stands keeps the picture of a person or a group, which this device sealed: it is brought to our relays again and again,
// until it is forgotten.
func (l *Ledger) Stands(t *Turn, author identity.UserID, subject []byte, f *chatpb.File) []uint64 {
	return l.keep(t, author, subject, []*chatpb.File{f}, func(*chatpb.File, bool) *pb.Transfer {
		return &pb.Transfer{Up: true, State: stateUploading, Standing: true, Expires: t.Now.Add(Life).UnixMilli()}
	})
}

// Came keeps the files of a message that another device sent, and returns their numbers. Small ones of a friend are
// fetched, and the previews of large ones.
func (l *Ledger) Came(t *Turn, w World, author identity.UserID, message []byte, files []*chatpb.File) []uint64 {
	var left unasked // nothing of a stranger
	if len(files) > 0 && w.Friend(author) {
		left = l.unasked(t, author)
	}
	return l.keep(t, author, message, files, func(f *chatpb.File, small bool) *pb.Transfer {
		if !sane(f, small) {
			return &pb.Transfer{State: stateFailed, Error: errSenseless}
		}
		return &pb.Transfer{State: left.take(f.Size), Expires: t.Now.Add(Life).UnixMilli()}
	})
}

// unasked is how much of a person's files is fetched without being asked for; nothing, if it is zero.
type unasked struct {
	bytes  uint64 // so much more may be here
	places int    // so many more at once
	waits  []uint64
}

func (l *Ledger) unasked(t *Turn, author identity.UserID) unasked {
	u := unasked{bytes: autoRoom, places: maxUnasked}
	scan(t.Tx, func(n uint64, row *pb.Transfer) {
		if row.Up || row.Asked || string(row.User) != string(author[:]) {
			return
		}
		switch row.State {
		case stateFetching:
			u.places--
		case stateWaiting:
			u.waits = append(u.waits, n)
		case stateHere:
		default:
			return
		}
		u.bytes -= min(u.bytes, fileOf(row).GetSize())
	})
	return u
}

// take is the state of one more file.
func (u *unasked) take(size uint64) uint32 {
	if u.bytes == 0 || size > min(AutoSize, u.bytes) {
		return stateOffered
	}
	u.bytes -= size
	if u.places <= 0 {
		return stateWaiting
	}
	u.places--
	return stateFetching
}

// nextOf fetches the oldest that wait of an author, now that another has ended.
func (l *Ledger) nextOf(t *Turn, author identity.UserID) {
	u := l.unasked(t, author)
	for _, n := range u.waits[:max(0, min(len(u.waits), u.places))] {
		if row := load(t.Tx, n); row != nil {
			row.State = stateFetching
			l.save(t, n, row)
		}
	}
}

// keep makes a row for each file, and one for its preview before it.
func (l *Ledger) keep(t *Turn, author identity.UserID, message []byte, files []*chatpb.File, begin func(f *chatpb.File, small bool) *pb.Transfer) []uint64 {
	var out []uint64
	relays := relaysOf(files)
	add := func(i int, f *chatpb.File, small bool, preview uint64) uint64 {
		row, plain := begin(f, small), proto.CloneOf(f)
		plain.Preview, plain.Relays = nil, relays
		raw, err := proto.Marshal(plain)
		if err != nil {
			row.State, row.Error = stateFailed, errSenseless
		}
		row.User, row.Message, row.Index, row.File = author[:], message, uint32(i), raw
		row.Small, row.Preview = small, preview
		return l.add(t, row)
	}
	for i, f := range files[:min(len(files), MaxFiles)] {
		preview := uint64(0)
		if f.Preview != nil {
			preview = add(i, f.Preview, true, 0)
		}
		out = append(out, add(i, f, false, preview))
	}
	return out
}

// relaysOf are the relays that any of the files names: one file's serve for all.
func relaysOf(files []*chatpb.File) (out []*chatpb.Endpoint) {
	for _, f := range files {
		for _, r := range f.Relays {
			if len(out) < maxRelays && soundPeer(r) {
				out = append(out, r)
			}
		}
	}
	return out
}

func soundPeer(p *chatpb.Endpoint) bool {
	if _, ok := dht.PeerKey(p.Id); !ok || len(p.Addrs) > dht.MaxAddrs {
		return false
	}
	for _, a := range p.Addrs {
		if len(a) == 0 || len(a) > dht.MaxAddr {
			return false
		}
	}
	return true
}

// sane says whether a description can be that of a file.
func sane(f *chatpb.File, small bool) bool {
	if small && f.Size > MaxPreview || f.Size > blob.MaxChunks*blob.ChunkSize {
		return false
	}
	_, _, err := blob.Chunks(int64(f.Size))
	return err == nil && len(f.Key) == blob.KeySize && len(f.Manifest) == len(blob.Digest{})
}

func fileOf(row *pb.Transfer) *chatpb.File {
	f := &chatpb.File{}
	if proto.Unmarshal(row.File, f) != nil {
		return &chatpb.File{}
	}
	return f
}

func scan(tx store.Tx, fn func(n uint64, row *pb.Transfer)) {
	tx.Scan(store.BucketTransfers, nil, func(k, value []byte) bool {
		if row := (&pb.Transfer{}); len(k) == 8 && proto.Unmarshal(value, row) == nil {
			fn(number(k), row)
		}
		return true
	})
}
