// Package palette is the dialog in which an action is found by its name and run. It
// knows no action: what there is to choose comes with New, and what was chosen goes
// back as the entry's Do.
//
// Invariants:
//
//   - Names of targets and tabs come in as sanitize.Text, and what is typed is
//     compared, never drawn as more than a line being typed.
//   - Nothing runs but by enter, and never an entry that is not on the screen.
package palette

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/fuzzy"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

const (
	keyCells   = 16 // of the column of keys, at most
	placeCells = 22 // of the column of places
	placesFrom = 68 // cells inside from which on there is one
	maxHeight  = 22 // rows of the box
	around     = 4  // of them, those that are not entries
)

// An Entry is something that can be done.
type Entry struct {
	Name  []sanitize.Text // what it does
	Words string          // it is found by these too
	Place []sanitize.Text // where, and on what
	Key   string          // the key that does it there; empty for none
	Do    any             // what the dialog returns when it is chosen
}

// A View is the dialog. Use New.
type View struct {
	title   sanitize.Text
	entries []Entry
	text    []string // of each entry, what it is found by, in lower case
	rows    []int    // entries that match, the best first
	cursor  int      // into rows
	top     int
	height  int
	query   canvas.LineEdit
}

// New makes a palette of entries, in the order in which they are shown while
// nothing is typed.
func New(entries []Entry) *View { return Choose("Actions", entries) }

// Choose makes a dialog like New's in which something else is chosen: title says what.
func Choose(title string, entries []Entry) *View {
	v := &View{title: sanitize.Literal(title), entries: entries, text: make([]string, len(entries)), height: 1}
	for i, e := range entries {
		v.text[i] = strings.ToLower(strings.Join([]string{join(e.Name), e.Words, join(e.Place), e.Key}, " "))
	}
	v.filter()
	return v
}

func join(texts []sanitize.Text) string {
	var b strings.Builder
	for _, t := range texts {
		b.WriteString(t.String())
	}
	return b.String()
}

// filter keeps what was typed fits, the best first: entries that have each word that
// was typed in one of theirs, or else, where none has, those with its letters in
// this order.
func (v *View) filter() {
	words := strings.Fields(strings.ToLower(v.query.String()))
	v.cursor, v.top = 0, 0
	v.keep(words, within)
	if len(v.rows) == 0 {
		v.keep(words, fuzzy.Rank)
	}
}

// within ranks a word that is a part of one word of a text, and 0 where it is of none.
func within(text, word string) (best int32) {
	for of := range strings.FieldsSeq(text) {
		if strings.Contains(of, word) {
			best = max(best, fuzzy.Rank(of, word))
		}
	}
	return best
}

func (v *View) keep(words []string, rank func(text, word string) int32) {
	total := make([]int32, len(v.entries))
	v.rows = v.rows[:0]
	for i, text := range v.text {
		fits := true
		for _, w := range words {
			r := rank(text, w)
			fits = fits && r > 0
			total[i] += r
		}
		if fits {
			v.rows = append(v.rows, i)
		}
	}
	slices.SortStableFunc(v.rows, func(a, b int) int { return cmp.Compare(total[b], total[a]) })
}

// Keys implements dialog.Dialog.
func (v *View) Keys() *keymap.Map { return &keymap.PaletteKeys }

// Paste implements dialog.Dialog.
func (v *View) Paste(text string) {
	v.query.Insert(text)
	v.filter()
}

// Key implements dialog.Dialog.
func (v *View) Key(k tea.KeyPressMsg, _ time.Time) dialog.Outcome {
	by := 0
	switch keymap.PaletteKeys.Lookup(k.String()) {
	case keymap.ActBack:
		return dialog.Outcome{Close: true}
	case keymap.ActOpen:
		if len(v.rows) == 0 {
			return dialog.Outcome{}
		}
		return dialog.Outcome{Close: true, Do: v.entries[v.rows[v.cursor]].Do}
	case keymap.ActDown:
		by = 1
	case keymap.ActUp:
		by = -1
	case keymap.ActPageDown:
		by = v.height
	case keymap.ActPageUp:
		by = -v.height
	default:
		if v.query.Key(k) {
			v.filter()
		}
		return dialog.Outcome{}
	}
	v.cursor = max(0, min(v.cursor+by, len(v.rows)-1))
	return dialog.Outcome{}
}

// Draw implements dialog.Dialog.
func (v *View) Draw(c *canvas.Canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	in := c.Box(dialog.Area(area, dialog.Cols, min(maxHeight, len(v.entries)+around)), v.title)
	if in.Dx() < 1 || in.Dy() < 1 {
		return nil
	}
	count := strconv.Itoa(len(v.rows)) + " of " + strconv.Itoa(len(v.entries))
	c.Put(in.Min.X, in.Min.Y, in.Dx(), c.Styles.Bold, "> ")
	cursor := v.query.Draw(c, in.Min.X+2, in.Min.Y, max(1, in.Dx()-len(count)-3))
	c.Spans(max(in.Min.X, in.Max.X-len(count)), in.Min.Y, min(in.Dx(), len(count)), canvas.Lit(c.Styles.Faint, count))
	list := uv.Rect(in.Min.X, in.Min.Y+1, in.Dx(), max(0, in.Dy()-2))
	v.height = max(1, list.Dy())
	v.top = max(0, v.cursor-v.height+1, min(v.top, v.cursor))
	for y := 0; y < list.Dy() && v.top+y < len(v.rows); y++ {
		v.drawRow(c, uv.Rect(list.Min.X, list.Min.Y+y, list.Dx(), 1), v.top+y)
	}
	switch {
	case in.Dy() < 2:
	case len(v.rows) == 0:
		c.Spans(in.Min.X, in.Max.Y-1, in.Dx(), canvas.Lit(c.Styles.Warn, "nothing is called so: fewer letters"))
	default:
		e := v.entries[v.rows[v.cursor]]
		c.Spans(in.Min.X, in.Max.Y-1, in.Dx(), append(spans(c.Styles.Faint, "", e.Place), spans(c.Styles.Faint, " · ", e.Name)...)...)
	}
	return cursor
}

func (v *View) drawRow(c *canvas.Canvas, at uv.Rectangle, row int) {
	e := v.entries[v.rows[row]]
	x, y, cells := at.Min.X, at.Min.Y, at.Dx()
	mark := "  "
	if row == v.cursor {
		mark = "> "
	}
	keys := min(len(e.Key), keyCells, cells)
	c.Spans(x+cells-keys, y, keys, canvas.Lit(c.Styles.Bold, e.Key))
	name := cells - keys - 1
	if cells >= placesFrom {
		name = cells - keyCells - placeCells - 2
		c.Spans(x+name+1, y, placeCells, spans(c.Styles.Faint, "", e.Place)...)
	}
	c.Spans(x, y, name, spans(c.Styles.Plain, mark, e.Name)...)
	if row == v.cursor {
		c.Restyle(at, uv.AttrReverse)
	}
}

func spans(style uv.Style, first string, texts []sanitize.Text) []canvas.Span {
	out := []canvas.Span{canvas.Lit(style, first)}
	for _, t := range texts {
		out = append(out, canvas.Span{Style: style, Text: t})
	}
	return out
}
