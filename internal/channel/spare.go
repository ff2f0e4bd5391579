package channel

import (
	"sync"
	"sync/atomic"
	"time"
)

// On a link that loses, what is short goes out twice, or three times where much is lost:
// keys, their echo, and what acknowledges them. QUIC would notice a loss after a round
// trip and more, and send again then; a copy is there 10 ms late. QUIC drops those that
// it does not need, as it does with any packet that a network has doubled.
const (
	// spareMost is the longest datagram of QUIC that counts as short, in bytes.
	spareMost = 256
	// spareAfter is when a copy follows what it is of: losses often come together.
	spareAfter = 10 * time.Millisecond
	// spareWaiting bounds the packets whose copies wait, and by that their rate: 8 in
	// 10 ms. A bulk's acknowledgements get as many and no more.
	spareWaiting = 8
	// lossMemory is over how many records losses are counted, roughly, and lossLeast the
	// share of them from which on there is a copy, and lossMuch a second one.
	lossMemory = 32
	lossLeast  = 1. / 40
	lossMuch   = 1. / 16
	// lossJump is the longest hole that is taken for losses. A longer one is a pause of
	// the path.
	lossJump = 64
)

// A loss measures which share of the records of the peer does not arrive: their counters
// have holes. What the peer does not hear is taken to be the same. Only the reader of a
// path uses it, but for copies.
type loss struct {
	epoch   byte
	highest uint64
	share   float64
	copies  atomic.Int32 // that there should be of what is short
}

// heard counts a record that has arrived.
func (l *loss) heard(epoch byte, counter uint64) {
	switch {
	case epoch != l.epoch || counter > l.highest+lossJump:
		l.epoch, l.highest = epoch, counter
	case counter > l.highest:
		for range counter - l.highest - 1 {
			l.share += (1 - l.share) / lossMemory
		}
		l.share -= l.share / lossMemory
		l.highest = counter
	default: // it was late, not lost
		l.share = max(0, l.share-1./lossMemory)
	}
	switch {
	case l.share >= lossMuch:
		l.copies.Store(2)
	case l.share >= lossLeast:
		l.copies.Store(1)
	default:
		l.copies.Store(0)
	}
}

// spares are the packets whose copies wait.
type spares struct {
	waiting atomic.Int32
	pool    sync.Pool // of *spare
}

// A spare is a short packet that is sent again.
type spare struct {
	b    [spareMost]byte
	n    int
	left int32 // copies
}

// spare sends copies of b soon, if b is short and the link loses.
func (p *path) spare(b []byte) {
	copies := p.loss.copies.Load()
	if copies == 0 || len(b) > spareMost {
		return
	}
	if p.spares.waiting.Add(1) > spareWaiting {
		p.spares.waiting.Add(-1)
		return
	}
	s, _ := p.spares.pool.Get().(*spare)
	if s == nil {
		s = new(spare)
	}
	s.n, s.left = copy(s.b[:], b), copies
	time.AfterFunc(spareAfter, func() { p.repeat(s) })
}

func (p *path) repeat(s *spare) {
	p.wmu.Lock()
	err := p.seal(s.b[:s.n])
	p.wmu.Unlock()
	if s.left--; s.left > 0 && err == nil { // a path that is closed needs none
		time.AfterFunc(spareAfter, func() { p.repeat(s) })
		return
	}
	p.spares.pool.Put(s)
	p.spares.waiting.Add(-1)
}
