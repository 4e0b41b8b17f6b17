package live

import (
	"container/heap"
	"context"
	"time"
)

// event is something of the script.
type event struct {
	at     time.Time
	number int
	do     func(context.Context)
}

type events []event

func (q events) Len() int      { return len(q) }
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q events) Less(i, j int) bool {
	if c := q[i].at.Compare(q[j].at); c != 0 {
		return c < 0
	}
	return q[i].number < q[j].number
}
func (q *events) Push(x any) { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// after plans do.
func (t *Town) after(d time.Duration, do func(context.Context)) {
	t.number++
	heap.Push(&t.queue, event{time.Now().Add(d), t.number, do})
}

// play lets a piece of the script happen.
func (t *Town) play(ctx context.Context, piece time.Duration) {
	t.passed += piece
	end := t.began.Add(t.passed)
	for len(t.queue) > 0 && !t.queue[0].at.After(end) {
		e := heap.Pop(&t.queue).(event)
		rest(time.Until(e.at))
		e.do(ctx)
	}
	rest(time.Until(end))
}
