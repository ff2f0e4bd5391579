package console

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/kept"
	"github.com/tucdesk/tucdesk/tui/console/layout"
)

// broken is a backend whose listings fail.
type broken struct{ backend.Backend }

func (b broken) Unwrap() backend.Backend { return b.Backend }

func (b broken) Targets(context.Context) iter.Seq2[backend.Target, error] {
	return func(yield func(backend.Target, error) bool) {
		yield(backend.Target{}, fmt.Errorf("control: %w: the server at 10.0.0.1 does not answer\x1b[2J", backend.ErrUnavailable))
	}
}

// unreachable is a backend that opens nothing.
type unreachable struct{ backend.Backend }

func (b unreachable) Unwrap() backend.Backend { return b.Backend }

func (b unreachable) Open(context.Context, backend.OpenRequest) (backend.Terminal, error) {
	return nil, fmt.Errorf("control: %w: the relay does not answer; is UDP or TCP 443 open?", backend.ErrUnavailable)
}

// gone is a backend that has ended by itself: nothing opens, and what was open has ended.
type gone struct{ backend.Backend }

var errGone = fmt.Errorf("the plugin acme ended: exit status 3 (%w, %w)", backend.ErrUnavailable, backend.ErrGone)

func (b gone) Unwrap() backend.Backend { return b.Backend }

func (b gone) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	if req.Kind == backend.KindExec {
		return nil, errGone
	}
	term, err := b.Backend.Open(ctx, req)
	return goneTerminal{term}, err
}

type goneTerminal struct{ backend.Terminal }

func (goneTerminal) Read([]byte) (int, error)    { return 0, errGone }
func (goneTerminal) Wait() (backend.Exit, error) { return backend.Exit{}, errGone }

func alice() backend.Backend { return mem.Demo().Backend("alice") }

func seen(who string) func() backend.Backend {
	return func() backend.Backend {
		w := mem.Demo()
		if err := carolAsks(w); err != nil {
			panic(err)
		}
		return w.Backend(who)
	}
}

func empty() backend.Backend {
	w, err := mem.NewWorld(nil)
	if err != nil {
		panic(err)
	}
	return w.Backend("alice")
}

// hostile is a team of whatever a network can send, and a terminal that
// promises a lot.
func hostile() backend.Backend {
	w, err := mem.NewWorld([]mem.Target{
		{Target: backend.Target{ID: "1", Name: "web-1\x1b]0;evil\x07\x1b[2J", State: 77, Tags: map[string]string{"env\n": "\u202eprod"}}},
		{Target: backend.Target{ID: "2", Name: "раураl漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字", State: backend.Online}, Verdict: backend.Verdict{Effect: 99, Rule: "r\x1b[31m", Line: -4, Reason: "\u009b31m"}},
		{
			Target:    backend.Target{ID: "3", Name: "safe", State: backend.Online, Tags: map[string]string{"env": "prod"}},
			Verdict:   backend.Verdict{Effect: backend.Allow, Rule: "ok", Line: 3},
			Assurance: backend.Assurance{E2EE: true, Peer: "4fJ3kQpXv0aYc2M1nq", Path: "relay", Gate: "kernel", Recording: "on", Policy: true},
		},
	})
	if err != nil {
		panic(err)
	}
	return w.Backend("alice")
}

// A view is a place of the console, and the way to it.
type view struct {
	name    string
	backend func() backend.Backend
	do      func(*harness)
}

// TestFrames draws every view at three sizes, on a dark terminal, a light one and without
// colours, and compares with testdata.
func TestFrames(t *testing.T) {
	for _, tc := range []view{
		{"agents", seen("alice"), func(h *harness) {}},
		{"agents-filter", alice, func(h *harness) { h.keys("/"); h.typing("env:prod db") }},
		{"agents-arranged", alice, func(h *harness) {
			h.keys("b")
			h.typing("env")
			h.keys("enter", "c")
			h.typing("role env")
			h.keys("enter", "down", "down", "space", "space", "home", "enter")
		}},
		{"agents-marked", alice, func(h *harness) { h.keys("/"); h.typing("!role:db"); h.keys("enter", "*", "x") }},
		{"agents-views", alice, func(h *harness) {
			h.m.kept = kept.State{Views: []agents.Saved{{Name: "prod databases", Arrangement: agents.Arrangement{Filter: "env:prod role:db", Sort: "-name"}}}}
			h.keys("w", "down")
		}},
		{"layout", alice, func(h *harness) {
			h.m.kept = kept.State{Layouts: []kept.Layout{{Name: "all of it", Tabs: []*layout.Plan{
				{Share: 500, First: &layout.Plan{Target: "web-1"}, Second: &layout.Plan{Target: "vault"}}, {Target: "db-1"},
			}}}}
			h.keys("l", "enter")
		}},
		{"messages", alice, func(h *harness) { h.keys("r", "l", "esc", "m") }},
		{"agents-no-match", alice, func(h *harness) { h.keys("/"); h.typing("zzz"); h.keys("enter") }},
		{"agents-empty", empty, func(h *harness) {}},
		{"agents-error", func() backend.Backend { return broken{alice()} }, func(h *harness) {}},
		{"agents-hostile", hostile, func(h *harness) { h.keys("down") }},
		{"details", alice, func(h *harness) { h.keys("down", "i") }},
		{"denied", alice, func(h *harness) { h.keys("down", "down", "down", "enter") }},
		{"confirm", alice, func(h *harness) { h.keys("G", "up", "enter") }},
		{"ask", alice, func(h *harness) { h.keys("down", "enter") }},
		{"waiting", alice, func(h *harness) { h.keys("down", "enter"); h.typing("disk is full"); h.keys("enter") }},
		{"yours-waiting", alice, func(h *harness) { h.keys("down", "enter"); h.typing("disk is full"); h.keys("enter", "v") }},
		{"copy", alice, func(h *harness) { h.keys("enter"); h.typing("help"); h.keys("enter", DefaultPrefix, "c", "k", "V") }},
		{"paste", alice, func(h *harness) {
			h.keys("enter")
			h.send(tea.PasteMsg{Content: "cd /var\nrm -rf \u202e*\n"})
			h.settle()
		}},
		{"failed", func() backend.Backend { return unreachable{alice()} }, func(h *harness) { h.keys("enter") }},
		{"failed-gone", func() backend.Backend { return gone{alice()} }, func(h *harness) { h.keys("x"); h.typing("uptime"); h.keys("enter") }},
		{"ended-gone", func() backend.Backend { return gone{alice()} }, func(h *harness) { h.keys("enter") }},
		{"exec", alice, func(h *harness) { h.keys("x"); h.typing("echo 'a  b' | wc") }},
		{"terminal", alice, func(h *harness) { h.keys("enter"); h.typing("echo hello"); h.keys("enter") }},
		{"terminal-assured", hostile, func(h *harness) { h.keys("G", "enter"); h.typing("flood 3"); h.keys("enter") }},
		{"terminal-details", hostile, func(h *harness) { h.keys("G", "enter", "ctrl+]", "i") }},
		{"terminal-prefix", alice, func(h *harness) { h.keys("enter", "ctrl+]") }},
		{"terminal-scroll", alice, func(h *harness) {
			h.keys("enter")
			h.typing("flood 200")
			h.keys("enter")
			h.sleep(1e8)
			h.keys("ctrl+]", "[", "pgup", "up")
		}},
		{"terminal-ended", alice, func(h *harness) { h.keys("x"); h.typing("exit 3"); h.keys("enter") }},
		{"tabs", alice, func(h *harness) {
			for range 9 {
				h.keys("enter", "ctrl+]", "a")
			}
			h.keys("7")
		}},
		{"broadcast", alice, func(h *harness) {
			h.keys("enter", DefaultPrefix, "|", DefaultPrefix, "B")
			h.typing("date")
			h.sleep(7e9)
		}},
		{"broadcast-alone", alice, func(h *harness) { h.keys("enter", DefaultPrefix, "b"); h.sleep(7e9) }},
		{"zoom-raw", alice, func(h *harness) { h.keys("enter", DefaultPrefix, "Z") }},
		{"links", alice, func(h *harness) {
			h.printing("see https://status.example/today, or http://xn--80ak6aa92e.example/x")
			h.keys("u", "enter")
		}},
		{"quit", alice, func(h *harness) { h.keys("enter", "ctrl+]", "q") }},
		{"approvals", seen("bob"), func(h *harness) { h.keys("v", "down") }},
		{"approvals-empty", alice, func(h *harness) { h.keys("v") }},
		{"request", seen("bob"), func(h *harness) { h.keys("v", "down", "enter") }},
		{"request-end", seen("bob"), func(h *harness) { h.keys("v", "down", "enter", "end") }},
		{"approve-typed", seen("bob"), func(h *harness) { h.keys("v", "down", "enter", "end", "a"); h.typing("web"); h.keys("enter") }},
		{"deny", seen("bob"), func(h *harness) { h.keys("v", "enter", "d", "enter") }},
		{"audit", seen("dora"), func(h *harness) { h.keys("t", "up", "up") }},
		{"audit-filter", seen("dora"), func(h *harness) { h.keys("t", "/"); h.typing("actor:alice kind:exec") }},
		{"audit-entry", seen("dora"), func(h *harness) { h.keys("t", "up", "up", "enter") }},
		{"audit-refused", alice, func(h *harness) { h.keys("t") }},
		{"player", seen("dora"), func(h *harness) { h.keys("t", "g", "down", "p", "space", "m", "m") }},
		{"player-unrecorded", seen("dora"), func(h *harness) { h.keys("t", "up", "p") }},
		{"live", running("carol", "web-1", "cache-1", "web-1"), func(h *harness) { h.keys("o", "down") }},
		{"live-empty", seen("bob"), func(h *harness) { h.keys("o") }},
		{"live-none", func() backend.Backend { return plain{alice()} }, func(h *harness) { h.keys("o") }},
		{"observed", running("bob", "web-1"), func(h *harness) { h.keys("o", "enter") }},
		{"tour", alice, func(h *harness) { h.keys("T") }},
		{"tour-approvals", seen("bob"), func(h *harness) { h.keys("T", "enter", "enter", "enter") }},
		{"palette", seen("alice"), func(h *harness) { h.keys("ctrl+p", "down") }},
		{"palette-typed", alice, func(h *harness) { h.keys(":"); h.typing("appr") }},
		{"palette-no-match", alice, func(h *harness) { h.keys("ctrl+p"); h.typing("zzqx") }},
		{"palette-terminal", alice, func(h *harness) { h.keys("enter", "ctrl+]", "ctrl+p"); h.typing("split") }},
		{"palette-hostile", hostileTabs, func(h *harness) {
			h.keys("enter", "ctrl+]", "a", "down", "enter", "ctrl+]", "a", "ctrl+p")
			h.typing("go to")
		}},
		{"palette-hostile-target", hostileTabs, func(h *harness) { h.keys("ctrl+p", "down"); h.typing("login") }},
		{"help", alice, func(h *harness) { h.keys("?") }},
		{"welcome", alice, func(h *harness) {
			h.m.dialogs = newModel(h.m.ctx, h.m.backend, Options{Notice: "This is a demo on this machine.\nIn a second terminal: tucdesk demo bob"}).dialogs
		}},
		{"attach", func() backend.Backend { return left{alice()} }, func(h *harness) { h.keys("A") }},
		{"columns", alice, func(h *harness) { h.keys("c") }},
		{"group", alice, func(h *harness) { h.keys("b") }},
		{"keep-view", alice, func(h *harness) { h.m.opts.Keeper = &shelf{}; h.keys("w"); h.typing("keep"); h.keys("enter") }},
		{"keep-layout", alice, func(h *harness) { h.keys("enter", DefaultPrefix, "|", DefaultPrefix, "l", "end", "enter") }},
		{"exec-many", alice, func(h *harness) {
			h.m.opts.Many = func(context.Context, []backend.TargetID, []string) (backend.Terminal, error) {
				return nil, backend.ErrUnavailable
			}
			h.keys("space", "space", "x")
			h.typing("uptime")
		}},
		{"splits-zoomed", alice, func(h *harness) {
			h.keys("enter", DefaultPrefix, "|", DefaultPrefix, "-", DefaultPrefix, "z")
			h.sleep(7e9)
		}},
		{"copy-search", alice, func(h *harness) {
			h.keys("enter")
			h.typing("flood 30")
			h.keys("enter")
			h.sleep(1e8)
			h.keys(DefaultPrefix, "c", "/")
			h.typing("line 2[0-9]")
			h.keys("enter", "v", "up")
		}},
		{"lost-link", func() backend.Backend {
			w := mem.Demo()
			w.SetLink(backend.Link{Lost: true, Since: time.Now().Add(-12 * time.Second), Until: time.Now().Add(9 * time.Minute), Why: "no answer from the relay"})
			return w.Backend("alice")
		}, func(h *harness) { h.keys("enter"); h.sleep(7e9) }},
		{"start-confirm", starting(backend.Start{
			ID: 1, State: backend.StartConfirm, Argv: []string{"systemctl", "restart", "nginx"}, Cwd: "/root", Env: []string{"LD_PRELOAD=/tmp/x.so"},
			Tier: "high", Reason: "to be confirmed by the operator because of commands.catalogue (line 79)",
		}), func(h *harness) { h.keys("enter"); h.sleep(7e9) }},
		{"start-held", starting(backend.Start{
			ID: 1, State: backend.StartHold, Argv: []string{"rm", "-rf", "/srv/\u202e*"}, Cwd: "/srv", Reason: "held by sre-prod (line 33)", Approvers: "1 of role:approver",
		}), func(h *harness) { h.keys("enter"); h.sleep(7e9) }},
		{"player-search", seen("dora"), func(h *harness) { h.keys("t", "g", "down", "p", "space", "/"); h.typing("restart") }},
		{"player-checked", seen("dora"), func(h *harness) { h.keys("t", "g", "down", "p", "space", "c") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var all strings.Builder
			for _, size := range [][2]int{{40, 12}, {80, 24}, {200, 50}} {
				fmt.Fprintf(&all, "%dx%d\n", size[0], size[1])
				inBubble(t, tc.backend, size[0], size[1], func(h *harness) {
					tc.do(h)
					all.WriteString(h.painted())
				})
			}
			compare(t, filepath.Join("testdata", "frames", tc.name+".txt"), all.String())
		})
	}
}

// A starter is a backend of terminals in which a program start is judged.
type starter struct {
	backend.Backend
	start backend.Start
}

func (b starter) Unwrap() backend.Backend { return b.Backend }

func (b starter) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	term, err := b.Backend.Open(ctx, req)
	if err != nil {
		return nil, err
	}
	starts := make(chan backend.Start, 1)
	starts <- b.start
	close(starts)
	return gated{term, starts}, nil
}

type gated struct {
	backend.Terminal
	starts chan backend.Start
}

func (t gated) Starts() <-chan backend.Start { return t.starts }
func (t gated) Confirm(uint64, bool)         {}

func starting(s backend.Start) func() backend.Backend {
	return func() backend.Backend { return starter{alice(), s} }
}

// TestAnySize draws every view at sizes that nobody asked for.
func TestAnySize(t *testing.T) {
	inBubble(t, seen("bob"), 80, 24, func(h *harness) {
		for _, keys := range [][]string{{}, {"/", "w"}, {"enter", "esc", "i"}, {"esc", "v"}, {"enter"}, {"d"}, {"esc", "esc", "esc", "?"}, {"esc", ":"}, {"z", "z"}} {
			h.keys(keys...)
			for _, size := range [][2]int{{0, 0}, {1, 1}, {2, 1}, {1, 2}, {3, 3}, {5, 4}, {10, 5}, {300, 2}, {12, 80}, {0, 24}, {80, 0}, {-1, -1}, {80, 24}} {
				h.m.resize(size[0], size[1])
				h.screen()
			}
		}
	})
}
