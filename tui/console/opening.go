package console

import (
	"context"
	"errors"
	"slices"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/approvals"
	"github.com/tucdesk/tucdesk/tui/console/details"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/inquiry"
	"github.com/tucdesk/tucdesk/tui/console/onlookers"
	"github.com/tucdesk/tucdesk/tui/console/pane"
	"github.com/tucdesk/tucdesk/tui/console/pane/predict"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/prompts"
	"github.com/tucdesk/tucdesk/tui/console/starts"
)

func (m *model) nameOf(id backend.TargetID) sanitize.Text {
	at := slices.IndexFunc(m.agents.Ix.Targets, func(t backend.Target) bool { return t.ID == id })
	if at < 0 {
		return phrase.Brief(string(id))
	}
	return phrase.Brief(m.agents.Ix.Targets[at].Name)
}

// newTab adds a tab for a request and shows it. It returns nil where there
// are too many.
func (m *model) newTab(req backend.OpenRequest, name sanitize.Text, state tabState) *tab {
	if len(m.tabs) >= maxTabs {
		m.say(m.st.Warn, "too many tabs: close one first", sanitize.Text{})
		return nil
	}
	ctx, cancel := context.WithCancel(m.ctx)
	m.lastTab++
	t := &tab{id: m.lastTab, req: req, name: name, state: state, since: m.now(), ctx: ctx, cancel: cancel}
	m.tabs = append(m.tabs, t)
	m.goTo(atTabs + place(len(m.tabs)-1))
	return t
}

// closeTab takes a tab off the screen and ends what it does.
func (m *model) closeTab(t *tab) {
	t.close()
	delete(m.cast, t.id)
	m.said.Forget(t.id)
	beside := m.unsplit(t.id)
	at := slices.Index(m.tabs, t)
	if at < 0 {
		return
	}
	// Stay where one is: what stood after t moves up.
	here := m.place
	m.tabs = slices.Delete(m.tabs, at, at+1)
	switch p := atTabs + place(at); {
	case here > p:
		here--
	case here == p && at == len(m.tabs):
		here = atAgents
	}
	if m.place == atTabs+place(at) && beside != nil {
		here = atTabs + place(slices.Index(m.tabs, beside))
	}
	m.goTo(here)
}

// closeTabs ends all terminals and waits for them.
func (m *model) closeTabs() {
	for _, t := range m.tabs {
		t.cancel()
		if t.pane != nil {
			_ = t.pane.Close() // nobody is left to read of it
		}
	}
}

func (m *model) open(req backend.OpenRequest, name sanitize.Text) tea.Cmd {
	if t := m.newTab(req, name, tabOpening); t != nil {
		return m.openTab(t)
	}
	return nil
}

// openTab opens t's request; the size is that of now.
func (m *model) openTab(t *tab) tea.Cmd {
	t.state = tabOpening
	area := m.areaOf(t)
	cols, rows := area.Dx(), area.Dy()
	t.req.Cols, t.req.Rows = uint16(min(cols, 1<<15)), uint16(min(rows, 1<<15))
	t.req.Term, t.req.TTY = "xterm-256color", true
	id, ctx, req, open := t.id, t.ctx, t.req, m.backend.Open
	if t.open != nil {
		open = t.open
	}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		term, err := open(ctx, req)
		if err == nil && m.ctx.Err() != nil {
			// The console ended: nobody takes the message.
			_ = term.Close()
		}
		return openedMsg{id, term, err}
	}
}

func (m *model) opened(msg openedMsg) tea.Cmd {
	t := m.find(msg.tab)
	if t == nil { // closed meanwhile
		if msg.term != nil {
			backend.Go(func() { _ = msg.term.Close() })
		}
		return nil
	}
	if msg.err == nil {
		t.state = tabRunning
		area := m.areaOf(t)
		cols, rows := area.Dx(), area.Dy()
		t.pane = pane.New(msg.term, cols, rows, m.wake)
		t.pane.Predict(m.opts.Echo)
		if t.req.Kind.Watches() {
			t.pane.Predict(predict.Never) // others type, too
		}
		if m.keyboard {
			t.pane.OfferKeyboard()
		}
		t.pane.Show(m.onScreen(t))
		t.starts, t.watchers = starts.Follow(msg.term, t.pane.Touch), onlookers.Follow(msg.term, t.pane.Touch)
		if m.cols < hintFrom {
			m.say(m.st.Faint, m.opts.Prefix+" then ? shows the keys", sanitize.Text{})
		}
		if int(t.req.Cols) != cols || int(t.req.Rows) != rows {
			_ = msg.term.Resize(uint16(cols), uint16(rows)) // resized while it opened
		}
		if t != m.current() {
			t.bell = true
			m.say(m.st.Ok, "opened: ", t.name)
			return m.ring()
		}
		return nil
	}
	v, ok := backend.VerdictOf(msg.err)
	if !ok || t.req.Approval != "" {
		t.state, t.err = tabFailed, msg.err
		return nil
	}
	// Policy answered: ask in place, and drop the tab.
	wasHere := t == m.current()
	split := m.treeOf(t) != nil
	m.closeTab(t)
	if wasHere && !split {
		m.goTo(atAgents)
	}
	_, asks := backend.As[backend.Asker](m.backend)
	d := prompts.Verdict(t.req, t.name, v, asks)
	if no, ok := d.(*dialog.Notice); ok {
		d = details.New(m.ctx, m.backend, t.req, no.Title, no.Body) // what would help
	}
	return m.do(dialog.DoDialog{Next: d})
}

// ask files a held request in a tab that waits.
func (m *model) ask(req backend.OpenRequest) tea.Cmd {
	t := m.newTab(req, m.nameOf(req.Target), tabAsking)
	asker, ok := backend.As[backend.Asker](m.backend)
	if t == nil || !ok {
		return nil
	}
	id, ctx := t.id, t.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		approval, err := asker.Ask(ctx, req)
		return askedMsg{id, approval, err}
	}
}

func (m *model) asked(msg askedMsg) tea.Cmd {
	t := m.find(msg.tab)
	if t == nil {
		return nil
	}
	if msg.err != nil {
		t.state, t.err = tabFailed, msg.err
		return nil
	}
	t.state, t.req.Approval = tabWaiting, msg.id
	asker, _ := backend.As[backend.Asker](m.backend)
	id, ctx, approval := t.id, t.ctx, msg.id
	return tea.Batch(m.lists.Approvals(), func() tea.Msg {
		return awaitedMsg{id, inquiry.Await(ctx, asker, approval)}
	})
}

// awaited opens by itself what was approved.
func (m *model) awaited(msg awaitedMsg) tea.Cmd {
	t := m.find(msg.tab)
	if t == nil {
		return nil
	}
	if msg.err != nil {
		t.state, t.err = tabFailed, msg.err
		if t != m.current() {
			t.bell = true
			m.say(m.st.Deny, "not approved: ", t.name)
		}
		return m.ring()
	}
	return m.openTab(t)
}

// again opens an ended or failed tab's request anew, from the verdict on.
func (m *model) again(t *tab) tea.Cmd {
	if t.state != tabFailed && !(t.state == tabRunning && t.pane.Status().Ended) {
		return nil
	}
	if t.pane != nil {
		p := t.pane
		backend.Go(func() { _ = p.Close() })
		t.pane = nil
	}
	// An approval is good for once. Where the backend was out of reach, that
	// once may be left.
	if !errors.Is(t.err, backend.ErrUnavailable) {
		t.req.Approval = ""
	}
	t.scroll, t.err = false, nil
	return m.openTab(t)
}

// decide sends a decision, unless the request is not what was read any more.
func (m *model) decide(d dialog.DoDecide) tea.Cmd {
	if !m.queue.Unchanged(d.Seen) {
		m.say(m.st.Warn, "not decided: the request changed or is gone", sanitize.Text{})
		return nil
	}
	m.dialogs = slices.DeleteFunc(m.dialogs, func(x dialog.Dialog) bool { _, is := x.(*approvals.Request); return is })
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, decideTimeout)
		defer cancel()
		return decidedMsg{d.Decision.Approve, phrase.Brief(d.Seen.Place()), approvals.Decide(ctx, m.backend, d)}
	}
}

func (m *model) decided(msg decidedMsg) tea.Cmd {
	switch {
	case errors.Is(msg.err, backend.ErrDecided):
		m.say(m.st.Warn, "somebody was faster, or the time ran out: ", phrase.Error(msg.err))
	case msg.err != nil:
		m.say(m.st.Deny, "not decided: ", phrase.Error(msg.err))
	case msg.approve:
		m.say(m.st.Ok, "✓ approved: ", msg.target)
	default:
		m.say(m.st.Ok, "✗ denied: ", msg.target)
	}
	return m.lists.Approvals()
}
