package demo

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestResultSeesWhatIsLostAndWhatIsDoubled is the control of the demo's verdict: it is the only judge of the story.
func TestResultSeesWhatIsLostAndWhatIsDoubled(t *testing.T) {
	for name, c := range map[string]struct {
		shown [2]int
		err   error
		want  Result
	}{
		"each once":     {[2]int{1, 1}, nil, Result{OK: true, Sent: 2, Delivered: 2}},
		"one lost":      {[2]int{1, 0}, nil, Result{Sent: 2, Delivered: 1, Lost: 1, Why: "1 lost, 0 doubled"}},
		"one twice":     {[2]int{1, 2}, nil, Result{Sent: 2, Delivered: 2, Duplicates: 1, Why: "0 lost, 1 doubled"}},
		"one broke off": {[2]int{1, 1}, os.ErrDeadlineExceeded, Result{Sent: 2, Delivered: 2, Why: os.ErrDeadlineExceeded.Error()}},
	} {
		m := &message{id: "m"}
		for _, n := range c.shown {
			m.devices = append(m.devices, &device{seen: map[string]int{"m": n}})
		}
		s := &story{begun: time.Now(), sent: []*message{m}}
		if diff := cmp.Diff(c.want, s.result(c.err), cmpopts.IgnoreFields(Result{}, "Seconds")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRelaysThatDoNotStartAreSaidAndNothingIsLeft(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r, err := Run(t.Context(), Config{Exe: "/bin/false", Step: func(Step) {}})
	if err == nil || r.OK || r.Why == "" {
		t.Errorf("%+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "kith-demo-*")); left != nil {
		t.Errorf("left: %v", left)
	}
}
