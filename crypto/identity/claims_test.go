package identity

import "testing"

// TestTwoWayLink holds Claims against the links that each side alone would
// accept; the columns are the controls.
func TestTwoWayLink(t *testing.T) {
	ann, bob := rootOf("ann"), rootOf("bob")
	annList := signList(t, ann.Account(0), listFields(t, "ann phone", "ann laptop"))
	phone, _ := newBundle(t, "ann phone", bundleFields(ann.User()))
	laptop, _ := newBundle(t, "ann laptop", bundleFields(ann.User()))
	lost, _ := newBundle(t, "ann's lost phone", bundleFields(ann.User()))
	bobs, _ := newBundle(t, "bob phone", bundleFields(bob.User()))

	// Mallory lists Ann's phone among his own devices, to read as her.
	malloryList := signList(t, rootOf("mallory").Account(0), listFields(t, "mallory phone", "ann phone"))
	// Mallory's device says that it is Ann's.
	mallorys, _ := newBundle(t, "mallory phone", bundleFields(ann.User()))
	// Ann's own phone, with an identity key that her list does not name.
	otherIK := &DeviceKeys{Sign: keysOf(t, "ann phone").Sign, IK: keysOf(t, "mallory phone").IK}
	swapped, _, err := NewBundle(entropy("swapped"), otherIK, bundleFields(ann.User()))
	if err != nil {
		t.Fatal(err)
	}
	tombstone := history(t)[3]

	for _, c := range []struct {
		name        string
		list        *DeviceList
		bundle      *Bundle
		listSays    bool // control: the list names the device
		bundleSays  bool // control: the bundle names the user
		wantClaimed bool
	}{
		{"Ann's phone", annList, phone, true, true, true},
		{"Ann's laptop", annList, laptop, true, true, true},
		{"Ann's phone, claimed by Mallory's list", malloryList, phone, true, false, false},
		{"Mallory's phone, claiming Ann", annList, mallorys, false, true, false},
		{"a phone that Ann has removed", annList, lost, false, true, false},
		{"Bob's phone", annList, bobs, false, false, false},
		{"Ann's phone with another identity key", annList, swapped, true, true, false},
		{"Ann's phone after she left", tombstone, phone, false, true, false},
	} {
		_, listSays := c.list.Find(c.bundle.Device())
		bundleSays := c.bundle.User() == c.list.User()
		if listSays != c.listSays || bundleSays != c.bundleSays {
			t.Errorf("control: %s: list %v, bundle %v", c.name, listSays, bundleSays)
		}
		err := Claims(c.list, c.bundle)
		if (err == nil) != c.wantClaimed || err != nil && err != ErrInvalid {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
