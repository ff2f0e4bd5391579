package keymap

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

// Everywhere is the place of a Change that holds wherever its action is, but where
// letters are typed.
const Everywhere = "everywhere"

// A Change gives an action of a place other keys than its own. Without keys, the
// action is found by its name only.
type Change struct {
	Place  string // as Map.ID, or Everywhere
	Action string // as Action.String
	Keys   []string
}

// A ChangeError is a change that can't be: which one of those that New was given,
// and why.
type ChangeError struct {
	At      int
	Problem string
}

func (e *ChangeError) Error() string { return "keymap: " + e.Problem }

// Keys are the keys of one person. Those who changed none have nil.
type Keys struct{ changed map[*Map]*Map }

// New applies changes to the keys that everybody has. What would leave a key with
// two meanings, or somebody without a way back, is a *ChangeError.
func New(prefix string, changes []Change) (*Keys, error) {
	ks := &Keys{changed: make(map[*Map]*Map)}
	who := make(map[*Map]map[Action]int) // the change that gave an action its keys
	for at, c := range changes {
		if err := ks.apply(at, c, prefix, who); err != nil {
			return nil, err
		}
	}
	for _, m := range every() {
		if err := ks.conflict(m, who[m]); err != nil {
			return nil, err
		}
	}
	return ks, nil
}

// every is All and the maps that help leaves out.
func every() []*Map { return append([]*Map{&NoticeKeys, &TourKeys}, All...) }

func (ks *Keys) apply(at int, c Change, prefix string, who map[*Map]map[Action]int) error {
	fail := func(format string, args ...any) error {
		return &ChangeError{At: at, Problem: fmt.Sprintf(format, args...)}
	}
	for _, key := range c.Keys {
		if _, err := Press(key); err != nil {
			return fail("%v", err)
		}
		switch {
		case len(key) == 1 && key[0] >= '1' && key[0] <= '9':
			return fail("%s always names a tab", key)
		case key == prefix:
			return fail("%s is the key before the console's own; choose another, or another prefix", key)
		}
	}
	places, actions := 0, []string{}
	for _, m := range every() {
		if c.Place != m.ID() && (c.Place != Everywhere || m.types()) {
			continue
		}
		places++
		for i, b := range m.Bindings {
			actions = append(actions, b.Action.String())
			if b.Action.String() != c.Action {
				continue
			}
			if len(c.Keys) == 0 && b.Action == ActBack {
				return fail("without a key for %q there is no way back", c.Action)
			}
			for _, key := range c.Keys {
				if k, _ := Press(key); m.types() && k.Text != "" {
					return fail("%s is typed in %q; use a key such as ctrl+%s or f2", key, m.ID(), strings.ToLower(key))
				}
			}
			if ks.changed[m] == nil {
				ks.changed[m] = &Map{m.Name, slices.Clone(m.Bindings)}
				who[m] = make(map[Action]int)
			}
			ks.changed[m].Bindings[i].Keys = slices.Clone(c.Keys)
			who[m][b.Action] = at
		}
	}
	switch {
	case places == 0:
		return fail("there is no place %q; there are: %s", c.Place, strings.Join(Places(), ", "))
	case !slices.Contains(actions, c.Action):
		slices.Sort(actions)
		return fail("%q has no action %q; it has: %s", c.Place, c.Action, strings.Join(slices.Compact(actions), ", "))
	}
	return nil
}

// conflict finds a key that means two things. who names the change that is to blame.
func (ks *Keys) conflict(m *Map, who map[Action]int) error {
	by := make(map[string]Action)
	for _, b := range ks.Of(m).Bindings {
		for _, key := range b.Keys {
			other, taken := by[key]
			if !taken {
				by[key] = b.Action
				continue
			}
			at, changed := who[b.Action]
			if !changed {
				at, b.Action, other = who[other], other, b.Action
			}
			return &ChangeError{At: at, Problem: fmt.Sprintf("%s would mean %q and %q in %q; give %q another key, or none: []", key, b.Action, other, m.ID(), other)}
		}
	}
	return nil
}

// types says whether letters are typed in a place.
func (m *Map) types() bool { return m == &FilterKeys || m == &PaletteKeys }

// ID is the place's name in a file.
func (m *Map) ID() string { return strings.ReplaceAll(strings.ToLower(m.Name), " ", "-") }

// Places are the names of all places, and Everywhere.
func Places() []string {
	out := []string{Everywhere}
	for _, m := range every() {
		out = append(out, m.ID())
	}
	slices.Sort(out)
	return out
}

// Actions are the names of what can be done in a place.
func Actions(place string) []string {
	var out []string
	for _, m := range every() {
		if place == m.ID() || place == Everywhere && !m.types() {
			for _, b := range m.Bindings {
				out = append(out, b.Action.String())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Of gives a place's keys as they are for this person. Without a place it gives nil.
func (ks *Keys) Of(m *Map) *Map {
	if ks != nil && ks.changed[m] != nil {
		return ks.changed[m]
	}
	return m
}

// Key is the first key of an action in a place, for hints; "(no key)" without one.
func (ks *Keys) Key(m *Map, a Action) string {
	for _, b := range ks.Of(m).Bindings {
		if b.Action == a && len(b.Keys) > 0 {
			return b.Keys[0]
		}
	}
	return "(no key)"
}

// Own turns a key as this person presses it into the place's own key for the same
// action, so that whoever is given it need not know of changes. A key that has lost
// its meaning becomes one that has none.
func (ks *Keys) Own(m *Map, k tea.KeyPressMsg) tea.KeyPressMsg {
	if m == nil || ks.Of(m) == m {
		return k
	}
	if a := ks.Of(m).Lookup(k.String()); a != actNone {
		for _, b := range m.Bindings {
			if b.Action == a {
				own, _ := Press(b.Keys[0]) // our own spelling, and tested
				return own
			}
		}
	}
	if m.Lookup(k.String()) != actNone {
		return tea.KeyPressMsg{}
	}
	return k
}

// Help is every key of every place.
func (ks *Keys) Help(st *canvas.Styles, prefix string) []canvas.Para {
	paras := []canvas.Para{
		{Label: "", Text: sanitize.Literal("In a terminal, every key goes to the program but " + prefix + ": after it, one key goes to the console. Twice, it reaches the program."), Style: st.Plain},
		{Label: "", Text: sanitize.Literal("1 agents, 2 approvals, 3 to 9 the terminals."), Style: st.Plain},
		{Label: "", Text: sanitize.Literal("On a slow link, letters are underlined until the far end has echoed them."), Style: st.Plain},
		{Label: "", Text: sanitize.Literal("Keys, colours and more are yours to choose: see tucdesk config --help."), Style: st.Plain},
	}
	for _, m := range All {
		name := m.Name
		if m == &TerminalKeys {
			name += ", after " + prefix
		}
		paras = append(paras, canvas.Para{}, canvas.Para{Label: "", Text: sanitize.Literal(name), Style: st.Bold})
		for _, b := range ks.Of(m).Bindings {
			paras = append(paras, canvas.Para{Label: b.First(), Text: sanitize.Literal(HelpLine(b)), Style: st.Plain})
		}
	}
	return paras
}

// Press is a key press of a key in Bubble Tea's spelling: "a", "A", "ctrl+p",
// "shift+tab", "f12".
func Press(spelled string) (tea.KeyPressMsg, error) {
	bad := fmt.Errorf("%q is no key; write it as a, A, enter, ctrl+p, alt+x, shift+tab or f12", spelled)
	rest, mod := spelled, uv.KeyMod(0)
	for _, m := range []struct {
		name string
		mod  uv.KeyMod
	}{{"ctrl+", uv.ModCtrl}, {"alt+", uv.ModAlt}, {"shift+", uv.ModShift}} {
		if after, ok := strings.CutPrefix(rest, m.name); ok && after != "" {
			rest, mod = after, mod|m.mod
		}
	}
	k := tea.KeyPressMsg{Mod: mod}
	if code, named := namedKeys[rest]; named {
		k.Code = code
	} else {
		runes := []rune(rest)
		if len(runes) != 1 || sanitize.Clean(rest).String() != rest || rest == " " || mod == uv.ModShift {
			return k, bad
		}
		k.Code = runes[0]
		if mod == 0 {
			k.Text = rest
		}
	}
	if k.String() != spelled {
		return k, bad
	}
	return k, nil
}

var namedKeys = map[string]rune{
	"enter": uv.KeyEnter, "tab": uv.KeyTab, "backspace": uv.KeyBackspace, "esc": uv.KeyEscape, "space": uv.KeySpace,
	"up": uv.KeyUp, "down": uv.KeyDown, "left": uv.KeyLeft, "right": uv.KeyRight, "home": uv.KeyHome, "end": uv.KeyEnd,
	"insert": uv.KeyInsert, "delete": uv.KeyDelete, "pgup": uv.KeyPgUp, "pgdown": uv.KeyPgDown,
	"f1": uv.KeyF1, "f2": uv.KeyF2, "f3": uv.KeyF3, "f4": uv.KeyF4, "f5": uv.KeyF5, "f6": uv.KeyF6,
	"f7": uv.KeyF7, "f8": uv.KeyF8, "f9": uv.KeyF9, "f10": uv.KeyF10, "f11": uv.KeyF11, "f12": uv.KeyF12,
}
