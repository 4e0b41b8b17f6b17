package session

import (
	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/identity"
)

// Version 1 knew no epochs; its sessions begin them when they are opened next.
const (
	stateVersion      = 2
	stateBeforeEpochs = 1
)

// Flags of the stored state.
const (
	stateInitiated = 1 << iota
	stateEstablished
	stateSending
	stateReceiving
	stateDue
	stateOwed
	stateFlags = 1<<iota - 1
)

// Marshal encodes the session with its secrets: at most 2 KiB, plus 48 bytes for every skipped
// key. What it wrote replaces what it wrote before; the layout is in docs/protocol.md.
func (s *Session) Marshal() []byte {
	e := &s.epoch
	b := cryptobyte.NewBuilder(make([]byte, 0, stateFixed+len(s.prefix)+len(e.secret)+len(s.skipped)*skippedSize))
	b.AddUint8(stateVersion)
	b.AddUint16(identity.Suite)
	b.AddUint8(s.stateFlags())
	b.AddUint32(e.number)
	for _, field := range s.stateKeys() {
		b.AddBytes(field[:])
	}
	b.AddBytes(s.prekey[:])
	b.AddUint64(uint64(s.lastReceived))
	b.AddUint32(s.send.n)
	b.AddUint32(s.recv.n)
	b.AddUint32(s.previous)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s.prefix) })
	b.AddUint32(e.since)
	b.AddUint64(uint64(e.begun))
	b.AddUint8(e.tries)
	b.AddUint8(uint8(e.role))
	b.AddUint32(s.send.mix)
	b.AddUint32(s.recv.mix)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.secret) })
	b.AddUint16(uint16(len(s.skipped)))
	for _, k := range s.skipped {
		b.AddBytes(k.tag[:])
		b.AddUint64(uint64(k.kept))
		b.AddBytes(k.key[:])
	}
	return b.BytesOrPanic()
}

// stateKeys are the 32-byte fields in the order of the encoding.
func (s *Session) stateKeys() []*[keySize]byte {
	return []*[keySize]byte{
		(*[keySize]byte)(&s.peer.User), &s.peer.SigPub, &s.peer.IK,
		&s.ad, &s.prefixHash, &s.root,
		&s.local, &s.localPub, &s.remote,
		&s.send.key, &s.send.head.secret, &s.nextSend.secret,
		&s.recv.key, &s.recv.head.secret, &s.nextRecv.secret,
	}
}

func (s *Session) stateFlags() byte {
	var f byte
	for i, set := range []bool{s.initiated, s.established, s.send.live, s.recv.live, s.epoch.due, s.epoch.owed} {
		if set {
			f |= 1 << i
		}
	}
	return f
}

// ParseSession decodes exactly what Marshal wrote; anything else is ErrState.
func ParseSession(raw []byte) (*Session, error) {
	in := cryptobyte.String(raw)
	var (
		s              Session
		version, flags uint8
		suite          uint16
		received       uint64
		prefix         cryptobyte.String
	)
	ok := in.ReadUint8(&version) && (version == stateVersion || version == stateBeforeEpochs) &&
		in.ReadUint16(&suite) && suite == identity.Suite &&
		in.ReadUint8(&flags) && flags <= stateFlags &&
		in.ReadUint32(&s.epoch.number)
	for _, field := range s.stateKeys() {
		ok = ok && in.CopyBytes(field[:])
	}
	ok = ok && in.CopyBytes(s.prekey[:]) && in.ReadUint64(&received) &&
		in.ReadUint32(&s.send.n) && in.ReadUint32(&s.recv.n) && in.ReadUint32(&s.previous) &&
		in.ReadUint16LengthPrefixed(&prefix) &&
		(version == stateBeforeEpochs || s.readEpoch(&in))
	if !ok {
		return nil, ErrState
	}
	s.initiated, s.established = flags&stateInitiated != 0, flags&stateEstablished != 0
	s.send.live, s.recv.live = flags&stateSending != 0, flags&stateReceiving != 0
	s.epoch.due, s.epoch.owed = flags&stateDue != 0, flags&stateOwed != 0
	s.lastReceived = int64(received)
	s.prefix = append(s.prefix, prefix...)
	if !s.readSkipped(&in) || !s.sound() {
		return nil, ErrState
	}
	return &s, nil
}

func (s *Session) readEpoch(in *cryptobyte.String) bool {
	var begun uint64
	var role uint8
	var secret cryptobyte.String
	e := &s.epoch
	if !in.ReadUint32(&e.since) || !in.ReadUint64(&begun) || !in.ReadUint8(&e.tries) || !in.ReadUint8(&role) ||
		!in.ReadUint32(&s.send.mix) || !in.ReadUint32(&s.recv.mix) || !in.ReadUint16LengthPrefixed(&secret) {
		return false
	}
	e.begun, e.role, e.secret = int64(begun), epochRole(role), append(e.secret, secret...)
	return int(role) < len(epochHolds) && len(secret) == epochHolds[role]
}

// readSkipped reads the kept keys, which are the rest of the state to its last byte.
func (s *Session) readSkipped(in *cryptobyte.String) bool {
	var count uint16
	if !in.ReadUint16(&count) || count > maxSkipped || len(*in) != int(count)*skippedSize {
		return false
	}
	s.skipped = make([]skippedKey, count)
	for i := range s.skipped {
		k := &s.skipped[i]
		var kept uint64
		if !in.CopyBytes(k.tag[:]) || !in.ReadUint64(&kept) || !in.CopyBytes(k.key[:]) {
			return false
		}
		k.kept = int64(kept)
	}
	return true
}

// sound checks what must hold between the fields of every session.
func (s *Session) sound() bool {
	awaiting := s.initiated && !s.established
	return (len(s.prefix) == prefixSize) == awaiting &&
		(awaiting || len(s.prefix) == 0) &&
		(s.initiated || s.established) &&
		s.established == s.recv.live &&
		(s.established || s.epoch.role == epochIdle) &&
		(s.epoch.role == epochIdle || s.proposes() == (s.epoch.role != epochAnswered))
}
