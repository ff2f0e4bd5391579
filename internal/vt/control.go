package vt

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/vt/sequence"
)

// Write feeds b to the terminal. It returns len(b) and nil.
func (t *Terminal) Write(b []byte) (int, error) {
	t.parser.Write((*handler)(t), b)
	return len(b), nil
}

// A handler is the terminal as its parser sees it.
type handler Terminal

func (h *handler) PrintASCII(b []byte) { (*Terminal)(h).printASCII(b) }
func (h *handler) Print(r rune)        { (*Terminal)(h).print(r) }
func (h *handler) Control(c byte)      { (*Terminal)(h).control(c) }

func (h *handler) Run(s *sequence.Sequence) {
	t := (*Terminal)(h)
	switch s.Kind {
	case sequence.Escape:
		t.escape(s)
	case sequence.CSI:
		t.controlSequence(s)
	case sequence.OSC:
		t.operatingSystemCommand(s.Text)
	case sequence.DCS:
		t.deviceControl(s)
	}
}

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

// escape runs an escape sequence.
func (t *Terminal) escape(s *sequence.Sequence) {
	switch s.Middle {
	case 0:
	case '(', ')', '*', '+':
		t.charsets[s.Middle-'('] = charsetOf(s.Final)
		return
	case '#':
		if s.Final == '8' {
			t.alignmentTest()
		}
		return
	default:
		return
	}
	switch s.Final {
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

// controlSequence runs a CSI.
func (t *Terminal) controlSequence(s *sequence.Sequence) {
	n := s.Number(0)
	switch {
	case s.Prefix != 0:
		t.privateSequence(s)
		return
	case s.Middle != 0:
		switch {
		case s.Middle == ' ' && s.Final == 'q': // DECSCUSR
			t.cursorStyle(s.Arg(0, 0))
		case s.Middle == '!' && s.Final == 'p': // DECSTR
			t.softReset()
		case s.Middle == '$' && s.Final == 'p': // DECRQM
			t.reportMode(false, s.Arg(0, 0))
		}
		return
	}
	switch s.Final {
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
		t.moveIn(s.Number(1)-1, n-1)
	case 'I': // CHT
		t.tab(n)
	case 'J': // ED
		t.eraseScreen(s.Arg(0, 0))
	case 'K': // EL
		t.eraseLine(s.Arg(0, 0))
	case 'L': // IL
		t.shiftLines(n)
	case 'M': // DL
		t.shiftLines(-n)
	case 'P': // DCH
		t.shiftCells(-n)
	case 'S': // SU
		t.scrollUp(t.top, n, true)
	case 'T': // SD; with more parameters it tracks the mouse
		if len(s.Args) < 2 {
			t.scrollDown(t.top, n)
		}
	case 'X': // ECH
		t.eraseCells(n)
	case 'Z': // CBT
		t.backTab(n)
	case 'b': // REP
		t.repeat(n)
	case 'c': // DA1
		if s.Arg(0, 0) == 0 {
			t.reply(deviceAttributes)
		}
	case 'd': // VPA
		t.moveIn(t.columnIn(), n-1)
	case 'g': // TBC
		switch s.Arg(0, 0) {
		case 0:
			t.tabs[t.x] = false
		case 3:
			clear(t.tabs)
		}
	case 'h', 'l': // SM, RM
		for i := range s.Args {
			t.setMode(false, s.Arg(i, 0), s.Final == 'h')
		}
	case 'm': // SGR
		t.selectGraphics(s)
	case 'n': // DSR
		t.reportStatus(false, s.Arg(0, 0))
	case 'r': // DECSTBM
		t.setRows(n-1, s.Arg(1, t.rows)-1)
	case 's': // DECSLRM, or SCOSC
		if t.inner.columns {
			t.setColumns(n-1, s.Arg(1, t.cols)-1)
		} else {
			t.saveCursor()
		}
	case 'u': // SCORC
		t.restoreCursor()
	}
}

// privateSequence runs a CSI with a private prefix.
func (t *Terminal) privateSequence(s *sequence.Sequence) {
	if s.Prefix == '?' && s.Middle == '$' && s.Final == 'p' { // DECRQM
		t.reportMode(true, s.Arg(0, 0))
	}
	if s.Middle != 0 {
		return
	}
	if s.Final == 'u' {
		t.keyboardProtocol(s)
		return
	}
	switch s.Prefix {
	case '?':
		switch s.Final {
		case 'J': // DECSED; nothing is protected here
			t.eraseScreen(s.Arg(0, 0))
		case 'K': // DECSEL
			t.eraseLine(s.Arg(0, 0))
		case 'h', 'l': // DECSET, DECRST
			for i := range s.Args {
				t.setMode(true, s.Arg(i, 0), s.Final == 'h')
			}
		case 'n': // DSR of DEC
			t.reportStatus(true, s.Arg(0, 0))
		}
	case '>':
		switch {
		case s.Final == 'c' && s.Arg(0, 0) == 0: // DA2
			t.reply("\x1b[>1;10;0c")
		case s.Final == 'q' && s.Arg(0, 0) == 0: // XTVERSION
			t.reply("\x1bP>|TucDesk\x1b\\")
		}
	case '=':
		if s.Final == 'c' && s.Arg(0, 0) == 0 { // DA3
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

// operatingSystemCommand runs an OSC: titles, links and announcements. All others, such as the
// clipboard's, do nothing.
func (t *Terminal) operatingSystemCommand(text []byte) {
	command, rest, _ := bytes.Cut(text, []byte{';'})
	switch string(command) {
	case "0", "2":
		t.title = bytes.Clone(beginning(rest))
	case "9":
		// A number first is ConEmu's: progress and more, nothing to read.
		if number, _, more := bytes.Cut(rest, []byte{';'}); !more || len(bytes.Trim(number, "0123456789")) > 0 {
			t.note(rest)
		}
	case "777":
		what, text, _ := bytes.Cut(rest, []byte{';'})
		title, body, _ := bytes.Cut(text, []byte{';'})
		if string(what) == "notify" {
			t.note(bytes.Join([][]byte{title, body}, []byte(" ")))
		}
	case "8":
		_, target, ok := bytes.Cut(rest, []byte{';'})
		if !ok {
			return
		}
		pen := t.pen
		pen.Link = t.linkID(string(target))
		t.setPen(pen)
	}
}

// note keeps an announcement, or drops it where too many wait.
func (t *Terminal) note(text []byte) {
	if text = bytes.TrimSpace(text); len(text) > 0 && len(t.notes) < maxNotes {
		t.notes = append(t.notes, string(beginning(text)))
	}
}

// beginning is what is kept of a title or an announcement, cut between runes.
func beginning(text []byte) []byte {
	end := maxTitle
	if len(text) <= end {
		return text
	}
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
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
