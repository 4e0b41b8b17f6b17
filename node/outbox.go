package node

import (
	"cmp"
	"container/heap"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/pb"
)

// outbox is the index, in memory, of the deliveries on their way: when each is due, and where it stands in its attempt.
type outbox struct {
	heap     dueHeap
	items    map[uint64]*outItem
	byDevice map[identity.DeviceID][]uint64 // ascending
	acks     map[identity.DeviceID]uint64   // the acknowledgement to a device that is not sealed yet
}

type outItem struct {
	at     time.Time // zero: waits for an event
	device identity.DeviceID
	direct bool            // this attempt has tried the direct way
	asked  map[string]bool // relays whose answer is on its way
	failed map[string]bool // relays that could not be reached in this attempt
	busy   int             // writes refused in a row while the connection stood
	sent   time.Time       // when it was written to a stream, until its row says so
}

type dueEntry struct {
	at time.Time
	n  uint64
}

type dueHeap []dueEntry

func (h dueHeap) Len() int      { return len(h) }
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h dueHeap) Less(i, j int) bool {
	if c := h[i].at.Compare(h[j].at); c != 0 {
		return c < 0
	}
	return h[i].n < h[j].n
}
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueEntry)) }
func (h *dueHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func newOutbox() outbox {
	return outbox{items: map[uint64]*outItem{}, byDevice: map[identity.DeviceID][]uint64{}, acks: map[identity.DeviceID]uint64{}}
}

// loadOutbox indexes what is on disk; what was in flight when the process ended is due as its row says.
func (e *Engine) loadOutbox(t *Turn) {
	t.Tx.Scan(BucketOutbox, nil, func(key, value []byte) bool {
		d := &pb.Delivery{}
		if len(key) != 8 || proto.Unmarshal(value, d) != nil || len(d.Device) != 32 {
			return true
		}
		n := fromU64(key)
		e.out.add(n, identity.DeviceID(d.Device), unixMilli(d.Next))
		if len(d.Acks) > 0 && len(d.Envelope) == 0 {
			e.out.acks[identity.DeviceID(d.Device)] = n
		}
		e.checks[identity.DeviceID(d.Device)] = t.Now.Add(repairAfter)
		return true
	})
}

func (o *outbox) add(n uint64, d identity.DeviceID, at time.Time) {
	o.items[n] = &outItem{device: d, asked: map[string]bool{}, failed: map[string]bool{}}
	o.byDevice[d] = append(o.byDevice[d], n)
	o.schedule(n, at)
}

func (o *outbox) schedule(n uint64, at time.Time) {
	it := o.items[n]
	if it == nil || it.at.Equal(at) {
		return
	}
	it.at = at
	if !at.IsZero() {
		heap.Push(&o.heap, dueEntry{at, n})
	}
}

func (o *outbox) remove(n uint64) {
	it := o.items[n]
	if it == nil {
		return
	}
	delete(o.items, n)
	rest := slices.DeleteFunc(o.byDevice[it.device], func(m uint64) bool { return m == n })
	if len(rest) == 0 {
		delete(o.byDevice, it.device)
	} else {
		o.byDevice[it.device] = rest
	}
	if o.acks[it.device] == n {
		delete(o.acks, it.device)
	}
}

// ofDevice lists the deliveries to a device, oldest first.
func (o *outbox) ofDevice(d identity.DeviceID) []uint64 { return slices.Clone(o.byDevice[d]) }

// retryDevice starts a new attempt of everything for a device.
func (o *outbox) retryDevice(d identity.DeviceID, now time.Time) {
	for _, n := range o.byDevice[d] {
		o.restart(n, now)
	}
}

// restart begins a new attempt of one delivery.
func (o *outbox) restart(n uint64, now time.Time) {
	if it := o.items[n]; it != nil {
		it.direct, it.busy = false, 0
		clear(it.failed)
		o.schedule(n, now)
	}
}

func (o *outbox) settle() {
	for len(o.heap) > 0 {
		it := o.items[o.heap[0].n]
		if it != nil && it.at.Equal(o.heap[0].at) {
			return
		}
		heap.Pop(&o.heap) // superseded
	}
}

func (o *outbox) deadline() time.Time {
	o.settle()
	if len(o.heap) == 0 {
		return time.Time{}
	}
	return o.heap[0].at
}

// takeDue removes and returns what is due, by time and then number.
func (o *outbox) takeDue(now time.Time) []uint64 {
	var out []dueEntry
	for o.settle(); len(o.heap) > 0 && !o.heap[0].at.After(now); o.settle() {
		entry := heap.Pop(&o.heap).(dueEntry)
		o.items[entry.n].at = time.Time{}
		out = append(out, entry)
	}
	slices.SortFunc(out, func(a, b dueEntry) int { return cmp.Compare(a.n, b.n) })
	ns := make([]uint64, len(out))
	for i, entry := range out {
		ns[i] = entry.n
	}
	return ns
}

// backoff is the wait before attempt number n+1 of something of this age: a random part of a ceiling that doubles.
func backoff(rng io.Reader, n int, age time.Duration) time.Duration {
	low, high := retryMin, retryMax
	if age >= retryLate {
		low, high = retryLateMin, retryLateMax
	}
	ceiling := high
	if n < 16 {
		ceiling = min(high, low<<max(n-1, 0))
	}
	return max(retryFloor, jitter(rng, ceiling))
}
