package kith_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoMessengerHasTheStandIn: what people run is made without a file of the stand-in for crypto, whatever they set or send.
func TestNoMessengerHasTheStandIn(t *testing.T) {
	sources := func(flags ...string) (out []string) {
		args := append(append([]string{"list"}, flags...), "-deps", "-f", `{{$d := .ImportPath}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}`, "./cli/kith", "./simnet/cmd/livesim")
		list, err := exec.Command("go", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(string(list)) {
			if strings.HasPrefix(name, module) && strings.HasSuffix(name, "_standin.go") {
				out = append(out, name)
			}
		}
		return out
	}
	if found := sources(); len(found) != 0 {
		t.Errorf("%v is in what people run", found)
	}
	if found := sources("-tags", "standin"); len(found) != 2 {
		t.Errorf("control: with the tag there are %v", found)
	}
}
