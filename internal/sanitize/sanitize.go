// Package sanitize makes text that came from a network fit to be shown to a
// person who decides on it.
//
// Purpose: a machine's name, a reason, a command or an error of another party
// may carry escape sequences, bidi marks, invisible runes or letters of another
// alphabet, and so show something that is not there. Here such runes become
// visible marks such as ⟨ESC⟩ and ⟨U+202E⟩. They are never interpreted and
// never dropped: an approver must see that they were there.
//
// Invariants: a Text is one line of valid UTF-8 with no control, no bidi mark
// and no invisible rune. Text has no other constructors than those of this
// package, and every function that renders takes Text, so that the compiler
// finds what was not cleaned. Different inputs of Clean, and different argument
// lists of Argv, give different Texts.
//
// What it does not do: it sets no limit on length (readers do), and it leaves
// letters that are written from right to left in place in Clean (Argv escapes
// them, because a terminal could show the arguments in another order).
//
// The package is pure. It must not import any package of this module, nor os,
// net or log/slog.
package sanitize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// maxMarks is how many combining marks one letter may carry before the rest
// are shown as marks of ours. Vietnamese and Hebrew need up to three; a tower
// of marks would cover the lines above.
const maxMarks = 3

// A Text is one line that is safe to write to a terminal. The zero value is
// the empty text. Texts are comparable.
type Text struct{ s string }

// String returns the line.
func (t Text) String() string { return t.s }

// IsZero says whether the text is empty.
func (t Text) IsZero() bool { return t.s == "" }

// Join is texts one after the other. A word that goes on across a border was judged in
// its parts.
func Join(texts ...Text) Text {
	var b strings.Builder
	for _, t := range texts {
		b.WriteString(t.s)
	}
	return Text{b.String()}
}

// Clean returns raw as one visible line. Newlines, tabs, escapes and the other
// controls, bidi marks, invisible runes, spaces other than U+0020, private and
// unassigned runes, bytes that are not UTF-8 and the brackets of the marks
// themselves become marks. After a word that mixes look-alike alphabets, or
// that consists of foreign look-alikes only, stands a mark such as
// ⟨mixed Latin+Cyrillic⟩.
func Clean(raw string) Text {
	if isPlainASCII(raw) {
		return Text{raw}
	}
	var b strings.Builder
	b.Grow(len(raw) + 16)
	line := alphabetsOf(raw)
	marks := maxMarks // a mark needs a letter before it
	var word alphabets
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRuneInString(raw[i:])
		if !isWord(r) {
			word.flag(&b, line)
			word = alphabets{}
		}
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "⟨x%02X⟩", raw[i])
			marks = maxMarks
		case unicode.Is(unicode.M, r) && isVisible(r):
			if marks++; marks > maxMarks {
				writeMark(&b, r)
			} else {
				b.WriteRune(r)
			}
		case isVisible(r):
			b.WriteRune(r)
			word.add(r)
			marks = 0
		default:
			writeMark(&b, r)
			marks = maxMarks
		}
		i += n
	}
	word.flag(&b, line)
	return Text{b.String()}
}

// Block splits raw at newlines and returns each line as Clean does. One final
// newline ends the last line and adds no empty one; a carriage return before a
// newline belongs to it. The empty string has no lines.
func Block(raw string) []Text {
	if raw == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(raw, "\n"), "\n")
	texts := make([]Text, len(lines))
	for i, line := range lines {
		texts[i] = Clean(strings.TrimSuffix(line, "\r"))
	}
	return texts
}

// Literal is for constants of the program itself. It panics when s holds what
// a Text must not hold, because that is a bug of ours. Never pass it a variable.
func Literal(s string) Text {
	for _, r := range s {
		if !isVisible(r) && r != '⟨' && r != '⟩' || r == utf8.RuneError {
			panic(fmt.Sprintf("sanitize: internal error: literal %+q is not one visible line", s))
		}
	}
	return Text{s}
}

// isPlainASCII says whether s is printable ASCII only: the common case.
func isPlainASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isVisible says whether a terminal shows r as itself and as nothing else.
func isVisible(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r >= ' ' && r <= '~'
	case r == '⟨' || r == '⟩': // our own marks can't be forged
		return false
	case r == '\u2800' || r == '\U0001D159': // symbols without ink
		return false
	case r >= '\uFF01' && r <= '\uFF5E': // ASCII in full width
		return false
	case !unicode.IsPrint(r):
		return false
	case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return false
	}
	return !isASCIIInDisguise(r)
}

// isASCIIInDisguise finds styled copies of ASCII letters and digits, such as
// those of the mathematical alphabets. Their scripts are Latin or Common, so
// the look at alphabets misses them.
func isASCIIInDisguise(r rune) bool {
	if !unicode.In(r, unicode.L, unicode.Nd, unicode.Nl) || r < '\u0250' {
		return false
	}
	var in, out [utf8.UTFMax * 4]byte
	n := utf8.EncodeRune(in[:], r)
	folded := norm.NFKC.Append(out[:0], in[:n]...)
	for _, c := range folded {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isWord says whether r can be inside a word, for the look at alphabets.
func isWord(r rune) bool {
	return r < utf8.RuneSelf && ('a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9') ||
		r >= utf8.RuneSelf && unicode.In(r, unicode.L, unicode.M, unicode.Nd)
}

// controlNames are the controls that people know by name.
var controlNames = map[rune]string{
	0: "NUL", '\a': "BEL", '\b': "BS", '\t': "TAB", '\n': "LF", '\v': "VT", '\f': "FF",
	'\r': "CR", 0x1b: "ESC", 0x7f: "DEL", 0x85: "NEL", 0x9b: "CSI", 0x9d: "OSC",
}

func writeMark(b *strings.Builder, r rune) {
	if name, ok := controlNames[r]; ok {
		b.WriteString("⟨" + name + "⟩")
		return
	}
	fmt.Fprintf(b, "⟨U+%04X⟩", r)
}

// isRightToLeft says whether r is written from right to left.
func isRightToLeft(r rune) bool {
	p, _ := bidi.LookupRune(r)
	c := p.Class()
	return c == bidi.R || c == bidi.AL || c == bidi.AN
}
