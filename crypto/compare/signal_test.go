package compare_test

import (
	"context"
	"testing"

	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/serialize"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/state/record"
	"go.mau.fi/libsignal/util/keyhelper"
)

// signalDevice is a device of libsignal with the stores that its interfaces want, in maps. Sessions stay as they are in
// memory unless stored is set: then each is serialized when it is kept and parsed when it is used, as a client does.
type signalDevice struct {
	address  *protocol.SignalAddress
	own      *identity.KeyPair
	registry uint32
	wire     *serialize.Serializer
	stored   bool

	prekeys  map[uint32]*record.PreKey
	signed   map[uint32]*record.SignedPreKey
	sessions map[string]*record.Session
	disk     map[string][]byte
}

func newSignalDevice(t testing.TB, name string) *signalDevice {
	t.Helper()
	d := &signalDevice{
		address: protocol.NewSignalAddress(name, 1), wire: serialize.NewProtoBufSerializer(), registry: 1,
		prekeys: map[uint32]*record.PreKey{}, signed: map[uint32]*record.SignedPreKey{},
		sessions: map[string]*record.Session{}, disk: map[string][]byte{},
	}
	var err error
	if d.own, err = keyhelper.GenerateIdentityKeyPair(); err != nil {
		t.Fatal(err)
	}
	signed, err := keyhelper.GenerateSignedPreKey(d.own, 0, d.wire.SignedPreKeyRecord)
	if err != nil {
		t.Fatal(err)
	}
	d.signed[0] = signed
	d.refill(t)
	return d
}

// refill publishes a one-time prekey.
func (d *signalDevice) refill(t testing.TB) {
	keys, err := keyhelper.GeneratePreKeys(1, 1, d.wire.PreKeyRecord)
	if err != nil {
		t.Fatal(err)
	}
	d.prekeys[1] = keys[0]
}

func (d *signalDevice) bundle() *prekey.Bundle {
	one, signed := d.prekeys[1], d.signed[0]
	return prekey.NewBundle(d.registry, 1, one.ID(), signed.ID(), one.KeyPair().PublicKey(), signed.KeyPair().PublicKey(), signed.Signature(), d.own.PublicKey())
}

func (d *signalDevice) builder(to *signalDevice) *session.Builder {
	return session.NewBuilder(d, d, d, d, to.address, d.wire)
}

func (d *signalDevice) cipher(to *signalDevice) *session.Cipher {
	return session.NewCipher(d.builder(to), to.address)
}

func (d *signalDevice) GetIdentityKeyPair() *identity.KeyPair { return d.own }
func (d *signalDevice) GetLocalRegistrationID() uint32        { return d.registry }
func (d *signalDevice) SaveIdentity(context.Context, *protocol.SignalAddress, *identity.Key) error {
	return nil
}

func (d *signalDevice) IsTrustedIdentity(context.Context, *protocol.SignalAddress, *identity.Key) (bool, error) {
	return true, nil
}

func (d *signalDevice) LoadPreKey(_ context.Context, id uint32) (*record.PreKey, error) {
	return d.prekeys[id], nil
}

func (d *signalDevice) StorePreKey(_ context.Context, id uint32, r *record.PreKey) error {
	d.prekeys[id] = r
	return nil
}

func (d *signalDevice) ContainsPreKey(_ context.Context, id uint32) (bool, error) {
	return d.prekeys[id] != nil, nil
}

// RemovePreKey keeps it: the same bundle serves every run.
func (d *signalDevice) RemovePreKey(context.Context, uint32) error { return nil }

func (d *signalDevice) LoadSession(_ context.Context, a *protocol.SignalAddress) (*record.Session, error) {
	if raw, ok := d.disk[a.String()]; d.stored && ok {
		return record.NewSessionFromBytes(raw, d.wire.Session, d.wire.State)
	}
	if s, ok := d.sessions[a.String()]; ok {
		return s, nil
	}
	return record.NewSession(d.wire.Session, d.wire.State), nil
}

func (d *signalDevice) StoreSession(_ context.Context, a *protocol.SignalAddress, s *record.Session) error {
	if d.stored {
		d.disk[a.String()] = s.Serialize()
	}
	d.sessions[a.String()] = s
	return nil
}

func (d *signalDevice) GetSubDeviceSessions(context.Context, string) ([]uint32, error) {
	return nil, nil
}

func (d *signalDevice) ContainsSession(_ context.Context, a *protocol.SignalAddress) (bool, error) {
	return d.sessions[a.String()] != nil, nil
}

func (d *signalDevice) DeleteSession(_ context.Context, a *protocol.SignalAddress) error {
	delete(d.sessions, a.String())
	return nil
}

func (d *signalDevice) DeleteAllSessions(context.Context) error {
	d.sessions = map[string]*record.Session{}
	return nil
}

func (d *signalDevice) LoadSignedPreKey(_ context.Context, id uint32) (*record.SignedPreKey, error) {
	return d.signed[id], nil
}

func (d *signalDevice) LoadSignedPreKeys(context.Context) ([]*record.SignedPreKey, error) {
	return []*record.SignedPreKey{d.signed[0]}, nil
}

func (d *signalDevice) StoreSignedPreKey(_ context.Context, id uint32, r *record.SignedPreKey) error {
	d.signed[id] = r
	return nil
}

func (d *signalDevice) ContainsSignedPreKey(_ context.Context, id uint32) (bool, error) {
	return d.signed[id] != nil, nil
}

func (d *signalDevice) RemoveSignedPreKey(context.Context, uint32) error { return nil }

// signalPair is two devices with an established session.
type signalPair struct {
	a, b   *signalDevice
	ca, cb *session.Cipher
}

func encrypt(t testing.TB, c *session.Cipher, content []byte) []byte {
	m, err := c.Encrypt(context.Background(), content)
	if err != nil {
		t.Fatal(err)
	}
	return m.Serialize()
}

func (d *signalDevice) decrypt(t testing.TB, c *session.Cipher, raw []byte) {
	m, err := protocol.NewSignalMessageFromBytes(raw, d.wire.SignalMessage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decrypt(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

func (d *signalDevice) decryptFirst(t testing.TB, c *session.Cipher, raw []byte) {
	m, err := protocol.NewPreKeySignalMessageFromBytes(raw, d.wire.PreKeySignalMessage, d.wire.SignalMessage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DecryptMessage(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

// begin makes the session of a with b and its first message.
func (p *signalPair) begin(t testing.TB, content []byte) []byte {
	if err := p.a.builder(p.b).ProcessBundle(context.Background(), p.b.bundle()); err != nil {
		t.Fatal(err)
	}
	p.ca, p.cb = p.a.cipher(p.b), p.b.cipher(p.a)
	return encrypt(t, p.ca, content)
}

func newSignalPair(t testing.TB, stored bool) *signalPair {
	t.Helper()
	p := &signalPair{a: newSignalDevice(t, "a"), b: newSignalDevice(t, "b")}
	p.a.stored, p.b.stored = stored, stored
	first := p.begin(t, []byte("first"))
	p.b.decryptFirst(t, p.cb, first)
	p.a.decrypt(t, p.ca, encrypt(t, p.cb, []byte("reply")))
	p.b.decrypt(t, p.cb, encrypt(t, p.ca, []byte("again")))
	return p
}
