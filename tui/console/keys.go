package console

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

func (m *model) paste(text string) {
	switch t := m.current(); {
	case m.top() != nil:
		m.top().paste(text)
	case m.place == atAgents && m.agents.typing:
		m.agents.query.insert(text)
		m.agents.applyFilter()
	case t != nil && t.needsPrefix():
		t.scroll = false
		t.pane.Paste(text)
	}
}

// key sends a key to where it belongs: the topmost dialog, the filter, the
// program, or the console.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	if d := m.top(); d != nil {
		out := d.key(k, m.now())
		if out.close {
			m.dialogs = slices.DeleteFunc(m.dialogs, func(x dialog) bool { return x == d })
		}
		return m.do(out.do)
	}
	switch {
	case m.place == atAgents && m.agents.typing:
		m.filterKey(k)
		return nil
	case m.place == atAgents:
		return m.agentKey(k)
	case m.place == atApprovals:
		return m.approvalKey(k)
	}
	return m.tabKey(k)
}

func (m *model) filterKey(k tea.KeyPressMsg) {
	a := &m.agents
	switch k.String() {
	case "enter":
		a.typing = false
	case "esc", "ctrl+c":
		a.typing = false
		a.query.set("")
		a.applyFilter()
	case "down":
		a.move(1)
	case "up":
		a.move(-1)
	default:
		if a.query.key(k) {
			a.cursor = 0
			a.applyFilter()
		}
	}
}

func (m *model) agentKey(k tea.KeyPressMsg) tea.Cmd {
	a := &m.agents
	t, ok := a.current()
	switch act := agentKeys.lookup(k.String()); act {
	case actOpen:
		if ok {
			return m.open(shellRequest(t.ID), brief(t.Name))
		}
	case actExec:
		if ok {
			m.push(m.execPrompt(t))
		}
	case actFilter:
		a.typing = true
	case actBack:
		a.query.set("")
		a.applyFilter()
	case actDetails:
		if ok {
			m.push(&notice{title: brief(t.Name), body: func(st *styles) []para {
				return append([]para{{"Target", clean(t.Name), st.bold}}, a.details(st, t)...)
			}})
		}
	case actRefresh:
		m.say(m.st.faint, "asking again", sanitize.Text{})
		a.asking = false
		return m.listTargets()
	default:
		a.move(moved(act, a.height, len(a.rows)))
		return m.everywhere(act, k)
	}
	return nil
}

func (m *model) approvalKey(k tea.KeyPressMsg) tea.Cmd {
	q := &m.queue
	switch act := approvalKeys.lookup(k.String()); act {
	case actShow:
		if a, ok := q.current(); ok {
			m.push(&request{seen: a})
		}
	case actRefresh:
		m.say(m.st.faint, "asking again", sanitize.Text{})
		return m.listApprovals()
	case actBack:
		m.goTo(atAgents)
	default:
		q.move(moved(act, max(1, m.rows-3), len(q.list)))
		return m.everywhere(act, k)
	}
	return nil
}

// moved is how many rows an action moves a cursor.
func moved(a action, page, rows int) int {
	switch a {
	case actDown:
		return 1
	case actUp:
		return -1
	case actPageDown:
		return page
	case actPageUp:
		return -page
	case actTop:
		return -rows
	case actBottom:
		return rows
	}
	return 0
}

func (m *model) tabKey(k tea.KeyPressMsg) tea.Cmd {
	t := m.current()
	key := k.String()
	if t.scroll && !m.prefixed && key != m.opts.Prefix {
		act := scrollKeys.lookup(key)
		if act == actBack {
			t.scroll = false
			t.pane.Scroll(-t.pane.Status().Back)
			return nil
		}
		_, rows := m.paneSize()
		t.pane.Scroll(-moved(act, rows, t.pane.Status().History))
		return nil
	}
	switch {
	case !m.prefixed && key == m.opts.Prefix && t.needsPrefix():
		m.prefixed = true
		return nil
	case !m.prefixed && t.needsPrefix():
		t.pane.Key(uv.Key(k.Key()))
		return nil
	case m.prefixed && key == m.opts.Prefix:
		m.prefixed = false
		t.pane.Key(uv.Key(k.Key()))
		return nil
	}
	m.prefixed = false
	switch act := terminalKeys.lookup(key); act {
	case actScroll:
		if t.state == tabRunning {
			t.scroll = true
			if key == "pgup" {
				_, rows := m.paneSize()
				t.pane.Scroll(rows)
			}
		}
	case actCloseTab:
		m.closeTab(t)
	case actDetails:
		m.push(&notice{title: t.name, body: t.details})
	case actAgain:
		return m.again(t)
	default:
		return m.everywhere(act, k)
	}
	return nil
}

// everywhere handles what every place has.
func (m *model) everywhere(act action, k tea.KeyPressMsg) tea.Cmd {
	places := place(len(m.tabs)) + atTabs
	switch act {
	case actHelp:
		m.push(&notice{title: sanitize.Literal("Keys"), body: func(st *styles) []para { return helpParas(st, m.opts.Prefix) }})
	case actQuit:
		return m.quit()
	case actAgents:
		m.goTo(atAgents)
	case actApprovals:
		m.goTo(atApprovals)
	case actNextTab:
		m.goTo((m.place + 1) % places)
	case actPrevTab:
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
		if t.needsPrefix() {
			running++
		}
	}
	if running == 0 {
		return tea.Quit
	}
	m.push(&prompt{
		title: sanitize.Literal("Quit"),
		body: func(st *styles) []para {
			return []para{{"", sanitize.Clean(fmt.Sprintf("Terminals that still run: %d. Quitting ends their programs.", running)), st.warn}}
		},
		label:  "Type yes to quit",
		submit: typedYes(doQuit{}),
	})
	return nil
}

func typedYes(do any) func(string) (any, error) {
	return func(s string) (any, error) {
		if strings.TrimSpace(s) != "yes" {
			return nil, errors.New("type yes, or esc to go back")
		}
		return do, nil
	}
}

// do acts on what a dialog decided.
func (m *model) do(what any) tea.Cmd {
	switch what := what.(type) {
	case doDialog:
		m.push(what.next)
	case doQuit:
		return tea.Quit
	case doOpen:
		return m.open(what.req, m.nameOf(what.req.Target))
	case doAsk:
		return m.ask(what.req)
	case doDecide:
		return m.decide(what)
	}
	return nil
}

func (m *model) execPrompt(t backend.Target) dialog {
	return &prompt{
		title: sanitize.Literal("Run one command"),
		body: func(st *styles) []para {
			return []para{
				{"Target", clean(t.Name), st.bold},
				{"", sanitize.Literal("There is no shell in between: words go to the program as they are."), st.faint},
			}
		},
		label: "Command",
		preview: func(s string) (sanitize.Text, bool) {
			argv, err := splitWords(s)
			if err != nil {
				return sanitize.Clean(err.Error()), false
			}
			return sanitize.Argv(argv), true
		},
		submit: func(s string) (any, error) {
			argv, err := splitWords(s)
			if err != nil {
				return nil, err
			}
			return doOpen{backend.OpenRequest{Target: t.ID, Kind: backend.KindExec, Argv: argv, TTY: true}}, nil
		},
	}
}
