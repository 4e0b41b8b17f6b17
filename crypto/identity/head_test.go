package identity

import (
	"testing"

	"pgregory.net/rapid"
)

func TestHeadsAreOrderedByEpochThenNumber(t *testing.T) {
	x, y := [32]byte{1}, [32]byte{2}
	for _, c := range []struct {
		name string
		h, o Head
		want Order
	}{
		{"itself", Head{1, 2, x}, Head{1, 2, x}, Same},
		{"nothing and nothing", Head{}, Head{}, Same},
		{"anything after nothing", Head{0, 1, x}, Head{}, Newer},
		{"a later list", Head{1, 3, x}, Head{1, 2, y}, Newer},
		{"an earlier list", Head{1, 2, x}, Head{1, 3, y}, Older},
		{"a later epoch that counts from 1 again", Head{2, 1, x}, Head{1, 99, y}, Newer},
		{"an earlier epoch", Head{1, 99, x}, Head{2, 1, y}, Older},
		{"another list in the same place", Head{1, 2, x}, Head{1, 2, y}, Fork},
	} {
		if got := c.h.Order(c.o); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOrderOfHeadsIsSymmetric(t *testing.T) {
	head := rapid.Custom(func(t *rapid.T) Head {
		return Head{
			Epoch: rapid.Uint32Range(0, 2).Draw(t, "epoch"), Seq: rapid.Uint64Range(0, 2).Draw(t, "seq"),
			Hash: [32]byte{rapid.ByteRange(0, 2).Draw(t, "hash")},
		}
	})
	mirror := map[Order]Order{Older: Newer, Newer: Older, Same: Same, Fork: Fork}
	rapid.Check(t, func(t *rapid.T) {
		h, o := head.Draw(t, "h"), head.Draw(t, "o")
		if h.Order(o) != mirror[o.Order(h)] || (h.Order(o) == Same) != (h == o) {
			t.Fatalf("%v and %v: %v, %v", h, o, h.Order(o), o.Order(h))
		}
		if (h.Digest() == o.Digest()) != (h == o) {
			t.Fatalf("%v and %v: digests %x, %x", h, o, h.Digest(), o.Digest())
		}
	})
}

func TestNoListHasNoDigest(t *testing.T) {
	if (Head{}).Digest() != [12]byte{} {
		t.Error("the zero head must be told apart from every list")
	}
}

// TestForkIsSeen holds what heads alone show against what the lists show.
func TestForkIsSeen(t *testing.T) {
	h := history(t)
	one, two, three, tombstone, fork2, fork3, new1, new2 := h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
	bob := signList(t, rootOf("bob").Account(9), listFields(t, "phone"))
	for _, c := range []struct {
		name     string
		l, known *DeviceList
		heads    Order
		want     Order
	}{
		{"the next list", two, one, Newer, Newer},
		{"the list after next", three, one, Newer, Newer},
		{"an old list", one, three, Older, Older},
		{"the same list", two, two, Same, Same},
		{"another second list", fork2, two, Fork, Fork},
		{"a third list that continues another second", fork3, two, Newer, Fork},
		{"a third list of a fork two steps away is not seen", fork3, one, Newer, Newer},
		{"the tombstone", tombstone, three, Newer, Newer},
		{"a list before the tombstone", three, tombstone, Older, Older},
		{"a new epoch from an earlier list", new1, three, Newer, Newer},
		{"a new epoch after a tombstone", new1, tombstone, Newer, Newer},
		{"a late list of the old epoch", tombstone, new2, Older, Older},
		{"a list of somebody else", bob, three, Newer, Older},
	} {
		if got := c.l.Head().Order(c.known.Head()); got != c.heads {
			t.Errorf("%s: heads say %v, want %v", c.name, got, c.heads)
		}
		if got := c.l.Order(c.known); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestNothingFollowsATombstone(t *testing.T) {
	tombstone := history(t)[3]
	f := listFields(t, "phone")
	f.Seq, f.Prev = tombstone.Seq()+1, tombstone.Hash()
	after := signList(t, rootOf("ann").Account(0), f)
	if got := after.Order(tombstone); got != Older {
		t.Errorf("a list after the tombstone of its epoch is %v", got)
	}
	if got := after.Head().Order(tombstone.Head()); got != Newer {
		t.Errorf("control: the heads alone say %v, so the rule is untested", got)
	}
}

func TestOrdersHaveNames(t *testing.T) {
	for o, want := range map[Order]string{Older: "older", Same: "same", Newer: "newer", Fork: "fork"} {
		if o.String() != want {
			t.Errorf("%d: %q", o, o.String())
		}
	}
}
