package host

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// evidenceOf are the entries about starts, as words, and those about the session's.
func evidenceOf(w *world) (entries []string) {
	for _, e := range w.evidence() {
		if e.Type == audit.Exec || e.Type == audit.Refusal {
			entries = append(entries, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", e.Type, e.Action, e.Command.Tier, e.Policy.Effect, e.Outcome.Reason)))
		}
	}
	return entries
}

func wantEntries(t *testing.T, w *world, want ...string) {
	t.Helper()
	entries := evidenceOf(w)
	for _, begin := range want {
		if !slices.ContainsFunc(entries, func(e string) bool { return strings.HasPrefix(e, begin) }) {
			t.Errorf("no entry that begins with %q among %q", begin, entries)
		}
	}
}

// At level line each line is decided before it runs, as an exec of what it is, and the
// person at the shell is asked, refused and let go on as with the kernel's gate.
func TestLineShell(t *testing.T) {
	w := inShellAt(t, "line", nil, func(s *gatedShell) {
		s.type_("mkdir low")
		s.awaits("low")

		s.type_("true && mkfs.ext4 /nothing; mkdir not")
		e := s.expect(0, gating.Refused)
		if e.Tier != "critical" || !strings.Contains(e.Argv[0], "mkfs") {
			t.Errorf("%+v", e)
		}

		s.type_("touch held")
		e = s.expect(0, gating.Hold)
		if !slices.Equal(e.Argv, []string{"touch", "held"}) || e.Cwd != s.dir || e.Tier != "high" {
			t.Errorf("%+v", e)
		}
		s.type_("mkdir after")
		good := s.answer(e, attempt{approve: s.approvedBy(s.bob)})
		s.send(good)
		s.expect(e.ID, gating.Started)
		s.awaits("after")
		if !s.made("held") || s.made("not") {
			t.Error("what was approved did not run, or what was denied did")
		}

		// An approval is for one line, and for its words.
		s.type_("touch held")
		e = s.expect(0, gating.Hold)
		good.ID = e.ID
		s.send(good)
		if e = s.expect(e.ID, gating.Refused); !strings.Contains(e.Reason, "used") {
			t.Errorf("%s", e.Reason)
		}
		s.type_("touch other | cat")
		e = s.expect(0, gating.Hold)
		if !slices.Equal(e.Argv, []string{"sh", "-c", "touch other | cat"}) {
			t.Errorf("%q", e.Argv)
		}
		s.send(s.answer(e, attempt{approve: s.approvedBy(s.bob), argv: []string{"touch", "other"}}))
		s.expect(e.ID, gating.Refused)

		s.type_("printf x")
		e = s.expect(0, gating.Confirm)
		s.send(s.answer(e, attempt{confirmed: true}))
		s.expect(e.ID, gating.Started)

		s.type_("touch canceled")
		e = s.expect(0, gating.Hold)
		s.type_("\x03mkdir last")
		s.expect(e.ID, gating.Canceled)
		s.awaits("last")
		if s.made("canceled") || s.made("other") {
			t.Error("it ran")
		}

		// Who has joined may have typed it: their yes does not count.
		all := s.net.Inside.(*inside).sessions
		all.mu.Lock()
		for _, d := range all.live {
			d.typists.Add("bob")
		}
		all.mu.Unlock()
		s.type_("touch typed")
		e = s.expect(0, gating.Hold)
		s.send(s.answer(e, attempt{approve: s.approvedBy(s.bob)}))
		if e = s.expect(e.ID, gating.Refused); !strings.Contains(e.Reason, "bob@example.com has joined this shell, and approves nothing that starts in it") {
			t.Errorf("approved by who has joined: %s", e.Reason)
		}
	})
	wantEntries(t, w, "exec start  allow gate: line", "exec start high hold", "exec start medium confirm", "refusal shell critical deny", "refusal shell high hold")
}

// At level advisory everything runs, and what policy would not have let run is noticed.
func TestAdvisoryShell(t *testing.T) {
	me, err := process.Self()
	if err != nil {
		skiptest.Missing(t, "%v", err)
	}
	if name := filepath.Base(me.Shell()); name != "bash" && name != "zsh" {
		skiptest.Missing(t, "it needs bash or zsh, and the login shell here is %s", me.Shell())
	}
	w := inShellAt(t, "advisory", nil, func(s *gatedShell) {
		s.type_("touch noticed")
		e := s.expect(0, gating.Noticed)
		if !slices.Equal(e.Argv, []string{"touch", "noticed"}) || e.Tier != "high" || !strings.Contains(e.Reason, "commands.high") {
			t.Errorf("%+v", e)
		}
		s.awaits("noticed")
		s.send(gating.Answer{ID: e.ID}) // means nothing
		s.type_("mkdir low")
		s.awaits("low")
	})
	wantEntries(t, w, "exec start  allow gate: advisory", "exec noticed high hold not stopped, gate: advisory: ")
}

// What policy obliges a shell to is met, or there is no shell and it says why; and no
// variable that makes programs others gets into one that is gated.
func TestLevelsThatAreMissing(t *testing.T) {
	for policy, tc := range map[string]struct {
		env           [2]string
		reason, entry string
	}{
		"gate: enforced": {
			reason: "policy wants shells gated at a level that this machine does not have; use exec",
			entry:  "refusal shell  deny gate: policy wants the gate level enforced for shells, and this agent has only none, advisory, line; use exec",
		},
		"gate: line": {
			env:    [2]string{"LD_PRELOAD", "/tmp/x.so"},
			reason: "other variables need an approval",
			entry:  "refusal shell  deny request: ",
		},
	} {
		w := newWorld(t)
		w.setPolicy(strings.Replace(string(policyDoc(w)), "gate: none", policy, 1))
		w.start()
		a := attempt{kind: "shell", as: w.user, tty: &channel.TTY{Cols: 80, Rows: 24}}
		if tc.env[0] != "" {
			a.env = [][2]string{tc.env}
		}
		if e := w.try(a); e.answer.Allowed() || !strings.Contains(e.refused+e.answer.Reason, tc.reason) {
			t.Errorf("%s: %+v, want %q", policy, e, tc.reason)
		}
		wantEntries(t, w, tc.entry)
	}
}
