package console

import (
	"slices"
	"strconv"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/palette"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// A doAction is an action that was found by name, the place whose it is, and what
// it was said to act on.
type doAction struct {
	at     *keymap.Map
	bind   keymap.Binding
	tab    int
	target backend.TargetID
}

// A doShow brings a terminal to the screen.
type doShow struct{ tab int }

// A doLeave leaves a terminal, which goes on.
type doLeave struct{ tab int }

// here is the keys of the place on the screen.
func (m *model) here() *keymap.Map {
	switch t := m.current(); {
	case t != nil && t.scroll:
		return &keymap.ScrollKeys
	case t != nil:
		return &keymap.TerminalKeys
	case m.place == atApprovals:
		return &keymap.ApprovalKeys
	}
	return &keymap.AgentKeys
}

// palette is every action of every place, those of this place first. What several
// places have stands there once, and is done where it is found first.
func (m *model) palette() dialog.Dialog {
	t := m.current()
	if t == nil {
		t = m.find(m.shownTab)
	}
	here := m.here()
	order := []*keymap.Map{here}
	for _, place := range keymap.All {
		if place != here && place != &keymap.FilterKeys && place != &keymap.PaletteKeys {
			order = append(order, place)
		}
	}
	_, oversees := backend.As[backend.Overseer](m.backend)
	var entries []palette.Entry
	seen := make(map[string]bool)
	for _, place := range order {
		ofTab := place == &keymap.TerminalKeys || place == &keymap.ScrollKeys || place == &keymap.CopyKeys
		if ofTab && t == nil {
			continue
		}
		for _, b := range m.keys.Of(place).Bindings {
			if b.Action == keymap.ActPalette || seen[b.Name().String()] || (b.Action == keymap.ActLive || place == &keymap.LiveKeys) && !oversees {
				continue
			}
			seen[b.Name().String()] = true
			e := palette.Entry{Name: []sanitize.Text{b.Name()}, Words: b.Words(), Place: []sanitize.Text{sanitize.Literal(place.Name)}, Key: b.First()}
			do := doAction{at: place, bind: b}
			if ofTab {
				do.tab = t.id
				e.Place = append(e.Place, sanitize.Literal(": "), t.name)
				if place == &keymap.TerminalKeys && t.needsPrefix() {
					e.Key = m.opts.Prefix + " " + e.Key
				}
			}
			if target, ok := m.agents.Current(); ok && place == &keymap.AgentKeys && onTarget(b.Action) {
				do.target = target.ID
				e.Place = append(e.Place, sanitize.Literal(": "), phrase.Brief(target.Name))
			}
			e.Do = do
			entries = append(entries, e)
		}
	}
	for i, t := range m.tabs {
		e := palette.Entry{
			Name:  append([]sanitize.Text{sanitize.Literal("go to ")}, t.title()...),
			Words: "tab terminal",
			Place: []sanitize.Text{sanitize.Clean("tab " + strconv.Itoa(i+3))},
			Do:    doShow{t.id},
		}
		if n := i + 3; n <= 9 {
			e.Key = strconv.Itoa(n)
			if t := m.current(); t != nil && t.needsPrefix() {
				e.Key = m.opts.Prefix + " " + e.Key
			}
		}
		entries = append(entries, e)
	}
	if t != nil {
		entries = append(entries, t.watchers.Entries(t.name)...)
	}
	if t != nil && t.pane != nil && t.pane.Leaves() {
		entries = append(entries, palette.Entry{Name: []sanitize.Text{sanitize.Literal("leave it running: "), t.name}, Words: "detach", Do: doLeave{t.id}})
	}
	return palette.New(append(entries, m.lists.Shells.Entries(m.now(), m.nameOf)...))
}

// onTarget says whether an action is done to the target under the cursor.
func onTarget(a keymap.Action) bool {
	return slices.Contains([]keymap.Action{keymap.ActOpen, keymap.ActExec, keymap.ActDetails}, a)
}

// show brings a terminal to the screen.
func (m *model) show(t *tab) { m.goTo(atTabs + place(slices.Index(m.tabs, t))) }

// run does an action in the place it belongs to. Where it needs something that has
// to be seen first, a request, a text to select, a start that waits, a terminal that
// would end, it only goes there and names the key.
func (m *model) run(a doAction) tea.Cmd {
	var none tea.KeyPressMsg
	act := a.bind.Action
	switch a.at {
	case &keymap.AgentKeys:
		if m.place != atAgents {
			m.goTo(atAgents)
		}
		if t, ok := m.agents.Current(); onTarget(act) && (!ok || t.ID != a.target) {
			m.say(m.st.Warn, "there is no such target in the list now", sanitize.Text{})
			return nil
		}
		return m.agentDo(act, none)
	case &keymap.ApprovalKeys, &keymap.RequestKeys:
		if m.place != atApprovals {
			m.goTo(atApprovals)
		}
		if a.at == &keymap.ApprovalKeys {
			return m.approvalDo(act, none)
		}
		seen, ok := m.queue.Current()
		if !ok {
			m.say(m.st.Faint, "no request waits", sanitize.Text{})
			return nil
		}
		m.push(m.queue.Open(seen))
		m.sayKey(a.bind, "")
		return nil
	}
	if first, ok := map[*keymap.Map]keymap.Action{
		&keymap.LiveKeys: keymap.ActLive, &keymap.AuditKeys: keymap.ActAudit, &keymap.EntryKeys: keymap.ActAudit, &keymap.PlayerKeys: keymap.ActAudit,
	}[a.at]; ok {
		m.sayKey(a.bind, "")
		return m.everywhere(first, none)
	}
	t := m.find(a.tab)
	if t == nil {
		m.say(m.st.Warn, "that terminal is closed", sanitize.Text{})
		return nil
	}
	was := m.current() == t
	if !was {
		m.show(t)
	}
	switch {
	case a.at == &keymap.CopyKeys && t.state == tabRunning:
		m.sayKey(a.bind, "")
		return m.tabDo(t, keymap.ActCopyMode, none)
	case a.at == &keymap.ScrollKeys && t.scroll:
		m.scrollDo(t, act)
		return nil
	case a.at == &keymap.ScrollKeys && t.state == tabRunning:
		m.sayKey(a.bind, "")
		return m.tabDo(t, keymap.ActScroll, none)
	case a.at != &keymap.TerminalKeys:
		m.say(m.st.Faint, "nothing runs here", sanitize.Text{})
		return nil
	case act == keymap.ActYes, act == keymap.ActCloseTab && !was:
		prefix := ""
		if t.needsPrefix() {
			prefix = m.opts.Prefix + " "
		}
		m.sayKey(a.bind, prefix)
		return nil
	}
	return m.tabDo(t, act, none)
}

// sayKey says which key does what was asked for, now that one is there.
func (m *model) sayKey(b keymap.Binding, prefix string) {
	m.say(m.st.Hold, prefix+b.First()+": ", b.Name())
}
