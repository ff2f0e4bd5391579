// Package details is the dialog that says all there is to know about one target: the
// verdict, with what would change it, what the machine says of itself, and who was on it
// lately. What is at hand is shown at once; the rest is asked for while it is read.
//
// Invariants: one question, with a time limit, which ends when the dialog is closed; text
// is cleaned before it is drawn. Nothing is decided or opened here.
package details

import (
	"context"
	"maps"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// answerIn bounds the question.
const answerIn = 20 * time.Second

var _ dialog.Live = (*View)(nil)

// A View is the dialog. Use New.
type View struct {
	dialog.Notice
	ctx  context.Context
	end  context.CancelFunc
	from backend.Informer // nil: the backend knows no more
	req  backend.OpenRequest
	came bool
	info backend.Info
	err  error
}

// New makes the details of a request's target. What body says stands first. ctx ends the
// question.
func New(ctx context.Context, b backend.Backend, req backend.OpenRequest, title sanitize.Text, body func(*canvas.Styles) []canvas.Para) *View {
	ctx, end := context.WithCancel(ctx)
	v := &View{ctx: ctx, end: end, req: req}
	v.from, _ = backend.As[backend.Informer](b)
	v.Notice = dialog.Notice{Title: title, Body: func(st *canvas.Styles) []canvas.Para {
		return append(body(st), v.more(st)...)
	}}
	return v
}

type infoMsg struct {
	view *View
	info backend.Info
	err  error
}

// Begin implements dialog.Live.
func (v *View) Begin() tea.Cmd {
	if v.from == nil {
		return nil
	}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(v.ctx, answerIn)
		defer cancel()
		info, err := v.from.Inform(ctx, v.req)
		return infoMsg{v, info, err}
	}
}

// Receive implements dialog.Live.
func (v *View) Receive(msg tea.Msg, _ time.Time) tea.Cmd {
	if msg, ok := msg.(infoMsg); ok && msg.view == v {
		v.came, v.info, v.err = true, msg.info, msg.err
	}
	return nil
}

// End implements dialog.Live.
func (v *View) End() { v.end() }

// more is what was asked for.
func (v *View) more(st *canvas.Styles) []canvas.Para {
	switch {
	case v.from == nil:
		return nil
	case !v.came:
		return []canvas.Para{{Label: "Lately", Text: sanitize.Literal("being asked"), Style: st.Faint}}
	}
	paras := Paras(st, v.info)
	if v.err != nil {
		paras = append(paras, canvas.Para{Label: "Not known", Text: phrase.Error(v.err), Style: st.Warn})
	}
	return paras
}

// Paras says what a backend knows: what would change the verdict, what the machine says of
// itself, and who was there lately, as far as this member may know it.
func Paras(st *canvas.Styles, info backend.Info) (paras []canvas.Para) {
	say := func(label, text string) {
		paras = append(paras, canvas.Para{Label: label, Text: phrase.Clean(text), Style: st.Plain})
	}
	for _, w := range info.Ways[:min(len(info.Ways), backend.MaxWays)] {
		say("Instead", w)
	}
	for _, k := range slices.Sorted(maps.Keys(info.Posture)) {
		say("Machine", k+": "+info.Posture[k])
	}
	for _, s := range info.Visits[:min(len(info.Visits), backend.MaxVisits)] {
		text := s.Began.Local().Format(time.DateTime) + " " + s.By + ", " + string(s.Kind)
		if s.As != "" {
			text += " as " + s.As
		}
		if s.State != "" {
			text += ", " + s.State
		}
		say("Session", text)
	}
	if len(info.Visits) == 0 {
		paras = append(paras, canvas.Para{Label: "Session", Text: sanitize.Literal("none lately that you may know of"), Style: st.Faint})
	}
	return paras
}
