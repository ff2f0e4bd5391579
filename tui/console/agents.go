package console

import (
	"maps"
	"slices"
	"strconv"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// maxVerdicts bounds the verdicts that are kept. More are forgotten and asked
// for again when their rows are shown.
const maxVerdicts = 4096

// agents is the list of targets. Only rows on the screen cost anything.
type agents struct {
	loaded bool
	err    error // of the last listing; the rows are those before
	ix     *index
	rows   []int32 // into ix.targets: what the filter leaves
	cursor int     // into rows
	top    int     // first row on the screen
	height int     // rows on the screen, of the last frame

	typing bool // the filter has the keys
	query  lineEdit

	policy   bool // there is a policy to ask
	verdicts map[backend.TargetID]known
	asking   bool // a batch is on its way
	askErr   error
}

// A known verdict is shown until a newer one comes, and asked for again after
// each listing.
type known struct {
	backend.Verdict
	at *index // the listing that it was asked for
}

func newAgents(policy bool) agents {
	return agents{ix: newIndex(nil), policy: policy, verdicts: make(map[backend.TargetID]known), height: 20}
}

// setTargets takes a new listing and keeps the cursor on its target.
func (a *agents) setTargets(ix *index) {
	current, had := a.current()
	a.loaded = true
	a.ix, a.asking = ix, false
	a.applyFilter()
	if had {
		at := slices.IndexFunc(a.rows, func(row int32) bool { return a.ix.targets[row].ID == current.ID })
		if at >= 0 {
			a.cursor = at
		}
	}
}

func (a *agents) applyFilter() {
	a.rows = a.ix.filter(a.query.String())
	a.move(0)
}

// current is the target under the cursor.
func (a *agents) current() (backend.Target, bool) {
	if a.cursor >= len(a.rows) {
		return backend.Target{}, false
	}
	return a.ix.targets[a.rows[a.cursor]], true
}

func (a *agents) move(by int) {
	a.cursor = max(0, min(a.cursor+by, len(a.rows)-1))
}

// scrollTo keeps the cursor on the screen.
func (a *agents) scrollTo(height int) {
	a.height = max(1, height)
	a.top = max(0, min(a.top, len(a.rows)-a.height))
	if a.cursor < a.top {
		a.top = a.cursor
	}
	if a.cursor >= a.top+a.height {
		a.top = a.cursor - a.height + 1
	}
}

// unknown returns the targets on the screen and a page ahead whose verdict is
// not known or old.
func (a *agents) unknown() []backend.OpenRequest {
	if !a.policy || a.asking {
		return nil
	}
	if len(a.verdicts) > maxVerdicts {
		clear(a.verdicts)
	}
	var reqs []backend.OpenRequest
	top := a.top
	if a.cursor < top || a.cursor >= top+a.height {
		top = max(0, a.cursor-a.height+1)
	}
	for _, row := range a.rows[min(top, len(a.rows)):min(top+2*a.height, len(a.rows))] {
		id := a.ix.targets[row].ID
		if v, ok := a.verdicts[id]; !ok || v.at != a.ix {
			reqs = append(reqs, shellRequest(id))
		}
	}
	return reqs
}

func shellRequest(id backend.TargetID) backend.OpenRequest {
	return backend.OpenRequest{Target: id, Kind: backend.KindShell, TTY: true}
}

// verdictText is the verdict of a row, as far as it is known.
func (a *agents) verdictText(st *styles, id backend.TargetID) (string, uv.Style) {
	if !a.policy {
		return "no policy", st.faint
	}
	if v, ok := a.verdicts[id]; ok {
		return verdictWord(st, v.Effect)
	}
	if a.askErr != nil {
		return "not known", st.warn
	}
	return "...", st.faint
}

// Columns of the list. The state's word and the tags need room.
const (
	stateWidth   = 8
	verdictWidth = 10
	detailsFrom  = 16 // rows of the view from which on details are shown below
	detailsRows  = 5
)

// draw shows the list, the filter, and the details where there is room.
func (a *agents) draw(c *canvas, area uv.Rectangle) *tea.Cursor {
	var cursor *tea.Cursor
	top := area.Min.Y
	if a.typing || len(a.query.runes) > 0 {
		n := c.line(area.Min.X, top, area.Dx(), lit(c.st.bold, "/"))
		at := a.query.draw(c, area.Min.X+n, top, area.Dx()-n-14)
		if a.typing {
			cursor = at
		}
		count := strconv.Itoa(len(a.rows)) + " of " + strconv.Itoa(len(a.ix.targets))
		c.line(area.Max.X-len(count), top, len(count), lit(c.st.faint, count))
		top++
	}
	bottom := area.Max.Y
	if area.Dy() >= detailsFrom {
		bottom -= detailsRows + 1
	}
	a.scrollTo(bottom - top)
	if len(a.rows) == 0 {
		a.drawEmpty(c, uv.Rect(area.Min.X, top, area.Dx(), bottom-top))
	}
	for y := top; y < bottom && a.top+y-top < len(a.rows); y++ {
		a.drawRow(c, uv.Rect(area.Min.X, y, area.Dx(), 1), a.top+y-top)
	}
	if area.Dy() >= detailsFrom {
		for x := area.Min.X; x < area.Max.X; x++ {
			c.put(x, bottom, 1, c.st.faint, "─")
		}
		if t, ok := a.current(); ok {
			below := uv.Rect(area.Min.X+1, bottom+1, area.Dx()-2, detailsRows)
			c.rows(below, layout(a.details(c.st, t), below.Dx()), 0)
		}
	}
	return cursor
}

func (a *agents) drawRow(c *canvas, area uv.Rectangle, i int) {
	t := a.ix.targets[a.rows[i]]
	st := c.st
	x, y, right := area.Min.X, area.Min.Y, area.Max.X
	marker := "  "
	if i == a.cursor {
		marker = "> "
	}
	x += c.line(x, y, 2, lit(st.bold, marker))
	style := st.plain
	if t.State != backend.Online {
		style = st.faint
	}
	x += c.line(x, y, 2, lit(style, stateGlyph(t.State)))
	x++
	wide := area.Dx() >= 60
	nameWidth := area.Dx() - 4 - verdictWidth - 1
	if wide {
		nameWidth = max(16, area.Dx()*3/10)
	}
	c.line(x, y, nameWidth, span{style, brief(t.Name)})
	x += nameWidth + 1
	word, vstyle := a.verdictText(st, t.ID)
	c.line(x, y, right-x, lit(vstyle, word))
	x += verdictWidth + 1
	if wide {
		c.line(x, y, stateWidth, lit(style, t.State.String()))
		x += stateWidth + 1
		c.line(x, y, right-x, tagSpans(st, t.Tags)...)
	}
	if i == a.cursor {
		c.restyle(area, uv.AttrReverse)
	}
}

func tagSpans(st *styles, tags map[string]string) []span {
	var spans []span
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if spans != nil {
			spans = append(spans, lit(st.plain, " "))
		}
		spans = append(spans, span{st.faint, brief(k + "=" + tags[k])})
	}
	return spans
}

// details explain the target: the verdict with rule and line, then what the
// backend knows.
func (a *agents) details(st *styles, t backend.Target) []para {
	var paras []para
	switch v, ok := a.verdicts[t.ID]; {
	case !a.policy:
		paras = append(paras, para{"Verdict", sanitize.Literal("no policy: this backend lets you in as far as the target does"), st.plain})
	case ok:
		paras = verdictParas(st, v.Verdict)
	case a.askErr != nil:
		paras = append(paras, para{"Verdict", errorText(a.askErr), st.warn})
	default:
		paras = append(paras, para{"Verdict", sanitize.Literal("being asked"), st.faint})
	}
	paras = append(paras, para{"State", sanitize.Literal(t.State.String()), st.plain})
	for _, k := range slices.Sorted(maps.Keys(t.Detail)) {
		paras = append(paras, para{"Detail", clean(k + ": " + t.Detail[k]), st.plain})
	}
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		paras = append(paras, para{"Tag", clean(k + "=" + t.Tags[k]), st.plain})
	}
	return paras
}

// drawEmpty says why there is nothing, and the next key.
func (a *agents) drawEmpty(c *canvas, area uv.Rectangle) {
	var paras []para
	switch {
	case a.err != nil && len(a.ix.targets) == 0:
		paras = []para{
			{"", sanitize.Literal("The list of targets did not come."), c.st.warn},
			{"", errorText(a.err), c.st.plain},
			{"", sanitize.Literal("r tries again."), c.st.plain},
		}
	case !a.loaded:
		paras = []para{{"", sanitize.Literal("Asking for the targets ..."), c.st.faint}}
	case len(a.ix.targets) == 0:
		paras = []para{
			{"", sanitize.Literal("No targets yet."), c.st.bold},
			{"", sanitize.Literal("Enrol an agent on a machine, then press r."), c.st.plain},
		}
	default:
		paras = []para{
			{"", sanitize.Literal("No target matches the filter."), c.st.bold},
			{"", sanitize.Literal("esc drops it, / changes it."), c.st.plain},
		}
	}
	inside := uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, max(0, area.Dy()-1))
	c.rows(inside, layout(paras, max(1, inside.Dx())), 0)
}
