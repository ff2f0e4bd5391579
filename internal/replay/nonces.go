package replay

import (
	"container/heap"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The refusals of Nonces.Use.
var (
	// ErrReplay: this nonce was used before.
	ErrReplay = errors.New("replay: nonce was used before; make a new message with a new nonce")
	// ErrStale: the timestamp is too old, or at or below the floor, so that
	// it can no longer be told whether the nonce was used.
	ErrStale = errors.New("replay: timestamp is too old to judge; make a new message and check the clock")
	// ErrFuture: the timestamp is too far ahead.
	ErrFuture = errors.New("replay: timestamp is in the future; check the clock")
	// ErrFull: the memory is full of timestamps that have not come yet. To make
	// room would raise the floor above the present.
	ErrFull = errors.New("replay: too many messages from the future are remembered; check the clock and try again")
)

// Nonce identifies one message. Callers whose nonces are shorter, or which
// count per sender, hash the parts into it.
type Nonce [32]byte

// Nonces remembers the nonces of recent messages: at most `capacity` of them,
// each for `past` after its timestamp. It is safe for concurrent use.
//
// A nonce is used once, so its least recently used entry is the one with the
// oldest timestamp; that one goes first when room is needed. Whatever goes, for
// age or for room, raises the floor to its timestamp, and messages at or below
// the floor are refused. So neither a flood nor a clock that jumps back makes
// an old message fresh. A flood costs late messages, never a replay, and since
// no timestamp ahead of the clock is dropped for room, it never shuts out a
// message made now. A refused message changes nothing.
//
// A message is its nonce and its timestamp together: the sender's signature
// must cover both, so that nobody else can pair an old nonce with a new time.
type Nonces struct {
	capacity     int
	past, future time.Duration

	mu    sync.Mutex
	seen  map[Nonce]struct{}
	byAge ageHeap
	floor time.Time // timestamps at or below it are refused; zero: none
}

// NewNonces makes an empty memory. Messages older than past or more than future
// ahead of the clock are refused. It panics if capacity is below 1 or a bound
// is negative: both are mistakes of the program.
func NewNonces(capacity int, past, future time.Duration) *Nonces {
	if capacity < 1 || past < 0 || future < 0 {
		panic(fmt.Sprintf("replay: NewNonces(%d, %v, %v): capacity must be positive, bounds not negative", capacity, past, future))
	}
	return &Nonces{capacity: capacity, past: past, future: future, seen: make(map[Nonce]struct{})}
}

// Use accepts the nonce of a message made at the time `at`, and remembers it.
// Call it only after the message's signature was checked; otherwise anybody can
// fill the memory. Errors: ErrReplay, ErrStale, ErrFuture, ErrFull.
func (n *Nonces) Use(nonce Nonce, at, now time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.byAge) > 0 && n.byAge[0].at.Before(now.Add(-n.past)) {
		n.forgetOldest()
	}
	if _, used := n.seen[nonce]; used {
		return ErrReplay
	}
	switch {
	case at.Before(now.Add(-n.past)), !n.floor.IsZero() && !at.After(n.floor):
		return ErrStale
	case at.After(now.Add(n.future)):
		return ErrFuture
	case len(n.byAge) >= n.capacity && at.After(now) && n.byAge[0].at.After(now):
		return ErrFull
	}
	n.seen[nonce] = struct{}{}
	heap.Push(&n.byAge, entry{nonce, at})
	if len(n.byAge) > n.capacity {
		n.forgetOldest()
	}
	return nil
}

// Floor is the timestamp at and below which messages are refused; zero if
// nothing was forgotten yet.
func (n *Nonces) Floor() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.floor
}

// Len is the number of remembered nonces.
func (n *Nonces) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.byAge)
}

func (n *Nonces) forgetOldest() {
	old := heap.Pop(&n.byAge).(entry)
	delete(n.seen, old.nonce)
	if old.at.After(n.floor) {
		n.floor = old.at
	}
}

type entry struct {
	nonce Nonce
	at    time.Time
}

// ageHeap is a container/heap with the oldest timestamp on top.
type ageHeap []entry

func (h ageHeap) Len() int           { return len(h) }
func (h ageHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h ageHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ageHeap) Push(x any)        { *h = append(*h, x.(entry)) }
func (h *ageHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = entry{}
	*h = (*h)[:last]
	return e
}
