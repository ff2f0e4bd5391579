package console

import (
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

// find opens the palette in a place, types, and runs what is first.
func (h *harness) find(words string, open ...string) {
	h.t.Helper()
	h.keys(open...)
	h.see("Actions", "enter run")
	h.typing(words)
	h.keys("enter")
	h.miss("enter run")
}

// hostileTabs is a team whose machines can be opened, whatever their names are.
func hostileTabs() backend.Backend {
	allow := backend.Verdict{Effect: backend.Allow, Rule: "ok", Line: 3}
	w, err := mem.NewWorld([]mem.Target{
		{Target: backend.Target{ID: "1", Name: "a\x1b]52;c;aGk=\x07\u202e\u009b2J", State: backend.Online}, Verdict: allow},
		{Target: backend.Target{ID: "2", Name: "quit" + strings.Repeat("漢\u0301\n", 300), State: backend.Online}, Verdict: allow},
	})
	if err != nil {
		panic(err)
	}
	return w.Backend("alice")
}

// TestPaletteHoldsEverything: each action of each place is in it, with its key.
func TestPaletteHoldsEverything(t *testing.T) {
	inBubble(t, seen("bob"), 100, 24, func(h *harness) {
		h.keys("enter", DefaultPrefix, "a")
		for _, m := range keymap.All {
			if m == &keymap.FilterKeys || m == &keymap.PaletteKeys {
				continue // they are what one is doing while typing
			}
			for _, b := range m.Bindings {
				if b.Action == keymap.ActPalette {
					continue
				}
				h.keys("ctrl+p")
				h.typing(b.Name().String())
				h.see("> "+b.Name().String(), b.Keys[0])
				h.keys("esc")
			}
		}
	})
}

func TestPaletteRunsWhereItBelongs(t *testing.T) {
	inBubble(t, seen("bob"), 80, 24, func(h *harness) {
		h.find("queue of approvals", "ctrl+p")
		h.see("[2 approvals")
		h.find("run one command", ":") // from approvals: to the targets, on cache-1
		h.see("[1 agents]", "Run one command", "cache-1")
		h.keys("esc")
		h.find("open login shell", "/", "ctrl+p") // while a filter is typed
		h.see("[3 cache-1]")
		h.find("split right", DefaultPrefix, "ctrl+p")
		if len(h.m.tabs) != 2 {
			t.Fatalf("%d tabs after a split", len(h.m.tabs))
		}
		h.find("all keys", DefaultPrefix, ":")
		h.see("In a terminal, every key goes")
		h.keys("esc")
		h.find("go to cache", DefaultPrefix, ":")
		if h.m.current() != h.m.tabs[0] {
			t.Error("it went to another tab")
		}
		h.find("search what was shown", DefaultPrefix, ":")
		h.see("copy: line")
		h.keys("esc")
		h.find("next match", DefaultPrefix, ":")
		h.see("copy: line", "n: to the next match")
	})
}

// TestPaletteLooksFirst: what has to be seen is seen before it is done.
func TestPaletteLooksFirst(t *testing.T) {
	inBubble(t, seen("bob"), 80, 24, func(h *harness) {
		h.keys("enter", DefaultPrefix, "a")
		h.find("close the tab", "ctrl+p")
		h.see(DefaultPrefix + " x: close the tab")
		if len(h.m.tabs) != 1 || h.m.current() != h.m.tabs[0] {
			t.Fatal("a terminal that nobody saw was closed")
		}
		h.find("close the tab", DefaultPrefix, "ctrl+p")
		if len(h.m.tabs) != 0 {
			t.Error("the terminal on the screen stayed open")
		}
		h.find("approve, once", "ctrl+p")
		h.see("[2 approvals 2!]", "Request", "a: approve")
		h.miss("Reason, if you like", "high risk")
	})
}

// TestPaletteOfAnotherTarget: the list moved while the palette was open.
func TestPaletteOfAnotherTarget(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("ctrl+p")
		h.typing("open login shell")
		h.m.agents.Move(1)
		h.keys("enter")
		h.see("no such target")
		if len(h.m.tabs) != 0 {
			t.Error("a shell opened on a target that was not named")
		}
	})
}

// TestPaletteOfHostileNames: names of targets and tabs are words and no more.
func TestPaletteOfHostileNames(t *testing.T) {
	inBubble(t, hostileTabs, 200, 50, func(h *harness) {
		h.keys("enter", DefaultPrefix, "a", "down", "enter", DefaultPrefix, "a")
		if len(h.m.tabs) != 2 {
			t.Fatalf("%d tabs", len(h.m.tabs))
		}
		h.keys("ctrl+p")
		h.typing("quit")
		h.see("> quit   ") // no name of a machine comes before the action itself
		h.keys("ctrl+u")
		for _, typed := range []string{"", "go to", "\x1b]52;c;aGk=\x07", "\u202e"} {
			h.typing(typed)
			if s := h.screen(); strings.ContainsAny(s, "\x1b\x07\u202e\u009b") {
				t.Errorf("after %q the screen holds controls: %q", typed, s)
			}
			h.keys("ctrl+u")
		}
	})
}

// TestKeysBoundOtherwise: the new key does it, the old one does not, and what is on the
// screen names the new one, in views and in dialogs.
func TestKeysBoundOtherwise(t *testing.T) {
	ks, err := keymap.New(DefaultPrefix, []keymap.Change{
		{Place: "targets", Action: "exec", Keys: []string{"e"}},
		{Place: "targets", Action: "help", Keys: []string{"f1"}},
		{Place: "a-notice", Action: "back", Keys: []string{"w"}},
		{Place: "terminals", Action: "close", Keys: []string{"ctrl+w"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.m.keys, h.m.agents.Keys = ks, ks
		h.see("e exec", "f1 keys")
		h.keys("x")
		h.miss("Run one command")
		h.keys("e")
		h.see("Run one command")
		h.keys("esc", "down", "down", "down", "enter")
		h.see("Denied", "w back")
		h.keys("esc")
		h.see("Denied")
		h.keys("w")
		h.miss("Denied")
		h.keys("up", "up", "up", "enter", DefaultPrefix, "x")
		if len(h.m.tabs) != 1 {
			t.Fatal("the old key closed the tab")
		}
		h.keys(DefaultPrefix, "ctrl+w")
		if len(h.m.tabs) != 0 {
			t.Error("the new key does not close the tab")
		}
		h.keys("ctrl+p")
		h.typing("run one command")
		h.see(" e ")
	})
}
