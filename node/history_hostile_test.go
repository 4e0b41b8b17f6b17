package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
)

// A device comes back after months, and the first that it hears of is a contact that names an old list of its person's
// devices, on purpose or not: what it missed in those months still comes from the other device, as without that contact.
func TestAnOldHeadDoesNotShortenThePast(t *testing.T) {
	for _, hostile := range []bool{false, true} {
		w := newWorld(t)
		alice, bob := w.person("alice"), w.person("bob")
		w.befriend(alice, bob)
		tablet := alice.link("tablet")
		tablet.meetDevice(bob)
		w.pass(time.Hour)
		bob.send(alice, "at the beginning")
		w.pass(time.Hour)
		tablet.stop()
		bob.send(alice, "while the tablet was away")
		w.pass(time.Hour)
		alice.stop() // nothing happens for a while
		bob.stop()
		w.pass(62 * 24 * time.Hour)
		alice.start()
		bob.start()
		w.pass(time.Hour)
		apart := true
		w.lose = func(p parcel) bool {
			return apart && (p.from == alice && p.to == tablet || p.from == tablet && p.to == alice)
		}
		tablet.start()
		if hostile {
			c := bob.content(chat.Direct(userID(bob), userID(alice)), chat.KindText, &chatpb.Text{Text: "hello"})
			for _, d := range []*device{alice, tablet} {
				bob.sayBody(d, session.Body{Counter: 1 << 20, YourHead: [12]byte{1}, Content: c})
			}
		}
		w.pass(time.Minute)
		if got := tablet.texts(bob); slices.Contains(got, "while the tablet was away") {
			t.Fatal("control: it came without a comparison")
		}
		apart = false
		alice.send(bob, "the tablet hears of the other device")
		w.pass(24 * time.Hour)
		want := []string{"at the beginning", "while the tablet was away"}
		if hostile {
			want = append(want, "hello")
		}
		wantTexts(t, tablet, bob, append(want, "the tablet hears of the other device")...)
	}
}
