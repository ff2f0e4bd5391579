// Package live is the console's view of live sessions: the shells of others that run and
// that this member may observe or join. It opens nothing: what was chosen goes back as a
// Watch.
//
// Invariants:
//   - a list is what the backend says may be tried; the target decides;
//   - names are cleaned before they are drawn; what is kept of the list is bounded;
//   - one question at a time, with a time limit; questions end when the view is closed.
//
// It must not import a backend's package.
package live

import (
	"context"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

const (
	// maxKept bounds the sessions that are kept: the newest.
	maxKept    = 1000
	askEvery   = 5 * time.Second
	askTimeout = 30 * time.Second
	// wide is the width from which on there are columns, in cells.
	wide        = 70
	targetCells = 20
	ownerCells  = 24
	idCells     = 8 // of a session's id
)

// A Watch is what was chosen: to look at a shell, and with Join to type in it, too.
type Watch struct {
	Session backend.Session
	Join    bool
}

// Request is what to open.
func (w Watch) Request() backend.OpenRequest {
	kind := backend.KindObserve
	if w.Join {
		kind = backend.KindJoin
	}
	return backend.OpenRequest{Target: w.Session.Target, Kind: kind, As: w.Session.As, Session: w.Session.ID, Owner: w.Session.Owner, TTY: true}
}

// Title names whose shell it is: "web-1 of alice". target is the target's name.
func (w Watch) Title(target sanitize.Text) sanitize.Text {
	name, _, _ := strings.Cut(phrase.Brief(w.Session.Owner).String(), "@")
	return sanitize.Join(target, sanitize.Clean(" of "+name))
}

// Status says, in the line below a terminal, that it shows somebody else's shell and
// whether keys get there; nil for a terminal of one's own.
func Status(k backend.Kind, style uv.Style) []canvas.Span {
	words := ""
	switch k {
	case backend.KindObserve:
		words = "NOT YOURS: read-only"
	case backend.KindJoin:
		words = "NOT YOURS: you type in it"
	default:
		return nil
	}
	loud := style
	loud.Attrs |= uv.AttrBold
	return []canvas.Span{canvas.Lit(loud, words), canvas.Lit(style, " · ")}
}

var _ dialog.Live = (*View)(nil)

// A View is the list on the screen. Use Of.
type View struct {
	ctx    context.Context
	end    context.CancelFunc
	from   backend.Overseer
	name   func(backend.TargetID) sanitize.Text
	came   bool
	asking bool
	err    error

	all    []backend.Session // the newest first
	shown  []int             // of all, those that the filter lets through
	typing bool
	query  canvas.LineEdit
	cursor int // in shown
	top    int
	height int
	why    sanitize.Text // why the last key did nothing
}

// Of makes the view of a backend's live sessions, or a notice that it knows none. ctx
// ends what it asks; name gives a target's name.
func Of(ctx context.Context, b backend.Backend, name func(backend.TargetID) sanitize.Text) dialog.Dialog {
	if from, ok := backend.As[backend.Overseer](b); ok {
		ctx, end := context.WithCancel(ctx)
		return &View{ctx: ctx, end: end, from: from, name: name, height: 1}
	}
	return &dialog.Notice{Title: sanitize.Literal("No live sessions"), Body: func(st *canvas.Styles) []canvas.Para {
		return []canvas.Para{{Text: sanitize.Literal("This backend does not know what others run: nobody can observe or join here."), Style: st.Plain}}
	}}
}

type (
	listMsg struct {
		view *View
		all  []backend.Session
		err  error
	}
	tickMsg struct{ view *View }
)

// Begin implements dialog.Live.
func (v *View) Begin() tea.Cmd { return tea.Batch(v.ask(), v.tick()) }

// End implements dialog.Live.
func (v *View) End() { v.end() }

func (v *View) tick() tea.Cmd {
	return func() tea.Msg {
		t := time.NewTimer(askEvery)
		defer t.Stop()
		select {
		case <-v.ctx.Done():
			return nil
		case <-t.C:
			return tickMsg{v}
		}
	}
}

func (v *View) ask() tea.Cmd {
	if v.asking {
		return nil
	}
	v.asking = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(v.ctx, askTimeout)
		defer cancel()
		all, err := v.from.Watchable(ctx)
		return listMsg{v, all, err}
	}
}

// Receive implements dialog.Live.
func (v *View) Receive(msg tea.Msg, _ time.Time) tea.Cmd {
	switch msg := msg.(type) {
	case tickMsg:
		if msg.view == v && v.ctx.Err() == nil {
			return tea.Batch(v.ask(), v.tick())
		}
	case listMsg:
		if msg.view != v {
			return nil
		}
		v.asking, v.err = false, msg.err
		if msg.err == nil {
			at, _ := v.current()
			v.came, v.all = true, msg.all[:min(len(msg.all), maxKept)]
			v.apply(at.ID)
		}
	}
	return nil
}

// apply makes shown anew, and stays at a session if it is still there.
func (v *View) apply(at backend.SessionID) {
	words := strings.Fields(strings.ToLower(v.query.String()))
	v.shown = v.shown[:0]
	cursor := -1
	for i, s := range v.all {
		text := strings.ToLower(strings.Join([]string{v.name(s.Target).String(), s.Owner, s.As, string(s.ID), may(s)}, " "))
		if !fits(text, words) {
			continue
		}
		if s.ID == at {
			cursor = len(v.shown)
		}
		v.shown = append(v.shown, i)
	}
	if cursor < 0 {
		cursor = max(0, min(v.cursor, len(v.shown)-1))
	}
	v.cursor = cursor
}

// fits reports whether a text has each word, and none after a !.
func fits(text string, words []string) bool {
	for _, w := range words {
		w, not := strings.CutPrefix(w, "!")
		if w != "" && strings.Contains(text, w) == not {
			return false
		}
	}
	return true
}

// may says what policy lets this member do.
func may(s backend.Session) string {
	switch {
	case s.Observe && s.Join:
		return "observe, join"
	case s.Join:
		return "join"
	}
	return "observe"
}

func (v *View) current() (backend.Session, bool) {
	if v.cursor < 0 || v.cursor >= len(v.shown) {
		return backend.Session{}, false
	}
	return v.all[v.shown[v.cursor]], true
}

// Keys implements dialog.Dialog.
func (v *View) Keys() *keymap.Map {
	if v.typing {
		return nil
	}
	return &keymap.LiveKeys
}

// Paste implements dialog.Dialog.
func (v *View) Paste(text string) {
	if v.typing {
		v.query.Insert(text)
		v.refilter()
	}
}

func (v *View) refilter() {
	at, _ := v.current()
	v.apply(at.ID)
}

// Key implements dialog.Dialog.
func (v *View) Key(k tea.KeyPressMsg, _ time.Time) dialog.Outcome {
	v.why = sanitize.Text{}
	if v.typing {
		v.typed(k)
		return dialog.Outcome{}
	}
	s, ok := v.current()
	switch act := keymap.LiveKeys.Lookup(k.String()); {
	case act == keymap.ActBack && len(v.query.Runes) == 0:
		return dialog.Outcome{Close: true}
	case act == keymap.ActBack:
		v.query.Set("")
		v.refilter()
	case act == keymap.ActFilter:
		v.typing = true
	case act == keymap.ActRefresh:
		return dialog.Outcome{Do: dialog.DoCmd{Cmd: v.ask()}}
	case act == keymap.ActOpen && ok && s.Observe:
		return dialog.Outcome{Close: true, Do: Watch{Session: s}}
	case act == keymap.ActJoin && ok && s.Join:
		return dialog.Outcome{Close: true, Do: Watch{Session: s, Join: true}}
	case act == keymap.ActOpen && ok:
		v.why = sanitize.Literal("policy does not let you observe this one; you may join it")
	case act == keymap.ActJoin && ok:
		v.why = sanitize.Literal("policy does not let you join this one; you may observe it")
	default:
		v.cursor = max(0, min(v.cursor+keymap.Moved(act, v.height, len(v.shown)), len(v.shown)-1))
	}
	return dialog.Outcome{}
}

// typed takes a key of the filter's line.
func (v *View) typed(k tea.KeyPressMsg) {
	switch k.String() {
	case "esc", "ctrl+c":
		v.typing = false
		v.query.Set("")
	case "enter":
		v.typing = false
	default:
		v.query.Key(k)
	}
	v.refilter()
}

// Draw implements dialog.Dialog.
func (v *View) Draw(c *canvas.Canvas, area uv.Rectangle, now time.Time) *tea.Cursor {
	c.Blank(area, c.Styles.Plain)
	if area.Dy() < 3 || area.Dx() < 4 {
		return nil
	}
	cursor := v.drawHead(c, area)
	list := uv.Rect(area.Min.X, area.Min.Y+1, area.Dx(), area.Dy()-1)
	if text := v.instead(c.Styles); text != nil {
		inside := uv.Rect(list.Min.X+2, list.Min.Y+1, list.Dx()-4, max(0, list.Dy()-1))
		c.Rows(inside, canvas.Layout(text, max(1, inside.Dx())), 0)
		return cursor
	}
	v.height = list.Dy()
	v.top = max(0, min(max(min(v.top, v.cursor), v.cursor-v.height+1), len(v.shown)-v.height))
	for y := 0; y < v.height && v.top+y < len(v.shown); y++ {
		v.drawRow(c, uv.Rect(list.Min.X, list.Min.Y+y, list.Dx(), 1), v.all[v.shown[v.top+y]], v.top+y == v.cursor, now)
	}
	return cursor
}

// instead is what is shown in place of rows; nil: there are rows.
func (v *View) instead(st *canvas.Styles) []canvas.Para {
	switch {
	case v.err != nil && !v.came:
		return []canvas.Para{
			{Text: sanitize.Literal("✗ Live sessions can't be listed."), Style: st.Deny}, {},
			{Label: "Cause", Text: phrase.Error(v.err), Style: st.Plain},
			{Label: "Next", Text: sanitize.Literal("It is asked for again every few seconds."), Style: st.Plain},
		}
	case !v.came:
		return []canvas.Para{{Text: sanitize.Literal("Asking what runs ..."), Style: st.Faint}}
	case len(v.all) == 0:
		return []canvas.Para{
			{Text: sanitize.Literal("Nobody else has a shell that you may watch."), Style: st.Plain}, {},
			{Text: sanitize.Literal("Policy names who may observe or join (sessions: [observe]), and where. What comes is shown here by itself. Your own shells that wait are on A."), Style: st.Faint},
		}
	case len(v.shown) == 0:
		return []canvas.Para{{Text: sanitize.Clean(fmt.Sprintf("None of the %d live sessions fits. esc drops the filter.", len(v.all))), Style: st.Plain}}
	}
	return nil
}

// drawHead says what is shown, and how much of what.
func (v *View) drawHead(c *canvas.Canvas, area uv.Rectangle) *tea.Cursor {
	x, y, w := area.Min.X, area.Min.Y, area.Dx()
	if v.typing {
		used := c.Spans(x, y, w, canvas.Lit(c.Styles.Bold, "Filter: "))
		return v.query.Draw(c, x+used, y, max(1, w-used))
	}
	spans := []canvas.Span{canvas.Lit(c.Styles.Bold, "Live sessions")}
	switch {
	case !v.why.IsZero():
		spans = append(spans, canvas.Lit(c.Styles.Warn, " · "), canvas.Span{Style: c.Styles.Warn, Text: v.why})
	case v.came:
		spans = append(spans, canvas.Span{Style: c.Styles.Faint, Text: sanitize.Clean(fmt.Sprintf(" of others: %d of %d", len(v.shown), len(v.all)))})
	}
	if len(v.query.Runes) > 0 {
		spans = append(spans, canvas.Lit(c.Styles.Faint, " · filter "), canvas.Span{Style: c.Styles.Bold, Text: sanitize.Clean(v.query.String())})
	}
	if v.err != nil && v.came {
		spans = append(spans, canvas.Lit(c.Styles.Warn, " · old: "), canvas.Span{Style: c.Styles.Warn, Text: phrase.Error(v.err)})
	}
	c.Spans(x, y, w, spans...)
	return nil
}

// drawRow shows one shell in one line: where, whose, what one may, as whom, for how long.
func (v *View) drawRow(c *canvas.Canvas, row uv.Rectangle, s backend.Session, here bool, now time.Time) {
	mark := "  "
	if here {
		mark = "▸ "
	}
	spans := []canvas.Span{canvas.Lit(c.Styles.Bold, mark)}
	column := func(style uv.Style, text sanitize.Text, cells int) {
		spans = append(spans, canvas.Span{Style: style, Text: text})
		if row.Dx() < wide {
			cells = 0
		}
		spans = append(spans, canvas.Lit(style, " "+strings.Repeat(" ", max(0, cells-canvas.Width(text)))))
	}
	column(c.Styles.Bold, v.name(s.Target), targetCells)
	column(c.Styles.Plain, phrase.Brief(s.Owner), ownerCells)
	if s.Join {
		column(c.Styles.Ok, sanitize.Clean(may(s)), len("observe, join"))
	} else {
		column(c.Styles.Hold, sanitize.Clean(may(s)), len("observe, join"))
	}
	about := "for " + phrase.Duration(max(0, now.Sub(s.Began)))
	if s.As != "" {
		about += ", as " + s.As
	}
	if !s.Away.IsZero() {
		about += ", nobody at it"
	}
	about += ", " + string(s.ID[:min(len(s.ID), idCells)]) // as the command line takes it
	spans = append(spans, canvas.Span{Style: c.Styles.Faint, Text: phrase.Brief(about)})
	c.Spans(row.Min.X, row.Min.Y, row.Dx(), spans...)
	if here {
		c.Restyle(row, uv.AttrReverse)
	}
}
