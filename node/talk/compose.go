package talk

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Words are a message that a person wrote, and what goes with it.
type Words struct {
	Text     string
	Subject  string
	Effect   string   // a hint for whoever draws
	Reply    string   // the beginning of the id of the message that it answers
	Mentions []string // handles; each is where the text has it with an @
	Files    []*chatpb.File
	TTL      uint32 // seconds; 0: as the conversation says
	Key      string
}

func checkText(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return usage("the text is empty", "kith send --help")
	case len(text) > chat.MaxText:
		return usage("the text is longer than 3,500 bytes", "kith send --help")
	case !utf8.ValidString(text):
		return usage("the text is not valid UTF-8", "kith send --help")
	}
	return nil
}

// open finds the conversation that a person writes to, unless what it writes under a key is written already.
func (d *Desk) open(to, key string) (*pb.Chat, *view.Message, error) {
	if m := SentBefore(d.Tx, key); m != nil {
		v := MessageView(d.Tx, d.Me, m)
		return nil, &v, nil
	}
	c, err := Find(d.Tx, to)
	if err != nil {
		return nil, nil, err
	}
	return c, nil, d.May(c)
}

// Send writes a message of words, and files if there are any.
func (d *Desk) Send(to string, w Words) (view.Message, error) {
	c, before, err := d.open(to, w.Key)
	if err != nil || before != nil {
		return valueOf(before), err
	}
	if w.Text != "" || len(w.Files) == 0 {
		if err := checkText(w.Text); err != nil {
			return view.Message{}, err
		}
	}
	switch {
	case w.Subject != line(w.Subject, maxSubject):
		return view.Message{}, usage("a subject is one line of at most 128 bytes", "kith send --help")
	case len(w.Effect) > maxEffect || strings.Trim(w.Effect, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return view.Message{}, usage("an effect is a word of small letters, like confetti or slam", "kith send --help")
	case len(w.Mentions) > maxMentions:
		return view.Message{}, usage("a message mentions at most 32 people", "kith send --help")
	case time.Duration(w.TTL)*time.Second > maxTTL:
		return view.Message{}, usage("a message disappears after a year or sooner", "kith send --help")
	}
	x := &chatpb.Text{Text: w.Text, Subject: w.Subject, Effect: w.Effect, Files: w.Files}
	if x.Reply, err = d.answered(c, w.Reply); err != nil {
		return view.Message{}, err
	}
	if x.Mentions, err = d.mentions(c, w.Text, w.Mentions); err != nil {
		return view.Message{}, err
	}
	return d.Write(c, Draft{Kind: chat.KindText, Payload: x, Key: w.Key, TTL: w.TTL})
}

func valueOf(v *view.Message) view.Message {
	if v == nil {
		return view.Message{}
	}
	return *v
}

// answered is the whole id of the message that a person answers.
func (d *Desk) answered(c *pb.Chat, reply string) ([]byte, error) {
	if reply == "" {
		return nil, nil
	}
	m, err := FindMessage(d.Tx, reply)
	if err != nil {
		return nil, err
	}
	if at := ChatOf(d.Tx, d.Me, m); at == nil || string(at.Id) != string(c.Id) {
		return nil, refused("the message that this answers is of another conversation")
	}
	return m.Id, nil
}

// mentions finds people of a conversation in a text.
func (d *Desk) mentions(c *pb.Chat, text string, handles []string) ([]*chatpb.Mention, error) {
	var out []*chatpb.Mention
	for _, h := range handles {
		h = strings.TrimPrefix(h, "@")
		user := d.Me
		if !strings.EqualFold(h, OwnHandle) {
			p, err := FindContact(d.Tx, h)
			if err != nil {
				return nil, err
			}
			if len(p.User) != 32 || !slices.Contains(d.people(c), identity.UserID(p.User)) {
				return nil, refused(h + " is not in this conversation")
			}
			user, h = identity.UserID(p.User), p.Handle
		}
		x := &chatpb.Mention{User: user[:]}
		if i := strings.Index(text, "@"+h); i >= 0 {
			x.Start, x.Length = uint32(i), uint32(len(h)+1)
		}
		out = append(out, x)
	}
	return out, nil
}

// Location writes a place.
func (d *Desk) Location(to string, lat, lon float64, label, key string) (view.Message, error) {
	c, before, err := d.open(to, key)
	if err != nil || before != nil {
		return valueOf(before), err
	}
	if !place(lat, lon) {
		return view.Message{}, usage("a place is -90 to 90 degrees north and -180 to 180 degrees east", "kith location --help")
	}
	if label != line(label, maxLabel) {
		return view.Message{}, usage("the name of a place is one line of at most 128 bytes", "kith location --help")
	}
	return d.Write(c, Draft{Kind: chat.KindLocation, Payload: &chatpb.Location{Lat: lat, Lon: lon, Label: label}, Key: key})
}

// place is false for what is no number, too.
func place(lat, lon float64) bool { return lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180 }

// Card introduces a contact, or ourselves.
func (d *Desk) Card(to string, who, key string) (view.Message, error) {
	c, before, err := d.open(to, key)
	if err != nil || before != nil {
		return valueOf(before), err
	}
	x := &chatpb.Card{User: d.Me[:], Name: ownName(d.Tx)}
	if !strings.EqualFold(who, OwnHandle) {
		p, err := FindContact(d.Tx, who)
		if err != nil {
			return view.Message{}, err
		}
		if len(p.User) != 32 {
			return view.Message{}, refused(p.Handle + " has not been found yet")
		}
		if x.User, x.Name = p.User, p.Name; x.Name == "" {
			x.Name = p.Handle
		}
	}
	return d.Write(c, Draft{Kind: chat.KindCard, Payload: x, Key: key})
}

func ownName(tx store.Tx) string {
	self := &pb.Self{}
	store.Row(tx, store.BucketMeta, []byte("self"), self)
	return self.Name
}

// Custom writes content of a bot or another program, with what to show where nobody knows its type.
func (d *Desk) Custom(to string, typ string, data []byte, fallback, key string) (view.Message, error) {
	c, before, err := d.open(to, key)
	if err != nil || before != nil {
		return valueOf(before), err
	}
	switch {
	case typ == "" || typ != line(typ, maxType) || strings.Contains(typ, " "):
		return view.Message{}, usage("a type is a word of at most 64 bytes, like org.example.poll", "kith rpc --help")
	case len(data) > chat.MaxText || len(fallback) > chat.MaxText || !utf8.ValidString(fallback):
		return view.Message{}, usage("the data and the fallback text have at most 3,500 bytes each", "kith rpc --help")
	}
	return d.Write(c, Draft{Kind: chat.KindCustom, Payload: &chatpb.Custom{Type: typ, Data: data, Fallback: fallback}, Key: key})
}

// line makes text of others one line of at most so many bytes of UTF-8.
func line(text string, most int) string {
	out := make([]byte, 0, min(len(text), most))
	for _, r := range text {
		if unicode.IsControl(r) || r == utf8.RuneError {
			continue
		}
		if len(out)+utf8.RuneLen(r) > most {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}
