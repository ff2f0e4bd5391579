package vt

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// control runs a control of C0.
func (t *Terminal) control(c byte) {
	switch c {
	case 0x07: // BEL
		t.bells++
	case 0x08: // BS
		t.horizontal(-1)
	case 0x09: // HT
		t.tab(1)
	case 0x0a, 0x0b, 0x0c: // LF, VT, FF
		t.index()
		if t.modes.NewLine {
			t.moveTo(t.lineStart(), t.y)
		}
	case 0x0d: // CR
		t.moveTo(t.lineStart(), t.y)
	case 0x0e: // SO
		t.lock = 1
	case 0x0f: // SI
		t.lock = 0
	}
}

// escape runs an escape sequence that ends with c.
func (t *Terminal) escape(c byte) {
	switch middle := t.parser.middle; middle {
	case 0:
	case '(', ')', '*', '+':
		t.charsets[middle-'('] = charsetOf(c)
		return
	case '#':
		if c == '8' {
			t.alignmentTest()
		}
		return
	default:
		return
	}
	switch c {
	case '7': // DECSC
		t.saveCursor()
	case '8': // DECRC
		t.restoreCursor()
	case '=': // DECKPAM
		t.modes.Keypad = true
	case '>': // DECKPNM
		t.modes.Keypad = false
	case 'D': // IND
		t.index()
	case 'E': // NEL
		t.index()
		t.moveTo(t.lineStart(), t.y)
	case 'H': // HTS
		t.tabs[t.x] = true
	case 'M': // RI
		t.reverseIndex()
	case 'N': // SS2
		t.single = 2
	case 'O': // SS3
		t.single = 3
	case 'Z': // DECID
		t.reply(deviceAttributes)
	case 'c': // RIS
		t.reset()
	case 'n': // LS2
		t.lock = 2
	case 'o': // LS3
		t.lock = 3
	}
}

// sequence runs a control sequence.
func (t *Terminal) sequence() {
	p := &t.parser
	n := p.number(0)
	switch {
	case p.prefix != 0:
		t.privateSequence()
		return
	case p.middle != 0:
		switch {
		case p.middle == ' ' && p.final == 'q': // DECSCUSR
			t.cursorStyle(p.arg(0, 0))
		case p.middle == '!' && p.final == 'p': // DECSTR
			t.softReset()
		case p.middle == '$' && p.final == 'p': // DECRQM
			t.reportMode(false, p.arg(0, 0))
		}
		return
	}
	switch p.final {
	case '@': // ICH
		t.shiftCells(n)
	case 'A': // CUU
		t.vertical(-n)
	case 'B', 'e': // CUD, VPR
		t.vertical(n)
	case 'C', 'a': // CUF, HPR
		t.horizontal(n)
	case 'D': // CUB
		t.horizontal(-n)
	case 'E': // CNL
		t.vertical(n)
		t.moveTo(t.lineStart(), t.y)
	case 'F': // CPL
		t.vertical(-n)
		t.moveTo(t.lineStart(), t.y)
	case 'G', '`': // CHA, HPA
		t.moveIn(n-1, t.rowIn())
	case 'H', 'f': // CUP, HVP
		t.moveIn(p.number(1)-1, n-1)
	case 'I': // CHT
		t.tab(n)
	case 'J': // ED
		t.eraseScreen(p.arg(0, 0))
	case 'K': // EL
		t.eraseLine(p.arg(0, 0))
	case 'L': // IL
		t.shiftLines(n)
	case 'M': // DL
		t.shiftLines(-n)
	case 'P': // DCH
		t.shiftCells(-n)
	case 'S': // SU
		t.scrollUp(t.top, n, true)
	case 'T': // SD; with more parameters it tracks the mouse
		if p.count < 2 {
			t.scrollDown(t.top, n)
		}
	case 'X': // ECH
		t.eraseCells(n)
	case 'Z': // CBT
		t.backTab(n)
	case 'b': // REP
		t.repeat(n)
	case 'c': // DA1
		if p.arg(0, 0) == 0 {
			t.reply(deviceAttributes)
		}
	case 'd': // VPA
		t.moveIn(t.columnIn(), n-1)
	case 'g': // TBC
		switch p.arg(0, 0) {
		case 0:
			t.tabs[t.x] = false
		case 3:
			clear(t.tabs)
		}
	case 'h', 'l': // SM, RM
		for i := range p.count {
			t.setMode(false, p.arg(i, 0), p.final == 'h')
		}
	case 'm': // SGR
		t.selectGraphics()
	case 'n': // DSR
		t.reportStatus(false, p.arg(0, 0))
	case 'r': // DECSTBM
		t.setRows(n-1, p.arg(1, t.rows)-1)
	case 's': // DECSLRM, or SCOSC
		if t.inner.columns {
			t.setColumns(n-1, p.arg(1, t.cols)-1)
		} else {
			t.saveCursor()
		}
	case 'u': // SCORC
		t.restoreCursor()
	}
}

// privateSequence runs a control sequence with a private prefix.
func (t *Terminal) privateSequence() {
	p := &t.parser
	if p.prefix == '?' && p.middle == '$' && p.final == 'p' { // DECRQM
		t.reportMode(true, p.arg(0, 0))
	}
	if p.middle != 0 {
		return
	}
	switch p.prefix {
	case '?':
		switch p.final {
		case 'J': // DECSED; nothing is protected here
			t.eraseScreen(p.arg(0, 0))
		case 'K': // DECSEL
			t.eraseLine(p.arg(0, 0))
		case 'h', 'l': // DECSET, DECRST
			for i := range p.count {
				t.setMode(true, p.arg(i, 0), p.final == 'h')
			}
		case 'n': // DSR of DEC
			t.reportStatus(true, p.arg(0, 0))
		}
	case '>':
		switch {
		case p.final == 'c' && p.arg(0, 0) == 0: // DA2
			t.reply("\x1b[>1;10;0c")
		case p.final == 'q' && p.arg(0, 0) == 0: // XTVERSION
			t.reply("\x1bP>|TucDesk\x1b\\")
		}
	case '=':
		if p.final == 'c' && p.arg(0, 0) == 0 { // DA3
			t.reply("\x1bP!|00000000\x1b\\")
		}
	}
}

// rowIn and columnIn are where the cursor is, counted as moveIn does.
func (t *Terminal) rowIn() int {
	if t.inner.origin {
		return max(0, t.y-t.top)
	}
	return t.y
}

func (t *Terminal) columnIn() int {
	if left, _ := t.columns(); t.inner.origin {
		return max(0, t.x-left)
	}
	return t.x
}

// repeat is REP. More than a screen would only scroll the same lines.
func (t *Terminal) repeat(n int) {
	if t.last == 0 {
		return
	}
	for range min(n, t.cols*t.rows) {
		t.print(t.last)
	}
}

// operatingSystemCommand runs an OSC: titles and links. All others, such as the
// clipboard's, do nothing.
func (t *Terminal) operatingSystemCommand() {
	command, rest, _ := bytes.Cut(t.parser.text, []byte{';'})
	switch string(command) {
	case "0", "2":
		if end := maxTitle; len(rest) > end {
			for end > 0 && !utf8.RuneStart(rest[end]) {
				end--
			}
			rest = rest[:end]
		}
		t.title = bytes.Clone(rest)
	case "8":
		_, target, ok := bytes.Cut(rest, []byte{';'})
		if !ok {
			return
		}
		s := t.pen
		s.Link = t.linkID(string(target))
		t.setPen(s)
	}
}

// linkID returns the number of a target, and 0 for one that is empty, too long
// or not printable ASCII, as the specification of OSC 8 wants it
// (https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda).
func (t *Terminal) linkID(target string) LinkID {
	if target == "" || len(target) > maxLink || strings.ContainsFunc(target, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) {
		return 0
	}
	if t.linkN == 0 || t.links[t.linkN%maxLinks] != target {
		t.linkN++
		t.links[t.linkN%maxLinks] = target
	}
	return t.linkN
}
