package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kith-im/kith/simnet/result"
)

// A seed that was played is in its folder when a later one fails or is interrupted, which is told; that one has nothing. A folder that holds
// something else is refused before anything is played.
func TestSeedsAreKeptAsTheyEnd(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	j, err := parse([]string{"-seeds", "3", "-out", out, "town"})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.room(); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	played := 0
	err = j.all(func(r *run) (*result.Result, error) {
		if played++; played == 2 {
			return nil, broken
		}
		return &result.Result{Format: result.Format, Scenario: r.scenario.Name(), Seed: r.scenario.Seed()}, nil
	})
	if !errors.Is(err, broken) || played != 2 {
		t.Fatalf("%d seeds played: %v", played, err)
	}
	for i, want := range []bool{true, false, false} {
		if _, err := os.Stat(filepath.Join(j.folder(j.runs[i]), result.ResultFile)); (err == nil) != want {
			t.Errorf("seed %d: %v", i+1, err)
		}
	}
	var said bytes.Buffer
	j.lost(&said)
	if !strings.Contains(said.String(), "1 of 3 seeds are kept") {
		t.Error(said.String())
	}

	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err = parse([]string{"-out", other, "town"})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.room(); err == nil {
		t.Error("a folder that holds something else is written into")
	}
}
