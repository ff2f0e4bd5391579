package canvas

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// maxLine bounds what can be typed into a line, in runes.
const maxLine = 4096

// A LineEdit is one line of text that is being typed.
type LineEdit struct {
	Runes []rune
	at    int // where the cursor stands
}

// String gives what was typed.
func (l *LineEdit) String() string { return string(l.Runes) }

// Set replaces what was typed, and stands behind it.
func (l *LineEdit) Set(s string) {
	l.Runes = []rune(s)
	l.at = len(l.Runes)
}

// Insert adds text at the cursor. Line ends become blanks.
func (l *LineEdit) Insert(s string) {
	s = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ").Replace(s)
	add := []rune(s)
	add = add[:max(0, min(len(add), maxLine-len(l.Runes)))]
	l.Runes = slices.Insert(l.Runes, l.at, add...)
	l.at += len(add)
}

// Key handles a key and says whether it was one for a line.
func (l *LineEdit) Key(k tea.KeyPressMsg) bool {
	switch k.String() {
	case "left", "ctrl+b":
		l.at = max(0, l.at-1)
	case "right", "ctrl+f":
		l.at = min(len(l.Runes), l.at+1)
	case "home", "ctrl+a":
		l.at = 0
	case "end", "ctrl+e":
		l.at = len(l.Runes)
	case "backspace", "ctrl+h":
		if l.at > 0 {
			l.Runes = slices.Delete(l.Runes, l.at-1, l.at)
			l.at--
		}
	case "delete":
		if l.at < len(l.Runes) {
			l.Runes = slices.Delete(l.Runes, l.at, l.at+1)
		}
	case "ctrl+u":
		l.Runes = slices.Delete(l.Runes, 0, l.at)
		l.at = 0
	case "ctrl+k":
		l.Runes = l.Runes[:l.at]
	case "ctrl+w":
		start := l.at
		for start > 0 && l.Runes[start-1] == ' ' {
			start--
		}
		for start > 0 && l.Runes[start-1] != ' ' {
			start--
		}
		l.Runes = slices.Delete(l.Runes, start, l.at)
		l.at = start
	default:
		if k.Text == "" {
			return false
		}
		l.Insert(k.Text)
	}
	return true
}

// Draw shows the end of what stands before the cursor, and returns the
// cursor.
func (l *LineEdit) Draw(c *Canvas, x, y, cells int) *tea.Cursor {
	before := sanitize.Clean(string(l.Runes[:l.at])).String()
	after := sanitize.Clean(string(l.Runes[l.at:])).String()
	pieces := wrap(before, max(1, cells-1), false)
	shown := pieces[len(pieces)-1]
	used := c.Put(x, y, cells-1, c.Styles.Plain, shown)
	c.Put(x+used, y, cells-used, c.Styles.Plain, after)
	return tea.NewCursor(x+used, y)
}
