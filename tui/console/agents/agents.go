// Package agents is the console's list of targets: filter, verdicts, details. It
// holds 100,000 of them; only what is on the screen costs anything.
package agents

import (
	"maps"
	"slices"
	"strconv"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// maxVerdicts bounds the verdicts that are kept. More are forgotten and asked
// for again when their rows are shown.
const maxVerdicts = 4096

// A View is the list of targets. Only rows on the screen cost anything.
type View struct {
	loaded bool
	Err    error // of the last listing; the rows are those before
	Ix     *Index
	Rows   []int32 // into ix.targets: what the filter leaves
	Cursor int     // into rows
	top    int     // first row on the screen
	Height int     // rows on the screen, of the last frame

	Typing bool // the filter has the keys
	Query  canvas.LineEdit

	Keys *keymap.Keys // for hints

	policy   bool // there is a policy to ask
	Verdicts map[backend.TargetID]Known
	Asking   bool // a batch is on its way
	AskErr   error
}

// A Known verdict is shown until a newer one comes, and asked for again after
// each listing.
type Known struct {
	backend.Verdict
	At *Index // the listing that it was asked for
}

// New makes an empty list. Without a policy no verdicts are asked for.
func New(policy bool) View {
	return View{Ix: NewIndex(nil), policy: policy, Verdicts: make(map[backend.TargetID]Known), Height: 20}
}

// SetTargets takes a new listing and keeps the cursor on its target.
func (a *View) SetTargets(ix *Index) {
	current, had := a.Current()
	a.loaded = true
	a.Ix, a.Asking = ix, false
	a.ApplyFilter()
	if had {
		at := slices.IndexFunc(a.Rows, func(row int32) bool { return a.Ix.Targets[row].ID == current.ID })
		if at >= 0 {
			a.Cursor = at
		}
	}
}

// ApplyFilter takes the query as it is typed now.
func (a *View) ApplyFilter() {
	a.Rows = a.Ix.Filter(a.Query.String())
	a.Move(0)
}

// Current is the target under the cursor.
func (a *View) Current() (backend.Target, bool) {
	if a.Cursor >= len(a.Rows) {
		return backend.Target{}, false
	}
	return a.Ix.Targets[a.Rows[a.Cursor]], true
}

// Move moves the cursor by rows, within the list.
func (a *View) Move(by int) {
	a.Cursor = max(0, min(a.Cursor+by, len(a.Rows)-1))
}

// scrollTo keeps the cursor on the screen.
func (a *View) scrollTo(height int) {
	a.Height = max(1, height)
	a.top = max(0, min(a.top, len(a.Rows)-a.Height))
	if a.Cursor < a.top {
		a.top = a.Cursor
	}
	if a.Cursor >= a.top+a.Height {
		a.top = a.Cursor - a.Height + 1
	}
}

// Unknown returns the targets on the screen and a page ahead whose verdict is
// not known or old.
func (a *View) Unknown() []backend.OpenRequest {
	if !a.policy || a.Asking {
		return nil
	}
	if len(a.Verdicts) > maxVerdicts {
		clear(a.Verdicts)
	}
	var reqs []backend.OpenRequest
	top := a.top
	if a.Cursor < top || a.Cursor >= top+a.Height {
		top = max(0, a.Cursor-a.Height+1)
	}
	for _, row := range a.Rows[min(top, len(a.Rows)):min(top+2*a.Height, len(a.Rows))] {
		id := a.Ix.Targets[row].ID
		if v, ok := a.Verdicts[id]; !ok || v.At != a.Ix {
			reqs = append(reqs, Shell(id))
		}
	}
	return reqs
}

// Shell is the request for a login shell on a target.
func Shell(id backend.TargetID) backend.OpenRequest {
	return backend.OpenRequest{Target: id, Kind: backend.KindShell, TTY: true}
}

// verdictText is the verdict of a row, as far as it is known.
func (a *View) verdictText(st *canvas.Styles, id backend.TargetID) (string, uv.Style) {
	if !a.policy {
		return "no policy", st.Faint
	}
	if v, ok := a.Verdicts[id]; ok {
		return phrase.Verdict(st, v.Effect)
	}
	if a.AskErr != nil {
		return "not known", st.Warn
	}
	return "...", st.Faint
}

// Columns of the list. The state's word and the tags need room.
const (
	stateWidth   = 8
	verdictWidth = 10
	detailsFrom  = 16 // rows of the view from which on details are shown below
	detailsRows  = 5
)

// Draw shows the list, the filter, and the details where there is room.
func (a *View) Draw(c *canvas.Canvas, area uv.Rectangle) *tea.Cursor {
	var cursor *tea.Cursor
	top := area.Min.Y
	if a.Typing || len(a.Query.Runes) > 0 {
		n := c.Spans(area.Min.X, top, area.Dx(), canvas.Lit(c.Styles.Bold, "/"))
		at := a.Query.Draw(c, area.Min.X+n, top, area.Dx()-n-14)
		if a.Typing {
			cursor = at
		}
		count := strconv.Itoa(len(a.Rows)) + " of " + strconv.Itoa(len(a.Ix.Targets))
		c.Spans(area.Max.X-len(count), top, len(count), canvas.Lit(c.Styles.Faint, count))
		top++
	}
	bottom := area.Max.Y
	if area.Dy() >= detailsFrom {
		bottom -= detailsRows + 1
	}
	a.scrollTo(bottom - top)
	if len(a.Rows) == 0 {
		a.drawEmpty(c, uv.Rect(area.Min.X, top, area.Dx(), bottom-top))
	}
	for y := top; y < bottom && a.top+y-top < len(a.Rows); y++ {
		a.drawRow(c, uv.Rect(area.Min.X, y, area.Dx(), 1), a.top+y-top)
	}
	if area.Dy() >= detailsFrom {
		for x := area.Min.X; x < area.Max.X; x++ {
			c.Put(x, bottom, 1, c.Styles.Faint, "─")
		}
		if t, ok := a.Current(); ok {
			below := uv.Rect(area.Min.X+1, bottom+1, area.Dx()-2, detailsRows)
			c.Rows(below, canvas.Layout(a.Details(c.Styles, t), below.Dx()), 0)
		}
	}
	return cursor
}

func (a *View) drawRow(c *canvas.Canvas, area uv.Rectangle, i int) {
	t := a.Ix.Targets[a.Rows[i]]
	st := c.Styles
	x, y, right := area.Min.X, area.Min.Y, area.Max.X
	marker := "  "
	if i == a.Cursor {
		marker = "> "
	}
	x += c.Spans(x, y, 2, canvas.Lit(st.Bold, marker))
	style := st.Plain
	if t.State != backend.Online {
		style = st.Faint
	}
	x += c.Spans(x, y, 2, canvas.Lit(style, phrase.State(t.State)))
	x++
	wide := area.Dx() >= 60
	nameWidth := area.Dx() - 4 - verdictWidth - 1
	if wide {
		nameWidth = max(16, area.Dx()*3/10)
	}
	c.Spans(x, y, nameWidth, canvas.Span{Style: style, Text: phrase.Brief(t.Name)})
	x += nameWidth + 1
	word, vstyle := a.verdictText(st, t.ID)
	c.Spans(x, y, right-x, canvas.Lit(vstyle, word))
	x += verdictWidth + 1
	if wide {
		c.Spans(x, y, stateWidth, canvas.Lit(style, t.State.String()))
		x += stateWidth + 1
		c.Spans(x, y, right-x, tagSpans(st, t.Tags)...)
	}
	if i == a.Cursor {
		c.Restyle(area, uv.AttrReverse)
	}
}

func tagSpans(st *canvas.Styles, tags map[string]string) []canvas.Span {
	var spans []canvas.Span
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if spans != nil {
			spans = append(spans, canvas.Lit(st.Plain, " "))
		}
		spans = append(spans, canvas.Span{Style: st.Faint, Text: phrase.Brief(k + "=" + tags[k])})
	}
	return spans
}

// Details explains the target: the verdict with rule and line, then what the
// backend knows.
func (a *View) Details(st *canvas.Styles, t backend.Target) []canvas.Para {
	var paras []canvas.Para
	switch v, ok := a.Verdicts[t.ID]; {
	case !a.policy:
		paras = append(paras, canvas.Para{Label: "Verdict", Text: sanitize.Literal("no policy: this backend lets you in as far as the target does"), Style: st.Plain})
	case ok:
		paras = phrase.WhyVerdict(st, v.Verdict)
	case a.AskErr != nil:
		paras = append(paras, canvas.Para{Label: "Verdict", Text: phrase.Error(a.AskErr), Style: st.Warn})
	default:
		paras = append(paras, canvas.Para{Label: "Verdict", Text: sanitize.Literal("being asked"), Style: st.Faint})
	}
	paras = append(paras, canvas.Para{Label: "State", Text: sanitize.Literal(t.State.String()), Style: st.Plain})
	for _, k := range slices.Sorted(maps.Keys(t.Detail)) {
		paras = append(paras, canvas.Para{Label: "Detail", Text: phrase.Clean(k + ": " + t.Detail[k]), Style: st.Plain})
	}
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		paras = append(paras, canvas.Para{Label: "Tag", Text: phrase.Clean(k + "=" + t.Tags[k]), Style: st.Plain})
	}
	return paras
}

// drawEmpty says why there is nothing, and the next key.
func (a *View) drawEmpty(c *canvas.Canvas, area uv.Rectangle) {
	key := func(act keymap.Action) string { return a.Keys.Key(&keymap.AgentKeys, act) }
	var paras []canvas.Para
	switch {
	case a.Err != nil && len(a.Ix.Targets) == 0:
		paras = []canvas.Para{
			{Label: "", Text: sanitize.Literal("The list of targets did not come."), Style: c.Styles.Warn},
			{Label: "", Text: phrase.Error(a.Err), Style: c.Styles.Plain},
			{Label: "", Text: sanitize.Clean(key(keymap.ActRefresh) + " tries again."), Style: c.Styles.Plain},
		}
	case !a.loaded:
		paras = []canvas.Para{{Label: "", Text: sanitize.Literal("Asking for the targets ..."), Style: c.Styles.Faint}}
	case len(a.Ix.Targets) == 0:
		paras = []canvas.Para{
			{Label: "", Text: sanitize.Literal("No targets yet."), Style: c.Styles.Bold},
			{Label: "", Text: sanitize.Clean("Enrol an agent on a machine, then press " + key(keymap.ActRefresh) + "."), Style: c.Styles.Plain},
		}
	default:
		paras = []canvas.Para{
			{Label: "", Text: sanitize.Literal("No target matches the filter."), Style: c.Styles.Bold},
			{Label: "", Text: sanitize.Clean(key(keymap.ActBack) + " drops it, " + key(keymap.ActFilter) + " changes it."), Style: c.Styles.Plain},
		}
	}
	inside := uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, max(0, area.Dy()-1))
	c.Rows(inside, canvas.Layout(paras, max(1, inside.Dx())), 0)
}

// An Arrangement is how the list is shown. The zero value is all targets in their
// order.
type Arrangement struct {
	Filter  string   // as it is typed
	Sort    string   // "name", "state" or a tag's key; "-" before it turns it round; empty: the best match, then the backend's order
	Group   string   // a tag's key; empty: no groups
	Columns []string // tags' keys, a column each; empty: tags as text
}

// A Saved arrangement can be chosen by its name.
type Saved struct {
	Name string
	Arrangement
}
