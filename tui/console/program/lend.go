package program

import (
	"bytes"
	"time"
)

// A Lender is a Model that can leave the screen to a program as it is.
type Lender interface {
	// Lends says that the screen is left to a program now.
	Lends() bool
	// Lent gives what writes to the terminal, once the last frame is there. It may be
	// called by one goroutine at a time, blocks while the terminal does not read, and
	// does nothing once the screen was taken back.
	Lent(write func([]byte))
}

// hardReset undoes what a program can do to a terminal that reset alone leaves: modes,
// margins, character sets. Restore does the rest.
const hardReset = "\x1b\\" + // end what was not finished
	"\x1b[!p" + // DECSTR: modes, margins, styles
	"\x1b[?69l\x1b[r\x1b[?6l\x1b[?7h\x1b[4l\x1b[20l\x1b[?1l\x1b>\x1b[?5l" +
	"\x1b(B\x1b)B\x0f" + // ASCII
	"\x1b[?1007l\x1b[?1005l\x1b[?1015l" +
	"\x1b[=0;1u\x1b[<99u" + // kitty's keyboard: whatever was pushed
	"\x1b[0 q"

// lends looks whether the model lends the screen, gives it away or takes it back, and
// says whether it is away.
func (r *Runner) lends() bool {
	lender, ok := r.o.Model.(Lender)
	if !ok {
		return false
	}
	switch lends := lender.Lends(); {
	case lends && r.lent == nil:
		if !r.out.await(leaveWait) {
			return false // the last frame is not there yet
		}
		r.screen.want(r.o.Model)
		r.out.send(r.screen.paint(r.o.Model.Draw))
		r.lent = make(chan struct{})
		lender.Lent(r.through(r.lent))
	case !lends && r.lent != nil:
		r.takeBack()
	}
	return r.lent != nil
}

// through writes what a program sends, until gone is closed.
func (r *Runner) through(gone chan struct{}) func([]byte) {
	return func(b []byte) {
		select {
		case <-gone:
			return
		case <-r.out.idle:
		}
		select {
		case <-gone:
			r.out.idle <- struct{}{}
		default:
			r.out.send(bytes.Clone(b))
		}
	}
}

// takeBack has the screen be the model's again, painted whole.
func (r *Runner) takeBack() {
	close(r.lent)
	r.lent = nil
	r.screen.WriteString(hardReset + Restore)
	r.screen.again()
	r.raw = true
	r.painted = time.Time{}
}
