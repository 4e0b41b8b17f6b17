package identity

import (
	"golang.org/x/crypto/cryptobyte"
)

// encode is the list before its signature, byte for byte as docs/protocol.md
// draws it.
func (l *DeviceList) encode() []byte {
	var commit [32]byte // of a post-quantum root key: zero in version 1
	b := cryptobyte.NewBuilder(make([]byte, 0, listFixedSize+len(l.f.Devices)*deviceEntrySize))
	b.AddUint8(formatVersion)
	b.AddUint8(algEd25519)
	b.AddBytes(l.root[:])
	b.AddBytes(commit[:])
	b.AddUint32(l.epoch)
	b.AddBytes(l.account[:])
	b.AddBytes(l.cert[:])
	b.AddUint64(l.f.Seq)
	b.AddBytes(l.f.Prev[:])
	b.AddUint64(uint64(l.f.Issued.Unix()))
	b.AddUint64(uint64(l.f.NotAfter.Unix()))
	b.AddUint8(l.f.Flags)
	b.AddUint8(uint8(len(l.f.Devices)))
	for _, d := range l.f.Devices {
		b.AddBytes(d.SigPub[:])
		b.AddBytes(d.IKPub[:])
		b.AddUint8(d.Flags)
		b.AddUint64(d.AddedSeq)
	}
	return b.BytesOrPanic()
}

// decodeList reads the bytes and verifies nothing.
func decodeList(raw []byte) (*DeviceList, error) {
	if len(raw) > maxListSize {
		return nil, ErrInvalid
	}
	var l DeviceList
	var version, alg, n uint8
	var commit [32]byte
	s := cryptobyte.String(raw)
	if !s.ReadUint8(&version) || version != formatVersion || !s.ReadUint8(&alg) || alg != algEd25519 ||
		!s.CopyBytes(l.root[:]) || !s.CopyBytes(commit[:]) || commit != [32]byte{} ||
		!s.ReadUint32(&l.epoch) || !s.CopyBytes(l.account[:]) || !s.CopyBytes(l.cert[:]) ||
		!s.ReadUint64(&l.f.Seq) || !s.CopyBytes(l.f.Prev[:]) || !readTime(&s, &l.f.Issued) || !readTime(&s, &l.f.NotAfter) ||
		!s.ReadUint8(&l.f.Flags) || !s.ReadUint8(&n) || len(s) != int(n)*deviceEntrySize+signatureSize {
		return nil, ErrInvalid
	}
	l.f.Devices = make([]Device, n)
	for i := range l.f.Devices {
		d := &l.f.Devices[i]
		if !s.CopyBytes(d.SigPub[:]) || !s.CopyBytes(d.IKPub[:]) || !s.ReadUint8(&d.Flags) || !s.ReadUint64(&d.AddedSeq) {
			return nil, ErrInvalid
		}
	}
	return &l, nil
}
