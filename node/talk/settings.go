package talk

import (
	"slices"

	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Names of settings. Those of a conversation are kept under its id, those of the whole person under no id.
const (
	SettingPin      = "pin"  // 1: pinned
	SettingMute     = "mute" // unix ms until when, decimal
	SettingDraft    = "draft"
	SettingReceipts = "read_receipts" // on, off; empty: as everywhere
	SettingTyping   = "typing"        // on, off
)

// A setting is a register that each of our devices writes: the write with the greater (Lamport ms, device id) wins, on
// every device, whatever came first.

// Setting reads one; in is the conversation's id, or nil.
func Setting(tx store.Tx, in []byte, name string) string {
	s := &pb.Setting{}
	store.Row(tx, store.BucketSettings, settingKey(in, name), s)
	return string(s.Value)
}

func settingKey(in []byte, name string) []byte { return slices.Concat(in, []byte{'/'}, []byte(name)) }

// Set writes a setting and tells our other devices.
func (d *Desk) Set(c *pb.Chat, name, value string) error {
	s := &chatpb.Setting{Name: name, Value: []byte(value), At: d.Stamp(), Device: d.Device[:]}
	in := chat.Direct(d.Me, d.Me)
	if c != nil {
		s.Chat = c.Id
	}
	d.Learn(s)
	return d.Say(chat.KindSync, in, &chatpb.Sync{Settings: []*chatpb.Setting{s}}, nil, true)
}

// Learn takes in a setting that a device of ours wrote; it reports whether it is news.
func (d *Desk) Learn(s *chatpb.Setting) bool {
	if len(s.Name) == 0 || len(s.Name) > maxSettingName || len(s.Value) > chat.MaxText || len(s.Device) != 32 || len(s.Chat)%16 != 0 || len(s.Chat) > 16 {
		return false
	}
	key, old := settingKey(s.Chat, s.Name), &pb.Setting{}
	store.Row(d.Tx, store.BucketSettings, key, old)
	if s.At < old.At || s.At == old.At && string(s.Device) <= string(old.Device) {
		return false
	}
	d.Witness(s.At)
	store.PutRow(d.Tx, store.BucketSettings, key, &pb.Setting{Value: s.Value, At: s.At, Device: s.Device})
	v := view.Setting{Name: s.Name, Value: string(s.Value)}
	if len(s.Chat) == 16 {
		if c := Chat(d.Tx, chat.ChatID(s.Chat)); c != nil {
			v.Chat = HandleOf(d.Tx, c)
		}
	}
	d.tell(view.Notice{Type: "setting", Setting: &v})
	return true
}
