// Package waiters lets requests wait for an approval to change. How many wait, and
// how many of one device, is bounded.
//
// The package must not import internal/store.
package waiters

import (
	"sync"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Bounds of long polls.
const (
	maxWaiters       = 4096
	maxWaitersDevice = 32
)

// A List is the requests that wait. It is safe for concurrent use.
type List struct {
	mu     sync.Mutex
	on     map[token.ID]*topic
	device map[key.Kid]int
	n      int
}

// A topic is an approval that somebody waits for.
type topic struct {
	changed chan struct{} // closed at the next change
	n       int
}

// New makes an empty list.
func New() *List {
	return &List{on: make(map[token.ID]*topic), device: make(map[key.Kid]int)}
}

// Join gives a channel that is closed when the approval changes. Call leave when
// done. It refuses beyond the bounds.
func (w *List) Join(id token.ID, by key.Kid) (changed <-chan struct{}, leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n >= maxWaiters || w.device[by] >= maxWaitersDevice {
		return nil, nil, door.TooMany()
	}
	t := w.on[id]
	if t == nil {
		t = &topic{changed: make(chan struct{})}
		w.on[id] = t
	}
	t.n++
	w.n++
	w.device[by]++
	return t.changed, func() { w.leave(id, t, by) }, nil
}

func (w *List) leave(id token.ID, t *topic, by key.Kid) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n--
	if w.device[by]--; w.device[by] == 0 {
		delete(w.device, by)
	}
	if t.n--; t.n == 0 && w.on[id] == t {
		delete(w.on, id)
	}
}

// Changed wakes those who wait for these approvals.
func (w *List) Changed(ids ...token.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if t := w.on[id]; t != nil {
			close(t.changed)
			delete(w.on, id)
		}
	}
}
