package console

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// maxLine bounds what can be typed into a line, in runes.
const maxLine = 4096

// A lineEdit is one line of text that is being typed.
type lineEdit struct {
	runes []rune
	at    int // where the cursor stands
}

func (l *lineEdit) String() string { return string(l.runes) }

func (l *lineEdit) set(s string) {
	l.runes = []rune(s)
	l.at = len(l.runes)
}

// insert adds text at the cursor. Line ends become blanks.
func (l *lineEdit) insert(s string) {
	s = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ").Replace(s)
	add := []rune(s)
	add = add[:max(0, min(len(add), maxLine-len(l.runes)))]
	l.runes = slices.Insert(l.runes, l.at, add...)
	l.at += len(add)
}

// key handles a key and says whether it was one for a line.
func (l *lineEdit) key(k tea.KeyPressMsg) bool {
	switch k.String() {
	case "left", "ctrl+b":
		l.at = max(0, l.at-1)
	case "right", "ctrl+f":
		l.at = min(len(l.runes), l.at+1)
	case "home", "ctrl+a":
		l.at = 0
	case "end", "ctrl+e":
		l.at = len(l.runes)
	case "backspace", "ctrl+h":
		if l.at > 0 {
			l.runes = slices.Delete(l.runes, l.at-1, l.at)
			l.at--
		}
	case "delete":
		if l.at < len(l.runes) {
			l.runes = slices.Delete(l.runes, l.at, l.at+1)
		}
	case "ctrl+u":
		l.runes = slices.Delete(l.runes, 0, l.at)
		l.at = 0
	case "ctrl+k":
		l.runes = l.runes[:l.at]
	case "ctrl+w":
		start := l.at
		for start > 0 && l.runes[start-1] == ' ' {
			start--
		}
		for start > 0 && l.runes[start-1] != ' ' {
			start--
		}
		l.runes = slices.Delete(l.runes, start, l.at)
		l.at = start
	default:
		if k.Text == "" {
			return false
		}
		l.insert(k.Text)
	}
	return true
}

// draw shows the end of what stands before the cursor, and returns the
// cursor.
func (l *lineEdit) draw(c *canvas, x, y, cells int) *tea.Cursor {
	before := sanitize.Clean(string(l.runes[:l.at])).String()
	after := sanitize.Clean(string(l.runes[l.at:])).String()
	pieces := wrap(before, max(1, cells-1), false)
	shown := pieces[len(pieces)-1]
	used := c.put(x, y, cells-1, c.st.plain, shown)
	c.put(x+used, y, cells-used, c.st.plain, after)
	return tea.NewCursor(x+used, y)
}
