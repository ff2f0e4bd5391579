package vt

import "unicode/utf8"

const (
	// maxArgs is how many parameters of a sequence count; xterm has 30.
	maxArgs = 32
	// maxArg is the largest parameter; larger ones become it.
	maxArg = 1<<16 - 1
	// maxString bounds what is kept of an OSC or DCS string, in bytes. A
	// longer one does nothing.
	maxString = 4096
	// missing is a parameter that was left out.
	missing = -1
)

// The states of the parser, after Paul Williams' diagram of the VT500
// (https://vt100.net/emu/dec_ansi_parser). A string's end is an ESC or, for
// OSC, a BEL; what follows the ESC is read as after any other.
type state uint8

const (
	ground state = iota
	escape
	sequence // CSI or DCS, until its final byte
	ignored  // CSI or DCS that is not well formed, until its final byte
	osc
	dcs
	skipped // SOS, PM, APC and what is dropped of DCS
)

// A parser holds what of a sequence, a string or a rune was read so far.
type parser struct {
	state state
	isDCS bool // in sequence and ignored
	full  bool // there are more than maxArgs parameters, or a string is too long

	prefix byte // one of < = > ?, or 0
	middle byte // the intermediate, or 0
	final  byte
	args   [maxArgs]int
	subs   uint32 // bit i: args[i] hangs on the one before it by a colon
	count  int    // of args

	text []byte // of the string

	rune  [utf8.UTFMax]byte // the beginning of a rune
	runeN int
}

func (p *parser) isSub(i int) bool { return p.subs>>i&1 != 0 }

// arg returns parameter i, or missed where it was left out.
func (p *parser) arg(i, missed int) int {
	if i >= p.count || p.args[i] == missing {
		return missed
	}
	return p.args[i]
}

// number returns parameter i as a count: at least 1.
func (p *parser) number(i int) int { return max(1, p.arg(i, 1)) }

func (p *parser) begin(s state) {
	p.state, p.prefix, p.middle, p.subs, p.count, p.full = s, 0, 0, 0, 0, false
	p.text = p.text[:0]
}

// Write feeds b to the terminal. It returns len(b) and nil.
func (t *Terminal) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		switch t.parser.state {
		case ground:
			b = t.readText(b)
		case escape:
			b = t.readEscape(b)
		case sequence, ignored:
			b = t.readSequence(b)
		default:
			b = t.readString(b)
		}
	}
	return n, nil
}

// readText shows text until a control other than those of lines. It returns
// the rest.
func (t *Terminal) readText(b []byte) []byte {
	for len(b) > 0 {
		c := b[0]
		switch {
		case t.parser.runeN > 0 || c >= utf8.RuneSelf:
			b = t.readRune(b)
		case c >= 0x20 && c < 0x7f:
			n := 1
			for n < len(b) && b[n]-0x20 < 0x5f {
				n++
			}
			t.printASCII(b[:n])
			b = b[n:]
		case c == 0x1b:
			t.parser.begin(escape)
			return b[1:]
		default:
			t.control(c)
			b = b[1:]
		}
	}
	return nil
}

// readRune shows one rune, or U+FFFD for bytes that can't begin or continue
// one (once for each maximal part of a rune, as Unicode recommends). It keeps
// the beginning of a rune that b cuts off.
func (t *Terminal) readRune(b []byte) []byte {
	p := &t.parser
	if p.runeN == 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			t.print(r)
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
		t.print(r)
		return b
	}
	return b
}

// interrupt handles what ends or passes through any sequence. It says whether
// c was such a byte.
func (t *Terminal) interrupt(c byte) bool {
	switch {
	case c == 0x1b:
		t.parser.begin(escape)
	case c == 0x18 || c == 0x1a: // CAN, SUB
		t.parser.state = ground
	case c < 0x20:
		if t.parser.state == escape || !t.parser.isDCS {
			t.control(c)
		}
	case c == 0x7f:
	default:
		return false
	}
	return true
}

func (t *Terminal) readEscape(b []byte) []byte {
	p := &t.parser
	c := b[0]
	switch {
	case t.interrupt(c):
	case c >= utf8.RuneSelf:
		p.state = ground
		return b
	case c < 0x30:
		if p.middle != 0 {
			p.full = true // no escape has two
		}
		p.middle = c
	case p.middle == 0 && c == '[':
		p.begin(sequence)
		p.isDCS = false
	case p.middle == 0 && c == 'P':
		p.begin(sequence)
		p.isDCS = true
	case p.middle == 0 && c == ']':
		p.begin(osc)
	case p.middle == 0 && (c == 'X' || c == '^' || c == '_'):
		p.begin(skipped)
	default:
		p.state = ground
		if !p.full {
			t.escape(c)
		}
	}
	return b[1:]
}

// readSequence reads the parameters of CSI and DCS, and runs a CSI.
func (t *Terminal) readSequence(b []byte) []byte {
	p := &t.parser
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9' && p.middle == 0:
			if p.count == 0 {
				p.args[0], p.count = missing, 1
			}
			if a := &p.args[p.count-1]; !p.full {
				*a = min(max(0, *a)*10+int(c-'0'), maxArg)
			}
		case (c == ';' || c == ':') && p.middle == 0:
			if p.count == 0 {
				p.args[0], p.count = missing, 1
			}
			if p.count == maxArgs {
				p.full = true
				continue
			}
			if c == ':' {
				p.subs |= 1 << p.count
			}
			p.args[p.count] = missing
			p.count++
		case c >= 0x40 && c < 0x7f:
			p.final = c
			switch {
			case p.isDCS && p.state == sequence:
				p.state, p.full = dcs, false
			case p.isDCS:
				p.state = skipped
			case p.state == sequence:
				p.state = ground
				t.sequence()
			default:
				p.state = ground
			}
			return b[i+1:]
		case c >= 0x3c && c < 0x40 && p.count == 0 && p.prefix == 0 && p.middle == 0:
			p.prefix = c
		case c >= 0x20 && c < 0x30 && p.middle == 0:
			p.middle = c
		case t.interrupt(c):
			if p.state != sequence && p.state != ignored {
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

// readString reads an OSC, DCS or other string.
func (t *Terminal) readString(b []byte) []byte {
	p := &t.parser
	for i, c := range b {
		switch {
		case c == 0x1b, c == 0x07 && p.state == osc:
			if !p.full && p.state == osc {
				t.operatingSystemCommand()
			} else if !p.full && p.state == dcs {
				t.deviceControl()
			}
			p.state = ground
			if c == 0x1b {
				p.begin(escape)
			}
			return b[i+1:]
		case c == 0x18 || c == 0x1a:
			p.state = ground
			return b[i+1:]
		case p.state == skipped || c < 0x20 || p.full:
		case len(p.text) == maxString:
			p.full = true
		default:
			p.text = append(p.text, c)
		}
	}
	return nil
}
