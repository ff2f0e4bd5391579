// Package seat keeps a program's terminal while its operators come and go. One of them
// at a time sits at it and gets its output; what it has shown lately is kept for the next.
//
// Invariants:
//   - who takes the seat gets what is kept, how much is not, and then each byte of
//     output from there on, once and in order;
//   - without anybody in it the program runs on, and its output is kept up to a bound;
//   - one who sits there and does not read makes the program wait.
//
// It judges nobody. It must not import anything of this module.
package seat

import (
	"io"
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
	kept []byte     // guarded by turn; a ring once it has most bytes
	at   int        // where the ring begins
	all  uint64     // bytes of output, ever

	mu         sync.Mutex // never held while something is written
	cols, rows uint16
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
	s.keep(b)
	if s.out != nil {
		if _, err := s.out.Write(b); err != nil {
			s.out = nil // whoever reads its input hears of its end, too
		}
	}
	return len(b), nil
}

// keep wants turn held.
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
	p := Past{Kept: append(append([]byte{}, s.kept[s.at:]...), s.kept[:s.at]...)}
	p.Lost = s.all - uint64(len(p.Kept))
	p.Cols, p.Rows = s.Size()
	if err := greet(p); err != nil {
		return err
	}
	s.out = out
	return nil
}

// Resize notes another size.
func (s *Seat) Resize(cols, rows uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cols, s.rows = cols, rows
}

// Size is the terminal's.
func (s *Seat) Size() (cols, rows uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cols, s.rows
}
