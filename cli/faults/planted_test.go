//go:build crash || hostile

package faults

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The controls take the line out of the program that carries a claim, build it, and let the campaign find out. The tree
// itself holds no switch for this: the compiler reads changed copies of single files (go build -overlay).

// plant is a change of one file.
type plant struct{ file, old, new string }

// planted builds kith with changes. It fails if a line to change is not there exactly once: then it has moved, and the
// control has to follow.
func planted(t testing.TB, plants ...plant) string {
	t.Helper()
	return build(t, plants, "build", "./cli/kith")
}

// plantedTest builds the cast, that is this test binary, with changes.
func plantedTest(t testing.TB, plants ...plant) string {
	t.Helper()
	return build(t, plants, "test", "-c", "-tags", "hostile", "./cli/faults")
}

func build(t testing.TB, plants []plant, verb string, what ...string) string {
	t.Helper()
	dir := folder(t)
	root, err := filepath.Abs("../..")
	check(t, err)
	changed := map[string]string{}
	for _, p := range plants {
		from := filepath.Join(root, p.file)
		if changed[from] == "" {
			changed[from] = filepath.Join(dir, strings.ReplaceAll(p.file, "/", "-"))
			copyFile(t, from, changed[from])
		}
		raw, err := os.ReadFile(changed[from])
		check(t, err)
		if n := strings.Count(string(raw), p.old); n != 1 {
			t.Fatalf("%s has %q %d times", p.file, p.old, n)
		}
		check(t, os.WriteFile(changed[from], []byte(strings.Replace(string(raw), p.old, p.new, 1)), 0o600))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": changed})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	out := filepath.Join(dir, "kith")
	cmd := exec.Command("go", append([]string{verb, "-overlay", filepath.Join(dir, "overlay.json"), "-o", out}, what...)...)
	cmd.Dir = root
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return out
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	check(t, err)
	check(t, os.WriteFile(to, raw, 0o600))
}
