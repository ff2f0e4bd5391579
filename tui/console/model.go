package console

import (
	"context"
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/approvals"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/inquiry"
	"github.com/tucdesk/tucdesk/tui/console/kept"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/layout"
	"github.com/tucdesk/tucdesk/tui/console/listing"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/program"
	"github.com/tucdesk/tucdesk/tui/console/toasts"
	"github.com/tucdesk/tucdesk/tui/console/tour"
	"github.com/tucdesk/tucdesk/tui/console/trail"
)

const (
	tickEvery     = time.Second
	bellGap       = time.Second // a program can't ring all the time
	openTimeout   = 45 * time.Second
	decideTimeout = 30 * time.Second
	// hintFrom is the width, in cells, from which on a terminal's status
	// line has room to name the prefix.
	hintFrom = 70
	// actionsFrom is the width from which on it names two keys.
	actionsFrom = 100
)

// Messages are small: a terminal's output is in none of them.
type (
	tickMsg   time.Time
	openedMsg struct {
		tab  int
		term backend.Terminal
		err  error
	}
	askedMsg struct {
		tab int
		id  backend.ApprovalID
		err error
	}
	awaitedMsg struct {
		tab int
		err error
	}
	decidedMsg struct {
		approve bool
		target  sanitize.Text
		err     error
	}
)

// A place is what fills the screen: the targets, the approvals, or a tab.
type place int

const (
	atAgents    place = 0
	atApprovals place = 1
	atTabs      place = 2 // and on: tabs[place-atTabs]
)

// A model is the whole console.
type model struct {
	ctx     context.Context
	backend backend.Backend
	opts    Options
	wake    func() // may be called by anybody; a program.WokenMsg follows
	now     func() time.Time

	keys       *keymap.Keys
	st         *canvas.Styles
	cols, rows int
	place      place
	agents     agents.View
	lists      *listing.Lists
	queue      approvals.View
	attention  approvals.Attention
	tabs       []*tab
	lastTab    int // id of the newest
	shownTab   int // id of the one that was on the screen last
	dialogs    []dialog.Dialog
	prefixed   bool           // the prefix was pressed
	raw        int            // id of the tab that the screen is lent to; 0: none
	keyboard   bool           // the terminal knows the kitty keyboard protocol
	splits     []*layout.Tree // of the ids of tabs; a tab is in one at most
	zoomed     bool           // splits show one pane only

	said     toasts.Log
	lastBell time.Time
	kept     kept.State
	cast     map[int]bool // of the ids of tabs: what is typed in one goes to all

	notices []backend.Notice

	dirty bool
	did   trail.Trail
}

func newModel(ctx context.Context, b backend.Backend, o Options) *model {
	_, approver := backend.As[backend.Approver](b)
	m := &model{
		ctx:     ctx,
		backend: b,
		opts:    o,
		keys:    o.Keys,
		wake:    func() {},
		now:     time.Now,
		st:      o.Theme.Styles(true),
		agents:  agents.New(inquiry.Policy(b)),
		queue:   approvals.View{Able: approver},
		kept:    o.Kept,
		cast:    make(map[int]bool),
		dirty:   true,
	}
	m.lists = listing.New(ctx, b, func() { m.wake() })
	m.agents.Arrange(o.Arranged)
	m.agents.Keys, m.queue.Keys = m.keys, m.keys
	if o.Tour {
		m.dialogs = append(m.dialogs, tour.New(m.keys, o.Prefix))
	}
	if o.Notice != "" {
		m.dialogs = append(m.dialogs, &dialog.Notice{Title: sanitize.Literal("Welcome"), Body: func(st *canvas.Styles) (ps []canvas.Para) {
			for _, line := range sanitize.Block(o.Notice) {
				ps = append(ps, canvas.Para{Text: line, Style: st.Plain})
			}
			return ps
		}})
	}
	return m
}

// Init implements program.Model.
func (m *model) Init() tea.Cmd {
	return tea.Batch(m.lists.Targets(m.agents.Arranged()), m.lists.Approvals(), m.lists.Watch(), tick())
}

// poll asks for what it is time for.
func (m *model) poll() tea.Cmd { return m.lists.Poll(m.now(), m.agents.Arranged()) }

// askVerdicts asks for the verdicts of rows on the screen that have none.
func (m *model) askVerdicts() tea.Cmd {
	reqs := m.agents.Unknown()
	if len(reqs) == 0 {
		return nil
	}
	m.agents.Asking = true
	return m.lists.Verdicts(reqs, m.agents.Ix)
}

func tick() tea.Cmd {
	return tea.Tick(tickEvery, func(t time.Time) tea.Msg { return tickMsg(t) })
}

// Update implements program.Model.
func (m *model) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case program.WokenMsg:
		return tea.Batch(m.frame(), m.poll())
	case tickMsg:
		return m.tick()
	case program.InputMsg:
		m.input(msg)
		return nil
	}
	if m.report(msg) {
		return nil
	}
	m.dirty = true
	m.did.Add(fmt.Sprintf("%T", msg))
	return tea.Batch(m.handle(msg), m.askVerdicts(), m.poll(), m.attention.Follow(m.ctx, m.backend, m.dialogs, m.now()))
}

// frame looks at what panes have to say.
func (m *model) frame() tea.Cmd {
	var cmd tea.Cmd
	for _, t := range m.tabs {
		if t.pane == nil {
			continue
		}
		shown := m.onScreen(t)
		ended := t.pane.Status().Ended
		if t.pane.TakeDirty() && (shown || ended) {
			m.dirty = true
		}
		for _, note := range t.pane.TakeNotes() {
			if !m.opts.Silent && m.said.Announce(m.now(), t.id, canvas.Lit(m.st.Hold, "announced by "), canvas.Span{Style: m.st.Hold, Text: t.name},
				canvas.Lit(m.st.Hold, ": "), canvas.Span{Style: m.st.Hold, Text: note}) {
				m.dirty = true
			}
		}
		for _, news := range t.watchers.News(t.name) {
			m.say(m.st.Hold, "", news)
		}
		if t.pane.TakeBell() {
			if !shown {
				t.bell, m.dirty = true, true
			}
			cmd = m.ring()
		}
	}
	return cmd
}

// ring rings the outer terminal's bell, unless it just did.
func (m *model) ring() tea.Cmd {
	now := m.now()
	if now.Sub(m.lastBell) < bellGap {
		return nil
	}
	m.lastBell = now
	if m.opts.Quiet {
		return nil
	}
	return tea.Raw("\a")
}

func (m *model) tick() tea.Cmd {
	m.dirty = m.said.Over(m.now()) || m.dirty
	// Count-downs, and waiting tabs.
	if len(m.queue.List) > 0 || m.place >= atTabs {
		m.dirty = true
	}
	return tea.Batch(tick(), m.poll())
}

func (m *model) handle(msg tea.Msg) tea.Cmd {
	m.lists.Receive(msg)
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.resize(msg.Width, msg.Height)
	case tea.BackgroundColorMsg:
		st := m.opts.Theme.Styles(msg.IsDark())
		m.said.Restyle(m.st, st)
		m.st = st
	case tea.KeyPressMsg:
		return m.key(msg)
	case tea.PasteMsg:
		m.paste(msg.Content)
	case program.PasteCutMsg:
		m.say(m.st.Warn, "the paste was too long: its end was left out", sanitize.Text{})
	case listing.TargetsMsg:
		m.agents.Err = msg.Err
		if msg.Err == nil {
			m.agents.SetTargets(msg.Index)
		} else if len(m.agents.Ix.Targets) > 0 {
			m.say(m.st.Warn, "the list of targets is old: ", phrase.Error(msg.Err))
		}
	case listing.NoticesMsg:
		m.notices = msg
	case listing.VerdictsMsg:
		m.agents.Asking = false
		m.agents.AskErr = msg.Err
		if msg.Err == nil && msg.Targets == m.agents.Ix {
			for i, req := range msg.Requests {
				m.agents.Verdicts[req.Target] = agents.Known{Verdict: msg.Verdicts[i], At: msg.Targets}
			}
		} else if msg.Err != nil {
			// Asked again with the next listing, not in a loop.
			m.agents.Asking = true
		}
	case listing.ApprovalsMsg:
		first := m.queue.Err == nil
		m.queue.Err = msg.Err
		if msg.Err != nil {
			if first {
				m.say(m.st.Warn, "the queue of approvals is old: ", phrase.Error(msg.Err))
			}
			return nil
		}
		fresh := m.queue.Set(msg.List, m.now())
		for _, t := range m.tabs {
			if a, ok := m.queue.Find(t.req.Approval); ok && t.state == tabWaiting {
				t.asked = a
			}
		}
		for _, d := range m.dialogs {
			if r, ok := d.(*approvals.Request); ok {
				m.queue.Update(r)
			}
		}
		if fresh {
			if m.place != atApprovals {
				m.say(m.st.Hold, "somebody asks for your approval", sanitize.Text{})
			}
			return m.ring()
		}
	case openedMsg:
		return m.opened(msg)
	case askedMsg:
		return m.asked(msg)
	case awaitedMsg:
		return m.awaited(msg)
	case decidedMsg:
		return m.decided(msg)
	case layoutMsg:
		m.layoutAsked(msg)
	default:
		return dialog.Receive(m.dialogs, msg, m.now())
	}
	return nil
}

// say shows a toast.
func (m *model) say(style uv.Style, words string, text sanitize.Text) {
	m.said.Say(m.now(), canvas.Lit(style, words), canvas.Span{Style: style, Text: text})
	m.dirty = true
}

// resize takes a size. One that is not positive is the report of a terminal
// that is going away.
func (m *model) resize(cols, rows int) {
	if cols <= 0 || rows <= 0 {
		return
	}
	m.cols, m.rows = cols, rows
	m.arrange()
}

// current is the tab on the screen.
func (m *model) current() *tab {
	if i := int(m.place - atTabs); i >= 0 && i < len(m.tabs) {
		return m.tabs[i]
	}
	return nil
}

func (m *model) find(id int) *tab {
	at := slices.IndexFunc(m.tabs, func(t *tab) bool { return t.id == id })
	if at < 0 {
		return nil
	}
	return m.tabs[at]
}

// goTo shows a place, and tells panes whether they are shown.
func (m *model) goTo(p place) {
	before := m.focused()
	m.place = max(atAgents, min(p, atTabs+place(len(m.tabs))-1))
	if now := m.focused(); now != before {
		if before != nil {
			before.pane.Focus(false)
		}
		if now != nil {
			now.pane.Focus(true)
		}
	}
	m.prefixed = false
	if t := m.current(); t != nil {
		m.shownTab = t.id
	}
	m.arrange()
}

func (m *model) push(d dialog.Dialog) { m.dialogs = append(m.dialogs, d) }

func (m *model) top() dialog.Dialog {
	if len(m.dialogs) == 0 {
		return nil
	}
	return m.dialogs[len(m.dialogs)-1]
}
