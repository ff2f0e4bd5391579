// Package notice says what TucDesk itself has to say to a person whose terminal a program
// on another machine may be drawing on.
//
// Where nothing draws, a notice is a line of its own. Where a program does, it comes only
// between two of that program's controls and characters, never within one. On the main
// screen it is a line of its own there too. On the other screen, which editors and pagers
// take, it covers the first rows for some seconds, then the program is asked to draw
// again; and it is said once more as a line when the program has left that screen or has
// ended, so that nothing is said to nobody.
//
// Invariants: a notice has passed internal/sanitize; what the program writes reaches the
// terminal unchanged and in its order; what is kept to be said later is bounded.
//
// It must not import backend/control or a service.
package notice

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

const (
	// stays is how long a notice covers what a program has drawn.
	stays = 10 * time.Second
	// sizeSeen is how long another size must last for a program to see it.
	sizeSeen = 100 * time.Millisecond
	// maxKept bounds the lines that wait; the oldest give way.
	maxKept = 64
)

// Notices is where they are said. Its methods are safe for concurrent use.
type Notices struct {
	w io.Writer

	mu     sync.Mutex
	screen *Screen // nil: no program draws
}

// New gives notices that are lines on w while no program draws.
func New(w io.Writer) *Notices { return &Notices{w: w} }

// Say says one. It begins with the program's name, so line does not.
func (n *Notices) Say(line sanitize.Text) { n.SayLines([]sanitize.Text{line}) }

// SayLines says one of several lines. The first begins with the program's name.
func (n *Notices) SayLines(lines []sanitize.Text) {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := make([]string, len(lines))
	for i, line := range lines {
		text[i] = line.String()
		if i == 0 {
			text[i] = "tucdesk: " + text[i]
		}
	}
	if n.screen == nil {
		for _, line := range text {
			fmt.Fprintln(n.w, line)
		}
		return
	}
	n.screen.say(text)
}

// Over has notices go to a raw terminal on which a program draws through the Screen that
// it gives, until that is closed. size gives the terminal's columns and rows; resize tells the
// program of others.
func (n *Notices) Over(terminal io.Writer, size func() (cols, rows int), resize func(cols, rows uint16) error) *Screen {
	s := &Screen{notices: n, out: terminal, size: size, resize: resize}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.screen = s
	return s
}

// A Screen is a terminal on which a program draws, by writing to it. It is safe for
// concurrent use.
type Screen struct {
	notices *Notices
	out     io.Writer
	size    func() (cols, rows int)
	resize  func(cols, rows uint16) error

	mu     sync.Mutex
	at     tracker
	waits  []string    // until the program is between two controls
	again  []string    // were said on the other screen, to be said again on the main one
	covers int         // how many of again stand on the other screen now
	wipe   *time.Timer // when they go
	closed bool
}

// Write implements io.Writer: p is the program's.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.out.Write(p)
	s.at.pass(p[:n])
	if err != nil {
		return n, err
	}
	return n, s.show()
}

func (s *Screen) say(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, line := range lines {
		s.waits = keep(s.waits, line)
	}
	_ = s.show() // the program's next write has the same error
}

func keep(list []string, line string) []string {
	if len(list) == maxKept {
		list = list[1:]
	}
	return append(list, line)
}

// show says what can be said now.
func (s *Screen) show() error {
	switch {
	case !s.at.rests() || len(s.waits)+len(s.again) == 0:
		return nil
	case !s.at.other:
		return s.lines()
	case len(s.waits) == 0:
		return nil
	}
	for _, line := range s.waits {
		s.again = keep(s.again, line)
		s.covers = min(s.covers+1, len(s.again))
	}
	s.waits = nil
	_, err := io.WriteString(s.out, s.cover())
	if s.wipe == nil {
		s.wipe = time.AfterFunc(stays, s.uncover)
	} else {
		s.wipe.Reset(stays)
	}
	return err
}

// lines says all that waits, each on a line of its own.
func (s *Screen) lines() error {
	all := append(s.again, s.waits...)
	s.again, s.waits, s.covers = nil, nil, 0
	_, err := io.WriteString(s.out, "\r\n"+strings.Join(all, "\r\n")+"\r\n")
	return err
}

// cover draws on the first rows, and leaves cursor, colours and character set as they
// were (DECSC, DECRC).
func (s *Screen) cover() string {
	cols, rows := s.size()
	var text []string
	for _, line := range s.again[len(s.again)-s.covers:] {
		text = append(text, strings.Split(ansi.Wrap(line, max(cols, 1), ""), "\n")...)
	}
	var b strings.Builder
	b.WriteString("\x1b7\x0f\x1b(B\x1b[0;7m")
	for i, line := range text[:min(len(text), max(rows/2, 1))] {
		fmt.Fprintf(&b, "\x1b[%d;1H\x1b[K%s", i+1, line)
	}
	b.WriteString("\x1b[0m\x1b8")
	return b.String()
}

// uncover has the program draw again over what it was covered with, by a size that is
// another for a moment: the same one is no news to it.
func (s *Screen) uncover() {
	s.mu.Lock()
	covered := s.covers > 0 && s.at.other && !s.closed
	s.covers = 0
	s.mu.Unlock()
	cols, rows := s.size()
	if !covered || cols < 1 || rows < 2 {
		return
	}
	_ = s.resize(uint16(cols), uint16(rows-1)) // a program that has ended draws nothing
	time.Sleep(sizeSeen)
	_ = s.resize(uint16(cols), uint16(rows))
}

// Close says what still waits, after the program. One that has not left the other screen
// never will: the terminal leaves it. It is idempotent.
func (s *Screen) Close() error {
	s.notices.mu.Lock()
	if s.notices.screen == s {
		s.notices.screen = nil
	}
	s.notices.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.wipe != nil {
		s.wipe.Stop()
	}
	var err error
	if end := s.at.end(); end != "" {
		_, err = io.WriteString(s.out, end)
	}
	if err == nil && len(s.waits)+len(s.again) > 0 {
		err = s.lines()
	}
	return err
}
