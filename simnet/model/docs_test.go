package model_test

import (
	"os"
	"strings"
	"testing"

	"github.com/kith-im/kith/simnet/model"
)

func TestEveryFigureIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/simulation.md")
	if err != nil {
		t.Fatal(err)
	}
	_, docs, _ := strings.Cut(string(raw), "\n## Figures of populations\n")
	c := small(20, 1, 1)
	c.Groups = []model.Group{{Size: 3, Share: 0.5}}
	w, err := model.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.Step()
	r := w.Result()
	var names []string
	for _, v := range r.Values {
		names = append(names, v.Name)
	}
	for _, s := range r.Spreads {
		names = append(names, s.Name)
	}
	for _, s := range r.Series {
		names = append(names, s.Name)
	}
	if len(names) < 30 {
		t.Errorf("control: only %d figures", len(names))
	}
	for _, name := range names {
		if !strings.Contains(docs, "`"+name+"`") {
			t.Errorf("docs/simulation.md does not say what %s is", name)
		}
	}
}
