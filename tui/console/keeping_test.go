package console

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/kept"
)

// A shelf keeps the last state, unless it is broken.
type shelf struct {
	kept.State
	broken error
}

func (s *shelf) Keep(state kept.State) error {
	s.State = state
	return s.broken
}

// TestViews arranges the list by hand, keeps that, and chooses it again.
func TestViews(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		kept := &shelf{}
		h.m.opts.Keeper = kept
		h.m.opts.Views = []agents.Saved{{Name: "of the settings", Arrangement: agents.Arrangement{Filter: "!role:db"}}}
		h.keys("b")
		h.typing("env")
		h.keys("enter")
		h.see("▾ env=prod  5", "▾ env=staging  2", "by env")
		h.keys("s")
		h.typing("backwards name")
		h.keys("enter", "c")
		h.typing("role nothing")
		h.keys("enter")
		h.see(`no target has a tag "nothing"`)
		h.keys("ctrl+w", "enter")
		h.see("sorted by -name", "verdict", "role")
		h.keys("up", "enter")
		h.see("▸ env=prod  5")
		h.miss("web-3")
		h.keys("space", "w")
		h.typing("keep")
		h.keys("enter")
		h.typing("prod by hand")
		h.keys("enter")
		h.see("kept: prod by hand")
		if len(kept.Views) != 1 || kept.Views[0].Group != "env" || kept.Views[0].Sort != "-name" || kept.Views[0].Columns[0] != "role" {
			t.Errorf("kept %+v", kept.Views)
		}
		h.keys("w")
		h.typing("settings")
		h.keys("enter")
		h.see("/!role:db", "5 of 7")
		h.miss("by env")
		kept.broken = errors.New("disk full")
		h.keys("w")
		h.typing("forget prod")
		h.keys("enter")
		h.see("not forgotten: ", "disk full")
		h.keys("m")
		h.see("Messages", "kept: prod by hand", "disk full")
	})
}

// TestMarks marks targets and runs one command on them.
func TestMarks(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("space", "x")
		h.see("*", "one target at a time")
		h.keys("esc")
		h.miss("marked")
		var got []string
		h.m.opts.Many = func(ctx context.Context, ids []backend.TargetID, argv []string) (backend.Terminal, error) {
			for _, id := range ids {
				got = append(got, string(id))
			}
			return h.m.backend.Open(ctx, backend.OpenRequest{Target: "cache-1", Kind: backend.KindExec, Argv: argv, TTY: true, Cols: 80, Rows: 22})
		}
		h.keys("/")
		h.typing("role:web")
		h.keys("enter", "*")
		h.see("3 marked")
		h.keys("x")
		h.see("3 marked", "web-1, web-2, web-3")
		h.typing("echo hello")
		h.keys("enter")
		h.sleep(7 * time.Second) // the message above it
		h.see("3 targets: echo", "hello")
		if strings.Join(got, " ") != "web-1 web-2 web-3" {
			t.Errorf("ran on %q", got)
		}
		h.keys("a", "*")
		h.miss("marked")
	})
}

// TestLayouts keeps terminals that stand side by side, and opens them again: with
// verdicts first, and without what is denied.
func TestLayouts(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("l")
		h.see("There are none yet")
		h.keys("esc", "enter", DefaultPrefix, "|", DefaultPrefix, "l", "enter")
		h.typing("two caches")
		h.keys("enter")
		h.see("kept: two caches")
		h.after("x")
		h.after("x")
		h.keys("l", "enter")
		h.see("Open these again?", "✓ allow", "cache-1")
		h.keys("enter")
		if len(h.m.tabs) != 2 || len(h.m.splits) != 1 || !h.m.onScreen(h.m.tabs[0]) || !h.m.onScreen(h.m.tabs[1]) {
			t.Fatalf("%d tabs, %d splits:\n%s", len(h.m.tabs), len(h.m.splits), h.screen())
		}
		if cols := h.m.tabs[0].req.Cols; cols != 39 {
			t.Errorf("opened with %d columns", cols)
		}
		h.keys(DefaultPrefix, "a")
		h.m.kept.Layouts[0].Tabs[0].First.Target = "vault"
		h.keys("l", "enter")
		h.see("✗ deny", "1 of them are denied")
		h.keys("enter")
		if len(h.m.tabs) != 3 {
			t.Errorf("%d tabs", len(h.m.tabs))
		}
	})
}
