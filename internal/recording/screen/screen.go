// Package screen shows recorded output on a reviewer's terminal. What was
// recorded was written by a machine that may be hostile, and a terminal obeys
// what is written to it: titles, clipboards, links, queries whose answer comes
// back as typed input (CVE-2023-28487 in sudoreplay was this).
//
// Invariants: nothing passes as it came. The output is parsed, and what is
// allowed is written anew from parsed values: printable text, cursor movement
// and erasing inside the recorded screen, and colours. Everything else (OSC, DCS,
// APC, PM, SOS, modes, queries, charsets, bells) is dropped. What would hide text
// from the reviewer is undone: concealed text shows, and a control string that
// does not end is given up after some kilobytes.
//
// It must not import net, os or a service.
package screen

import (
	"io"
	"strconv"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/ansi/parser"
)

// maxString bounds how much a control string (OSC, DCS, …) can swallow, in bytes.
// A terminal that is stricter would have shown what follows.
const maxString = 4 << 10

// maxParam bounds a parameter of SGR.
const maxParam = 255

// A Screen writes the harmless part of what is written to it. It is not safe for
// concurrent use.
type Screen struct {
	w          io.Writer
	p          *ansi.Parser
	out        []byte
	cols, rows int
	swallowed  int
}

// New makes a screen of the recorded size on w.
func New(w io.Writer, cols, rows int) *Screen {
	s := &Screen{w: w, p: ansi.NewParser()}
	s.p.SetDataSize(1) // its strings are dropped
	s.p.SetHandler(ansi.Handler{Print: s.print, Execute: s.execute, HandleCsi: s.csi, HandleEsc: s.esc})
	s.Resize(cols, rows)
	return s
}

// Resize tells the recorded screen's size, which bounds movements from now on.
func (s *Screen) Resize(cols, rows int) { s.cols, s.rows = max(cols, 1), max(rows, 1) }

// Write shows text.
func (s *Screen) Write(b []byte) (int, error) {
	s.out = s.out[:0]
	for _, c := range b {
		s.p.Advance(c)
		if !inString(s.p.State()) {
			s.swallowed = 0
			continue
		}
		if s.swallowed++; s.swallowed > maxString {
			s.p.Reset()
			s.swallowed = 0
		}
	}
	if _, err := s.w.Write(s.out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close leaves the terminal as it should be: no colours, no scrolling region, and
// the cursor on a line of its own.
func (s *Screen) Close() error {
	_, err := io.WriteString(s.w, "\x1b[0m\x1b7\x1b[r\x1b8\r\n")
	return err
}

func inString(state parser.State) bool {
	switch state {
	case parser.GroundState, parser.Utf8State, parser.EscapeState:
		return false
	}
	return true
}

func (s *Screen) print(r rune) {
	switch {
	case r == unicode.ReplacementChar || unicode.IsPrint(r):
		s.out = append(s.out, string(r)...)
	case unicode.IsSpace(r) && r > 0x9f:
		s.out = append(s.out, ' ')
	case unicode.Is(unicode.Co, r):
		s.out = append(s.out, string(unicode.ReplacementChar)...)
	}
}

func (s *Screen) execute(c byte) {
	switch c {
	case '\b', '\t', '\n', '\r':
		s.out = append(s.out, c)
	case '\v', '\f':
		s.out = append(s.out, '\n')
	}
}

// esc takes what moves the cursor. The allowed ones have no state to leave
// behind but the saved cursor.
func (s *Screen) esc(c ansi.Cmd) {
	if c.Prefix() != 0 || c.Intermediate() != 0 {
		return
	}
	switch f := c.Final(); f {
	case '7', '8', 'D', 'E', 'M':
		s.out = append(s.out, 0x1b, f)
	case 'c': // a full reset, as far as it shows
		s.clear()
	}
}

func (s *Screen) clear() { s.out = append(s.out, "\x1b[0m\x1b[r\x1b[1;1H\x1b[2J"...) }

func (s *Screen) csi(c ansi.Cmd, params ansi.Params) {
	if c.Prefix() == '?' && c.Intermediate() == 0 && (c.Final() == 'h' || c.Final() == 'l') {
		s.mode(params)
		return
	}
	if c.Prefix() != 0 || c.Intermediate() != 0 {
		return
	}
	switch f := c.Final(); f {
	case 'm':
		s.sgr(params)
	case 'A', 'B', 'E', 'F', 'L', 'M', 'S', 'T', 'd', 'e': // by rows
		s.move(f, bounded(params, 0, s.rows))
	case 'C', 'D', 'G', 'P', 'X', '@', '`', 'a', 'b': // by columns
		s.move(f, bounded(params, 0, s.cols))
	case 'H', 'f':
		s.move('H', bounded(params, 0, s.rows), bounded(params, 1, s.cols))
	case 'r':
		if len(params) == 0 {
			s.out = append(s.out, "\x1b[r"...)
			return
		}
		top, _, _ := params.Param(0, 1)
		bottom, _, ok := params.Param(1, s.rows)
		if !ok {
			bottom = s.rows
		}
		if top = max(top, 1); bottom > top && bottom <= s.rows {
			s.move('r', top, bottom)
		}
	case 'J', 'K':
		if n, _, _ := params.Param(0, 0); n >= 0 && n <= 2 {
			s.move(f, n)
		}
	case 's', 'u':
		if len(params) == 0 {
			s.out = append(s.out, 0x1b, '[', f)
		}
	}
}

// bounded gives a parameter between 1 and most, 1 where it is missing.
func bounded(params ansi.Params, i, most int) int {
	n, _, _ := params.Param(i, 1)
	return min(max(n, 1), most)
}

func (s *Screen) move(final byte, numbers ...int) {
	s.out = append(s.out, 0x1b, '[')
	for i, n := range numbers {
		if i > 0 {
			s.out = append(s.out, ';')
		}
		s.out = strconv.AppendInt(s.out, int64(n), 10)
	}
	s.out = append(s.out, final)
}

// mode sets no mode. Where a program took the whole screen or gave it back, the
// screen is cleared, so that the one does not stand in the other.
func (s *Screen) mode(params ansi.Params) {
	for i := range params {
		switch n, _, _ := params.Param(i, 0); n {
		case 47, 1047, 1049:
			s.clear()
			return
		}
	}
}

// sgr writes colours and styles. Concealing is left out.
func (s *Screen) sgr(params ansi.Params) {
	var list []int
	for i := 0; i < len(params); i++ {
		n, more, _ := params.Param(i, 0)
		switch {
		case n == 38 || n == 48 || n == 58:
			color, used := s.color(params, i, more)
			list = append(list, color...)
			i += used
		case more: // an underline's style (4:3) and the like: the base alone
			if n == 4 {
				list = append(list, n)
			}
			for i+1 < len(params) && more {
				i++
				_, more, _ = params.Param(i, 0)
			}
		case n == 8: // concealed
		case n >= 0 && n <= 109:
			list = append(list, n)
		}
	}
	if len(params) > 0 && len(list) == 0 {
		return
	}
	s.move('m', list...)
}

// color reads an extended colour at params[i], with semicolons or with colons, and
// tells how many further parameters it took. It gives it with semicolons.
func (s *Screen) color(params ansi.Params, i int, colons bool) (color []int, used int) {
	var rest []int
	if colons {
		for more := true; more && i+1+len(rest) < len(params); {
			n, m, _ := params.Param(i+1+len(rest), 0)
			rest, more = append(rest, n), m
		}
		used = len(rest)
		if len(rest) == 5 && rest[0] == 2 { // 2:<space>:r:g:b
			rest = append(rest[:1], rest[2:]...)
		}
	} else {
		for j := i + 1; j < len(params) && len(rest) < 4; j++ {
			n, _, _ := params.Param(j, 0)
			rest = append(rest, n)
		}
	}
	need := 0
	if len(rest) > 0 {
		need = map[int]int{5: 2, 2: 4}[rest[0]]
	}
	if !colons {
		used = max(min(need, len(rest)), min(1, len(rest)))
	}
	if need == 0 || len(rest) < need {
		return nil, used
	}
	n, _, _ := params.Param(i, 0)
	color = []int{n, rest[0]}
	for _, c := range rest[1:need] {
		color = append(color, min(max(c, 0), maxParam))
	}
	return color, used
}
