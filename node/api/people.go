package api

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/node"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/files"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
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

// contactAdd finds out whose a name under a domain is, before the turn.
func contactAdd(ctx context.Context, b *Backend, q AddRequest) (v view.Contact, err error) {
	a := node.Ask{Note: q.Note}
	if user, ok := node.ParseUser(q.Who); ok {
		a.User = user
	} else {
		name, err := people.ParseName(q.Who)
		if err != nil {
			return v, Fail(ExitUsage, fmt.Sprintf("%.80q is neither a user id nor a name: %v", q.Who, err), "kith contact add --help")
		}
		if a.User, err = b.Whose(ctx, name); err != nil {
			return v, unnamed(name, err)
		}
		a.Name = name.String()
	}
	err = b.Do(ctx, func(e *node.Engine, t *node.Turn) (err error) {
		v, err = e.AskContact(t, a)
		return err
	})
	return v, err
}

// unnamed is what the DNS said in place of a user id.
func unnamed(name people.Name, err error) error {
	exit := ExitNotFound
	if errors.Is(err, people.ErrUnanswered) {
		exit = ExitFailed
	}
	return Fail(exit, fmt.Sprintf("%s: %v", name, err), "kith contact add --help")
}

func contactIgnore(e *node.Engine, t *node.Turn, q ContactRequest) (view.Contact, error) {
	return e.IgnoreContact(t, q.Contact)
}

func contactVerify(e *node.Engine, t *node.Turn, q VerifyRequest) (view.Contact, error) {
	if !witness.IsCode(q.Number) {
		return e.VerifyContact(t, q.Contact, q.Number)
	}
	v, found, err := e.CompareCode(t, q.Contact, q.Number)
	if err == nil && found != nil {
		err = found
	}
	return v, err
}

func contactProof(tx store.Tx, q ContactRequest) (view.Proof, error) {
	return node.Proof(tx, q.Contact)
}

func proofTake(e *node.Engine, t *node.Turn, q ProofRequest) (view.Proof, error) {
	return e.TakeProof(t, q.Text)
}

func profile(tx store.Tx, _ None) (view.Profile, error) { return node.Profile(tx) }

// profileSet makes the small copy of a picture before the turn.
func profileSet(ctx context.Context, b *Backend, q ProfileRequest) (v view.Profile, err error) {
	change := node.ProfileChange{Name: q.Name, Handles: q.Handles}
	var sealed *files.Sealed
	switch {
	case q.Picture == nil:
	case *q.Picture == "":
		change.Picture = &chatpb.File{}
	case !filepath.IsAbs(*q.Picture) || b.Files == nil:
		return v, Fail(ExitUsage, fmt.Sprintf("the path %.80q is not absolute", *q.Picture), "kith id set --help")
	default:
		if sealed, err = b.Files.SealPicture(ctx, *q.Picture); err != nil {
			return v, Fail(ExitUsage, err.Error(), "kith id set --help")
		}
		defer settle(b, sealed)
		change.Picture = sealed.Files[0]
	}
	err = b.Do(ctx, func(e *node.Engine, t *node.Turn) (err error) {
		v, err = e.SetProfile(t, change)
		return err
	})
	return v, err
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

func ownIdentity(tx store.Tx, _ None) (view.Identity, error) { return node.Identity(tx) }

func devices(tx store.Tx, e *node.Engine, _ time.Time, _ None) (Devices, error) {
	list, err := node.Devices(tx, e)
	return Devices{Devices: list}, err
}

func history(tx store.Tx, _ None) (History, error) {
	list, err := node.History(tx)
	return History{Devices: list}, err
}

func historyAsk(e *node.Engine, t *node.Turn, q HistoryRequest) (History, error) {
	if q.Days < 0 || q.Days > maxHistoryDays {
		return History{}, Fail(ExitUsage, "days go from 0, for all of the past, to 36,500", "kith device --help")
	}
	list, err := e.AskHistory(t, q.Days)
	return History{Devices: list}, err
}

func deviceOffer(e *node.Engine, t *node.Turn, q TTLRequest) (view.Invite, error) {
	d, err := ttl(q, defaultOfferTTL)
	if err != nil {
		return view.Invite{}, err
	}
	return e.OfferDevice(t, d)
}

func deviceRemove(ctx context.Context, b *Backend, q DeviceRequest) (v view.Device, err error) {
	err = b.signing(ctx, func(e *node.Engine, t *node.Turn) (err error) {
		v, err = removeDevice(e, t, q)
		return err
	})
	return v, err
}

func removeDevice(e *node.Engine, t *node.Turn, q DeviceRequest) (view.Device, error) {
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

// leave reads our newest list back first: a list that does not follow it would be a fork.
func leave(ctx context.Context, b *Backend, q LeaveRequest) (v Left, err error) {
	v.All = q.All
	err = b.signing(ctx, func(e *node.Engine, t *node.Turn) (err error) {
		v.Asked, err = e.Leave(t, q.All)
		return err
	})
	return v, err
}

// signing runs a turn that signs a device list, after the newest one was read back.
func (b *Backend) signing(ctx context.Context, fn func(*node.Engine, *node.Turn) error) error {
	if b.ReadBack != nil {
		if err := b.ReadBack(ctx); err != nil {
			return err
		}
	}
	return b.Do(ctx, fn)
}

// proofMethods are those of the table that are about proofs of two device lists.
func proofMethods() []Method {
	return []Method{
		method("contact_proof", ScopeRead, "proof", "The proof that a contact, or with \"me\" our own account key, signed two device lists for one place.", stored(contactProof)).offline(),
		method("proof_take", ScopeManage, "proof", "Take in such a proof: if we know whom it is about, nothing is sent to them until a person accepts.", turn(proofTake)),
	}
}

// groupMethods are those of the table that are about groups.
func groupMethods() []Method {
	return []Method{
		method("group_create", ScopeTalk, "group", "Make a group of contacts.", turn(groupCreate)),
		method("group", ScopeRead, "group", "A group with its members.", stored(groupShow)).offline(),
		method("group_add", ScopeTalk, "group", "Make contacts members of a group; only its admins may.", turn(groupAdd)),
		method("group_remove", ScopeTalk, "group", "Take members out of a group; only its admins may. They get nothing that we say from now on.", turn(groupRemove)),
		method("group_admin", ScopeTalk, "group", "Make a member an admin of the group, or no admin any more.", turn(groupAdmin)),
		method("group_set", ScopeTalk, "group", "Name a group or give it a picture, for everybody in it.", groupSet),
		method("group_leave", ScopeTalk, "group", "Leave a group, on all our devices.", turn(groupLeave)),
	}
}

func groupCreate(e *node.Engine, t *node.Turn, q GroupCreateRequest) (view.Group, error) {
	return e.CreateGroup(t, q.Name, q.Members)
}

func groupShow(tx store.Tx, q GroupRequest) (view.Group, error) {
	c, err := talk.FindGroup(tx, q.Group)
	if err != nil {
		return view.Group{}, err
	}
	return talk.GroupView(tx, talk.Me(tx), c), nil
}

func groupAdd(e *node.Engine, t *node.Turn, q GroupMembersRequest) (view.Group, error) {
	return e.AddToGroup(t, q.Group, q.Members)
}

func groupRemove(e *node.Engine, t *node.Turn, q GroupMembersRequest) (view.Group, error) {
	return e.RemoveFromGroup(t, q.Group, q.Members)
}

func groupAdmin(e *node.Engine, t *node.Turn, q GroupAdminRequest) (view.Group, error) {
	return e.SetGroupAdmin(t, q.Group, q.Member, q.Admin)
}

func groupSet(ctx context.Context, b *Backend, q GroupSetRequest) (v view.Group, err error) {
	var image *chatpb.File
	if q.Image != nil && *q.Image != "" {
		if !filepath.IsAbs(*q.Image) || b.Files == nil {
			return v, Fail(ExitUsage, fmt.Sprintf("the path %.80q is not absolute", *q.Image), "kith group set --help")
		}
		sealed, err := b.Files.SealPicture(ctx, *q.Image)
		if err != nil {
			return v, Fail(ExitUsage, err.Error(), "kith group set --help")
		}
		defer settle(b, sealed)
		image = sealed.Files[0]
	}
	err = b.Do(ctx, func(e *node.Engine, t *node.Turn) (err error) {
		if q.Image != nil {
			v, err = e.SetGroupImage(t, q.Group, image)
		}
		if err == nil && (q.Name != "" || q.Image == nil) {
			v, err = e.NameGroup(t, q.Group, q.Name)
		}
		return err
	})
	return v, err
}

func groupLeave(e *node.Engine, t *node.Turn, q GroupRequest) (view.Group, error) {
	return e.LeaveGroup(t, q.Group)
}
