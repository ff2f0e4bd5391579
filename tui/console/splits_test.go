package console

import (
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

// after presses the prefix and a console key.
func (h *harness) after(name string) { h.keys(DefaultPrefix, name) }

func TestSplits(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("enter")
		h.after("|")
		if len(h.m.tabs) != 2 || !h.m.onScreen(h.m.tabs[0]) || !h.m.onScreen(h.m.tabs[1]) {
			t.Fatalf("%d tabs; both are to be seen:\n%s", len(h.m.tabs), h.screen())
		}
		h.after("-")
		sizes := func() (out [][2]int) {
			for _, tb := range h.m.tabs {
				a := h.m.areaOf(tb)
				out = append(out, [2]int{a.Dx(), a.Dy()})
			}
			return out
		}
		if got := sizes(); got[0] != [2]int{39, 21} || got[1] != [2]int{40, 10} || got[2] != [2]int{40, 10} {
			t.Errorf("sizes %v", got)
		}
		h.golden("splits")
		h.after("left")
		if h.m.current() != h.m.tabs[0] {
			t.Error("left goes elsewhere")
		}
		h.typing("date")
		h.after("L")
		if got := sizes(); got[0] != [2]int{41, 21} {
			t.Errorf("sizes %v after growing", got)
		}
		h.after("z")
		if h.m.onScreen(h.m.tabs[1]) || sizes()[0] != [2]int{80, 22} {
			t.Errorf("not zoomed: %v", sizes())
		}
		h.after("z")
		h.after("right")
		h.after("x")
		if len(h.m.tabs) != 2 || h.m.current() == nil || sizes()[0] != [2]int{41, 21} {
			t.Errorf("after closing one: %d tabs, %v", len(h.m.tabs), sizes())
		}
		h.after("x")
		if len(h.m.tabs) != 1 || len(h.m.splits) != 0 || sizes()[0] != [2]int{80, 22} {
			t.Errorf("after closing two: %d tabs, %d splits", len(h.m.tabs), len(h.m.splits))
		}
	})
}

// TestSplitsWhereThereIsLittleRoom splits until a screen is full, and shrinks it.
func TestSplitsWhereThereIsLittleRoom(t *testing.T) {
	inBubble(t, alice, 40, 12, func(h *harness) {
		h.keys("enter")
		for range 8 {
			h.after("-")
		}
		if len(h.m.tabs) != 3 {
			t.Errorf("%d tabs of at least 3 rows in 10", len(h.m.tabs))
		}
		h.see("no room")
		h.sleep(12 * time.Second)
		h.golden("splits-full")
		h.m.resize(20, 6)
		if h.m.onScreen(h.m.tabs[0]) || !h.m.onScreen(h.m.tabs[2]) {
			t.Error("where not all fit, one is shown")
		}
		h.screen()
		h.m.resize(40, 12)
		if !h.m.onScreen(h.m.tabs[0]) {
			t.Error("what was hidden is not back")
		}
	})
}

// TestCopy copies a line, and lets the outer terminal have nothing but that.
func TestCopy(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("enter")
		h.typing("echo wanted")
		h.after("c")
		h.keys("V", "y")
		if want := "\x1b]52;c;YWxpY2VAY2FjaGUtMSQgZWNobyB3YW50ZWQ=\a"; h.raw != want {
			t.Errorf("written %q, want %q", h.raw, want)
		}
		h.see("given to your terminal's clipboard: 26 characters")
		h.typing("!")
		h.see("echo wanted!")
	})
}

// TestSplitOfACommand does not run the command again.
func TestSplitOfACommand(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("x")
		h.typing("date")
		h.keys("enter")
		cmd, ok := h.m.splitKey(h.m.current(), keymap.ActSplitRight)
		h.start(cmd)
		h.settle()
		if last := h.m.tabs[len(h.m.tabs)-1]; !ok || len(last.req.Argv) != 0 || last.req.Kind != "shell" {
			t.Errorf("the new one runs %q", last.req.Argv)
		}
	})
}
