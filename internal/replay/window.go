package replay

import "math"

// WindowSize is how far, in counters, a record may lag behind the newest one
// and still be judged (RFC 4303, section 3.4.3 asks for at least 64).
const WindowSize = 2048

const wordBits = 64

// Window tells fresh counters from used ones. The zero value is ready and has
// seen nothing. It is not safe for concurrent use.
//
// The order of use is the one of RFC 4303, section 3.4.3: Check before the
// costly authentication of a record, Mark only after it succeeded. Marking
// first would let a forger burn counters of the honest sender.
type Window struct {
	next uint64 // one above the highest marked counter; 0 when nothing is marked
	bits [WindowSize / wordBits]uint64
}

// Floor is the lowest counter that can still be fresh. Everything below it is
// refused, whether it was ever seen or not.
func (w *Window) Floor() uint64 {
	if w.next <= WindowSize {
		return 0
	}
	return w.next - WindowSize
}

// Check reports whether counter is neither below the floor nor marked. The
// highest possible counter is never fresh: no sender may reach it.
func (w *Window) Check(counter uint64) bool {
	switch {
	case counter == math.MaxUint64:
		return false
	case counter >= w.next:
		return true
	case counter < w.Floor():
		return false
	}
	return w.bits[counter/wordBits%uint64(len(w.bits))]&(1<<(counter%wordBits)) == 0
}

// Mark records counter as used and moves the floor. It reports false, and
// changes nothing, if the counter was not fresh.
func (w *Window) Mark(counter uint64) bool {
	if !w.Check(counter) {
		return false
	}
	if counter >= w.next {
		if counter-w.next >= WindowSize {
			clear(w.bits[:])
		} else {
			for c := w.next; c < counter; c++ {
				w.bits[c/wordBits%uint64(len(w.bits))] &^= 1 << (c % wordBits)
			}
		}
		w.next = counter + 1
	}
	w.bits[counter/wordBits%uint64(len(w.bits))] |= 1 << (counter % wordBits)
	return true
}
