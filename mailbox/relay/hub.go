package relay

import (
	"sync"

	"github.com/kith-im/kith/mailbox"
)

// hub knows which collect streams watch which box.
type hub struct {
	mu   sync.Mutex
	each map[mailbox.ID][]*collector
}

func (u *hub) add(box mailbox.ID, c *collector) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.each == nil {
		u.each = make(map[mailbox.ID][]*collector)
	}
	u.each[box] = append(u.each[box], c)
}

func (u *hub) remove(box mailbox.ID, c *collector) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var rest []*collector
	for _, o := range u.each[box] {
		if o != c {
			rest = append(rest, o)
		}
	}
	if u.each[box] = rest; rest == nil {
		delete(u.each, box)
	}
}

// wake tells every stream that watches a box that it has something new.
func (u *hub) wake(box mailbox.ID) {
	u.mu.Lock()
	watching := u.each[box]
	u.mu.Unlock()
	for _, c := range watching {
		c.wake(box)
	}
}
