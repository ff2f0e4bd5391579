// Package asking is the dialog in which somebody asks for an approval in place: why it is
// needed, and for how long.
//
// Invariants: the verdict is shown first; without a reason nobody is asked; what is asked
// for is never longer than policy lets. It asks nobody itself: what it gives goes back to
// the model.
package asking

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/approvals"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// The words of the two questions, which plain mode asks as well.
const (
	Why     = "Why do you need it?"
	HowLong = "For how long? 30m, 2h"
)

// Lasts reads how long something is needed: "30m", "2h", "1h30m", or minutes as a bare
// number. Nothing is 0: as long as policy lets. most is that, 0 where it is not known.
func Lasts(s string, most time.Duration) (time.Duration, error) {
	if s = strings.TrimSpace(s); s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if n, minutes := strconv.Atoi(s); minutes == nil {
		d, err = time.Duration(min(max(n, 0), 1<<20))*time.Minute, nil
	}
	switch {
	case err != nil || d < time.Minute:
		return 0, errors.New("write it as 30m, 2h or 1h30m; nothing means as long as policy lets")
	case most > 0 && d > most:
		return 0, fmt.Errorf("policy lets it last %s at most", phrase.Duration(most))
	}
	return d, nil
}

// A Form is the dialog. Use New.
type Form struct {
	req     backend.OpenRequest
	most    time.Duration
	body    func(*canvas.Styles) []canvas.Para
	lines   [2]canvas.LineEdit // why, and for how long
	at      int                // which of them is typed
	problem sanitize.Text
	dialog.Scroller
}

// New makes the form for a held request. body is the request and its verdict.
func New(req backend.OpenRequest, v backend.Verdict, body func(*canvas.Styles) []canvas.Para) *Form {
	return &Form{req: req, most: v.MaxSession, body: body}
}

// Keys implements dialog.Dialog.
func (f *Form) Keys() *keymap.Map { return nil }

// Paste implements dialog.Dialog.
func (f *Form) Paste(text string) { f.lines[f.at].Insert(text) }

// Key implements dialog.Dialog.
func (f *Form) Key(k tea.KeyPressMsg, _ time.Time) dialog.Outcome {
	switch k.String() {
	case "esc", "ctrl+c":
		return dialog.Outcome{Close: true}
	case "tab", "shift+tab":
		f.at = 1 - f.at
		return dialog.Outcome{}
	case "up":
		f.Move(keymap.ActUp)
	case "down":
		f.Move(keymap.ActDown)
	case "enter":
		return f.submit()
	}
	if f.lines[f.at].Key(k) {
		f.problem = sanitize.Text{}
	}
	return dialog.Outcome{}
}

func (f *Form) submit() dialog.Outcome {
	req := f.req
	req.Reason = strings.TrimSpace(f.lines[0].String())
	var err error
	if req.Lasts, err = Lasts(f.lines[1].String(), f.most); err != nil {
		f.at = 1
	}
	if req.Reason == "" {
		f.at, err = 0, approvals.ErrNoReason
	}
	if err != nil {
		f.problem = sanitize.Clean(err.Error())
		return dialog.Outcome{}
	}
	return dialog.Outcome{Close: true, Do: dialog.DoAsk{Req: req}}
}

// Draw implements dialog.Dialog.
func (f *Form) Draw(c *canvas.Canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	cols := min(dialog.Cols, area.Dx())
	rows := canvas.Layout(f.body(c.Styles), max(1, cols-4))
	const below = 5 // two labels, two lines, a problem
	in := c.Box(dialog.Area(area, cols, len(rows)+below+2), sanitize.Literal("Held: ask for approval"))
	text := uv.Rect(in.Min.X, in.Min.Y, in.Dx(), max(0, in.Dy()-below))
	f.Scroller.Draw(c, text, rows)
	if !f.AtEnd() && text.Dy() > 0 {
		dialog.More(c, uv.Rect(in.Min.X, text.Max.Y-1, in.Dx(), 1))
	}
	until := ""
	if f.most > 0 {
		until = "  empty: " + phrase.Duration(f.most)
	}
	hints := [2]string{"  enter: ask  esc: back", until}
	hints[1-f.at] += "  tab: here"
	var cursor *tea.Cursor
	for i, label := range [][2]string{{Why, hints[0]}, {HowLong, hints[1]}} {
		y := in.Max.Y - below + 2*i
		c.Spans(in.Min.X, y, in.Dx(), canvas.Lit(c.Styles.Bold, label[0]), canvas.Span{Style: c.Styles.Faint, Text: sanitize.Clean(label[1])})
		mark := "  "
		if i == f.at {
			mark = "> "
		}
		c.Put(in.Min.X, y+1, 2, c.Styles.Bold, mark)
		if at := f.lines[i].Draw(c, in.Min.X+2, y+1, max(1, in.Dx()-2)); i == f.at {
			cursor = at
		}
	}
	c.Spans(in.Min.X, in.Max.Y-1, in.Dx(), canvas.Span{Style: c.Styles.Warn, Text: f.problem})
	return cursor
}
