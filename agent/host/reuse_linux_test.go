package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/content"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// One approval is for one use, of one command with one content, in one session, by one
// operator, on one machine, for a time. Whoever takes it elsewhere is refused with the
// reason that fits, the audit log says so, and nothing runs.
func TestApprovalReuse(t *testing.T) {
	w := newWorld(t)
	w.start()
	me, err := process.Self()
	w.must(err)
	dir := t.TempDir()
	file := filepath.Join(dir, "canary")
	script := filepath.Join(dir, "touch") // its name is held
	write := func(text string) {
		w.must(os.WriteFile(script, []byte("#!/bin/sh\n"+text), 0o755))
	}
	write("/usr/bin/touch \"$1\"\n")
	argv := []string{script, file}
	bound, err := content.Look(argv, "", []uint64{0}, me)
	w.must(err)
	ran := func() bool {
		_, err := os.Stat(file)
		os.Remove(file)
		return err == nil
	}
	other := newPerson(t, "other").key.Kid()
	var nonce token.ID
	first := func(a *approval.Approval) { nonce = a.Nonce }
	second := func(a *approval.Approval) { a.Nonce = nonce }
	// Before what changes, later.
	earlier := w.roster
	before := func(a *approval.Approval) {
		a.RosterHead, a.PolicyHash = head(earlier), earlier.PolicyHash()
	}
	by := w.approvedWith

	if e := w.try(attempt{argv: argv, bound: bound, approve: by(first, w.bob)}); e.exit.Code != 0 || !e.answer.Allowed() || !ran() {
		t.Fatalf("the one use: %+v\n%s", e, w.logs)
	}
	var reasons []string
	for _, tc := range []struct {
		name  string
		want  string // of the reason
		a     attempt
		event func() // before it
	}{
		{"second run", "already used", attempt{approve: by(second, w.bob)}, nil},
		{"other agent", "agent differs", attempt{approve: by(func(a *approval.Approval) { a.Agent = other }, w.bob)}, nil},
		{"other session", "session_id differs", attempt{approve: by(func(a *approval.Approval) { a.SessionID = token.NewID() }, w.bob)}, nil},
		{"other operator", "operator differs", attempt{approve: by(func(a *approval.Approval) { a.Operator = other }, w.bob)}, nil},
		{"other argv", "command differs", attempt{approve: by(func(a *approval.Approval) { a.Command.Argv = []string{script, "/x"} }, w.bob)}, nil},
		{"other cwd", "command differs", attempt{cwd: "/", approve: by(func(a *approval.Approval) { a.Command.Cwd = "/tmp" }, w.bob)}, nil},
		{"other environment", "command differs", attempt{
			env: [][2]string{{"LD_PRELOAD", "/tmp/x.so"}}, approve: by(func(a *approval.Approval) { a.Command.Env = nil }, w.bob),
		}, nil},
		{"approved without content", "command differs", attempt{approve: by(func(a *approval.Approval) { a.Command.Bound = nil }, w.bob)}, nil},
		{"expired by a second", "it had to be used by", attempt{approve: by(func(a *approval.Approval) {
			a.UseUntil = w.now().Unix() - 1
			a.Decided = a.UseUntil - 300
		}, w.bob)}, nil},
		{"same human twice", "1 of 2", attempt{by: &w.carl, approve: by(nil, w.bob, w.bob2)}, nil},
		{"by the asker", "nobody approves an own request", attempt{approve: func(a approval.Approval) [][]byte {
			a.V, a.Approver = token.Version, w.alice.key.Kid()
			b, err := envelope.Sign(a.Context(), a, w.alice.key) // SignApproval would not
			w.must(err)
			return [][]byte{b}
		}}, nil},
		{"file replaced after the approval", "not what was approved", attempt{approve: by(func(*approval.Approval) {
			write("echo evil; /usr/bin/touch \"$1\"\n")
		}, w.bob)}, nil},
		{"approver revoked since", "revoked", attempt{approve: by(before, w.bob)}, func() {
			write("/usr/bin/touch \"$1\"\n")
			w.state(roster.KindRevoke, roster.Revoke{Kid: w.bob.key.Kid(), Reason: "left"})
			w.must(w.refreshAgent())
		}},
		{"policy changed since", "policy_hash differs", attempt{approve: by(before, w.beth)}, func() {
			w.setPolicy(string(policyDoc(w)) + "# another one\n")
			w.must(w.refreshAgent())
		}},
	} {
		if tc.event != nil {
			tc.event()
		}
		tc.a.argv, tc.a.bound = argv, bound
		e := w.try(tc.a)
		if e.answer.Allowed() || !strings.Contains(e.answer.Reason, tc.want) || ran() {
			t.Errorf("%s: %+v, want %q\n%s", tc.name, e, tc.want, w.logs)
		}
		reasons = append(reasons, tc.want)
	}
	// What is in order runs after all that.
	if e := w.try(attempt{argv: argv, bound: bound, approve: by(nil, w.beth)}); !e.answer.Allowed() || e.exit.Code != 0 || !ran() {
		t.Errorf("in order: %+v\n%s", e, w.logs)
	}

	var refusals []string
	for _, e := range w.evidence() {
		if e.Type == audit.Refusal && time.Since(time.Unix(e.Timestamp, 0)) < time.Hour {
			refusals = append(refusals, e.Outcome.Reason)
		}
	}
	if len(refusals) != len(reasons) {
		t.Fatalf("%d entries of refusals, want %d: %q", len(refusals), len(reasons), refusals)
	}
	for i, want := range reasons {
		if !strings.Contains(refusals[i], want) || strings.Contains(refusals[i], dir) {
			t.Errorf("entry %d: %q, want %q and no file", i, refusals[i], want)
		}
	}
}
