// Package sequence cuts what a program prints into text, controls and
// sequences, after Paul Williams' diagram of the VT500
// (https://vt100.net/emu/dec_ansi_parser), in UTF-8.
//
// Invariants: a Parser never fails, blocks or panics, holds a bounded number of
// bytes, and finds the same whatever way the bytes were cut. Bytes of C1 are
// bytes of UTF-8 or no text at all; they begin and end nothing.
//
// The package must not import os, time or anything of this module.
package sequence

import "unicode/utf8"

const (
	// MaxArgs is how many parameters of a sequence count; xterm has 30.
	MaxArgs = 32
	// MaxArg is the largest parameter; larger ones become it.
	MaxArg = 1<<16 - 1
	// MaxText bounds what is kept of an OSC or DCS, in bytes. A longer one is
	// dropped.
	MaxText = 4096
	// Missing is a parameter that was left out.
	Missing = -1
)

// A Handler gets what a Parser finds. What it gets is valid until it returns.
type Handler interface {
	// PrintASCII gets printable ASCII, at least one byte.
	PrintASCII(b []byte)
	// Print gets another rune, or U+FFFD for bytes that are none.
	Print(r rune)
	// Control gets a control of C0.
	Control(c byte)
	// Run gets a sequence that is complete and well formed.
	Run(s *Sequence)
}

// A Kind is how a sequence begins.
type Kind uint8

// The kinds. What begins with SOS, PM or APC is dropped.
const (
	Escape Kind = iota // ESC
	CSI                // ESC [
	OSC                // ESC ]
	DCS                // ESC P
)

// A Sequence is one that was read.
type Sequence struct {
	Kind   Kind
	Prefix byte // of CSI and DCS: one of < = > ?, or 0
	Middle byte // the intermediate, or 0
	Final  byte // of all but OSC
	Args   []int
	Text   []byte // of OSC and DCS

	subs uint32 // bit i: Args[i] hangs on the one before it by a colon
}

// IsSub says whether parameter i hangs on the one before it by a colon.
func (s *Sequence) IsSub(i int) bool { return s.subs>>i&1 != 0 }

// Arg returns parameter i, or missed where it was left out.
func (s *Sequence) Arg(i, missed int) int {
	if i >= len(s.Args) || s.Args[i] == Missing {
		return missed
	}
	return s.Args[i]
}

// Number returns parameter i as a count: at least 1.
func (s *Sequence) Number(i int) int { return max(1, s.Arg(i, 1)) }

// The states. A string's end is an ESC or, for OSC, a BEL; what follows the ESC
// is read as after any other.
type state uint8

const (
	ground state = iota
	escape
	parameters // of CSI and DCS, until the final byte
	ignored    // CSI or DCS that is not well formed, until its final byte
	text       // OSC and DCS
	skipped    // SOS, PM, APC and what is dropped of DCS
)

// A Parser holds what of a sequence or a rune was read so far. The zero value
// has read nothing.
type Parser struct {
	state state
	full  bool // there are more than MaxArgs parameters, or too much text
	seq   Sequence
	args  [MaxArgs]int
	rune  [utf8.UTFMax]byte // the beginning of a rune
	runeN int
}

func (p *Parser) begin(s state, k Kind) {
	p.state, p.full = s, false
	p.seq = Sequence{Kind: k, Args: p.args[:0], Text: p.seq.Text[:0]}
}

// Write hands what b completes to h.
func (p *Parser) Write(h Handler, b []byte) {
	for len(b) > 0 {
		switch p.state {
		case ground:
			b = p.readText(h, b)
		case escape:
			b = p.readEscape(h, b)
		case parameters, ignored:
			b = p.readParameters(h, b)
		default:
			b = p.readString(h, b)
		}
	}
}

// readText reads up to an escape, and returns the rest.
func (p *Parser) readText(h Handler, b []byte) []byte {
	for len(b) > 0 {
		c := b[0]
		switch {
		case p.runeN > 0 || c >= utf8.RuneSelf:
			b = p.readRune(h, b)
		case c >= 0x20 && c < 0x7f:
			n := 1
			for n < len(b) && b[n]-0x20 < 0x5f {
				n++
			}
			h.PrintASCII(b[:n])
			b = b[n:]
		case c == 0x1b:
			p.begin(escape, Escape)
			return b[1:]
		default:
			if c < 0x20 {
				h.Control(c)
			}
			b = b[1:]
		}
	}
	return nil
}

// readRune reads one rune, or U+FFFD for bytes that can't begin or continue
// one (once for each maximal part of a rune, as Unicode recommends). It keeps
// the beginning of a rune that b cuts off.
func (p *Parser) readRune(h Handler, b []byte) []byte {
	if p.runeN == 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			h.Print(r)
			return b[n:]
		}
	}
	for len(b) > 0 {
		p.rune[p.runeN] = b[0]
		read := p.rune[:p.runeN+1]
		if !utf8.FullRune(read) {
			p.runeN++
			b = b[1:]
			continue
		}
		r, n := utf8.DecodeRune(read)
		if r != utf8.RuneError || n > 1 || p.runeN == 0 {
			b = b[1:] // else the byte begins something else
		}
		p.runeN = 0
		h.Print(r)
		return b
	}
	return b
}

// interrupt handles what ends or passes through any sequence. It says whether
// c was such a byte.
func (p *Parser) interrupt(h Handler, c byte) bool {
	switch {
	case c == 0x1b:
		p.begin(escape, Escape)
	case c == 0x18 || c == 0x1a: // CAN, SUB
		p.state = ground
	case c < 0x20:
		if p.seq.Kind != DCS {
			h.Control(c)
		}
	case c == 0x7f:
	default:
		return false
	}
	return true
}

func (p *Parser) readEscape(h Handler, b []byte) []byte {
	c := b[0]
	switch {
	case p.interrupt(h, c):
	case c >= utf8.RuneSelf:
		p.state = ground
		return b
	case c < 0x30:
		if p.seq.Middle != 0 {
			p.full = true // no escape has two
		}
		p.seq.Middle = c
	case p.seq.Middle == 0 && c == '[':
		p.begin(parameters, CSI)
	case p.seq.Middle == 0 && c == 'P':
		p.begin(parameters, DCS)
	case p.seq.Middle == 0 && c == ']':
		p.begin(text, OSC)
	case p.seq.Middle == 0 && (c == 'X' || c == '^' || c == '_'):
		p.begin(skipped, Escape)
	default:
		p.state = ground
		if p.seq.Final = c; !p.full {
			h.Run(&p.seq)
		}
	}
	return b[1:]
}

// readParameters reads CSI and DCS up to the final byte.
func (p *Parser) readParameters(h Handler, b []byte) []byte {
	q := &p.seq
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9' && q.Middle == 0:
			if len(q.Args) == 0 {
				q.Args = append(q.Args, Missing)
			}
			if a := &q.Args[len(q.Args)-1]; !p.full {
				*a = min(max(0, *a)*10+int(c-'0'), MaxArg)
			}
		case (c == ';' || c == ':') && q.Middle == 0:
			if len(q.Args) == 0 {
				q.Args = append(q.Args, Missing)
			}
			if len(q.Args) == MaxArgs {
				p.full = true
				continue
			}
			if c == ':' {
				q.subs |= 1 << len(q.Args)
			}
			q.Args = append(q.Args, Missing)
		case c >= 0x40 && c < 0x7f:
			q.Final, p.full = c, false
			switch {
			case p.state == ignored && q.Kind == DCS:
				p.state = skipped
			case q.Kind == DCS:
				p.state = text
			case p.state == ignored:
				p.state = ground
			default:
				p.state = ground
				h.Run(q)
			}
			return b[i+1:]
		case c >= 0x3c && c < 0x40 && len(q.Args) == 0 && q.Prefix == 0 && q.Middle == 0:
			q.Prefix = c
		case c >= 0x20 && c < 0x30 && q.Middle == 0:
			q.Middle = c
		case p.interrupt(h, c):
			if p.state != parameters && p.state != ignored {
				return b[i+1:]
			}
		case c >= utf8.RuneSelf:
			p.state = ground
			return b[i:]
		default:
			p.state = ignored
		}
	}
	return nil
}

// readString reads what follows an OSC, a DCS or another string.
func (p *Parser) readString(h Handler, b []byte) []byte {
	for i, c := range b {
		switch {
		case c == 0x1b, c == 0x07 && p.state == text && p.seq.Kind == OSC:
			run := p.state == text && !p.full
			p.state = ground
			if run {
				h.Run(&p.seq)
			}
			if c == 0x1b {
				p.begin(escape, Escape)
			}
			return b[i+1:]
		case c == 0x18 || c == 0x1a:
			p.state = ground
			return b[i+1:]
		case p.state == skipped || c < 0x20 || p.full:
		case len(p.seq.Text) == MaxText:
			p.full = true
		default:
			p.seq.Text = append(p.seq.Text, c)
		}
	}
	return nil
}
