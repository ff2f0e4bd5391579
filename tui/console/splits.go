package console

import (
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/layout"
)

// growBy is how many cells a key moves the edge of a pane.
const growBy = 2

// frameFrom is the width and the height from which on there is room for a frame.
const frameFrom = 8

// directions of the keys that go to a neighbour, and of those that move an edge.
var (
	focusKeys = map[keymap.Action]layout.Direction{
		keymap.ActFocusLeft: layout.Left, keymap.ActFocusRight: layout.Right, keymap.ActFocusUp: layout.Up, keymap.ActFocusDown: layout.Down,
	}
	growKeys = map[keymap.Action]layout.Direction{
		keymap.ActGrowLeft: layout.Left, keymap.ActGrowRight: layout.Right, keymap.ActGrowUp: layout.Up, keymap.ActGrowDown: layout.Down,
	}
)

// below is the screen without the tab bar and the status line, and while a broadcast is on
// without its frame.
func (m *model) below() uv.Rectangle {
	all := uv.Rect(0, 1, max(1, m.cols), max(1, m.rows-2))
	if len(m.cast) > 0 && all.Dx() >= frameFrom && all.Dy() >= frameFrom {
		return all.Inset(1)
	}
	return all
}

// drawFrame frames the terminals on the screen while a broadcast is on, so that nobody who
// types into t overlooks where it goes.
func (m *model) drawFrame(c *canvas.Canvas, t *tab) {
	area := m.below().Inset(-1)
	if len(m.cast) == 0 || area.Dx() > m.cols {
		return
	}
	if n := m.casting(t); n > 0 {
		c.Frame(area, c.Styles.Deny, canvas.Lit(c.Styles.Deny, fmt.Sprintf(" BROADCAST to %d · %s %s ends it ", n, m.opts.Prefix, m.keys.Key(&keymap.TerminalKeys, keymap.ActCastAll))))
		return
	}
	c.Frame(area, c.Styles.Faint, canvas.Lit(c.Styles.Faint, " not in the broadcast "))
}

// treeOf is the split that t's pane stands in, nil where it has the screen to itself
// or there is no room for more.
func (m *model) treeOf(t *tab) *layout.Tree {
	at := slices.IndexFunc(m.splits, func(s *layout.Tree) bool { return s.Has(t.id) })
	if all := m.below(); at >= 0 && m.splits[at].Fits(all.Dx(), all.Dy()) {
		return m.splits[at]
	}
	return nil
}

// onScreen says whether t can be seen.
func (m *model) onScreen(t *tab) bool {
	now := m.current()
	if now == nil || now == t {
		return now == t
	}
	tree := m.treeOf(now)
	return tree != nil && !m.zoomed && tree.Has(t.id)
}

// areaOf is where t's pane is, or would be. In a split, the row below it is its
// status.
func (m *model) areaOf(t *tab) uv.Rectangle {
	if m.raw == t.id {
		return uv.Rect(0, 0, max(1, m.cols), max(1, m.rows))
	}
	tree := m.treeOf(t)
	if tree == nil || m.zoomed && t == m.current() {
		return m.below()
	}
	panes, _ := tree.Place(m.below())
	area := panes[slices.IndexFunc(panes, func(p layout.Pane) bool { return p.ID == t.id })].Area
	area.Max.Y--
	return area
}

// arrange tells panes their sizes and whether they are shown.
func (m *model) arrange() {
	for _, t := range m.tabs {
		shown := m.onScreen(t)
		if shown {
			t.bell = false
		}
		if t.pane != nil {
			area := m.areaOf(t)
			t.pane.Resize(area.Dx(), area.Dy())
			t.pane.Show(shown)
		}
	}
}

// split opens a shell on t's target beside t, or below it. Policy is asked anew.
func (m *model) split(t *tab, below bool) tea.Cmd {
	at := slices.IndexFunc(m.splits, func(s *layout.Tree) bool { return s.Has(t.id) })
	if at < 0 {
		at = len(m.splits)
		m.splits = append(m.splits, layout.New(t.id))
	}
	tree, id, all := m.splits[at], m.lastTab+1, m.below()
	tree.Split(t.id, id, below)
	m.zoomed = false
	if !tree.Fits(all.Dx(), all.Dy()) {
		m.unsplit(id)
		m.say(m.st.Warn, "no room for one more terminal on this screen", sanitize.Text{})
		return nil
	}
	cmd := m.open(agents.Shell(t.req.Target), t.name)
	if m.find(id) == nil { // too many tabs
		m.unsplit(id)
	}
	m.arrange()
	return cmd
}

// unsplit takes a tab out of its split, and returns a tab that stands beside it.
func (m *model) unsplit(id int) (beside *tab) {
	m.splits = slices.DeleteFunc(m.splits, func(tree *layout.Tree) bool {
		if !tree.Has(id) {
			return false
		}
		tree.Remove(id)
		if panes, _ := tree.Place(m.below()); panes[0].ID != id {
			beside = m.find(panes[0].ID)
		}
		return tree.Alone()
	})
	return beside
}

// splitKey does what keys do to a split, and says whether this was one.
func (m *model) splitKey(t *tab, act keymap.Action) (tea.Cmd, bool) {
	tree := m.treeOf(t)
	switch act {
	case keymap.ActSplitRight:
		return m.split(t, false), true
	case keymap.ActSplitBelow:
		return m.split(t, true), true
	case keymap.ActZoom:
		if tree == nil {
			m.say(m.st.Faint, "nothing stands beside this terminal", sanitize.Text{})
			return nil, true
		}
		m.zoomed = !m.zoomed
		m.arrange()
		return nil, true
	}
	if d, ok := focusKeys[act]; ok {
		if tree != nil {
			if id, ok := tree.Toward(m.below(), t.id, d); ok {
				m.goTo(atTabs + place(slices.Index(m.tabs, m.find(id))))
			}
		}
		return nil, true
	}
	if d, ok := growKeys[act]; ok {
		if tree != nil && !m.zoomed {
			tree.Resize(m.below(), t.id, d, growBy)
			m.arrange()
		}
		return nil, true
	}
	return nil, false
}

// confirmKey is what confirms a start that waits.
func (m *model) confirmKey() string {
	return m.opts.Prefix + " then " + m.keys.Key(&keymap.TerminalKeys, keymap.ActYes)
}

// drawTab shows t and what stands beside it.
func (m *model) drawTab(c *canvas.Canvas, t *tab, now time.Time) *tea.Cursor {
	m.drawFrame(c, t)
	tree := m.treeOf(t)
	if tree == nil || m.zoomed {
		area := m.below()
		cursor := t.draw(c, area, m.keys, now)
		t.starts.Draw(c, area, now, m.confirmKey())
		return cursor
	}
	var cursor *tea.Cursor
	panes, lines := tree.Place(m.below())
	line := c.Styles.Faint
	if m.casting(t) > 0 {
		line = c.Styles.Deny
	}
	for _, l := range lines {
		for y := l.Min.Y; y < l.Max.Y; y++ {
			c.Put(l.Min.X, y, 1, line, "│")
		}
	}
	for _, p := range panes {
		other := m.find(p.ID)
		area := p.Area
		area.Max.Y--
		at := other.draw(c, area, m.keys, now)
		other.starts.Draw(c, area, now, m.confirmKey())
		style, mark := c.Styles.Faint, "  "
		if other == t {
			style, mark, cursor = c.Styles.Active, "▸ ", at
		}
		if n := m.casting(other); n > 0 {
			mark += castWords(n)
			style.Fg, style.Attrs = c.Styles.Deny.Fg, style.Attrs&^uv.AttrFaint|uv.AttrBold|uv.AttrReverse
		}
		spans := []canvas.Span{canvas.Lit(style, mark)}
		for _, text := range other.title() {
			spans = append(spans, canvas.Span{Style: style, Text: text})
		}
		spans = append(spans, canvas.Lit(style, " · "))
		c.Blank(uv.Rect(area.Min.X, area.Max.Y, area.Dx(), 1), style)
		c.Spans(area.Min.X, area.Max.Y, area.Dx(), append(spans, other.status(style, m.keys)...)...)
	}
	return cursor
}
