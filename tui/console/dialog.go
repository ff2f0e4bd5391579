package console

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// A dialog lies above the view and sees keys first. What it decides it
// returns as one of the types below, and the model acts on it.
type dialog interface {
	key(k tea.KeyPressMsg, now time.Time) outcome
	paste(text string)
	draw(c *canvas, area uv.Rectangle, now time.Time) *tea.Cursor
	keys() *keymap // for the footer; nil where the dialog explains itself
}

// An outcome is what a key did to a dialog.
type outcome struct {
	close bool
	do    any // one of the types below, or nil
}

type (
	doOpen   struct{ req backend.OpenRequest } // open, confirmed where that is needed
	doAsk    struct{ req backend.OpenRequest } // ask for approval, with the reason
	doDecide struct {                          // decide an approval
		seen     backend.Approval
		decision backend.Decision
	}
	doDialog struct{ next dialog } // show another one above
	doQuit   struct{}
)

// dialogArea centres a box of at most cols by rows cells.
func dialogArea(area uv.Rectangle, cols, rows int) uv.Rectangle {
	cols, rows = min(cols, area.Dx()), min(rows, area.Dy())
	return uv.Rect(area.Min.X+(area.Dx()-cols)/2, area.Min.Y+(area.Dy()-rows)/2, cols, rows)
}

const dialogCols = 76

// scroller shows more rows than fit.
type scroller struct {
	top, shown, total int
}

func (s *scroller) move(a action) {
	switch a {
	case actDown:
		s.top++
	case actUp:
		s.top--
	case actPageDown:
		s.top += s.shown
	case actPageUp:
		s.top -= s.shown
	case actTop:
		s.top = 0
	case actBottom:
		s.top = s.total
	}
	s.top = max(0, min(s.top, s.total-s.shown))
}

func (s *scroller) draw(c *canvas, area uv.Rectangle, rows []row) {
	s.shown, s.total = area.Dy(), len(rows)
	s.top = max(0, min(s.top, s.total-s.shown))
	c.rows(area, rows, s.top)
}

// atEnd says whether the last row was on the screen.
func (s *scroller) atEnd() bool { return s.total > 0 && s.top+s.shown >= s.total }

// A notice is text to read.
type notice struct {
	title sanitize.Text
	body  func(*styles) []para
	scroller
}

func (n *notice) keys() *keymap { return &noticeKeys }
func (n *notice) paste(string)  {}

func (n *notice) key(k tea.KeyPressMsg, _ time.Time) outcome {
	a := noticeKeys.lookup(k.String())
	n.move(a)
	return outcome{close: a == actBack}
}

func (n *notice) draw(c *canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	paras := n.body(c.st)
	cols := min(dialogCols, area.Dx())
	rows := layout(paras, cols-4)
	n.scroller.draw(c, c.box(dialogArea(area, cols, len(rows)+2), n.title), rows)
	return nil
}

// A prompt asks for a line.
type prompt struct {
	title   sanitize.Text
	body    func(*styles) []para
	label   string
	input   lineEdit
	preview func(string) (sanitize.Text, bool) // what the line means; false for a problem
	submit  func(string) (any, error)
	problem sanitize.Text
	scroller
}

func (p *prompt) keys() *keymap { return nil }

func (p *prompt) paste(text string) { p.input.insert(text) }

func (p *prompt) key(k tea.KeyPressMsg, _ time.Time) outcome {
	switch k.String() {
	case "esc", "ctrl+c":
		return outcome{close: true}
	case "enter":
		do, err := p.submit(p.input.String())
		if err != nil {
			p.problem = sanitize.Clean(err.Error())
			return outcome{}
		}
		return outcome{close: true, do: do}
	case "up":
		p.move(actUp)
	case "down":
		p.move(actDown)
	}
	if p.input.key(k) {
		p.problem = sanitize.Text{}
	}
	return outcome{}
}

func (p *prompt) draw(c *canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	cols := min(dialogCols, area.Dx())
	rows := layout(p.body(c.st), cols-4)
	const below = 5 // label, input, preview or problem, two of the frame
	box := dialogArea(area, cols, len(rows)+below+1)
	inside := c.box(box, p.title)
	y := inside.Max.Y - 3
	p.scroller.draw(c, uv.Rect(inside.Min.X, inside.Min.Y, inside.Dx(), max(0, inside.Dy()-4)), rows)
	if !p.atEnd() {
		c.line(inside.Min.X, y-1, inside.Dx(), lit(c.st.warn, "more: up, down"))
	}
	c.line(inside.Min.X, y, inside.Dx(), lit(c.st.bold, p.label), lit(c.st.faint, "  enter: go on  esc: back"))
	c.put(inside.Min.X, y+1, 2, c.st.bold, "> ")
	cursor := p.input.draw(c, inside.Min.X+2, y+1, inside.Dx()-2)
	switch {
	case !p.problem.IsZero():
		c.line(inside.Min.X, y+2, inside.Dx(), span{c.st.warn, p.problem})
	case p.preview != nil && len(p.input.runes) > 0:
		text, ok := p.preview(p.input.String())
		style := c.st.faint
		if !ok {
			style = c.st.warn
		}
		c.line(inside.Min.X, y+2, inside.Dx(), span{style, text})
	}
	return cursor
}

// A request shows one approval and lets it be decided.
type request struct {
	seen    backend.Approval // what is on the screen
	changed bool             // it is not what it was
	read    bool             // its end was on the screen
	scroller
}

func (r *request) keys() *keymap { return &requestKeys }
func (r *request) paste(string)  {}

// update takes the approval as the backend has it now.
func (r *request) update(a backend.Approval) {
	if !sameRequest(r.seen, a) {
		r.changed, r.read, r.top = true, false, 0
	}
	r.seen = a
}

func (r *request) key(k tea.KeyPressMsg, now time.Time) outcome {
	a := requestKeys.lookup(k.String())
	r.move(a)
	switch a {
	case actBack:
		return outcome{close: true}
	case actApprove:
		if decidable(r.seen, now) && r.read {
			return outcome{do: doDialog{r.approvePrompt()}}
		}
	case actDeny:
		if decidable(r.seen, now) {
			return outcome{do: doDialog{r.denyPrompt()}}
		}
	}
	return outcome{}
}

// hint is the line below the request: what can be done, and why not.
func (r *request) hint(st *styles, now time.Time) span {
	switch {
	case r.seen.Mine && waits(r.seen, now):
		return lit(st.faint, "yours: waiting for somebody else")
	case !decidable(r.seen, now):
		return lit(st.faint, "nothing to decide; esc goes back")
	case r.changed && !r.read:
		return lit(st.warn, "it changed while you read: read it again to its end")
	case !r.read:
		return lit(st.warn, "more below: down to its end, then a approves; d denies")
	}
	return lit(st.ok, "a approves, d denies")
}

func (r *request) draw(c *canvas, area uv.Rectangle, now time.Time) *tea.Cursor {
	cols := min(dialogCols, area.Dx())
	rows := layout(requestParas(c.st, r.seen, now), cols-4)
	inside := c.box(dialogArea(area, cols, len(rows)+3), sanitize.Literal("Request"))
	text := uv.Rect(inside.Min.X, inside.Min.Y, inside.Dx(), inside.Dy()-1)
	r.scroller.draw(c, text, rows)
	r.read = r.read || r.atEnd()
	c.line(inside.Min.X, inside.Max.Y-1, inside.Dx(), r.hint(c.st, now))
	return nil
}

// summary is the request again, in the prompt that decides it.
func (r *request) summary(st *styles) []para {
	return []para{
		{"Operator", sanitize.Clean(r.seen.Operator), st.plain},
		{"Target", sanitize.Clean(r.seen.Target), st.plain},
		requestPara(st.bold, r.seen.Kind, r.seen.Argv),
	}
}

func (r *request) approvePrompt() dialog {
	seen := r.seen
	p := &prompt{
		title: sanitize.Literal("Approve"),
		body:  r.summary,
		label: "Reason, if you like",
		submit: func(reason string) (any, error) {
			return doDecide{seen, backend.Decision{Approve: true, Reason: strings.TrimSpace(reason)}}, nil
		},
	}
	if typed(seen) {
		name := sanitize.Clean(seen.Target).String()
		p.title = sanitize.Literal("Approve: high risk")
		p.label = "Type the target's name"
		p.submit = func(s string) (any, error) {
			if s != name {
				return nil, errNotTheName
			}
			return doDecide{seen, backend.Decision{Approve: true}}, nil
		}
	}
	return p
}

func (r *request) denyPrompt() dialog {
	seen := r.seen
	return &prompt{
		title: sanitize.Literal("Deny"),
		body:  r.summary,
		label: "Why? They will read it.",
		submit: func(reason string) (any, error) {
			if reason = strings.TrimSpace(reason); reason == "" {
				return nil, errNoReason
			}
			return doDecide{seen, backend.Decision{Reason: reason}}, nil
		},
	}
}
