// Package copymode is the dialog that searches what a terminal has shown, selects
// of it and copies it.
//
// Invariants:
//
//   - It works on the text as it was when it was opened: a target can't move other
//     text under a selection.
//   - Only what was selected is copied, as text without controls, and no more than
//     MaxCopy bytes. The dialog itself writes nothing: it returns DoCopy.
//   - Patterns are RE2's, so that no text makes a search slow.
package copymode

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/pane"
)

// MaxCopy bounds what is copied at once, in bytes: terminals drop more.
const MaxCopy = 64 << 10

// DoCopy is the dialog's decision: put Text into the clipboard.
type DoCopy struct{ Text string }

// A place is a letter of a line.
type place struct{ line, at int }

func (p place) before(q place) bool { return p.line < q.line || p.line == q.line && p.at < q.at }

// A View is the dialog. Use New.
type View struct {
	lines  []pane.Line
	cursor place
	anchor *place // where the selection began; nil for none
	top    int
	height int

	typing bool // a pattern is typed
	query  canvas.LineEdit
	find   *regexp.Regexp
	said   string
}

// New opens the dialog on lines, the oldest first. Line top is the first that is
// seen, and the cursor is at line at.
func New(lines []pane.Line, top, at int) *View {
	if len(lines) == 0 {
		lines = []pane.Line{{}}
	}
	return &View{lines: lines, cursor: place{line: max(0, min(at, len(lines)-1))}, top: top, height: 1}
}

// letters cuts a line into what the cursor stops at.
func letters(s string) (out []string) {
	for len(s) > 0 {
		cluster, _ := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		if cluster == "" {
			break
		}
		out, s = append(out, cluster), s[len(cluster):]
	}
	return out
}

// Keys implements dialog.Dialog.
func (v *View) Keys() *keymap.Map { return &keymap.CopyKeys }

// Paste implements dialog.Dialog.
func (v *View) Paste(text string) {
	if v.typing {
		v.query.Insert(text)
	}
}

// Key implements dialog.Dialog.
func (v *View) Key(k tea.KeyPressMsg, _ time.Time) dialog.Outcome {
	key := k.String()
	v.said = ""
	if v.typing {
		switch key {
		case "esc", "ctrl+c":
			v.typing = false
		case "enter":
			v.typing = false
			v.search(v.query.String())
		default:
			v.query.Key(k)
		}
		return dialog.Outcome{}
	}
	width := len(letters(v.lines[v.cursor.line].Text))
	switch act := keymap.CopyKeys.Lookup(key); act {
	case keymap.ActBack:
		if v.anchor == nil {
			return dialog.Outcome{Close: true}
		}
		v.anchor = nil
	case keymap.ActSelect:
		at := v.cursor
		v.anchor = &at
	case keymap.ActSelectLine:
		at := place{v.cursor.line, 0}
		v.anchor, v.cursor.at = &at, max(0, width-1)
	case keymap.ActCopy:
		return v.copy()
	case keymap.ActFilter:
		v.typing = true
		v.query.Set("")
	case keymap.ActNextFound:
		v.next(1)
	case keymap.ActPrevFound:
		v.next(-1)
	case keymap.ActLeft:
		v.cursor.at--
	case keymap.ActRight:
		v.cursor.at++
	case keymap.ActLineStart:
		v.cursor.at = 0
	case keymap.ActLineEnd:
		v.cursor.at = width
	case keymap.ActDown:
		v.cursor.line++
	case keymap.ActUp:
		v.cursor.line--
	case keymap.ActPageDown:
		v.cursor.line += v.height
	case keymap.ActPageUp:
		v.cursor.line -= v.height
	case keymap.ActTop:
		v.cursor = place{}
	case keymap.ActBottom:
		v.cursor = place{line: len(v.lines)}
	}
	v.cursor.line = max(0, min(v.cursor.line, len(v.lines)-1))
	v.cursor.at = max(0, min(v.cursor.at, len(letters(v.lines[v.cursor.line].Text))-1))
	return dialog.Outcome{}
}

// search looks for a pattern from the cursor back: what one looks for has mostly
// just gone by. Without capitals it finds both cases.
func (v *View) search(pattern string) {
	if pattern == "" {
		v.find = nil
		return
	}
	flags := ""
	if !strings.ContainsFunc(pattern, unicode.IsUpper) {
		flags = "(?i)"
	}
	find, err := regexp.Compile(flags + pattern)
	if err != nil {
		find = regexp.MustCompile(flags + regexp.QuoteMeta(pattern))
		v.said = "no pattern, so searched for as it is"
	}
	v.find = find
	v.next(-1)
}

// next goes to the next match in a direction, and begins anew at the end.
func (v *View) next(step int) {
	if v.find == nil {
		v.said = "/ searches first"
		return
	}
	n := len(v.lines)
	for i := range n + 1 {
		line := ((v.cursor.line+step*i)%n + n) % n
		found := -1
		for _, m := range v.find.FindAllStringIndex(v.lines[line].Text, -1) {
			at := len(letters(v.lines[line].Text[:m[0]]))
			if m[0] == m[1] || i == 0 && (step > 0 && at <= v.cursor.at || step < 0 && at >= v.cursor.at) {
				continue
			}
			if found = at; step > 0 {
				break
			}
		}
		if found >= 0 {
			v.cursor = place{line, found}
			return
		}
	}
	v.said = "not found elsewhere"
}

// selection is the first and the last place that are selected.
func (v *View) selection() (from, to place, ok bool) {
	if v.anchor == nil {
		return place{}, place{}, false
	}
	if from, to = *v.anchor, v.cursor; to.before(from) {
		from, to = to, from
	}
	return from, to, true
}

// Text is what is selected. A line that went on in the next one is not broken.
func (v *View) Text() string {
	from, to, ok := v.selection()
	if !ok {
		return ""
	}
	var b strings.Builder
	for y := from.line; y <= to.line && b.Len() <= MaxCopy; y++ {
		for x, letter := range letters(v.lines[y].Text) {
			if p := (place{y, x}); !p.before(from) && !to.before(p) {
				b.WriteString(letter)
			}
		}
		if y < to.line && !v.lines[y].Wrapped {
			b.WriteByte('\n')
		}
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, b.String())
}

func (v *View) copy() dialog.Outcome {
	text := v.Text()
	switch {
	case text == "":
		v.said = "space selects first"
		return dialog.Outcome{}
	case len(text) > MaxCopy:
		v.said = fmt.Sprintf("more than %d KB can't be copied: select less", MaxCopy>>10)
		return dialog.Outcome{}
	}
	return dialog.Outcome{Close: true, Do: DoCopy{text}}
}

// Draw implements dialog.Dialog.
func (v *View) Draw(c *canvas.Canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	v.height = max(1, area.Dy()-1)
	v.top = max(v.cursor.line-v.height+1, min(v.top, v.cursor.line))
	v.top = max(0, min(v.top, len(v.lines)-v.height))
	c.Blank(area, c.Styles.Plain)
	from, to, selected := v.selection()
	var cursor *tea.Cursor
	for row := range min(v.height, len(v.lines)-v.top) {
		y, x, text := v.top+row, area.Min.X, v.lines[v.top+row].Text
		var found [][]int
		if v.find != nil {
			found = v.find.FindAllStringIndex(text, -1)
		}
		offset := 0
		for i, letter := range letters(text) {
			style := c.Styles.Plain
			for _, m := range found {
				if m[0] <= offset && offset < m[1] {
					style = c.Styles.Warn
					style.Underline = uv.UnderlineSingle
				}
			}
			here := place{y, i}
			if selected && !here.before(from) && !to.before(here) {
				style.Attrs |= uv.AttrReverse
			}
			if here == v.cursor && x < area.Max.X {
				cursor = tea.NewCursor(x, area.Min.Y+row)
			}
			offset += len(letter)
			x += c.Put(x, area.Min.Y+row, max(0, area.Max.X-x), style, letter)
		}
		if y == v.cursor.line && cursor == nil {
			cursor = tea.NewCursor(min(x, area.Max.X-1), area.Min.Y+row)
		}
	}
	bottom := area.Max.Y - 1
	c.Blank(uv.Rect(area.Min.X, bottom, area.Dx(), 1), c.Styles.Status)
	if v.typing {
		c.Put(area.Min.X, bottom, 2, c.Styles.Status, "/ ")
		return v.query.Draw(c, area.Min.X+2, bottom, area.Dx()-2)
	}
	said := fmt.Sprintf(" copy: line %d of %d", v.cursor.line+1, len(v.lines))
	if v.said != "" {
		said += " · " + v.said
	}
	c.Spans(area.Min.X, bottom, area.Dx(), canvas.Span{Style: c.Styles.Status, Text: sanitize.Clean(said)})
	return cursor
}
