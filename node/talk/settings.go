package talk

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
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
	SettingReceipts = "read_receipts" // on, off; empty: as everywhere, and everywhere: on
	settingHandle   = "handle"        // of a group: what our devices call it
	SettingTyping   = "typing"        // on, off; empty: on
	SettingTimer    = "timer"         // seconds that new messages live, decimal; what the newest KindTimer says
)

// ChatChange is what a person sets of a conversation; nil stays.
type ChatChange struct {
	Pinned   *bool
	Muted    *time.Time // until then; the zero time: not
	Draft    *string
	Timer    *uint32 // seconds; 0: messages stay
	Receipts *string // on, off, default
}

// SetChat changes settings of a conversation. All but the timer are ours alone, and follow to our other devices; the
// timer is everybody's, and said in the conversation.
func (d *Desk) SetChat(who string, x ChatChange) (view.Chat, error) {
	c, err := Find(d.Tx, who)
	if err != nil {
		return view.Chat{}, err
	}
	if len(c.Id) != 16 {
		return view.Chat{}, &view.Problem{Class: view.ErrRefused, Message: HandleOf(d.Tx, c) + " has not been found yet", Hint: "kith contact show " + HandleOf(d.Tx, c)}
	}
	values, err := x.values()
	if err != nil {
		return view.Chat{}, err
	}
	for _, name := range []string{SettingPin, SettingMute, SettingDraft, SettingReceipts} {
		if value, set := values[name]; set && value != Setting(d.Tx, c.Id, name) {
			if err := d.Set(c, name, value); err != nil {
				return view.Chat{}, err
			}
		}
	}
	if x.Timer != nil && *x.Timer != Timer(d.Tx, c) {
		if err := d.May(c); err != nil {
			return view.Chat{}, err
		}
		if _, err := d.Write(c, Draft{Kind: chat.KindTimer, Payload: &chatpb.Timer{Seconds: *x.Timer}}); err != nil {
			return view.Chat{}, err
		}
	}
	if row := Chat(d.Tx, IDOf(c)); row != nil {
		c = row
	}
	return ChatView(d.Tx, d.Me, c), d.Tx.Err()
}

func (x ChatChange) values() (map[string]string, error) {
	out := map[string]string{}
	if x.Pinned != nil {
		out[SettingPin] = map[bool]string{true: "1"}[*x.Pinned]
	}
	if x.Muted != nil {
		if out[SettingMute] = ""; x.Muted.Unix() > 0 {
			out[SettingMute] = strconv.FormatInt(x.Muted.UnixMilli(), 10)
		}
	}
	if x.Draft != nil {
		if out[SettingDraft] = *x.Draft; len(*x.Draft) > chat.MaxText || !utf8.ValidString(*x.Draft) {
			return nil, usage("a draft has at most 3,500 bytes of UTF-8", "kith send --help")
		}
	}
	if x.Receipts != nil {
		value, known := map[string]string{"on": "on", "off": "off", "default": "", "": ""}[*x.Receipts]
		if out[SettingReceipts] = value; !known {
			return nil, usage("read receipts of a conversation are on, off, or default", "kith chat --help")
		}
	}
	if x.Timer != nil && time.Duration(*x.Timer)*time.Second > maxTTL {
		return nil, usage("messages disappear after a year or sooner", "kith chat --help")
	}
	return out, nil
}

// Settings are those of the whole person.
func Settings(tx store.Tx) view.Settings {
	return view.Settings{Receipts: Setting(tx, nil, SettingReceipts) != "off", Typing: Setting(tx, nil, SettingTyping) != "off"}
}

// SetAll changes settings of the whole person; nil stays.
func (d *Desk) SetAll(receipts, typing *bool) (view.Settings, error) {
	for _, x := range []struct {
		name string
		on   *bool
	}{{SettingReceipts, receipts}, {SettingTyping, typing}} {
		if x.on == nil {
			continue
		}
		if err := d.Set(nil, x.name, map[bool]string{true: "on", false: "off"}[*x.on]); err != nil {
			return view.Settings{}, err
		}
	}
	return Settings(d.Tx), d.Tx.Err()
}

// Timer is how many seconds new messages of a conversation live; 0: for ever.
func Timer(tx store.Tx, c *pb.Chat) uint32 {
	n, err := strconv.ParseUint(Setting(tx, c.Id, SettingTimer), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// setTimer takes in what somebody set in a conversation. What is from further ahead than clocks may be does not count: it
// would have the last word for ever.
func (d *Desk) setTimer(a Arrival) {
	x := &chatpb.Timer{}
	sound := a.Device == d.Device || a.Content.SentAt <= uint64(d.Now.Add(dht.MaxSkew).UnixMilli())
	if proto.Unmarshal(a.Content.Payload, x) == nil && sound {
		d.Learn(&chatpb.Setting{
			Chat: a.Content.Chat[:], Name: SettingTimer, Value: strconv.AppendUint(nil, uint64(x.Seconds), 10),
			At: a.Content.SentAt, Device: a.Device[:],
		})
	}
}

// receipts reports whether authors hear that their messages in a conversation were read.
func receipts(tx store.Tx, c *pb.Chat) bool {
	switch Setting(tx, c.Id, SettingReceipts) {
	case "on":
		return true
	case "off":
		return false
	}
	return Settings(tx).Receipts
}

// A setting is a register that each of our devices writes: the write with the greater (Lamport ms, device id) wins, on
// every device, whatever came first.

// Setting reads one; in is the conversation's id, or nil.
func Setting(tx store.Tx, in []byte, name string) string {
	s := &pb.Setting{}
	store.Row(tx, store.BucketSettings, settingKey(in, name), s)
	return string(s.Value)
}

// afterSetting is a time for a new write: later than the last one, whatever the clock of whoever made that.
func afterSetting(tx store.Tx, in []byte, name string, at uint64) uint64 {
	s := &pb.Setting{}
	store.Row(tx, store.BucketSettings, settingKey(in, name), s)
	return max(at, s.At+1)
}

func settingKey(in []byte, name string) []byte { return slices.Concat(in, []byte{'/'}, []byte(name)) }

// Set writes a setting and tells our other devices.
func (d *Desk) Set(c *pb.Chat, name, value string) error {
	s := &chatpb.Setting{Name: name, Value: []byte(value), Device: d.Device[:]}
	in := chat.Direct(d.Me, d.Me)
	if c != nil {
		s.Chat = c.Id
	}
	s.At = afterSetting(d.Tx, s.Chat, name, d.Stamp())
	d.Learn(s)
	return d.Say(chat.KindSync, in, &chatpb.Sync{Settings: []*chatpb.Setting{s}}, nil, true)
}

// Learn takes in a setting that a device of ours wrote; it reports whether it is news.
func (d *Desk) Learn(s *chatpb.Setting) bool {
	if len(s.Name) == 0 || len(s.Name) > maxSettingName || len(s.Value) > chat.MaxText || len(s.Device) != 32 || len(s.Chat)%16 != 0 || len(s.Chat) > 16 || s.At > maxShown {
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
		c := Chat(d.Tx, chat.ChatID(s.Chat))
		if s.Name == settingHandle {
			d.rename(c, string(s.Value))
		}
		if c != nil {
			v.Chat = HandleOf(d.Tx, c)
		}
	}
	d.tell(view.Notice{Type: "setting", Setting: &v})
	return true
}
