package node

import (
	"errors"
	"io"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
)

var errStub = errors.New("not built yet")

// Errors that a person can act on.
var (
	ErrNoIdentity   = errors.New("no identity here")
	ErrNotFound     = errors.New("not found")
	ErrAmbiguous    = errors.New("ambiguous")
	ErrRefused      = errors.New("refused")
	ErrEpochChanged = errors.New("identity changed")
	ErrUsage        = errors.New("usage")
)

// Problem is an error for a person: what happened, the class (one of the sentinels above), and the next command.
type Problem struct {
	Class   error
	Message string
	Hint    string
}

func (p *Problem) Error() string { return p.Message }
func (p *Problem) Unwrap() error { return p.Class }

type Config struct {
	Pins   []dht.Peer // relays chosen by the person
	Policy election.Policy
}

type Engine struct{}

type CreateParams struct {
	Root       *identity.Root
	Name       string
	DeviceName string
}

func Create(t *Turn, p CreateParams) error    { return errStub }
func Load(t *Turn, c Config) (*Engine, error) { return nil, errStub }

func (e *Engine) SetHost(t *Turn, self dht.Peer)   {}
func (e *Engine) SetPins(t *Turn, pins []dht.Peer) {}

type SendRequest struct {
	To   string
	Text string
	Key  string // idempotency key: the same key returns the same message
}

func (e *Engine) Send(t *Turn, r SendRequest) (MessageView, error) { return MessageView{}, errStub }
func (e *Engine) MarkRead(t *Turn, handle string) (int, error)     { return 0, errStub }
func (e *Engine) CreateInvite(t *Turn, ttl time.Duration) (InviteView, error) {
	return InviteView{}, errStub
}
func (e *Engine) Join(t *Turn, link, handle string) (ContactView, error) {
	return ContactView{}, errStub
}
func (e *Engine) RenameContact(t *Turn, handle, name string) (ContactView, error) {
	return ContactView{}, errStub
}
func (e *Engine) AcceptContact(t *Turn, handle string) (ContactView, error) {
	return ContactView{}, errStub
}
func (e *Engine) BlockContact(t *Turn, handle string, blocked bool) (ContactView, error) {
	return ContactView{}, errStub
}
func (e *Engine) OfferDevice(t *Turn, ttl time.Duration) (InviteView, error) {
	return InviteView{}, errStub
}
func (e *Engine) RemoveDevice(t *Turn, prefix string) (DeviceView, error) {
	return DeviceView{}, errStub
}
func (e *Engine) Leave(t *Turn, all bool) error { return errStub }

func (e *Engine) Received(t *Turn, from []byte, envelope []byte)                               {}
func (e *Engine) Collected(t *Turn, relay dht.Peer, items []Collected)                         {}
func (e *Engine) DirectDone(t *Turn, ref uint64, sent bool)                                    {}
func (e *Engine) Deposited(t *Turn, ref uint64, relay []byte, r *mailbox.Receipt, err error)   {}
func (e *Engine) Looked(t *Turn, key string, value []byte)                                     {}
func (e *Engine) Published(t *Turn, key string, stored int)                                    {}
func (e *Engine) PeerUp(t *Turn, peer []byte)                                                  {}
func (e *Engine) PeerDown(t *Turn, peer []byte)                                                {}
func (e *Engine) Advertised(t *Turn, advert []byte, s Source)                                  {}
func (e *Engine) Reserved(t *Turn, round uint64, relay []byte, err error)                      {}
func (e *Engine) Committed(t *Turn, round uint64, relay []byte, leases []dht.Lease, err error) {}
func (e *Engine) Tick(t *Turn)                                                                 {}
func (e *Engine) Deadline() time.Time                                                          { return time.Time{} }
func (e *Engine) Watches(t *Turn) []Watch                                                      { return nil }
func (e *Engine) LinkHello(t *Turn, frame []byte) ([]byte, error)                              { return nil, errStub }
func (e *Engine) LinkRecord(t *Turn, frame []byte) ([]byte, error)                             { return nil, errStub }

type Linker struct{}

func NewLinker(now time.Time, rng io.Reader, link, deviceName string) (*Linker, error) {
	return nil, errStub
}
func (l *Linker) Hints() []dht.Peer                                            { return nil }
func (l *Linker) Hello() []byte                                                { return nil }
func (l *Linker) Welcome(t *Turn, frame []byte, self dht.Peer) ([]byte, error) { return nil, errStub }
func (l *Linker) Finish(t *Turn, frame []byte) error                           { return errStub }

func Identity(tx Tx) (IdentityView, error)                            { return IdentityView{}, errStub }
func Contacts(tx Tx, e *Engine) ([]ContactView, error)                { return nil, errStub }
func Inbox(tx Tx) ([]ChatView, error)                                 { return nil, errStub }
func Messages(tx Tx, handle string, limit int) ([]MessageView, error) { return nil, errStub }
func Status(tx Tx, id string) (MessageStatus, error)                  { return MessageStatus{}, errStub }
func Trace(tx Tx, id string) ([]TraceStep, error)                     { return nil, errStub }
func Devices(tx Tx, e *Engine) ([]DeviceView, error)                  { return nil, errStub }
func Mailbox(tx Tx, e *Engine, now time.Time) (MailboxView, error)    { return MailboxView{}, errStub }
func Events(tx Tx, since uint64, max int) ([]Notice, error)           { return nil, errStub }
