// Package auditlog is the console's view of the team's audit log: newest at the bottom,
// followed as it grows, filtered by words, each entry with what was proved of it, and from
// an entry of a session to its recording.
//
// Invariants: an entry that does not verify is shown as just that; nothing is called proved
// that the backend has not checked; what is kept of the log is bounded.
package auditlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/player"
)

const (
	// pageSize is how many entries are asked for at once.
	pageSize = 200
	// maxKept bounds the entries that are kept: the newest.
	maxKept = 20_000
	// followEvery is how often a log that is followed is asked for more.
	followEvery = 2 * time.Second
	askTimeout  = 30 * time.Second
)

// A View is the audit log on the screen. It implements dialog.Live.
type View struct {
	ctx    context.Context
	end    context.CancelFunc
	log    backend.Auditor
	keys   *keymap.Keys
	first  bool // nothing was answered yet
	asking bool
	err    error

	from    uint64             // index of the first of entries
	entries []backend.LogEntry // oldest first, without a gap
	texts   []string           // of entries, as a filter looks at them
	size    uint64             // of the log

	follow bool
	typing bool
	query  canvas.LineEdit
	shown  []int // of entries, those that the filter lets through
	cursor int   // in shown
	top    int
	height int
}

// New makes the view of a log. ctx ends what it asks.
func New(ctx context.Context, log backend.Auditor, keys *keymap.Keys) *View {
	ctx, end := context.WithCancel(ctx)
	return &View{ctx: ctx, end: end, log: log, keys: keys, first: true, follow: true, height: 1}
}

// Of is the view of a backend's log, or a notice that it has none.
func Of(ctx context.Context, b backend.Backend, keys *keymap.Keys) dialog.Dialog {
	if log, ok := backend.As[backend.Auditor](b); ok {
		return New(ctx, log, keys)
	}
	return &dialog.Notice{Title: sanitize.Literal("No audit log"), Body: func(st *canvas.Styles) []canvas.Para {
		return []canvas.Para{{Text: sanitize.Literal("This backend keeps no audit log and no recordings: what is done here is written down nowhere."), Style: st.Warn}}
	}}
}

type (
	pageMsg struct {
		view *View
		from uint64
		page backend.LogPage
		err  error
	}
	tickMsg struct{ view *View }
)

// Begin implements dialog.Live.
func (v *View) Begin() tea.Cmd { return tea.Batch(v.ask(0, 1), v.tick()) }

// End implements dialog.Live.
func (v *View) End() { v.end() }

func (v *View) tick() tea.Cmd {
	return tea.Tick(followEvery, func(time.Time) tea.Msg { return tickMsg{v} })
}

// ask asks for entries, unless an answer is still to come.
func (v *View) ask(from uint64, n int) tea.Cmd {
	if v.asking {
		return nil
	}
	v.asking = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(v.ctx, askTimeout)
		defer cancel()
		page, err := v.log.Log(ctx, from, n)
		return pageMsg{v, from, page, err}
	}
}

// older asks for what is before the first entry.
func (v *View) older() tea.Cmd {
	n := min(v.from, pageSize, uint64(maxKept-len(v.entries)))
	if n == 0 {
		return nil
	}
	return v.ask(v.from-n, int(n))
}

// newer asks for what came after the last one.
func (v *View) newer() tea.Cmd { return v.ask(v.from+uint64(len(v.entries)), pageSize) }

// Receive implements dialog.Live.
func (v *View) Receive(msg tea.Msg, _ time.Time) tea.Cmd {
	switch msg := msg.(type) {
	case tickMsg:
		switch {
		case msg.view != v || v.ctx.Err() != nil:
			return nil
		case v.first:
			return tea.Batch(v.ask(0, 1), v.tick())
		}
		return tea.Batch(v.newer(), v.tick())
	case pageMsg:
		if msg.view == v {
			return v.take(msg)
		}
	}
	return nil
}

func (v *View) take(msg pageMsg) tea.Cmd {
	v.asking = false
	if v.err = msg.err; v.err != nil {
		return nil
	}
	v.size = msg.page.Size
	if v.first { // only the size was asked for
		v.first = false
		v.from = v.size - min(v.size, pageSize)
		return v.newer()
	}
	at, had := v.current()
	got := msg.page.Entries
	switch next := v.from + uint64(len(v.entries)); {
	case len(got) == 0:
		return nil
	case msg.from == next:
		v.entries = append(v.entries, got...)
		v.texts = append(v.texts, texts(got)...)
		if over := len(v.entries) - maxKept; over > 0 {
			v.entries, v.texts, v.from = slices.Delete(v.entries, 0, over), slices.Delete(v.texts, 0, over), v.from+uint64(over)
		}
	case msg.from+uint64(len(got)) == v.from:
		v.entries, v.texts, v.from = slices.Concat(got, v.entries), slices.Concat(texts(got), v.texts), msg.from
	default:
		return nil // asked for before something else came
	}
	v.applyAt(at, had)
	switch {
	case msg.from+uint64(len(got)) < v.size && v.from+uint64(len(v.entries)) < v.size:
		return v.newer()
	case len(v.shown) < v.height:
		return v.older() // a filter that finds little looks further back
	}
	return nil
}

// apply makes shown anew, and stays at the entry under the cursor, or at the newest.
func (v *View) apply() { v.applyAt(v.current()) }

func (v *View) applyAt(at backend.LogEntry, had bool) {
	q := parse(v.query.String())
	v.shown = v.shown[:0]
	v.cursor = 0
	for i := range v.entries {
		if q.matches(&v.entries[i], v.texts[i]) {
			if had && v.entries[i].Index <= at.Index {
				v.cursor = len(v.shown)
			}
			v.shown = append(v.shown, i)
		}
	}
	if v.follow || !had {
		v.cursor = max(0, len(v.shown)-1)
	}
}

func (v *View) current() (backend.LogEntry, bool) {
	if v.cursor < 0 || v.cursor >= len(v.shown) || v.shown[v.cursor] >= len(v.entries) {
		return backend.LogEntry{}, false
	}
	return v.entries[v.shown[v.cursor]], true
}

// Keys implements dialog.Dialog.
func (v *View) Keys() *keymap.Map {
	if v.typing {
		return nil
	}
	return &keymap.AuditKeys
}

// Paste implements dialog.Dialog.
func (v *View) Paste(text string) {
	if v.typing {
		v.query.Insert(text)
		v.apply()
	}
}

// Key implements dialog.Dialog.
func (v *View) Key(k tea.KeyPressMsg, _ time.Time) dialog.Outcome {
	if v.typing {
		return v.typed(k)
	}
	e, ok := v.current()
	switch act := keymap.AuditKeys.Lookup(k.String()); act {
	case keymap.ActBack:
		if len(v.query.Runes) == 0 {
			return dialog.Outcome{Close: true}
		}
		v.query.Set("")
		v.apply()
	case keymap.ActFilter:
		v.typing = true
	case keymap.ActFollow:
		if v.follow = !v.follow; v.follow {
			v.cursor = max(0, len(v.shown)-1)
		}
	case keymap.ActShow:
		if ok {
			return dialog.Outcome{Do: dialog.DoDialog{Next: newDetails(v.ctx, v.log, e)}}
		}
	case keymap.ActPlay:
		if ok {
			return play(v.ctx, v.log, e)
		}
	default:
		by := 0
		switch act {
		case keymap.ActDown:
			by = 1
		case keymap.ActUp:
			by = -1
		case keymap.ActPageDown:
			by = v.height
		case keymap.ActPageUp:
			by = -v.height
		case keymap.ActTop:
			by = -len(v.shown)
		case keymap.ActBottom:
			by = len(v.shown)
		}
		if by == 0 {
			return dialog.Outcome{}
		}
		before := v.cursor
		v.cursor = max(0, min(v.cursor+by, len(v.shown)-1))
		v.follow = v.cursor == len(v.shown)-1 && by > 0
		if by < 0 && (v.cursor == 0 || v.cursor == before) {
			return dialog.Outcome{Do: dialog.DoCmd{Cmd: v.older()}}
		}
	}
	return dialog.Outcome{}
}

// typed takes a key of the filter's line.
func (v *View) typed(k tea.KeyPressMsg) dialog.Outcome {
	switch k.String() {
	case "esc", "ctrl+c":
		v.typing = false
		v.query.Set("")
	case "enter":
		v.typing = false
	default:
		if !v.query.Key(k) {
			return dialog.Outcome{}
		}
	}
	v.apply()
	if len(v.shown) < v.height {
		return dialog.Outcome{Do: dialog.DoCmd{Cmd: v.older()}}
	}
	return dialog.Outcome{}
}

// play opens the recording of an entry's session, or says why there is none.
func play(ctx context.Context, log backend.Auditor, e backend.LogEntry) dialog.Outcome {
	if e.Session == "" {
		return dialog.Outcome{Do: dialog.DoDialog{Next: &dialog.Notice{
			Title: sanitize.Literal("No recording"),
			Body: func(st *canvas.Styles) []canvas.Para {
				return []canvas.Para{{Text: sanitize.Literal("This entry is about no session. Entries with a session are those of type session-start, session-end, exec and verdict; filter with kind:session."), Style: st.Plain}}
			},
		}}}
	}
	return dialog.Outcome{Do: dialog.DoDialog{Next: player.New(ctx, log, e.Session)}}
}

// Draw implements dialog.Dialog.
func (v *View) Draw(c *canvas.Canvas, area uv.Rectangle, now time.Time) *tea.Cursor {
	c.Blank(area, c.Styles.Plain)
	if area.Dy() < 3 || area.Dx() < 4 {
		return nil
	}
	cursor := v.drawHead(c, area)
	list := uv.Rect(area.Min.X, area.Min.Y+1, area.Dx(), area.Dy()-1)
	v.height = list.Dy()
	switch {
	case v.err != nil && len(v.entries) == 0:
		v.drawText(c, list, whyNot(v.err, c.Styles))
		return cursor
	case v.first || len(v.entries) == 0 && v.asking:
		v.drawText(c, list, []canvas.Para{{Text: sanitize.Literal("Asking for the audit log ..."), Style: c.Styles.Faint}})
		return cursor
	case len(v.shown) == 0 && len(v.query.Runes) > 0:
		text := fmt.Sprintf("None of the %d entries that were looked at fits. esc drops the filter.", len(v.entries))
		v.drawText(c, list, []canvas.Para{{Text: sanitize.Clean(text), Style: c.Styles.Plain}})
		return cursor
	case len(v.shown) == 0:
		v.drawText(c, list, []canvas.Para{{Text: sanitize.Literal("Nothing has happened yet. Open a shell, and it stands here."), Style: c.Styles.Plain}})
		return cursor
	}
	v.top = max(min(v.top, v.cursor), v.cursor-v.height+1)
	v.top = max(0, min(v.top, len(v.shown)-v.height))
	for y := 0; y < v.height && v.top+y < len(v.shown); y++ {
		v.drawRow(c, uv.Rect(list.Min.X, list.Min.Y+y, list.Dx(), 1), &v.entries[v.shown[v.top+y]], v.top+y == v.cursor)
	}
	return cursor
}

// drawHead says what is shown, and how much of what.
func (v *View) drawHead(c *canvas.Canvas, area uv.Rectangle) *tea.Cursor {
	x, y, w := area.Min.X, area.Min.Y, area.Dx()
	if v.typing {
		used := c.Spans(x, y, w, canvas.Lit(c.Styles.Bold, "Filter: "))
		return v.query.Draw(c, x+used, y, max(1, w-used))
	}
	if v.first {
		c.Spans(x, y, w, canvas.Lit(c.Styles.Bold, "Audit log"))
		return nil
	}
	head := fmt.Sprintf("%d of %d entries", len(v.shown), v.size)
	if n := len(v.entries); uint64(n) < v.size && v.from > 0 {
		head += fmt.Sprintf(", %d looked at", n)
	}
	spans := []canvas.Span{canvas.Lit(c.Styles.Bold, "Audit log "), {Style: c.Styles.Faint, Text: sanitize.Clean(head)}}
	if v.follow {
		spans = append(spans, canvas.Lit(c.Styles.Ok, " · following"))
	}
	if len(v.query.Runes) > 0 {
		spans = append(spans, canvas.Lit(c.Styles.Faint, " · filter "), canvas.Span{Style: c.Styles.Bold, Text: sanitize.Clean(v.query.String())})
	}
	if v.err != nil {
		spans = append(spans, canvas.Lit(c.Styles.Warn, " · old: "), canvas.Span{Style: c.Styles.Warn, Text: phrase.Error(v.err)})
	}
	c.Spans(x, y, w, spans...)
	return nil
}

func (v *View) drawText(c *canvas.Canvas, area uv.Rectangle, paras []canvas.Para) {
	inside := uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, max(0, area.Dy()-1))
	c.Rows(inside, canvas.Layout(paras, max(1, inside.Dx())), 0)
}

// whyNot says why there is no log to see, and what to do.
func whyNot(err error, st *canvas.Styles) []canvas.Para {
	next := "It is asked for again every few seconds."
	if errors.Is(err, backend.ErrDenied) {
		next = "The log is for auditors and admins. An admin can give you that role: `tucdesk roster`."
	}
	return []canvas.Para{
		{Text: sanitize.Literal("✗ The audit log can't be shown."), Style: st.Deny},
		{},
		{Label: "Cause", Text: phrase.Error(err), Style: st.Plain},
		{Label: "Next", Text: sanitize.Literal(next), Style: st.Plain},
	}
}

// drawRow shows one entry in one line: when, who, what, on what, and how it ended.
func (v *View) drawRow(c *canvas.Canvas, row uv.Rectangle, e *backend.LogEntry, here bool) {
	mark := "  "
	if here {
		mark = "▸ "
	}
	spans := []canvas.Span{canvas.Lit(c.Styles.Bold, mark)}
	if e.Problem != "" {
		spans = append(spans, canvas.Span{Style: c.Styles.Deny, Text: sanitize.Clean(fmt.Sprintf("✗ entry %d does not verify: ", e.Index))},
			canvas.Span{Style: c.Styles.Deny, Text: phrase.Brief(e.Problem)})
		c.Spans(row.Min.X, row.Min.Y, row.Dx(), spans...)
		return
	}
	at, narrow := e.Time.Local().Format("01-02 15:04:05"), row.Dx() < 60
	if narrow {
		at = at[6:11]
	}
	if e.BreakGlass {
		spans = append(spans, canvas.Lit(c.Styles.Deny, "BREAK-GLASS "))
	}
	spans = append(spans, canvas.Span{Style: c.Styles.Faint, Text: sanitize.Clean(at + " ")})
	who := canvas.Span{Style: c.Styles.Plain, Text: phrase.Brief(e.Actor)}
	if !narrow {
		spans = append(spans, who, canvas.Lit(c.Styles.Faint, " "))
	}
	spans = append(spans, canvas.Span{Style: c.Styles.Bold, Text: phrase.Brief(e.Type)})
	if e.Action != "" && e.Action != e.Type {
		spans = append(spans, canvas.Lit(c.Styles.Plain, " "), canvas.Span{Style: c.Styles.Plain, Text: phrase.Brief(e.Action)})
	}
	if e.Target != "" {
		spans = append(spans, canvas.Lit(c.Styles.Faint, " on "), canvas.Span{Style: c.Styles.Plain, Text: phrase.Brief(e.Target)})
	}
	if narrow && e.Actor != "" {
		spans = append(spans, canvas.Lit(c.Styles.Faint, " by "), who)
	}
	if e.Effect != "" {
		word, style := phrase.Verdict(c.Styles, effect(e.Effect))
		spans = append(spans, canvas.Lit(style, " "+word))
	}
	if e.Recorded {
		spans = append(spans, canvas.Lit(c.Styles.Ok, " ▶ recorded"))
	}
	switch {
	case e.Argv != nil:
		spans = append(spans, canvas.Lit(c.Styles.Faint, ": "), canvas.Span{Style: c.Styles.Plain, Text: phrase.BriefRequest("exec", e.Argv)})
	case e.Reason != "":
		spans = append(spans, canvas.Lit(c.Styles.Faint, ": "), canvas.Span{Style: c.Styles.Plain, Text: phrase.Brief(e.Reason)})
	}
	c.Spans(row.Min.X, row.Min.Y, row.Dx(), spans...)
}

// effect is an effect by its word; a word that is none denies.
func effect(word string) backend.Effect {
	for _, e := range []backend.Effect{backend.Hold, backend.Confirm, backend.Allow} {
		if e.String() == word {
			return e
		}
	}
	return backend.Deny
}
