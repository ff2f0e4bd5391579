package memnet

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"
)

// headers is what IPv4 and UDP add to a datagram, and fragment what a fragment
// has of its own, in bytes (RFC 791, RFC 768).
const (
	headers  = 28
	fragment = 20
)

// A Link is one direction of a network: what is sent comes out of it late, twice,
// out of order or never, as its options say. Its queues are bounded and nothing
// waits in a goroutine of its own. It is safe for concurrent use.
type Link struct {
	deliver func([]byte)

	mu     sync.Mutex
	o      Options
	rand   *rand.Rand
	under  flights
	sent   uint64      // flights so far
	free   time.Time   // when the wire has taken all that was sent; zero: it has
	last   time.Time   // when the latest arrival in order is due
	timer  *time.Timer // nil while nothing is under way
	closed bool
}

// NewLink makes a link that gives what arrives to deliver, one datagram at a time.
// deliver must neither block for long nor use the link, and may keep the bytes but
// not change them. Links of one seed and different streams have different weather.
func NewLink(o Options, stream uint64, deliver func([]byte)) *Link {
	return &Link{o: o.filled(), deliver: deliver, rand: rand.New(rand.NewPCG(o.Seed, stream))}
}

// Set changes the weather for what is sent from now on. The seed and the tap stay
// what they were.
func (l *Link) Set(o Options) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.Seed, o.Tap = l.o.Seed, l.o.Tap
	l.o = o.filled()
}

// Send takes a copy of d. Without delay and rate it has been delivered, or lost,
// when Send returns.
func (l *Link) Send(d []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	lost := l.rand.Float64() < l.o.Loss
	late := l.rand.Float64() < l.o.Reorder
	twice := l.rand.Float64() < l.o.Dup
	size := len(d) + headers
	if pieces := l.o.pieces(len(d)); pieces > 1 {
		size += (pieces - 1) * fragment
		for range pieces - 1 { // one lost fragment loses the whole
			lost = l.rand.Float64() < l.o.Loss || lost
		}
	}
	now := time.Now()
	begin, ok := l.transmit(now, size)
	if !ok || lost {
		return
	}
	arrives := begin.Add(l.o.Delay)
	if l.o.Jitter > 0 {
		arrives = arrives.Add(time.Duration(l.rand.Int64N(int64(l.o.Jitter))))
	}
	if late {
		arrives = arrives.Add(l.o.ReorderBy)
	} else {
		if arrives.Before(l.last) {
			arrives = l.last
		}
		l.last = arrives
	}
	d = append([]byte(nil), d...)
	l.fly(now, arrives, d)
	if twice {
		l.fly(now, arrives, d)
	}
}

// transmit gives the time at which the wire has taken size bytes, or false when
// too much waits for it already.
func (l *Link) transmit(now time.Time, size int) (time.Time, bool) {
	if l.o.Rate == 0 {
		return now, true
	}
	if l.free.Before(now) {
		l.free = now
	}
	if waiting := l.free.Sub(now); waiting > l.o.wire(l.o.Buffer) {
		return now, false
	}
	l.free = l.free.Add(l.o.wire(size))
	return l.free, true
}

// fly delivers d when it is due.
func (l *Link) fly(now, at time.Time, d []byte) {
	if !at.After(now) && len(l.under) == 0 {
		l.deliver(d)
		return
	}
	if len(l.under) >= l.o.Queue {
		return
	}
	l.sent++
	heap.Push(&l.under, flight{at, l.sent, d})
	if l.timer == nil {
		l.timer = time.AfterFunc(at.Sub(now), l.land)
	} else if l.under[0].number == l.sent {
		l.timer.Reset(at.Sub(now))
	}
}

// land delivers what is due.
func (l *Link) land() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	now := time.Now()
	for len(l.under) > 0 && !l.under[0].at.After(now) {
		l.deliver(heap.Pop(&l.under).(flight).d)
	}
	if len(l.under) > 0 {
		l.timer.Reset(l.under[0].at.Sub(now))
	} else {
		l.timer = nil
	}
}

// Close drops what is under way, and all that is sent later.
func (l *Link) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.under = true, nil
	if l.timer != nil {
		l.timer.Stop()
	}
}

// A flight is a datagram under way.
type flight struct {
	at     time.Time
	number uint64 // of its sending
	d      []byte
}

// flights is a heap, the next to arrive first.
type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	if f[i].at.Equal(f[j].at) {
		return f[i].number < f[j].number
	}
	return f[i].at.Before(f[j].at)
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	(*f)[last] = flight{}
	*f = (*f)[:last]
	return x
}
