package console

import (
	"fmt"
	"slices"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/arrange"
	"github.com/tucdesk/tucdesk/tui/console/auditlog"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/copymode"
	"github.com/tucdesk/tucdesk/tui/console/details"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/links"
	"github.com/tucdesk/tucdesk/tui/console/live"
	"github.com/tucdesk/tucdesk/tui/console/onlookers"
	"github.com/tucdesk/tucdesk/tui/console/palette"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/program"
	"github.com/tucdesk/tucdesk/tui/console/prompts"
	"github.com/tucdesk/tucdesk/tui/console/tour"
)

// A doPaste is a paste that was read and confirmed, for one tab.
type doPaste struct {
	tab  int
	text string
}

// Prefix implements program.Model: where a program has the keys, all but one are
// its own, as they were typed.
func (m *model) Prefix() string {
	if m.focused() != nil && !m.prefixed {
		return m.opts.Prefix
	}
	return ""
}

// input hands on what was typed for the program in the current tab.
func (m *model) input(in program.InputMsg) {
	t := m.current()
	switch {
	case t == nil || t.pane == nil:
	default:
		for _, to := range m.castTo(t) {
			if in.Key != nil {
				to.pane.Sequence(uv.Key(in.Key.Key()), in.Bytes)
			} else {
				to.pane.Send(in.Bytes)
			}
		}
	}
}

func (m *model) paste(text string) {
	switch t := m.current(); {
	case m.top() != nil:
		m.top().Paste(text)
	case m.place == atAgents && m.agents.Typing:
		m.agents.Query.Insert(text)
		m.agents.ApplyFilter()
	case t != nil && t.needsPrefix():
		into, why, n := t.name, prompts.WhyPaste(text, t.pane.Bracketed()), len(m.castTo(t))
		switch {
		case n == 0:
			return
		case n > 1:
			into, why = sanitize.Clean(fmt.Sprintf("%d terminals", n)), "It goes to all of them. "+why
		}
		if why != "" {
			m.push(prompts.Paste(into, text, why, doPaste{t.id, text}))
			return
		}
		t.scroll = false
		t.pane.Paste(text)
	}
}

// key sends a key to where it belongs: the topmost dialog, the filter, the
// program, or the console.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	if d := m.top(); d != nil {
		out := d.Key(m.keys.Own(d.Keys(), k), m.now())
		if out.Close {
			dialog.End(d)
			m.dialogs = slices.DeleteFunc(m.dialogs, func(x dialog.Dialog) bool { return x == d })
		}
		return m.do(out.Do)
	}
	switch {
	case m.place == atAgents && m.agents.Typing:
		return m.filterKey(k)
	case m.place == atAgents:
		return m.agentDo(m.keys.Of(&keymap.AgentKeys).Lookup(k.String()), k)
	case m.place == atApprovals:
		return m.approvalDo(m.keys.Of(&keymap.ApprovalKeys).Lookup(k.String()), k)
	}
	return m.tabKey(k)
}

func (m *model) filterKey(k tea.KeyPressMsg) tea.Cmd {
	a := &m.agents
	switch act := m.keys.Of(&keymap.FilterKeys).Lookup(k.String()); act {
	case keymap.ActOpen:
		a.Typing = false
	case keymap.ActPalette:
		a.Typing = false
		return m.everywhere(act, k)
	case keymap.ActBack:
		a.Typing = false
		a.Query.Set("")
		a.ApplyFilter()
	case keymap.ActDown, keymap.ActUp:
		a.Move(keymap.Moved(act, a.Height, len(a.Rows)))
	default:
		if a.Query.Key(k) {
			a.Cursor = 0
			a.ApplyFilter()
		}
	}
	return nil
}

// agentDo does an action of the list of targets. A key that is none may be a digit.
func (m *model) agentDo(act keymap.Action, k tea.KeyPressMsg) tea.Cmd {
	m.did.Add(act.String())
	a := &m.agents
	t, ok := a.Current()
	switch act {
	case keymap.ActOpen:
		if a.Fold() {
			return nil
		}
		if ok {
			return m.open(agents.Shell(t.ID), phrase.Brief(t.Name))
		}
	case keymap.ActExec:
		if many := a.Marked(); len(many) > 0 {
			m.execOnMarked(many)
		} else if ok {
			m.push(prompts.Exec([]canvas.Para{{Label: "Target", Text: phrase.Clean(t.Name), Style: m.st.Bold}}, func(words []string) any {
				return dialog.DoOpen{Req: backend.OpenRequest{Target: t.ID, Kind: backend.KindExec, Argv: words, TTY: true}}
			}))
		}
	case keymap.ActFilter:
		a.Typing = true
	case keymap.ActBack:
		if !a.Unmark() {
			a.Query.Set("")
			a.ApplyFilter()
		}
	case keymap.ActMark:
		if !a.Fold() && !a.Mark() {
			m.say(m.st.Warn, tooManyMarks, sanitize.Text{})
		}
	case keymap.ActMarkAll:
		if !a.MarkAll() {
			m.say(m.st.Warn, tooManyMarks, sanitize.Text{})
		}
	case keymap.ActSort:
		m.push(arrange.Sort(a.Ix, a.Arranged()))
	case keymap.ActGroup:
		m.push(arrange.Group(a.Ix, a.Arranged()))
	case keymap.ActColumns:
		m.push(arrange.Columns(a.Ix, a.Arranged()))
	case keymap.ActAttach:
		all := m.lists.Shells.Entries(m.now(), m.nameOf)
		if len(all) == 0 {
			m.say(m.st.Faint, "no shell of yours runs that nobody is at", sanitize.Text{})
			return nil
		}
		m.push(palette.Choose("Come back to a shell", all))
	case keymap.ActViews:
		m.push(arrange.Views(m.opts.Views, m.kept.Views, a.Arranged()))
	case keymap.ActDetails:
		if ok {
			return m.do(dialog.DoDialog{Next: details.New(m.ctx, m.backend, agents.Shell(t.ID), phrase.Brief(t.Name), func(st *canvas.Styles) []canvas.Para {
				return append([]canvas.Para{{Label: "Target", Text: phrase.Clean(t.Name), Style: st.Bold}}, a.Details(st, t)...)
			})})
		}
	case keymap.ActRefresh:
		m.say(m.st.Faint, "asking again", sanitize.Text{})
		a.Asking = false
		return m.lists.Targets(m.agents.Arranged())
	default:
		a.Move(keymap.Moved(act, a.Height, len(a.Rows)))
		return m.everywhere(act, k)
	}
	return nil
}

func (m *model) approvalDo(act keymap.Action, k tea.KeyPressMsg) tea.Cmd {
	m.did.Add(act.String())
	q := &m.queue
	switch act {
	case keymap.ActShow:
		if a, ok := q.Current(); ok {
			m.push(q.Open(a))
		}
	case keymap.ActRefresh:
		m.say(m.st.Faint, "asking again", sanitize.Text{})
		return m.lists.Approvals()
	case keymap.ActBack:
		m.goTo(atAgents)
	default:
		q.Move(keymap.Moved(act, max(1, m.rows-3), len(q.List)))
		return m.everywhere(act, k)
	}
	return nil
}

func (m *model) tabKey(k tea.KeyPressMsg) tea.Cmd {
	t := m.current()
	key := k.String()
	if t.scroll && !m.prefixed && key != m.opts.Prefix {
		m.scrollDo(t, m.keys.Of(&keymap.ScrollKeys).Lookup(key))
		return nil
	}
	switch {
	case m.raw != 0 && key == m.opts.Prefix:
		m.takeBack()
		return nil
	case !m.prefixed && key == m.opts.Prefix && t.needsPrefix():
		m.prefixed = true
		return nil
	case !m.prefixed && t.needsPrefix(), m.prefixed && key == m.opts.Prefix:
		m.prefixed = false
		for _, to := range m.castTo(t) {
			to.pane.Key(uv.Key(k.Key()))
		}
		return nil
	}
	m.prefixed = false
	return m.tabDo(t, m.keys.Of(&keymap.TerminalKeys).Lookup(key), k)
}

// tabDo does an action of the terminal on the screen.
func (m *model) tabDo(t *tab, act keymap.Action, k tea.KeyPressMsg) tea.Cmd {
	m.did.Add(act.String())
	switch act {
	case keymap.ActScroll:
		if t.state == tabRunning {
			t.scroll = true
			if k.String() == "pgup" {
				t.pane.Scroll(m.areaOf(t).Dy())
			}
		}
	case keymap.ActCopyMode:
		if t.state == tabRunning {
			lines, top := t.pane.Lines()
			at := top
			if _, y, shown := t.pane.Cursor(); shown {
				at += y
			}
			m.push(copymode.New(lines, top, at))
		}
	case keymap.ActCloseTab:
		m.closeTab(t)
	case keymap.ActDetails:
		m.push(&dialog.Notice{Title: t.name, Body: t.details})
	case keymap.ActAgain:
		return m.again(t)
	case keymap.ActYes:
		if !t.starts.Confirm() {
			m.say(m.st.Faint, "no program start waits to be confirmed", sanitize.Text{})
		}
	case keymap.ActRaw:
		m.askToLend(t)
	case keymap.ActCast, keymap.ActCastAll:
		m.castKey(t, act)
	case keymap.ActWatchers:
		m.push(t.watchers.Dialog(t.name))
	case keymap.ActLinks:
		if t.pane != nil {
			m.push(links.Choose(t.pane.Links(), m.opts.OpenURL != nil))
		}
	default:
		if cmd, ok := m.splitKey(t, act); ok {
			return cmd
		}
		return m.everywhere(act, k)
	}
	return nil
}

// scrollDo does an action of a terminal that is scrolled back.
func (m *model) scrollDo(t *tab, act keymap.Action) {
	if act == keymap.ActBack {
		t.scroll = false
		t.pane.Scroll(-t.pane.Status().Back)
		return
	}
	t.pane.Scroll(-keymap.Moved(act, m.areaOf(t).Dy(), t.pane.Status().History))
}

// everywhere handles what every place has.
func (m *model) everywhere(act keymap.Action, k tea.KeyPressMsg) tea.Cmd {
	places := place(len(m.tabs)) + atTabs
	switch act {
	case keymap.ActHelp:
		m.push(&dialog.Notice{Title: sanitize.Literal("Keys"), Body: func(st *canvas.Styles) []canvas.Para { return m.keys.Help(st, m.opts.Prefix) }})
	case keymap.ActPalette:
		m.push(m.palette())
	case keymap.ActQuit:
		return m.quit()
	case keymap.ActTour:
		m.goTo(atAgents)
		m.push(tour.New(m.keys, m.opts.Prefix))
	case keymap.ActSaid:
		m.push(m.said.Dialog())
	case keymap.ActLayouts:
		m.push(arrange.Layouts(m.kept.Layouts, m.plans()))
	case keymap.ActAudit:
		return m.do(dialog.DoDialog{Next: auditlog.Of(m.ctx, m.backend, m.keys)})
	case keymap.ActLive:
		return m.do(dialog.DoDialog{Next: live.Of(m.ctx, m.backend, m.nameOf)})
	case keymap.ActAgents:
		m.goTo(atAgents)
	case keymap.ActApprovals:
		m.goTo(atApprovals)
	case keymap.ActNextTab:
		m.goTo((m.place + 1) % places)
	case keymap.ActPrevTab:
		m.goTo((m.place + places - 1) % places)
	default:
		if key := k.String(); len(key) == 1 && key[0] >= '1' && key[0] <= '9' {
			if p := place(key[0] - '1'); p < places {
				m.goTo(p)
			}
		}
	}
	return nil
}

// quit asks first where programs run.
func (m *model) quit() tea.Cmd {
	running := 0
	for _, t := range m.tabs {
		if t.own() {
			running++
		}
	}
	if running == 0 {
		return tea.Quit
	}
	m.push(prompts.Quit(running))
	return nil
}

// do acts on what a dialog decided.
func (m *model) do(what any) tea.Cmd {
	switch what := what.(type) {
	case dialog.DoDialog:
		m.push(what.Next)
		return dialog.Begin(what.Next)
	case dialog.DoCmd:
		return what.Cmd
	case doPaste:
		if t := m.find(what.tab); t != nil && t.needsPrefix() {
			for _, to := range m.castTo(t) {
				to.scroll = false
				to.pane.Paste(what.text)
			}
		}
	case doLend:
		if t := m.find(what.tab); t != nil && t == m.current() && t.needsPrefix() {
			return m.lend(t)
		}
	case doAction:
		return m.run(what)
	case doLeave:
		if t := m.find(what.tab); t != nil && t.pane != nil {
			if err := t.pane.Leave(); err != nil {
				m.say(m.st.Warn, "not left: ", phrase.Error(err))
				return nil
			}
			m.closeTab(t)
		}
		return m.lists.Targets(m.agents.Arranged())
	case doShow:
		if t := m.find(what.tab); t != nil {
			m.show(t)
		}
	case links.DoOpen:
		if err := m.opts.OpenURL(what.URL); err != nil {
			m.say(m.st.Deny, "not opened: ", phrase.Error(err))
		}
	case links.DoCopy:
		return m.do(copymode.DoCopy{Text: what.URL})
	case copymode.DoCopy:
		m.say(m.st.Ok, fmt.Sprintf("given to your terminal's clipboard: %d characters", utf8.RuneCountInString(what.Text)), sanitize.Text{})
		return tea.Raw(ansi.SetSystemClipboard(what.Text))
	case dialog.DoQuit:
		return tea.Quit
	case tour.DoShow:
		return m.everywhere(what.At, tea.KeyPressMsg{})
	case live.Watch:
		return m.open(what.Request(), what.Title(m.nameOf(what.Session.Target)))
	case onlookers.Dismissal:
		what.Do()
	case dialog.DoOpen:
		return m.open(what.Req, m.nameOf(what.Req.Target))
	case dialog.DoAsk:
		return m.ask(what.Req)
	case dialog.DoDecide:
		return m.decide(what)
	}
	return m.keeping(what)
}
