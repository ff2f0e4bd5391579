// Package seat keeps a program's terminal while its operators come and go. One of them
// at a time sits at it and gets its output; what it has shown lately is kept for the next.
//
// Invariants:
//   - who takes the seat gets what is kept, how much is not, and then each byte of
//     output from there on, once and in order;
//   - without anybody in it the program runs on, and its output is kept up to a bound;
//   - one who sits there and does not read makes the program wait;
//   - whoever only hears makes nobody wait.
//
// It judges nobody. It must not import anything of this module.
package seat

import (
	"io"
	"slices"
	"sync"
)

// A Past is what a terminal has shown before somebody takes the seat.
type Past struct {
	Kept       []byte // the newest output
	Lost       uint64 // bytes that came before these
	Cols, Rows uint16 // the terminal's size
}

// A Seat is safe for concurrent use. Its output is written by one goroutine.
type Seat struct {
	most int

	turn sync.Mutex // a write, or taking the seat: as long as an operator needs to read
	out  io.Writer  // guarded by turn; nil: nobody

	mu         sync.Mutex // never held while something is written
	kept       []byte     // a ring once it has most bytes
	at         int        // where the ring begins
	all        uint64     // bytes of output, ever
	cols, rows uint16
	hearers    []Hearer
}

// A Hearer hears what a terminal shows. Its methods are called one at a time, must not
// block, and must not call the Seat.
type Hearer interface {
	Begin(Past)    // all that it has heard is void: it begins with this
	Output([]byte) // not to be kept
	Resized(cols, rows uint16)
}

// New makes a seat in which out sits, for a terminal of a size. It keeps at most so many
// bytes of output.
func New(out io.Writer, most int, cols, rows uint16) *Seat {
	return &Seat{most: most, out: out, cols: cols, rows: rows}
}

// Write takes output of the program. It never fails.
func (s *Seat) Write(b []byte) (int, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	s.keep(b)
	for _, h := range s.hearers {
		h.Output(b)
	}
	s.mu.Unlock()
	if s.out != nil {
		if _, err := s.out.Write(b); err != nil {
			s.out = nil // whoever reads its input hears of its end, too
		}
	}
	return len(b), nil
}

// keep wants mu held.
func (s *Seat) keep(b []byte) {
	s.all += uint64(len(b))
	if len(b) >= s.most {
		s.kept, s.at = append(s.kept[:0], b[len(b)-s.most:]...), 0
		return
	}
	grow := min(len(b), s.most-len(s.kept))
	s.kept = append(s.kept, b[:grow]...)
	for b = b[grow:]; len(b) > 0; {
		n := copy(s.kept[s.at:], b)
		b, s.at = b[n:], (s.at+n)%s.most
	}
}

// Take lets out sit down, in place of whoever did. greet is called first, with what the
// terminal has shown; nothing is written to out before it has returned, and nothing at
// all if it fails: then nobody sits there. Whoever sat there must not block any more.
func (s *Seat) Take(out io.Writer, greet func(Past) error) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.out = nil
	s.mu.Lock()
	p := s.past()
	s.mu.Unlock()
	if err := greet(p); err != nil {
		return err
	}
	s.out = out
	return nil
}

// past wants mu held.
func (s *Seat) past() Past {
	p := Past{Kept: append(append([]byte{}, s.kept[s.at:]...), s.kept[:s.at]...), Cols: s.cols, Rows: s.rows}
	p.Lost = s.all - uint64(len(p.Kept))
	return p
}

// Hear has h hear what is shown: its Begin is called before Hear returns. Who hears
// already begins again.
func (s *Seat) Hear(h Hearer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Begin(s.past())
	if !slices.Contains(s.hearers, h) {
		s.hearers = append(s.hearers, h)
	}
}

// Leave has h hear nothing any more.
func (s *Seat) Leave(h Hearer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hearers = slices.DeleteFunc(s.hearers, func(other Hearer) bool { return other == h })
}

// Resize notes another size.
func (s *Seat) Resize(cols, rows uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cols, s.rows = cols, rows
	for _, h := range s.hearers {
		h.Resized(cols, rows)
	}
}
