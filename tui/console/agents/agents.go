// Package agents is the console's list of targets: filter, verdicts, details. It
// holds 100,000 of them; only what is on the screen costs anything.
package agents

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

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
	Rows   []int32 // as Index.Arrange gives them
	found  int     // targets that match
	Cursor int     // into rows
	top    int     // first row on the screen
	Height int     // rows on the screen, of the last frame

	Typing bool // the filter has the keys
	Query  canvas.LineEdit

	shape  Arrangement // but for the filter, which is Query
	folded map[string]bool
	marks  Marks

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
	return View{Ix: NewIndex(nil), policy: policy, Verdicts: make(map[backend.TargetID]Known), Height: 20, folded: make(map[string]bool), marks: make(Marks)}
}

// SetTargets takes a new listing and keeps the cursor on its target.
func (a *View) SetTargets(ix *Index) {
	current, had := a.Current()
	a.loaded = true
	a.Ix, a.Asking = ix, false
	a.ApplyFilter()
	if had {
		at := slices.IndexFunc(a.Rows, func(row int32) bool { return row >= 0 && a.Ix.Targets[row].ID == current.ID })
		if at >= 0 {
			a.Cursor = at
		}
	}
}

// ApplyFilter takes the query as it is typed now.
func (a *View) ApplyFilter() {
	a.Rows, a.found = a.Ix.Arrange(a.Arranged(), a.folded)
	a.Move(0)
}

// Arranged is how the list is shown now.
func (a *View) Arranged() Arrangement {
	out := a.shape
	out.Filter = a.Query.String()
	return out
}

// Arrange shows the list so, from its first target on.
func (a *View) Arrange(to Arrangement) {
	a.shape = to
	a.Query.Set(to.Filter)
	clear(a.folded)
	a.Cursor = 0
	a.ApplyFilter()
	if _, ok := a.Current(); !ok && len(a.Rows) > 1 {
		a.Cursor = 1 // behind the group's name
	}
}

// Fold hides the targets of the group under the cursor, or shows them again. It says
// whether a group is there.
func (a *View) Fold() bool {
	if a.Cursor >= len(a.Rows) || a.Rows[a.Cursor] >= 0 {
		return false
	}
	name := a.Ix.grouping(a.shape.Group).names[-1-a.Rows[a.Cursor]]
	if a.folded[name] = !a.folded[name]; !a.folded[name] {
		delete(a.folded, name)
	}
	a.ApplyFilter()
	return true
}

// Mark marks the target under the cursor, or takes its mark away, and goes on to the
// next row. It returns false where there are too many.
func (a *View) Mark() bool {
	t, ok := a.Current()
	switch {
	case ok && a.marks[t.ID]:
		delete(a.marks, t.ID)
	case ok && len(a.marks) >= MaxMarks:
		return false
	case ok:
		a.marks[t.ID] = true
	}
	a.Move(1)
	return true
}

// MarkAll marks every target that matches the filter, or takes all marks away where
// all of these have one. It returns false, and changes nothing, where that is too many.
func (a *View) MarkAll() bool {
	more := 0
	for _, row := range a.Ix.match {
		if !a.marks[a.Ix.Targets[row].ID] {
			more++
		}
	}
	switch {
	case more == 0:
		clear(a.marks)
		return true
	case len(a.marks)+more > MaxMarks:
		return false
	}
	for _, row := range a.Ix.match {
		a.marks[a.Ix.Targets[row].ID] = true
	}
	return true
}

// Unmark takes all marks away, and says whether there were any.
func (a *View) Unmark() bool {
	had := len(a.marks) > 0
	clear(a.marks)
	return had
}

// Marked are the targets that are marked and still there, in the backend's order.
func (a *View) Marked() (out []backend.Target) {
	if len(a.marks) == 0 {
		return nil
	}
	for _, t := range a.Ix.Targets {
		if a.marks[t.ID] {
			out = append(out, t)
		}
	}
	return out
}

// Current is the target under the cursor.
func (a *View) Current() (backend.Target, bool) {
	if a.Cursor >= len(a.Rows) || a.Rows[a.Cursor] < 0 {
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
		if row < 0 {
			continue
		}
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
	wideFrom     = 60 // cells from which on there are more columns
	maxColumn    = 20 // cells of a tag's column
)

// said is what the first line says at its right: how the list is arranged, and how
// much of it is shown.
func (a *View) said() string {
	var parts []string
	if a.shape.Group != "" {
		parts = append(parts, "by "+a.shape.Group)
	}
	if a.shape.Sort != "" {
		parts = append(parts, "sorted by "+a.shape.Sort)
	}
	if n := len(a.marks); n > 0 {
		parts = append(parts, strconv.Itoa(n)+" marked")
	}
	if a.Typing || len(a.Query.Runes) > 0 || parts != nil {
		parts = append(parts, strconv.Itoa(a.found)+" of "+strconv.Itoa(len(a.Ix.Targets)))
	}
	return strings.Join(parts, " · ")
}

func (a *View) nameWidth(cells int) int {
	if cells < wideFrom {
		return cells - 4 - verdictWidth - 1
	}
	return max(16, cells*3/10)
}

// columnWidths divides cells among the columns of tags: as wide as what is on the
// screen, and none beyond the edge.
func (a *View) columnWidths(cells int) []int {
	var out []int
	for _, key := range a.shape.Columns {
		w := len(key)
		for _, row := range a.Rows[min(a.top, len(a.Rows)):min(a.top+a.Height, len(a.Rows))] {
			if row >= 0 {
				w = max(w, ansi.StringWidth(phrase.Brief(a.Ix.Targets[row].Tags[key]).String()))
			}
		}
		if w = min(w, maxColumn, cells); w <= 0 {
			break
		}
		out = append(out, w)
		cells -= w + 1
	}
	return out
}

// drawTitles names the columns.
func (a *View) drawTitles(c *canvas.Canvas, area uv.Rectangle) {
	st := c.Styles.Faint
	x := area.Min.X + 5
	c.Spans(x, area.Min.Y, area.Max.X-x, canvas.Lit(st, "name"))
	x += a.nameWidth(area.Dx()) + 1
	c.Spans(x, area.Min.Y, area.Max.X-x, canvas.Lit(st, "verdict"))
	x += verdictWidth + 1
	c.Spans(x, area.Min.Y, area.Max.X-x, canvas.Lit(st, "state"))
	x += stateWidth + 1
	for i, w := range a.columnWidths(area.Max.X - x) {
		c.Spans(x, area.Min.Y, w, canvas.Span{Style: st, Text: phrase.Brief(a.shape.Columns[i])})
		x += w + 1
	}
}

// drawGroup shows the name of a group, and how many are in it.
func (a *View) drawGroup(c *canvas.Canvas, area uv.Rectangle, i int) {
	g := a.Ix.grouping(a.shape.Group)
	group := -1 - a.Rows[i]
	marker, fold := "  ", "▾ "
	if i == a.Cursor {
		marker = "> "
	}
	name := g.names[group]
	if a.folded[name] {
		fold = "▸ "
	}
	title := a.shape.Group + "=" + name
	if name == "" {
		title = "without " + a.shape.Group
	}
	c.Spans(area.Min.X, area.Min.Y, area.Dx(), canvas.Lit(c.Styles.Bold, marker+fold), canvas.Span{Style: c.Styles.Bold, Text: phrase.Brief(title)},
		canvas.Lit(c.Styles.Faint, "  "+strconv.Itoa(g.found[group])))
	if i == a.Cursor {
		c.Restyle(area, uv.AttrReverse)
	}
}

// Draw shows the list, the filter, and the details where there is room.
func (a *View) Draw(c *canvas.Canvas, area uv.Rectangle) *tea.Cursor {
	var cursor *tea.Cursor
	top := area.Min.Y
	if said := a.said(); a.Typing || len(a.Query.Runes) > 0 || said != "" {
		room := area.Dx() - ansi.StringWidth(said)
		if a.Typing || len(a.Query.Runes) > 0 {
			n := c.Spans(area.Min.X, top, room, canvas.Lit(c.Styles.Bold, "/"))
			at := a.Query.Draw(c, area.Min.X+n, top, max(1, room-n-1))
			if a.Typing {
				cursor = at
			}
		}
		c.Spans(area.Max.X-min(area.Dx(), ansi.StringWidth(said)), top, area.Dx(), canvas.Span{Style: c.Styles.Faint, Text: sanitize.Clean(said)})
		top++
	}
	if len(a.shape.Columns) > 0 && area.Dx() >= wideFrom {
		a.drawTitles(c, uv.Rect(area.Min.X, top, area.Dx(), 1))
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
	if a.Rows[i] < 0 {
		a.drawGroup(c, area, i)
		return
	}
	t := a.Ix.Targets[a.Rows[i]]
	st := c.Styles
	x, y, right := area.Min.X, area.Min.Y, area.Max.X
	marker := [2]byte{' ', ' '}
	if i == a.Cursor {
		marker[0] = '>'
	}
	if a.marks[t.ID] {
		marker[1] = '*'
	}
	x += c.Spans(x, y, 2, canvas.Lit(st.Bold, string(marker[:])))
	style := st.Plain
	if t.State != backend.Online {
		style = st.Faint
	}
	x += c.Spans(x, y, 2, canvas.Lit(style, phrase.State(t.State)))
	x++
	wide := area.Dx() >= wideFrom
	nameWidth := a.nameWidth(area.Dx())
	c.Spans(x, y, nameWidth, canvas.Span{Style: style, Text: phrase.Brief(t.Name)})
	x += nameWidth + 1
	word, vstyle := a.verdictText(st, t.ID)
	c.Spans(x, y, right-x, canvas.Lit(vstyle, word))
	x += verdictWidth + 1
	if wide {
		c.Spans(x, y, stateWidth, canvas.Lit(style, t.State.String()))
		x += stateWidth + 1
		if len(a.shape.Columns) == 0 {
			c.Spans(x, y, right-x, tagSpans(st, t.Tags)...)
		}
		for i, w := range a.columnWidths(right - x) {
			c.Spans(x, y, w, canvas.Span{Style: st.Faint, Text: phrase.Brief(t.Tags[a.shape.Columns[i]])})
			x += w + 1
		}
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
