package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/pane"
)

const (
	tickEvery      = time.Second
	approvalsEvery = 2 * time.Second
	targetsEvery   = 15 * time.Second
	toastFor       = 6 * time.Second
	bellGap        = time.Second      // a program can't ring all the time
	awaitAgain     = 3 * time.Second  // after a failure that passes
	listTimeout    = 30 * time.Second // of one listing or batch of verdicts
	openTimeout    = 45 * time.Second
	decideTimeout  = 30 * time.Second
	// maxTargets and maxApprovals bound what a backend can make the console
	// hold.
	maxTargets   = 1_000_000
	maxApprovals = 10_000
	// hintFrom is the width, in cells, from which on a terminal's status
	// line has room to name the prefix.
	hintFrom = 70
)

var (
	errNoReason   = errors.New("a reason is needed")
	errNotTheName = errors.New("that is not the target's name")
	errTooMany    = errors.New("the backend lists more than the console can hold")
)

// Messages are small: a terminal's output is in none of them.
type (
	frameMsg   struct{} // a pane has something new
	tickMsg    time.Time
	targetsMsg struct {
		ix  *index
		err error
	}
	verdictsMsg struct {
		reqs     []backend.OpenRequest
		verdicts []backend.Verdict
		err      error
		targets  *index // the listing that they were asked for
	}
	approvalsMsg struct {
		list []backend.Approval
		err  error
	}
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
	wakes   chan struct{}
	now     func() time.Time

	st         *styles
	cols, rows int
	place      place
	agents     agents
	queue      approvals
	tabs       []*tab
	lastTab    int // id of the newest
	dialogs    []dialog
	prefixed   bool // the prefix was pressed

	toast      []span
	toastUntil time.Time
	lastBell   time.Time

	listing, queueing         bool // a listing is on its way
	nextTargets, nextApproval time.Time

	dirty bool
	view  tea.View
}

func newModel(ctx context.Context, b backend.Backend, o Options) *model {
	_, single := backend.As[backend.Evaluator](b)
	_, batch := backend.As[backend.BatchEvaluator](b)
	_, approver := backend.As[backend.Approver](b)
	m := &model{
		ctx:     ctx,
		backend: b,
		opts:    o,
		wakes:   make(chan struct{}, 1),
		now:     time.Now,
		st:      newStyles(true),
		agents:  newAgents(single || batch),
		queue:   approvals{able: approver},
		dirty:   true,
	}
	if o.Notice != "" {
		m.dialogs = append(m.dialogs, &notice{title: sanitize.Literal("Welcome"), body: func(st *styles) (ps []para) {
			for _, line := range sanitize.Block(o.Notice) {
				ps = append(ps, para{text: line, style: st.plain})
			}
			return ps
		}})
	}
	return m
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd {
	return tea.Batch(tea.RequestBackgroundColor, m.listTargets(), m.listApprovals(), tick())
}

func tick() tea.Cmd {
	return tea.Tick(tickEvery, func(t time.Time) tea.Msg { return tickMsg(t) })
}

// wake is called by panes from their own goroutines.
func (m *model) wake() {
	select {
	case m.wakes <- struct{}{}:
	default:
	}
}

// listTargets asks for the targets, where nobody asks already.
func (m *model) listTargets() tea.Cmd {
	if m.listing {
		return nil
	}
	m.listing = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		var targets []backend.Target
		for t, err := range m.backend.Targets(ctx) {
			if err == nil && len(targets) >= maxTargets {
				err = errTooMany
			}
			if err != nil {
				return targetsMsg{err: err}
			}
			targets = append(targets, t)
		}
		return targetsMsg{ix: newIndex(targets)}
	}
}

func (m *model) listApprovals() tea.Cmd {
	ap, ok := backend.As[backend.Approver](m.backend)
	if !ok || m.queueing {
		return nil
	}
	m.queueing = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		var msg approvalsMsg
		for a, err := range ap.Pending(ctx) {
			if err == nil && len(msg.list) >= maxApprovals {
				err = errTooMany
			}
			if err != nil {
				msg.err = err
				break
			}
			msg.list = append(msg.list, a)
		}
		return msg
	}
}

// askVerdicts asks for the verdicts of rows on the screen that have none, in
// one batch where the backend can.
func (m *model) askVerdicts() tea.Cmd {
	reqs := m.agents.unknown()
	if len(reqs) == 0 {
		return nil
	}
	m.agents.asking = true
	ix := m.agents.ix
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		msg := verdictsMsg{reqs: reqs, targets: ix}
		if b, ok := backend.As[backend.BatchEvaluator](m.backend); ok {
			msg.verdicts, msg.err = b.EvaluateBatch(ctx, reqs)
			if msg.err == nil && len(msg.verdicts) != len(reqs) {
				msg.err = fmt.Errorf("console: %d verdicts for %d requests", len(msg.verdicts), len(reqs))
			}
			return msg
		}
		ev, _ := backend.As[backend.Evaluator](m.backend)
		for _, req := range reqs {
			v, err := ev.Evaluate(ctx, req)
			if errors.Is(err, backend.ErrNotFound) {
				v = backend.Verdict{Reason: "no such target"}
			} else if err != nil {
				msg.err = err
				return msg
			}
			msg.verdicts = append(msg.verdicts, v)
		}
		return msg
	}
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg.(type) {
	case frameMsg:
		return m, m.frame()
	case tickMsg:
		return m, m.tick()
	}
	m.dirty = true
	cmd := m.handle(msg)
	return m, tea.Batch(cmd, m.askVerdicts())
}

// frame looks at what panes have to say.
func (m *model) frame() tea.Cmd {
	var cmd tea.Cmd
	for i, t := range m.tabs {
		if t.pane == nil {
			continue
		}
		shown := m.place == atTabs+place(i)
		ended := t.pane.Status().Ended
		if t.pane.TakeDirty() && (shown || ended) {
			m.dirty = true
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
	return tea.Raw("\a")
}

func (m *model) tick() tea.Cmd {
	now := m.now()
	cmds := []tea.Cmd{tick()}
	if m.toast != nil && now.After(m.toastUntil) {
		m.toast, m.dirty = nil, true
	}
	// Count-downs, and waiting tabs.
	if len(m.queue.list) > 0 || m.place >= atTabs {
		m.dirty = true
	}
	if now.After(m.nextApproval) {
		m.nextApproval = now.Add(approvalsEvery)
		cmds = append(cmds, m.listApprovals())
	}
	if now.After(m.nextTargets) {
		m.nextTargets = now.Add(targetsEvery)
		cmds = append(cmds, m.listTargets())
	}
	return tea.Batch(cmds...)
}

func (m *model) handle(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.resize(msg.Width, msg.Height)
	case tea.BackgroundColorMsg:
		m.st = newStyles(msg.IsDark())
	case tea.KeyPressMsg:
		return m.key(msg)
	case tea.PasteMsg:
		m.paste(msg.Content)
	case targetsMsg:
		m.listing = false
		m.agents.err = msg.err
		if msg.err == nil {
			m.agents.setTargets(msg.ix)
		} else if len(m.agents.ix.targets) > 0 {
			m.say(m.st.warn, "the list of targets is old: ", errorText(msg.err))
		}
	case verdictsMsg:
		m.agents.asking = false
		m.agents.askErr = msg.err
		if msg.err == nil && msg.targets == m.agents.ix {
			for i, req := range msg.reqs {
				m.agents.verdicts[req.Target] = known{msg.verdicts[i], msg.targets}
			}
		} else if msg.err != nil {
			// Asked again with the next listing, not in a loop.
			m.agents.asking = true
		}
	case approvalsMsg:
		m.queueing = false
		m.queue.err = msg.err
		if msg.err != nil {
			return nil
		}
		fresh := m.queue.set(msg.list, m.now())
		for _, d := range m.dialogs {
			if r, ok := d.(*request); ok {
				if a, ok := m.queue.find(r.seen.ID); ok {
					r.update(a)
				} else {
					r.seen.CanDecide, r.seen.WhyNot = false, "it is no longer in the queue"
				}
			}
		}
		if fresh {
			if m.place != atApprovals {
				m.say(m.st.hold, "somebody asks for your approval", sanitize.Text{})
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
	}
	return nil
}

// say shows a toast.
func (m *model) say(style uv.Style, words string, text sanitize.Text) {
	m.toast = []span{lit(style, words), {style, text}}
	m.toastUntil = m.now().Add(toastFor)
	m.dirty = true
}

// resize takes a size. One that is not positive is the report of a terminal
// that is going away.
func (m *model) resize(cols, rows int) {
	if cols <= 0 || rows <= 0 {
		return
	}
	m.cols, m.rows = cols, rows
	w, h := m.paneSize()
	for _, t := range m.tabs {
		if t.pane != nil {
			t.pane.Resize(w, h)
		}
	}
}

// paneSize is the screen without the tab bar and the status line.
func (m *model) paneSize() (cols, rows int) { return max(1, m.cols), max(1, m.rows-2) }

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
	m.place = max(atAgents, min(p, atTabs+place(len(m.tabs))-1))
	m.prefixed = false
	for i, t := range m.tabs {
		shown := m.place == atTabs+place(i)
		if shown {
			t.bell = false
		}
		if t.pane != nil {
			t.pane.Show(shown)
		}
	}
}

func (m *model) push(d dialog) { m.dialogs = append(m.dialogs, d) }

func (m *model) top() dialog {
	if len(m.dialogs) == 0 {
		return nil
	}
	return m.dialogs[len(m.dialogs)-1]
}

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

func (m *model) nameOf(id backend.TargetID) sanitize.Text {
	at := slices.IndexFunc(m.agents.ix.targets, func(t backend.Target) bool { return t.ID == id })
	if at < 0 {
		return brief(string(id))
	}
	return brief(m.agents.ix.targets[at].Name)
}

// newTab adds a tab for a request and shows it. It returns nil where there
// are too many.
func (m *model) newTab(req backend.OpenRequest, name sanitize.Text, state tabState) *tab {
	if len(m.tabs) >= maxTabs {
		m.say(m.st.warn, "too many tabs: close one first", sanitize.Text{})
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
	cols, rows := m.paneSize()
	t.req.Cols, t.req.Rows = uint16(min(cols, 1<<15)), uint16(min(rows, 1<<15))
	t.req.Term, t.req.TTY = "xterm-256color", true
	id, ctx, req := t.id, t.ctx, t.req
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		term, err := m.backend.Open(ctx, req)
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
			go msg.term.Close()
		}
		return nil
	}
	if msg.err == nil {
		t.state = tabRunning
		cols, rows := m.paneSize()
		t.pane = pane.New(msg.term, cols, rows, m.wake)
		t.pane.Show(t == m.current())
		if cols < hintFrom {
			m.say(m.st.faint, m.opts.Prefix+" then ? shows the keys", sanitize.Text{})
		}
		if int(t.req.Cols) != cols || int(t.req.Rows) != rows {
			_ = msg.term.Resize(uint16(cols), uint16(rows)) // resized while it opened
		}
		if t != m.current() {
			t.bell = true
			m.say(m.st.ok, "opened: ", t.name)
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
	m.closeTab(t)
	if wasHere {
		m.goTo(atAgents)
	}
	m.push(m.verdictDialog(t.req, t.name, v))
	return nil
}

// verdictDialog is what a verdict other than allow leads to.
func (m *model) verdictDialog(req backend.OpenRequest, name sanitize.Text, v backend.Verdict) dialog {
	body := func(st *styles) []para {
		return append([]para{
			{"Target", name, st.bold},
			requestPara(st.plain, string(req.Kind), req.Argv),
		}, verdictParas(st, v)...)
	}
	_, asks := backend.As[backend.Asker](m.backend)
	switch {
	case v.Effect == backend.Confirm:
		confirmed := req
		confirmed.Confirmed = true
		return &prompt{title: sanitize.Literal("Look twice"), body: body, label: "Type yes to go on", submit: typedYes(doOpen{confirmed})}
	case v.Effect == backend.Hold && asks:
		return &prompt{
			title: sanitize.Literal("Held: ask for approval"),
			body:  body,
			label: "Why do you need it?",
			submit: func(reason string) (any, error) {
				if reason = strings.TrimSpace(reason); reason == "" {
					return nil, errNoReason
				}
				held := req
				held.Reason = reason
				return doAsk{held}, nil
			},
		}
	}
	return &notice{title: sanitize.Literal("Denied"), body: func(st *styles) []para {
		end := "Nobody can approve this here. Only a change of the policy, by those who sign it, opens it."
		if v.Effect == backend.Hold {
			end = "It needs approval, and this backend can't ask for one."
		}
		return append(body(st), para{}, para{"", sanitize.Literal(end), st.plain})
	}}
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
	return tea.Batch(m.listApprovals(), func() tea.Msg {
		return awaitedMsg{id, await(ctx, asker, approval)}
	})
}

// await waits for a decision, and through failures that pass.
func await(ctx context.Context, asker backend.Asker, id backend.ApprovalID) error {
	for {
		err := asker.Await(ctx, id)
		if !errors.Is(err, backend.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(awaitAgain):
		}
	}
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
			m.say(m.st.deny, "not approved: ", t.name)
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
		go t.pane.Close()
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
func (m *model) decide(d doDecide) tea.Cmd {
	now, ok := m.queue.find(d.seen.ID)
	if !ok || !sameRequest(now, d.seen) {
		m.say(m.st.warn, "not decided: the request changed or is gone", sanitize.Text{})
		return nil
	}
	ap, ok := backend.As[backend.Approver](m.backend)
	if !ok {
		return nil
	}
	m.dialogs = slices.DeleteFunc(m.dialogs, func(x dialog) bool { _, is := x.(*request); return is })
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, decideTimeout)
		defer cancel()
		err := ap.Decide(ctx, d.seen.ID, d.decision)
		return decidedMsg{d.decision.Approve, brief(d.seen.Target), err}
	}
}

func (m *model) decided(msg decidedMsg) tea.Cmd {
	switch {
	case errors.Is(msg.err, backend.ErrDecided):
		m.say(m.st.warn, "somebody was faster, or the time ran out: ", errorText(msg.err))
	case msg.err != nil:
		m.say(m.st.deny, "not decided: ", errorText(msg.err))
	case msg.approve:
		m.say(m.st.ok, "✓ approved: ", msg.target)
	default:
		m.say(m.st.ok, "✗ denied: ", msg.target)
	}
	return m.listApprovals()
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

// View implements tea.Model. It only paints what changed since the last time.
func (m *model) View() tea.View {
	if !m.dirty {
		return m.view
	}
	m.dirty = false
	m.view = tea.View{AltScreen: true, WindowTitle: "TucDesk"}
	if m.cols <= 0 || m.rows <= 0 {
		return m.view
	}
	c := newCanvas(m.cols, m.rows, m.st)
	m.view.Cursor = m.draw(c)
	m.view.Content = c.Render()
	return m.view
}

// draw paints a frame: the tab bar, the place, the status or footer, dialogs
// and toast.
func (m *model) draw(c *canvas) *tea.Cursor {
	now := m.now()
	m.drawBar(c)
	area := uv.Rect(0, 1, m.cols, max(0, m.rows-2))
	var cursor *tea.Cursor
	switch t := m.current(); {
	case m.place == atAgents:
		cursor = m.agents.draw(c, area)
	case m.place == atApprovals:
		m.queue.draw(c, area, now)
	case t != nil:
		cursor = t.draw(c, area, now)
	}
	m.drawToast(c)
	for i, d := range m.dialogs {
		// Only the topmost has a cursor.
		at := d.draw(c, area, now)
		if i == len(m.dialogs)-1 {
			cursor = at
		}
	}
	m.drawFooter(c)
	return cursor
}

// drawToast shows a toast at the right: above the footer, but in the tab bar
// where a program or a dialog has the rows below.
func (m *model) drawToast(c *canvas) {
	if m.toast == nil || m.rows <= 2 {
		return
	}
	w := 0
	for _, s := range m.toast {
		w += width(s.text)
	}
	w = min(w+2, m.cols)
	y := m.rows - 2
	if m.place >= atTabs || len(m.dialogs) > 0 {
		y = 0
	}
	c.fill(uv.Rect(m.cols-w, y, w, 1), c.st.plain)
	c.line(m.cols-w+1, y, w-1, m.toast...)
}

func (m *model) drawBar(c *canvas) {
	label := func(p place, texts ...sanitize.Text) []span {
		style, open, shut := c.st.plain, " ", " "
		if p == m.place {
			style, open, shut = c.st.active, "[", "]"
		}
		spans := []span{lit(style, open)}
		for _, t := range texts {
			spans = append(spans, span{style, t})
		}
		return append(spans, lit(style, shut))
	}
	number := func(i int) sanitize.Text {
		if i > 9 {
			return sanitize.Text{}
		}
		return sanitize.Clean(fmt.Sprintf("%d ", i))
	}
	labels := [][]span{label(atAgents, number(1), sanitize.Literal("agents"))}
	waiting := sanitize.Literal("approvals")
	if n := m.queue.pending(m.now()); n > 0 {
		waiting = sanitize.Clean(fmt.Sprintf("approvals %d!", n))
	}
	labels = append(labels, label(atApprovals, number(2), waiting))
	for i, t := range m.tabs {
		labels = append(labels, label(atTabs+place(i), append([]sanitize.Text{number(i + 3)}, t.title()...)...))
	}
	// From the right end of the active label to the left, as many as fit.
	widths := make([]int, len(labels))
	for i, l := range labels {
		for _, s := range l {
			widths[i] += width(s.text)
		}
	}
	first, used := int(m.place), widths[m.place]
	for first > 0 && used+widths[first-1] < m.cols-2 {
		first--
		used += widths[first]
	}
	x := 0
	if first > 0 {
		x += c.line(0, 0, 1, lit(c.st.faint, "<"))
	}
	for _, l := range labels[first:] {
		x += c.line(x, 0, m.cols-x, l...)
	}
	if who := sanitize.Clean(m.opts.Who); !who.IsZero() && x+width(who)+2 < m.cols {
		c.line(m.cols-width(who), 0, width(who), span{c.st.faint, who})
	}
}

// drawFooter shows the keys of the place, or what protects a terminal.
func (m *model) drawFooter(c *canvas) {
	y := m.rows - 1
	if y < 1 {
		return
	}
	if d := m.top(); d != nil {
		if keys := d.keys(); keys != nil {
			c.line(0, y, m.cols, keys.footer(c)...)
		}
		return
	}
	t := m.current()
	switch {
	case m.place == atAgents && m.agents.typing:
		c.line(0, y, m.cols, lit(c.st.bold, "enter"), lit(c.st.faint, " to the list  "), lit(c.st.bold, "esc"), lit(c.st.faint, " drop  words, and env:prod for tags"))
	case m.place == atAgents:
		c.line(0, y, m.cols, agentKeys.footer(c)...)
	case m.place == atApprovals:
		c.line(0, y, m.cols, approvalKeys.footer(c)...)
	case m.prefixed:
		c.line(0, y, m.cols, append([]span{lit(c.st.warn, m.opts.Prefix+" then: ")}, terminalKeys.footer(c)...)...)
	case t.state != tabRunning:
		c.line(0, y, m.cols, terminalKeys.footer(c)...)
	default:
		c.fill(uv.Rect(0, y, m.cols, 1), c.st.status)
		hint := " " + m.opts.Prefix + " ? keys "
		room := m.cols
		if m.cols >= hintFrom {
			room -= len(hint)
			c.line(room, y, len(hint), lit(c.st.status, hint))
		}
		c.line(0, y, room, append([]span{lit(c.st.status, " ")}, t.status(c.st.status)...)...)
	}
}
