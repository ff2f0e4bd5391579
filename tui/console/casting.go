package console

import (
	"fmt"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

// castTo gives the terminals that what is typed in t goes to: t alone, or all that are
// in the broadcast with it; none where t is only observed.
func (m *model) castTo(t *tab) []*tab {
	if t.req.Kind == backend.KindObserve {
		m.say(m.st.Warn, "read-only, and not typed: you observe ", t.name)
		return nil
	}
	out := []*tab{t}
	if !m.cast[t.id] {
		return out
	}
	for _, other := range m.tabs {
		if other != t && m.cast[other.id] && other.needsPrefix() {
			out = append(out, other)
		}
	}
	return out
}

// casting is how many terminals what is typed in t goes to, 0 where t is in no
// broadcast.
func (m *model) casting(t *tab) int {
	if !m.cast[t.id] {
		return 0
	}
	return len(m.castTo(t))
}

// castWords say it where the colour may not be seen.
func castWords(n int) string { return fmt.Sprintf("BROADCAST to %d · ", n) }

// castKey takes a terminal into the broadcast or out of it, or all that are on the
// screen.
func (m *model) castKey(t *tab, act keymap.Action) {
	if !t.own() {
		m.say(m.st.Faint, "nothing of yours runs here", sanitize.Text{})
		return
	}
	if act == keymap.ActCast {
		if m.cast[t.id] = !m.cast[t.id]; !m.cast[t.id] {
			delete(m.cast, t.id)
		}
	} else if len(m.cast) > 0 {
		clear(m.cast)
	} else {
		for _, other := range m.tabs {
			if m.onScreen(other) && other.own() {
				m.cast[other.id] = true
			}
		}
	}
	m.arrange()
	switch n := len(m.cast); n {
	case 0:
		m.say(m.st.Ok, "the broadcast is over: keys go to one terminal", sanitize.Text{})
	default:
		m.say(m.st.Deny, fmt.Sprintf("BROADCAST: keys go to all of %d", n), sanitize.Text{})
	}
}
