package acts

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// ErrInvalid is the one error for bytes that are no State.
var ErrInvalid = errors.New("acts: invalid state")

// Flags of an encoded state.
const (
	flagKnown = 1 << iota
	flagDeleted
	flagErased
	flagsEnd
)

// Marshal encodes a state; equal states have equal bytes.
//
//	version 1 | flags u8 | author 32, sent-at u64 if known | deleted-at u64 | read u64
//	n u16 x edit {user 32, stamp, text u8, LP u16 body if text} | n u16 x unsend {user 32, stamp}
//	n u8 x refused stamp | n u16 x reaction {user 32, stamp, LP u8 emoji};  stamp = at u64, id 32
func (s State) Marshal() []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(version)
	b.AddUint8(s.flags())
	if s.known {
		b.AddBytes(s.author[:])
		b.AddUint64(s.sentAt)
	}
	b.AddUint64(s.deletedAt)
	b.AddUint64(s.read)
	b.AddUint16(uint16(len(s.edits)))
	for _, e := range s.edits {
		b.AddBytes(e.user[:])
		e.Stamp.add(b)
		if e.Body == nil {
			b.AddUint8(0)
			continue
		}
		b.AddUint8(1)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.Body) })
	}
	b.AddUint16(uint16(len(s.unsends)))
	for _, u := range s.unsends {
		b.AddBytes(u.user[:])
		u.Stamp.add(b)
	}
	b.AddUint8(uint8(len(s.refused)))
	for _, r := range s.refused {
		r.add(b)
	}
	b.AddUint16(uint16(len(s.reactions)))
	for _, r := range s.reactions {
		b.AddBytes(r.User[:])
		r.Stamp.add(b)
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(r.Emoji)) })
	}
	return b.BytesOrPanic()
}

func (s State) flags() uint8 {
	var f uint8
	for _, x := range []struct {
		on  bool
		bit uint8
	}{{s.known, flagKnown}, {s.deleted, flagDeleted}, {s.erased, flagErased}} {
		if x.on {
			f |= x.bit
		}
	}
	return f
}

func (s Stamp) add(b *cryptobyte.Builder) {
	b.AddUint64(s.At)
	b.AddBytes(s.ID[:])
}

// Parse decodes a state. Only what Marshal makes is one; nothing is the zero State.
func Parse(raw []byte) (State, error) {
	if len(raw) == 0 {
		return State{}, nil
	}
	if len(raw) > MaxState {
		return State{}, ErrInvalid
	}
	s := State{}
	r := reader{cryptobyte.String(raw), true}
	v, flags := r.u8(), r.u8()
	if v != version || flags >= flagsEnd {
		return State{}, ErrInvalid
	}
	s.known, s.deleted, s.erased = flags&flagKnown != 0, flags&flagDeleted != 0, flags&flagErased != 0
	if s.known {
		r.copy(s.author[:])
		s.sentAt = r.u64()
	}
	s.deletedAt, s.read = r.u64(), r.u64()
	r.lists(&s)
	if !r.ok || len(r.in) > 0 || !ascending(s.edits, edit.compare) || !ascending(s.unsends, unsend.compare) ||
		!ascending(s.refused, Stamp.compare) || !ascending(s.reactions, Reaction.compare) {
		return State{}, ErrInvalid
	}
	if s.settle(); !bytes.Equal(s.Marshal(), raw) { // too many, or what does not count any more
		return State{}, ErrInvalid
	}
	return s, nil
}

func ascending[T any](list []T, compare func(T, T) int) bool {
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}

// reader reads until something is missing; from then on everything is zero.
type reader struct {
	in cryptobyte.String
	ok bool
}

func (r *reader) lists(s *State) {
	for range r.count(MaxUsers * keptEdits) {
		var e edit
		r.copy(e.user[:])
		e.Stamp = r.stamp()
		if r.u8() == 1 {
			e.Body = append([]byte{}, r.lp16(MaxBody)...)
		}
		s.edits = append(s.edits, e)
	}
	for range r.count(MaxUsers) {
		var u unsend
		r.copy(u.user[:])
		u.Stamp = r.stamp()
		s.unsends = append(s.unsends, u)
	}
	for range min(int(r.u8()), keptRefused) {
		s.refused = append(s.refused, r.stamp())
	}
	for range r.count(MaxUsers) {
		var x Reaction
		r.copy(x.User[:])
		x.Stamp = r.stamp()
		if x.Emoji = string(r.lp8()); x.Emoji != "" && !ValidEmoji(x.Emoji) {
			r.ok = false
		}
		s.reactions = append(s.reactions, x)
	}
}

// count reads how many follow; more than there may be are none, and an error. Elements are read one by one, so that a
// count alone costs no memory: after the first that is missing the rest is refused here.
func (r *reader) count(most int) int {
	var n uint16
	r.ok = r.ok && r.in.ReadUint16(&n) && int(n) <= most && int(n)*(32+8+32) <= len(r.in)
	if !r.ok {
		return 0
	}
	return int(n)
}

func (r *reader) u8() (v uint8) {
	r.ok = r.ok && r.in.ReadUint8(&v)
	return v
}

func (r *reader) u64() (v uint64) {
	r.ok = r.ok && r.in.ReadUint64(&v)
	return v
}

func (r *reader) copy(into []byte) { r.ok = r.ok && r.in.CopyBytes(into) }

func (r *reader) stamp() (s Stamp) {
	s.At = r.u64()
	r.copy(s.ID[:])
	return s
}

func (r *reader) lp16(most int) (out cryptobyte.String) {
	r.ok = r.ok && r.in.ReadUint16LengthPrefixed(&out) && len(out) <= most
	return out
}

func (r *reader) lp8() (out cryptobyte.String) {
	r.ok = r.ok && r.in.ReadUint8LengthPrefixed(&out)
	return out
}
