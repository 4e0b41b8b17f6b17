package api

import (
	"fmt"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

func ttl(q TTLRequest, standard time.Duration) (time.Duration, error) {
	d := time.Duration(q.TTLSeconds) * time.Second
	switch {
	case q.TTLSeconds == 0:
		return standard, nil
	case q.TTLSeconds < int64(minTTL/time.Second), q.TTLSeconds > int64(maxTTL/time.Second):
		return 0, Fail(ExitUsage, "a link works for at least an hour and at most 30 days", "kith invite --help")
	}
	return d, nil
}

func inviteCreate(e *node.Engine, t *node.Turn, q TTLRequest) (view.Invite, error) {
	d, err := ttl(q, defaultInviteTTL)
	if err != nil {
		return view.Invite{}, err
	}
	return e.CreateInvite(t, d)
}

func join(e *node.Engine, t *node.Turn, q JoinRequest) (view.Contact, error) {
	return e.Join(t, q.Link, q.Handle)
}

func contacts(tx store.Tx, e *node.Engine, _ time.Time, _ None) (Contacts, error) {
	list, err := node.Contacts(tx, e)
	return Contacts{Contacts: list}, err
}

func contact(tx store.Tx, e *node.Engine, _ time.Time, q ContactRequest) (view.Contact, error) {
	return node.Contact(tx, e, q.Contact)
}

func contactRename(e *node.Engine, t *node.Turn, q RenameRequest) (view.Contact, error) {
	return e.RenameContact(t, q.Contact, q.Handle)
}

func contactAccept(e *node.Engine, t *node.Turn, q ContactRequest) (view.Contact, error) {
	return e.AcceptContact(t, q.Contact)
}

func contactBlock(e *node.Engine, t *node.Turn, q BlockRequest) (view.Contact, error) {
	if !q.Blocked {
		return e.AcceptContact(t, q.Contact)
	}
	return e.BlockContact(t, q.Contact)
}

func identity(tx store.Tx, _ None) (view.Identity, error) { return node.Identity(tx) }

func devices(tx store.Tx, e *node.Engine, _ time.Time, _ None) (Devices, error) {
	list, err := node.Devices(tx, e)
	return Devices{Devices: list}, err
}

func deviceOffer(e *node.Engine, t *node.Turn, q TTLRequest) (view.Invite, error) {
	d, err := ttl(q, defaultOfferTTL)
	if err != nil {
		return view.Invite{}, err
	}
	return e.OfferDevice(t, d)
}

func deviceRemove(e *node.Engine, t *node.Turn, q DeviceRequest) (view.Device, error) {
	list, err := node.Devices(t.Tx, e)
	if err != nil {
		return view.Device{}, err
	}
	id, err := deviceNamed(list, q.Device)
	if err != nil {
		return view.Device{}, err
	}
	v, err := e.RemoveDevice(t, id)
	for _, d := range list {
		if d.Device == v.Device {
			v.Name = d.Name
		}
	}
	return v, err
}

// deviceNamed is the id of the one device with a name; what names none is taken for the beginning of an id.
func deviceNamed(list []view.Device, name string) (string, error) {
	id := name
	for _, d := range list {
		switch {
		case d.Name != name:
		case id != name:
			return "", Fail(ExitUsage, fmt.Sprintf("two devices are named %q: give the beginning of an id", name), "kith device list")
		default:
			id = d.Device
		}
	}
	return id, nil
}

func leave(e *node.Engine, t *node.Turn, q LeaveRequest) (Left, error) {
	return Left(q), e.Leave(t, q.All)
}
