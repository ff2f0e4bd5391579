package console

import (
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// An action is what a key does.
type action uint8

const (
	actNone action = iota
	actHelp
	actQuit
	actAgents
	actApprovals
	actNextTab
	actPrevTab
	actCloseTab
	actUp
	actDown
	actPageUp
	actPageDown
	actTop
	actBottom
	actOpen
	actExec
	actFilter
	actDetails
	actRefresh
	actApprove
	actDeny
	actShow
	actBack
	actScroll
	actLiteral
	actAgain
)

// A binding is one action, its keys, and how help names it. Keys are in
// Bubble Tea's spelling; the first is the one that the footer shows.
type binding struct {
	action action
	keys   []string
	help   string
	footer string // one word; empty keeps it out of the footer
}

// A keymap is the keys of one place. Digits 1 to 9 are no part of it: they
// always name a tab.
type keymap struct {
	name     string
	bindings []binding
}

var (
	moveKeys = []binding{
		{actDown, []string{"down", "j"}, "next row", ""},
		{actUp, []string{"up", "k"}, "previous row", ""},
		{actPageDown, []string{"pgdown", "ctrl+f"}, "next page", ""},
		{actPageUp, []string{"pgup", "ctrl+b"}, "previous page", ""},
		{actTop, []string{"home", "g"}, "first row", ""},
		{actBottom, []string{"end", "G"}, "last row", ""},
	}
	helpKey        = []binding{{actHelp, []string{"?"}, "all keys", "keys"}}
	everywhereKeys = []binding{
		{actAgents, []string{"a"}, "the list of targets", ""},
		{actApprovals, []string{"v"}, "the queue of approvals", "approvals"},
		{actNextTab, []string{"tab", "n"}, "next tab", ""},
		{actPrevTab, []string{"shift+tab", "p"}, "previous tab", ""},
	}

	agentKeys = keymap{"Targets", slices.Concat(helpKey, []binding{
		{actOpen, []string{"enter"}, "open a login shell", "shell"},
		{actExec, []string{"x"}, "run one command", "exec"},
		{actFilter, []string{"/"}, "filter: words, and env:prod for tags", "filter"},
		{actDetails, []string{"i", "space"}, "details: verdict, rule and line", "why"},
		{actBack, []string{"esc"}, "drop the filter", ""},
		{actRefresh, []string{"r"}, "ask for the list again", ""},
		{actQuit, []string{"q", "ctrl+c"}, "quit", "quit"},
	}, everywhereKeys, moveKeys)}

	approvalKeys = keymap{"Approvals", slices.Concat(helpKey, []binding{
		{actShow, []string{"enter", "space"}, "show the whole request, to decide it", "show"},
		{actRefresh, []string{"r"}, "ask for the queue again", ""},
		{actBack, []string{"esc"}, "back to the targets", "targets"},
		{actQuit, []string{"q", "ctrl+c"}, "quit", "quit"},
	}, without(everywhereKeys, actApprovals), []binding{
		{actApprovals, []string{"v"}, "the queue of approvals", ""},
	}, moveKeys)}

	// terminalKeys follow the prefix where a program runs; in a tab where
	// none runs they need no prefix.
	terminalKeys = keymap{"Terminals", slices.Concat(helpKey, []binding{
		{actScroll, []string{"[", "pgup"}, "scroll back", "scroll"},
		{actCloseTab, []string{"x"}, "close the tab, ending its program", "close"},
		{actDetails, []string{"i"}, "what protects this terminal", ""},
		{actAgain, []string{"r", "enter"}, "open again, once it ended", ""},
		{actQuit, []string{"q"}, "quit", ""},
	}, everywhereKeys)}

	scrollKeys = keymap{"Scrolling back", slices.Concat([]binding{
		{actBack, []string{"esc", "q"}, "back to the program", "back"},
	}, moveKeys)}

	requestKeys = keymap{"A request", slices.Concat([]binding{
		{actApprove, []string{"a"}, "approve, once it was read to its end", "approve"},
		{actDeny, []string{"d"}, "deny, with a reason", "deny"},
		{actBack, []string{"esc", "q"}, "back", "back"},
	}, moveKeys)}

	noticeKeys = keymap{"A notice", slices.Concat([]binding{
		{actBack, []string{"esc", "enter", "q", "space"}, "back", "back"},
	}, moveKeys)}
)

// keymaps is every keymap that help shows.
var keymaps = []*keymap{&agentKeys, &approvalKeys, &requestKeys, &terminalKeys, &scrollKeys}

func without(bs []binding, a action) []binding {
	var out []binding
	for _, b := range bs {
		if b.action != a {
			out = append(out, b)
		}
	}
	return out
}

// lookup returns what a key does here.
func (m *keymap) lookup(key string) action {
	for _, b := range m.bindings {
		for _, k := range b.keys {
			if k == key {
				return b.action
			}
		}
	}
	return actNone
}

// footer is the line of the most needed keys.
func (m *keymap) footer(c *canvas) []span {
	var spans []span
	for _, b := range m.bindings {
		if b.footer == "" {
			continue
		}
		if spans != nil {
			spans = append(spans, lit(c.st.plain, "  "))
		}
		spans = append(spans, lit(c.st.bold, b.keys[0]), lit(c.st.faint, " "+b.footer))
	}
	return spans
}

// helpParas is every key of every place.
func helpParas(st *styles, prefix string) []para {
	paras := []para{
		{"", sanitize.Literal("In a terminal, every key goes to the program but " + prefix + ": after it, one key goes to the console. Twice, it reaches the program."), st.plain},
		{"", sanitize.Literal("1 agents, 2 approvals, 3 to 9 the terminals."), st.plain},
	}
	for _, m := range keymaps {
		name := m.name
		if m == &terminalKeys {
			name += ", after " + prefix
		}
		paras = append(paras, para{}, para{"", sanitize.Literal(name), st.bold})
		for _, b := range m.bindings {
			paras = append(paras, para{b.keys[0], sanitize.Literal(helpLine(b)), st.plain})
		}
	}
	return paras
}

func helpLine(b binding) string {
	if len(b.keys) == 1 {
		return b.help
	}
	return b.help + " (also " + strings.Join(b.keys[1:], ", ") + ")"
}
