package crowd

import "testing"

// A round of the set-up takes ten minutes at most, in which everybody lives; what is small goes one by one. With one a second, the
// control, the largest town would take a day.
func TestALargeTownMeetsInMinutes(t *testing.T) {
	for users, want := range map[int]int{2: 1, 600: 1, 601: 2, 6600: 11, maxUsers: 167} {
		if got := atOnce(users); got != want {
			t.Errorf("%d people: %d at once, want %d", users, got, want)
		}
		if seconds := users / atOnce(users); seconds > longestRound {
			t.Errorf("%d people: a round of %d s", users, seconds)
		}
	}
	if maxUsers <= longestRound {
		t.Error("control: nobody is too many")
	}
}
