package console

import (
	"context"
	"fmt"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/arrange"
	"github.com/tucdesk/tucdesk/tui/console/kept"
	"github.com/tucdesk/tucdesk/tui/console/layout"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/prompts"
	"github.com/tucdesk/tucdesk/tui/console/tour"
)

const tooManyMarks = "too many: one command runs on 1000 targets at most"

type (
	// A doMany is a command for all targets that are marked.
	doMany struct {
		targets []backend.Target
		argv    []string
	}
	layoutMsg struct {
		layout   kept.Layout
		verdicts []backend.Verdict // nil: there is no policy
		err      error
	}
)

// keeping does what dialogs decided about views, layouts and marks.
func (m *model) keeping(what any) tea.Cmd {
	switch what := what.(type) {
	case arrange.Do:
		m.agents.Arrange(what.To)
	case arrange.DoKeep:
		m.kept.KeepView(what.View)
		return m.keep("kept: ", what.View.Name)
	case arrange.DoForget:
		m.kept.ForgetView(what.Name)
		return m.keep("forgotten: ", what.Name)
	case arrange.DoKeepLayout:
		m.kept.KeepLayout(what.Layout)
		return m.keep("kept: ", what.Layout.Name)
	case arrange.DoForgetLayout:
		m.kept.ForgetLayout(what.Name)
		return m.keep("forgotten: ", what.Name)
	case arrange.DoLayout:
		return m.askLayout(what.Layout)
	case arrange.DoRestore:
		return m.restore(what.Layout)
	case doMany:
		return m.many(what)
	case tour.DoEnd:
		m.toured()
	}
	return nil
}

// keep writes what is kept. It is a small file of this person's own.
func (m *model) keep(words, name string) tea.Cmd {
	switch {
	case m.opts.Keeper == nil:
		m.say(m.st.Warn, "until the console ends, "+words, phrase.Brief(name))
	default:
		if err := m.opts.Keeper.Keep(m.kept); err != nil {
			m.say(m.st.Deny, "not "+words, phrase.Error(err))
			return nil
		}
		m.say(m.st.Ok, words, phrase.Brief(name))
	}
	return nil
}

// toured remembers that this person has seen the tour, or did not want to.
func (m *model) toured() {
	m.goTo(atAgents)
	if m.kept.Toured || m.opts.Keeper == nil {
		return
	}
	m.kept.Toured = true
	if err := m.opts.Keeper.Keep(m.kept); err != nil {
		m.say(m.st.Warn, "the tour will come again: ", phrase.Error(err))
	}
}

// execOnMarked asks for a command to run on all marked targets.
func (m *model) execOnMarked(targets []backend.Target) {
	if m.opts.Many == nil {
		m.say(m.st.Warn, "this backend runs a command on one target at a time: esc drops the marks", sanitize.Text{})
		return
	}
	m.push(prompts.ExecOnMany(targets, func(words []string) any { return doMany{targets, words} }))
}

// many runs a command on many targets, in a terminal of its own that asks first.
func (m *model) many(do doMany) tea.Cmd {
	name := sanitize.Clean(fmt.Sprintf("%d targets", len(do.targets)))
	t := m.newTab(backend.OpenRequest{Kind: backend.KindExec, Argv: do.argv}, name, tabOpening)
	if t == nil {
		return nil
	}
	t.open = func(context.Context, backend.OpenRequest) (backend.Terminal, error) {
		ids := make([]backend.TargetID, len(do.targets))
		for i, target := range do.targets {
			ids[i] = target.ID
		}
		return m.opts.Many(m.ctx, ids, do.argv) // it lives longer than its opening
	}
	return m.openTab(t)
}

// plans are the terminals that are open on targets, as they stand.
func (m *model) plans() []*layout.Plan {
	var ids []int
	for _, t := range m.tabs {
		ids = append(ids, t.id)
	}
	return layout.Plans(ids, m.splits, func(id int) string { return string(m.find(id).req.Target) })
}

// askLayout asks what policy says of a layout's targets.
func (m *model) askLayout(l kept.Layout) tea.Cmd {
	var reqs []backend.OpenRequest
	for _, target := range l.Targets() {
		reqs = append(reqs, agents.Shell(backend.TargetID(target)))
	}
	ask := m.lists.Evaluate(reqs)
	return func() tea.Msg {
		verdicts, err := ask()
		return layoutMsg{l, verdicts, err}
	}
}

func (m *model) layoutAsked(msg layoutMsg) {
	if msg.err != nil {
		m.say(m.st.Deny, "the layout was not opened: ", phrase.Error(msg.err))
		return
	}
	m.push(arrange.Restore(msg.layout, msg.verdicts))
}

// restore opens a layout's terminals. What policy holds or wants confirmed asks as
// ever.
func (m *model) restore(l kept.Layout) tea.Cmd {
	var opened []*tab
	for _, p := range l.Tabs {
		tree := p.Tree(func(target string) (int, bool) {
			req := agents.Shell(backend.TargetID(target))
			t := m.newTab(req, m.nameOf(req.Target), tabOpening)
			if t == nil {
				return 0, false
			}
			opened = append(opened, t)
			return t.id, true
		})
		if tree != nil && !tree.Alone() {
			m.splits = append(m.splits, tree)
		}
	}
	m.arrange()
	var cmds []tea.Cmd
	for _, t := range opened { // now that each has its place, and so its size
		cmds = append(cmds, m.openTab(t))
	}
	return tea.Batch(cmds...)
}
