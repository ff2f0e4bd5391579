package console

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/approvals"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/inquiry"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/together"
)

func TestHeldOpensByItself(t *testing.T) {
	w := mem.Demo()
	bob := w.Backend("bob")
	inBubble(t, func() backend.Backend { return w.Backend("alice") }, 80, 24, func(h *harness) {
		h.keys("down", "enter")
		h.see("Held: ask for approval", "prod-db-needs-two", "line 31", "role approver")
		h.keys("enter")
		h.see("a reason is needed")
		h.typing("disk is full")
		h.keys("enter")
		h.see("yours: waiting for approval", "disk is full")
		h.keys("a") // other work meanwhile
		h.see("[1 agents]")
		for a := range bob.Pending(h.t.Context()) {
			if a.Reason != "disk is full" {
				t.Errorf("the reason that arrived: %q", a.Reason)
			}
			if err := bob.Decide(h.t.Context(), a.ID, backend.Decision{Approve: true}); err != nil {
				t.Fatal(err)
			}
		}
		h.settle()
		h.see("opened: db-1", "3 db-1 !")
		if h.rang == 0 {
			t.Error("no bell rang")
		}
		h.keys("3")
		h.see("alice@db-1$")
	})
}

func TestHeldThenDenied(t *testing.T) {
	w := mem.Demo()
	bob := w.Backend("bob")
	inBubble(t, func() backend.Backend { return w.Backend("alice") }, 80, 24, func(h *harness) {
		h.keys("x")
		h.typing("restart api")
		h.keys("enter")
		h.see("Held: ask for approval", "restart api", "restarts-are-held")
		h.typing("it leaks")
		h.keys("enter")
		for a := range bob.Pending(h.t.Context()) {
			if err := bob.Decide(h.t.Context(), a.ID, backend.Decision{Reason: "use the runbook\x1b[2J"}); err != nil {
				t.Fatal(err)
			}
		}
		h.settle()
		h.see("It did not open", "use the runbook", `\x1b`)
		h.keys("x")
		h.miss("restart")
	})
}

func TestConfirmIsTyped(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("/")
		h.typing("web-2")
		h.keys("enter", "enter")
		h.see("Look twice", "look-twice, line 20")
		h.keys("enter", "y", "enter")
		h.see("type yes")
		h.typing("es")
		h.keys("enter")
		h.see("alice@web-2$")
	})
}

func TestDeniedCanNotBeAsked(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("down", "down", "down", "enter")
		h.see("Denied", "vault-is-closed, line 7", "Nobody can approve this here")
		h.keys("enter")
		if len(h.m.tabs) != 0 || len(h.m.dialogs) != 0 {
			t.Error("something stayed open")
		}
	})
}

func TestApproveLowTier(t *testing.T) {
	inBubble(t, seen("bob"), 80, 24, func(h *harness) {
		h.see("approvals 2!")
		h.keys("v", "enter", "a")
		h.see("Approve")
		h.keys("enter")
		h.see("✓ approved: db-1", "approvals 1!")
	})
}

func TestApproveHighTierIsReadAndTyped(t *testing.T) {
	inBubble(t, seen("bob"), 80, 24, func(h *harness) {
		h.keys("v", "down", "enter", "a")
		h.see("more below")
		h.miss("Approve: high risk")
		h.keys("end", "a")
		h.see("Approve: high risk")
		h.typing("web-2")
		h.keys("enter")
		h.see("that is not the target's name")
		h.keys("backspace", "1", "enter")
		h.see("✓ approved: web-1")
	})
}

func TestDenyNeedsAReason(t *testing.T) {
	inBubble(t, seen("bob"), 80, 24, func(h *harness) {
		h.keys("v", "enter", "d", "enter", " ", "enter")
		h.see("a reason is needed")
		h.typing("no")
		h.keys("enter")
		h.see("✗ denied: db-1")
	})
}

func TestSomebodyWasFaster(t *testing.T) {
	w := mem.Demo()
	if err := carolAsks(w); err != nil {
		t.Fatal(err)
	}
	inBubble(t, func() backend.Backend { return w.Backend("bob") }, 80, 24, func(h *harness) {
		h.keys("v", "enter", "a")
		dave := w.Backend("dave")
		for a := range dave.Pending(h.t.Context()) {
			if err := dave.Decide(h.t.Context(), a.ID, backend.Decision{Reason: "no"}); err != nil {
				t.Fatal(err)
			}
		}
		h.keys("enter")
		h.see("somebody was faster")
		h.sleep(3 * time.Second)
		h.miss("decide ")
	})
}

func TestOwnRequestsCanNotBeDecided(t *testing.T) {
	inBubble(t, seen("carol"), 80, 24, func(h *harness) {
		h.miss("!")
		h.keys("v")
		h.see("yours: waiting")
		h.keys("enter", "end", "a", "d")
		h.see("yours: waiting for somebody else", "nobody approves their own request")
		if len(h.m.dialogs) != 1 {
			t.Errorf("%d dialogs", len(h.m.dialogs))
		}
	})
}

// TestChangedRequest covers a server that shows one request and has another
// decided.
func TestChangedRequest(t *testing.T) {
	inBubble(t, seen("bob"), 80, 40, func(h *harness) {
		h.keys("v", "down", "enter", "end")
		r := h.m.top().(*approvals.Request)
		if !r.Read {
			t.Fatal("not read")
		}
		other := slices.Clone(r.Seen)
		other[0].Argv = append([]string{"restart"}, make([]string, 500)...)
		r.Update(other)
		h.keys("a")
		h.see("it changed while you read")
		if len(h.m.dialogs) != 1 {
			t.Error("it could be approved")
		}
		// A decision on what is no longer in the queue goes nowhere.
		h.start(h.m.decide(dialog.DoDecide{Seen: other, Decision: backend.Decision{Approve: true}}))
		h.settle()
		h.see("not decided")
	})
}

func TestExpiredCanNotBeDecided(t *testing.T) {
	inBubble(t, seen("bob"), 80, 24, func(h *harness) {
		h.keys("v", "enter")
		time.Sleep(mem.AskFor)
		h.keys("a", "d")
		h.see("nothing to decide")
		h.sleep(3 * time.Second)
		h.keys("esc")
		h.see("expired")
		h.miss("!")
	})
}

func TestPrefix(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("enter")
		h.keys("q", "?", "1") // all of these are the program's
		h.see("alice@cache-1$ q?1")
		h.keys("ctrl+]", "ctrl+]") // the shell of mem drops it
		if h.m.prefixed {
			t.Error("the prefix still waits")
		}
		h.keys("ctrl+]", "?")
		h.see("Keys")
		h.keys("esc", "ctrl+]", "2")
		h.see("[2 approvals]")
		h.keys("3", "ctrl+]", "x")
		h.see("[1 agents]")
		if len(h.m.tabs) != 0 {
			t.Error("the tab stayed")
		}
	})
}

func TestPrefixIsChecked(t *testing.T) {
	for prefix, ok := range map[string]bool{"ctrl+]": true, "ctrl+a": true, "alt+x": true, "f12": true, "x": false, "enter": false, "ctrl+c": false, "": false} {
		if err := keymap.CheckPrefix(prefix); (err == nil) != ok {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

func TestPaste(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.send(tea.PasteMsg{Content: "goes nowhere"})
		h.keys("/")
		h.send(tea.PasteMsg{Content: "db\n-1"})
		h.settle()
		h.see("/db -1")
		h.keys("esc", "enter")
		h.send(tea.PasteMsg{Content: "echo pasted\n"})
		h.settle()
		h.see("alice@cache-1$ echo pasted")
	})
}

// TestPasteIsReadFirst pastes what would run several commands.
func TestPasteIsReadFirst(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("enter")
		h.send(tea.PasteMsg{Content: "echo one\r\necho t\u202ewo\x1b]52;c;AA\x07"})
		h.settle()
		h.see("Paste this?", "echo one", "control characters", "Type yes")
		h.miss("alice@cache-1$ echo one")
		h.keys("enter")
		h.see("type yes, or esc")
		h.keys("esc")
		h.miss("echo one")
		h.send(tea.PasteMsg{Content: "echo one\necho two\n" + strings.Repeat("x", 16<<10)})
		h.settle()
		h.see("It has 3 lines", "more: up, down")
		h.keys("esc")
		h.send(tea.PasteMsg{Content: "echo one\necho two\n"})
		h.settle()
		h.see("It has 2 lines")
		h.typing("yes")
		h.keys("enter")
		h.see("alice@cache-1$ echo two")
	})
}

func TestQuitAsksWhereProgramsRun(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("enter", "ctrl+]", "q")
		h.see("Terminals that still run: 1")
		h.keys("enter")
		if h.quit {
			t.Fatal("it quit")
		}
		h.typing("yes")
		h.keys("enter")
		if !h.quit {
			t.Error("it did not quit")
		}
	})
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("q")
		if !h.quit {
			t.Error("it did not quit")
		}
	})
}

func TestReopens(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("enter")
		h.typing("exit 3")
		h.keys("enter")
		h.see("exit code 3", "r opens again")
		h.keys("r")
		h.see("alice@cache-1$")
		h.miss("exit code")
	})
}

func TestTabsAreBounded(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		for range maxTabs + 3 {
			h.keys("enter")
			h.m.goTo(atAgents)
		}
		if len(h.m.tabs) != maxTabs {
			t.Errorf("%d tabs", len(h.m.tabs))
		}
		h.see("too many tabs")
	})
}

// slow is a backend that opens when it is told to.
type slow struct {
	backend.Backend
	release chan struct{}
}

func (s slow) Unwrap() backend.Backend { return s.Backend }

func (s slow) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	select {
	case <-s.release:
		return s.Backend.Open(ctx, req)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestSlowOpenDoesNotBlock(t *testing.T) {
	var s slow
	inBubble(t, func() backend.Backend { s = slow{alice(), make(chan struct{})}; return s }, 80, 24, func(h *harness) {
		h.keys("enter")
		h.see("Opening ...", "x gives up")
		h.keys("x")
		h.see("[1 agents]")
		h.keys("enter", "a")
		close(s.release)
		h.settle()
		h.see("opened: cache-1")
	})
}

// counting counts what is asked in a batch.
type counting struct {
	backend.Backend
	batches, asked int
}

func (c *counting) Unwrap() backend.Backend { return c.Backend }

func (c *counting) EvaluateBatch(_ context.Context, reqs []backend.OpenRequest) ([]backend.Verdict, error) {
	c.batches++
	c.asked += len(reqs)
	return make([]backend.Verdict, len(reqs)), nil
}

func TestVerdictsAreAskedForWhatIsShown(t *testing.T) {
	var targets []mem.Target
	for i := range 5000 {
		name := fmt.Sprintf("web-%d", i)
		targets = append(targets, mem.Target{Target: backend.Target{ID: backend.TargetID(name), Name: name, State: backend.Online}})
	}
	w, err := mem.NewWorld(targets)
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{Backend: w.Backend("alice")}
	inBubble(t, func() backend.Backend { return c }, 80, 24, func(h *harness) {
		if c.asked > 60 || c.batches > 2 {
			t.Errorf("%d verdicts in %d batches for one screen", c.asked, c.batches)
		}
		before := c.asked
		h.keys("G")
		if c.asked == before || c.asked > before+60 {
			t.Errorf("%d verdicts for the last page", c.asked-before)
		}
		h.miss("...")
	})
}

func TestVerdictErrorIsNotAVerdict(t *testing.T) {
	b := failing{alice()}
	inBubble(t, func() backend.Backend { return b }, 80, 24, func(h *harness) {
		h.see("not known", "the policy is out of reach")
		h.miss("allow", "deny")
	})
}

type failing struct{ backend.Backend }

func (f failing) Unwrap() backend.Backend { return f.Backend }
func (f failing) EvaluateBatch(context.Context, []backend.OpenRequest) ([]backend.Verdict, error) {
	return nil, errors.New("control: the policy is out of reach")
}

// What everybody should know stays in the header, and goes when it is over.
func TestNoticesStayInTheHeader(t *testing.T) {
	b := &noticing{Backend: alice(), notices: []backend.Notice{{Short: "3 not confirmed: removal"}, {Short: "less grave"}}}
	inBubble(t, func() backend.Backend { return b }, 80, 24, func(h *harness) {
		h.see("! 3 not confirmed: removal")
		h.miss("less grave")
		h.keys("2")
		h.see("! 3 not confirmed: removal")
		b.notices = nil
		h.sleep(30 * time.Second)
		h.miss("not confirmed")
		b.notices = []backend.Notice{{Grave: true, Short: "two \x1b[31mstories"}}
		h.sleep(30 * time.Second)
		h.see("! two ")
		h.miss("\x1b[31m")
	})
}

type noticing struct {
	backend.Backend
	notices []backend.Notice
}

func (n *noticing) Unwrap() backend.Backend                           { return n.Backend }
func (n *noticing) Notices(context.Context) ([]backend.Notice, error) { return n.notices, nil }

func TestAssuranceNeverClaims(t *testing.T) {
	text := func(a backend.Assurance) string {
		var b strings.Builder
		for _, s := range phrase.Assurance(a, canvas.NewStyles(true).Plain) {
			b.WriteString(s.Text.String())
		}
		return b.String()
	}
	for _, tc := range []struct {
		a    backend.Assurance
		want string
	}{
		{backend.Assurance{}, "no policy, not recorded · not E2EE"},
		{backend.Assurance{E2EE: true}, "no policy, not recorded · E2EE, peer unknown"},
		{backend.Assurance{Peer: "abc"}, "no policy, not recorded · not E2EE"},
		{backend.Assurance{Policy: true}, "not E2EE · not recorded · no gate"},
		{backend.Assurance{Recording: "on"}, "no policy · not E2EE · rec on"},
		{backend.Assurance{E2EE: true, Peer: "abc", Policy: true, Recording: "on", Gate: "kernel", Path: "direct"}, "E2EE with abc · rec on · gate kernel · direct"},
		{backend.Assurance{E2EE: true, Peer: "a\x1b[2Jb", Policy: true}, "E2EE with a⟨ESC⟩[2Jb · not recorded · no gate"},
	} {
		if got := text(tc.a); got != tc.want {
			t.Errorf("%+v = %q, want %q", tc.a, got, tc.want)
		}
	}
}

func TestKeymapsHaveNoConflicts(t *testing.T) {
	for _, m := range append(keymap.All, &keymap.NoticeKeys) {
		used := make(map[string]keymap.Action)
		for _, b := range m.Bindings {
			for _, k := range b.Keys {
				if other, taken := used[k]; taken {
					t.Errorf("%s: %q means %d and %d", m.Name, k, other, b.Action)
				}
				used[k] = b.Action
				if len(k) == 1 && k[0] >= '1' && k[0] <= '9' {
					t.Errorf("%s: %q names a tab", m.Name, k)
				}
			}
			sanitize.Literal(keymap.HelpLine(b)) // panics on what could not be drawn
		}
	}
}

// TestNothingByColourAlone compares frames with and without styles.
func TestNothingByColourAlone(t *testing.T) {
	words := map[string]bool{}
	for _, e := range []backend.Effect{backend.Deny, backend.Hold, backend.Confirm, backend.Allow} {
		w, _ := phrase.Verdict(canvas.NewStyles(true), e)
		words[w] = true
	}
	if len(words) != 4 {
		t.Errorf("two verdicts read the same: %v", words)
	}
	glyphs := map[string]bool{}
	for _, s := range []backend.State{backend.Unknown, backend.Offline, backend.Online} {
		glyphs[phrase.State(s)] = true
	}
	if len(glyphs) != 3 {
		t.Errorf("two states look the same: %v", glyphs)
	}
}

// TestBellIsBounded covers a program that rings all the time.
func TestBellIsBounded(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		first := h.m.ring()
		if first == nil || h.m.ring() != nil {
			t.Error("it rang twice at once")
		}
		time.Sleep(bellGap)
		if h.m.ring() == nil {
			t.Error("it never rings again")
		}
	})
}

// flaky is an asker that is out of reach once.
type flaky struct {
	mem    *mem.Backend
	failed bool
}

func (f *flaky) Ask(ctx context.Context, req backend.OpenRequest) (backend.ApprovalID, error) {
	return f.mem.Ask(ctx, req)
}

func (f *flaky) Await(ctx context.Context, id backend.ApprovalID) error {
	if !f.failed {
		f.failed = true
		return fmt.Errorf("flaky: %w", backend.ErrUnavailable)
	}
	return f.mem.Await(ctx, id)
}

func TestAwaitGoesOnAfterAFailureThatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mem.Demo()
		f := &flaky{mem: w.Backend("alice")}
		id, err := f.Ask(t.Context(), backend.OpenRequest{Target: "db-1", Kind: backend.KindShell, Reason: "r"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Backend("bob").Decide(t.Context(), id, backend.Decision{Approve: true}); err != nil {
			t.Fatal(err)
		}
		if err := inquiry.Await(t.Context(), f, id); err != nil {
			t.Errorf("await: %v", err)
		}
	})
}

// TestLongTexts draws what a hostile requester and a hostile server can send
// at most: nothing of it may stop the screen.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("long \x1b[31m", 100_000)
	huge := backend.Approval{ID: "1", Target: long, Operator: long, Argv: []string{long}, Reason: long, Tier: long, WhyNot: long, Kind: long, State: backend.ApprovalWaiting, CanDecide: true}
	most := backend.Approval{ID: "2", Target: "t", Operator: "o", Argv: strings.Fields(strings.Repeat("words ", 10_000)), State: backend.ApprovalWaiting, CanDecide: true}
	q := approvals.View{Able: true}
	q.Set([]backend.Approval{huge, most}, time.Now())
	if q.List[0].ID != "2" || !approvals.Decidable(q.List[0], time.Now()) || approvals.Decidable(q.List[1], time.Now()) {
		t.Errorf("what can be decided: %v, %v", approvals.Decidable(q.List[0], time.Now()), approvals.Decidable(q.List[1], time.Now()))
	}
	a := agents.New(true)
	a.SetTargets(agents.NewIndex([]backend.Target{{ID: "1", Name: long, Tags: map[string]string{long: long}, Detail: map[string]string{"x": long}}}))
	a.Verdicts["1"] = agents.Known{Verdict: backend.Verdict{Rule: long, Reason: long, Approvers: long, Effect: backend.Hold}, At: a.Ix}
	c := canvas.New(uv.NewScreenBuffer(80, 24), canvas.NewStyles(true))
	q.Draw(c, c.Bounds(), time.Now())
	a.Draw(c, c.Bounds())
	for _, seen := range q.List {
		r := approvals.Request{Seen: together.Plan{seen}}
		r.Draw(c, c.Bounds(), time.Now())
		if seen.CanDecide && r.Read {
			t.Error("all of it was on one screen")
		}
	}
}

func TestBrief(t *testing.T) {
	if got := phrase.Brief(strings.Repeat("ż", 1000)).String(); len(got) > phrase.MaxBrief+10 || !strings.HasSuffix(got, "ż…") {
		t.Errorf("brief = %d bytes, ends %q", len(got), got[len(got)-8:])
	}
	if got := phrase.BriefRequest("exec", []string{"a", strings.Repeat("b", 1000), "c"}).String(); len(got) > phrase.MaxBrief+40 {
		t.Errorf("briefRequest = %d bytes", len(got))
	}
	if got := phrase.BriefRequest("exec", []string{"a", "b c"}).String(); got != "a 'b c'" {
		t.Errorf("briefRequest = %s", got)
	}
}

// outage is a backend whose server can be taken away.
type outage struct {
	backend.Backend
	out bool
}

func (o *outage) Unwrap() backend.Backend { return o.Backend }

func (o *outage) Targets(ctx context.Context) iter.Seq2[backend.Target, error] {
	if o.out {
		return broken{}.Targets(ctx)
	}
	return o.Backend.Targets(ctx)
}

func (o *outage) Pending(context.Context) iter.Seq2[backend.Approval, error] {
	return func(yield func(backend.Approval, error) bool) {
		if o.out {
			yield(backend.Approval{}, fmt.Errorf("control: %w", backend.ErrUnavailable))
		}
	}
}

func (o *outage) Decide(context.Context, backend.ApprovalID, backend.Decision) error { return nil }

func TestOutageIsSaid(t *testing.T) {
	o := &outage{Backend: alice()}
	inBubble(t, func() backend.Backend { return o }, 80, 24, func(h *harness) {
		h.see("alice @ mem")
		o.out = true
		h.sleep(20 * time.Second)
		h.see("! no answer", "approvals ?", "cache-1", "is old")
		o.out = false
		h.sleep(30 * time.Second)
		h.see("alice @ mem")
		h.miss("! no answer", "approvals ?", "is old")
	})
}

// What a backend hints at shows without time passing: no poll and no tick.
func TestHintedApprovalShowsAtOnce(t *testing.T) {
	w := mem.Demo()
	inBubble(t, func() backend.Backend { return w.Backend("bob") }, 80, 24, func(h *harness) {
		h.sleep(500 * time.Millisecond)
		h.miss("somebody asks")
		_, err := w.Backend("alice").Ask(h.t.Context(), backend.OpenRequest{Target: "db-1", Kind: backend.KindShell, Reason: "disk is full"})
		if err != nil {
			t.Fatal(err)
		}
		h.settle()
		h.see("somebody asks for your approval")
	})
}

// TestLostLink: while the link is lost the pane says so, since when and until when,
// and what it says goes away with the link's return. No input is lost.
func TestLostLink(t *testing.T) {
	w := mem.Demo()
	inBubble(t, func() backend.Backend { return w.Backend("alice") }, 80, 24, func(h *harness) {
		h.keys("enter") // cache-1
		h.settle()
		now := time.Now()
		w.SetLink(backend.Link{Lost: true, Since: now.Add(-12 * time.Second), Until: now.Add(9 * time.Minute), Why: "no answer\x1b[2J from the relay"})
		h.sleep(2 * time.Second)
		h.see("the link is lost", "frozen", "0:14", "8:58", "What you type is kept", "from the relay")
		w.SetLink(backend.Link{})
		h.sleep(2 * time.Second)
		h.miss("the link is lost", "frozen")
	})
}
