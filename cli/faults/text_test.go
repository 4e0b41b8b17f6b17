package faults

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// text is one numbered text on its way.
type text struct {
	from     *device
	screens  []*device // that have to show it
	to, body string
	key      string
	owed     []*device // who has yet to show it when a proof sees it in custody

	mu sync.Mutex
	id string // once it is queued
}

func (x *text) queued(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.id = id
}

// number is the message id; empty until the text is queued.
func (x *text) number() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.id
}

// least is how far the least delivery of a text is said to be.
func (x *text) least() int {
	if id := x.number(); id != "" {
		return x.from.least(id, len(x.screens))
	}
	return 0
}

// least is the least of several texts.
func least(texts []*text) int {
	all := 9
	for _, x := range texts {
		all = min(all, x.least())
	}
	return all
}

// shown reports whether all texts are on all screens that have to show them.
func shown(texts []*text) bool {
	for _, x := range texts {
		for _, d := range x.screens {
			if d.times(x.body) == 0 {
				return false
			}
		}
	}
	return true
}

const tracesWithin = 20 * time.Second

// traces describes the texts that are not delivered.
func (c *cast) traces(texts []*text) string {
	ctx, cancel := context.WithTimeout(context.Background(), tracesWithin)
	defer cancel()
	var b strings.Builder
	for _, x := range texts {
		if x.least() >= 3 || b.Len() > 4000 {
			continue
		}
		a, err := x.from.run(ctx, "trace", x.number())
		fmt.Fprintf(&b, "%.30q key %s id %s: %v\n%s%s", x.body, x.key, x.number(), err, a.out, a.err)
	}
	return b.String()
}
