// Package dialog is what lies above a view of the console and sees keys first: a
// notice to read, a line to type. A dialog does nothing itself: it returns what it
// was told, and the model acts on that.
package dialog

import (
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/together"
)

// A Dialog lies above the view and sees keys first. What it decides it
// returns as one of the types below, and the model acts on it.
type Dialog interface {
	Key(k tea.KeyPressMsg, now time.Time) Outcome
	Paste(text string)
	Draw(c *canvas.Canvas, area uv.Rectangle, now time.Time) *tea.Cursor
	Keys() *keymap.Map // for the footer; nil where the dialog explains itself
}

// An Outcome is what a key did to a dialog.
type Outcome struct {
	Close bool
	Do    any // one of the types below, or nil
}

// A Live dialog does something by itself while it is open.
type Live interface {
	Dialog
	// Begin gives what to do once it is shown.
	Begin() tea.Cmd
	// Receive takes a message that is of no concern to the model; another dialog's too.
	Receive(msg tea.Msg, now time.Time) tea.Cmd
	// End is called when it is closed, and when the console ends.
	End()
}

// Begin gives what a dialog that is shown now has to do, if it lives.
func Begin(d Dialog) tea.Cmd {
	if live, ok := d.(Live); ok {
		return live.Begin()
	}
	return nil
}

// End tells a dialog that it is closed.
func End(d Dialog) {
	if live, ok := d.(Live); ok {
		live.End()
	}
}

// Receive gives a message to those of some dialogs that live.
func Receive(open []Dialog, msg tea.Msg, now time.Time) tea.Cmd {
	var cmds []tea.Cmd
	for _, d := range open {
		if live, ok := d.(Live); ok {
			cmds = append(cmds, live.Receive(msg, now))
		}
	}
	return tea.Batch(cmds...)
}

// What dialogs decide.
type (
	DoCmd    struct{ Cmd tea.Cmd }             // its message comes back to Live.Receive
	DoOpen   struct{ Req backend.OpenRequest } // open, confirmed where that is needed
	DoAsk    struct{ Req backend.OpenRequest } // ask for approval, with the reason
	DoDecide struct {                          // decide an approval
		Seen     together.Plan // as it was read
		Decision backend.Decision
	}
	DoDialog struct{ Next Dialog } // show another one above
	DoQuit   struct{}
)

// Area centres a box of at most cols by rows cells.
func Area(area uv.Rectangle, cols, rows int) uv.Rectangle {
	cols, rows = min(cols, area.Dx()), min(rows, area.Dy())
	return uv.Rect(area.Min.X+(area.Dx()-cols)/2, area.Min.Y+(area.Dy()-rows)/2, cols, rows)
}

// Cols is how wide a dialog is where there is room.
const Cols = 76

// A Scroller shows more rows than fit.
type Scroller struct {
	Top, shown, total int
}

// Move scrolls by what a key does.
func (s *Scroller) Move(a keymap.Action) {
	switch a {
	case keymap.ActDown:
		s.Top++
	case keymap.ActUp:
		s.Top--
	case keymap.ActPageDown:
		s.Top += s.shown
	case keymap.ActPageUp:
		s.Top -= s.shown
	case keymap.ActTop:
		s.Top = 0
	case keymap.ActBottom:
		s.Top = s.total
	}
	s.Top = max(0, min(s.Top, s.total-s.shown))
}

// Draw shows as many rows as area has.
func (s *Scroller) Draw(c *canvas.Canvas, area uv.Rectangle, rows []canvas.Row) {
	s.shown, s.total = area.Dy(), len(rows)
	s.Top = max(0, min(s.Top, s.total-s.shown))
	c.Rows(area, rows, s.Top)
}

// More says, in a line of its own, that there is more than is shown.
func More(c *canvas.Canvas, line uv.Rectangle) {
	c.Blank(line, c.Styles.Plain)
	c.Spans(line.Min.X, line.Min.Y, line.Dx(), canvas.Lit(c.Styles.Warn, "more: up, down"))
}

// AtEnd says whether the last row was on the screen.
func (s *Scroller) AtEnd() bool { return s.total > 0 && s.Top+s.shown >= s.total }

// A Notice is text to read.
type Notice struct {
	Title sanitize.Text
	Body  func(*canvas.Styles) []canvas.Para
	Scroller
}

// Keys implements Dialog.
func (n *Notice) Keys() *keymap.Map { return &keymap.NoticeKeys }

// Paste implements Dialog.
func (n *Notice) Paste(string) {}

// Key implements Dialog.
func (n *Notice) Key(k tea.KeyPressMsg, _ time.Time) Outcome {
	a := keymap.NoticeKeys.Lookup(k.String())
	n.Move(a)
	return Outcome{Close: a == keymap.ActBack}
}

// Draw implements Dialog.
func (n *Notice) Draw(c *canvas.Canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	paras := n.Body(c.Styles)
	cols := min(Cols, area.Dx())
	rows := canvas.Layout(paras, cols-4)
	n.Scroller.Draw(c, c.Box(Area(area, cols, len(rows)+2), n.Title), rows)
	return nil
}

// A Prompt asks for a line.
type Prompt struct {
	Title   sanitize.Text
	Body    func(*canvas.Styles) []canvas.Para
	Label   string
	Does    string // what enter does, in a word or two; empty: it goes on
	input   canvas.LineEdit
	Preview func(string) (sanitize.Text, bool) // what the line means; false for a problem
	Submit  func(string) (any, error)
	problem sanitize.Text
	Scroller
}

// Keys implements Dialog.
func (p *Prompt) Keys() *keymap.Map { return nil }

// Paste implements Dialog.
func (p *Prompt) Paste(text string) { p.input.Insert(text) }

// Key implements Dialog.
func (p *Prompt) Key(k tea.KeyPressMsg, _ time.Time) Outcome {
	switch k.String() {
	case "esc", "ctrl+c":
		return Outcome{Close: true}
	case "enter":
		do, err := p.Submit(p.input.String())
		if err != nil {
			p.problem = sanitize.Clean(err.Error())
			return Outcome{}
		}
		return Outcome{Close: true, Do: do}
	case "up":
		p.Move(keymap.ActUp)
	case "down":
		p.Move(keymap.ActDown)
	}
	if p.input.Key(k) {
		p.problem = sanitize.Text{}
	}
	return Outcome{}
}

// Draw implements Dialog.
func (p *Prompt) Draw(c *canvas.Canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	cols := min(Cols, area.Dx())
	rows := canvas.Layout(p.Body(c.Styles), cols-4)
	const below = 5 // label, input, preview or problem, two of the frame
	box := Area(area, cols, len(rows)+below+1)
	inside := c.Box(box, p.Title)
	y := inside.Max.Y - 3
	p.Scroller.Draw(c, uv.Rect(inside.Min.X, inside.Min.Y, inside.Dx(), max(0, inside.Dy()-4)), rows)
	if !p.AtEnd() {
		More(c, uv.Rect(inside.Min.X, y-1, inside.Dx(), 1))
	}
	does := p.Does
	if does == "" {
		does = "go on"
	}
	c.Spans(inside.Min.X, y, inside.Dx(), canvas.Lit(c.Styles.Bold, p.Label), canvas.Lit(c.Styles.Faint, "  enter: "+does+"  esc: back"))
	c.Put(inside.Min.X, y+1, 2, c.Styles.Bold, "> ")
	cursor := p.input.Draw(c, inside.Min.X+2, y+1, inside.Dx()-2)
	switch {
	case !p.problem.IsZero():
		c.Spans(inside.Min.X, y+2, inside.Dx(), canvas.Span{Style: c.Styles.Warn, Text: p.problem})
	case p.Preview != nil && len(p.input.Runes) > 0:
		text, ok := p.Preview(p.input.String())
		style := c.Styles.Faint
		if !ok {
			style = c.Styles.Warn
		}
		c.Spans(inside.Min.X, y+2, inside.Dx(), canvas.Span{Style: style, Text: text})
	}
	return cursor
}
