package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/content"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/gating"
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

// What a gated shell holds is approved for one start of one command with one content, by
// one device, on one machine, for a time, as an exec is: in whichever direction somebody
// stretches it, it is refused with the reason that fits, and nothing runs.
func TestGatedApprovalReuse(t *testing.T) {
	two := func(doc string) string {
		return strings.Replace(doc, `approvers: {approvers: ["role:approver"], quorum: 1`, `approvers: {approvers: ["role:approver"], quorum: 2`, 1)
	}
	inGatedShell(t, two, func(s *gatedShell) {
		const good = "#!/bin/sh\nunset LD_PRELOAD\n/bin/mkdir \"$1\"\n"
		script := filepath.Join(inMemory(t, s.dir), "touch") // its name is held
		write := func(text string) { s.must(os.WriteFile(script, []byte(text), 0o755)) }
		write(good)
		other := newPerson(t, "other").key.Kid()
		var mapped []byte // the script, as somebody has it who may write to it
		unmap := func() {
			if mapped != nil {
				s.must(unix.Munmap(mapped))
				mapped = nil
			}
		}
		defer unmap()
		var nonce token.ID
		first := func(a *approval.Approval) { nonce = a.Nonce }
		by := func(change func(*approval.Approval)) func(approval.Approval) [][]byte {
			return s.approvedWith(change, s.bob, s.beth)
		}
		var earlier *roster.Roster // before what changes
		before := func(a *approval.Approval) {
			a.RosterHead, a.PolicyHash = head(earlier), earlier.PolicyHash()
		}
		start := func(line string) gating.Event {
			s.type_(line)
			return s.expect(0, gating.Hold)
		}

		held := start("LD_PRELOAD= " + script + " once")
		if len(held.Bound) != 1 || held.Bound[0].Word != 0 || held.Bound[0].Path != script || held.Bound[0].Hash != envelope.Sum([]byte(good)) {
			t.Errorf("what is in the file: %+v", held.Bound)
		}
		s.send(s.answer(held, attempt{approve: by(first)}))
		s.expect(held.ID, gating.Started)
		s.awaits("once")

		for _, tc := range []struct {
			name  string
			want  string // of the reason
			a     attempt
			event func() // while it waits
		}{
			{"nobody approved", "held", attempt{}, nil},
			{"only confirmed", "held", attempt{confirmed: true}, nil},
			{"not by approvers", "not one of those who may decide", attempt{approve: s.approvedBy(s.carl, s.beth)}, nil},
			{"second run", "already used", attempt{approve: by(func(a *approval.Approval) { a.Nonce = nonce })}, nil},
			{"other agent", "agent differs", attempt{approve: by(func(a *approval.Approval) { a.Agent = other })}, nil},
			{"other session", "session_id differs", attempt{approve: by(func(a *approval.Approval) { a.SessionID = token.NewID() })}, nil},
			{"other operator", "operator differs", attempt{approve: by(func(a *approval.Approval) { a.Operator = other })}, nil},
			{"another person's request", "another device", attempt{approve: by(nil), by: &s.carl}, nil},
			{"other argv", "command differs", attempt{approve: by(func(a *approval.Approval) { a.Command.Argv = []string{script, "other"} })}, nil},
			{"asked for with other words", "not the command", attempt{approve: by(nil), argv: []string{script, "other"}}, nil},
			{"other cwd", "command differs", attempt{approve: by(func(a *approval.Approval) { a.Command.Cwd = "/" })}, nil},
			{"asked for in another folder", "not the command", attempt{approve: by(nil), cwd: "/"}, nil},
			{"other environment", "command differs", attempt{approve: by(func(a *approval.Approval) { a.Command.Env = [][2]string{} })}, nil},
			{"approved without content", "command differs", attempt{approve: by(func(a *approval.Approval) { a.Command.Bound = nil })}, nil},
			{"expired by a second", "it had to be used by", attempt{approve: by(func(a *approval.Approval) {
				a.UseUntil = s.now().Unix() - 1
				a.Decided = a.UseUntil - 300
			})}, nil},
			{"the request is old", "expired", attempt{approve: by(nil), proof: func(p *token.Proof) { p.IAT -= 3600; p.Exp -= 3600 }}, nil},
			{"no grant of the server", "unknown key", attempt{approve: by(nil), signer: &s.bob.key}, nil},
			{"same human twice", "1 of 2", attempt{approve: s.approvedBy(s.bob, s.bob2)}, nil},
			{"by the asker", "nobody approves an own request", attempt{approve: func(a approval.Approval) [][]byte {
				out := s.approvedBy(s.bob)(a)
				a.V, a.Approver = token.Version, s.alice.key.Kid()
				b, err := envelope.Sign(a.Context(), a, s.alice.key) // SignApproval would not
				s.must(err)
				return append(out, b)
			}}, nil},
			{"file replaced after the approval", "not what was approved", attempt{approve: by(nil)}, func() {
				write("#!/bin/sh\necho evil; /bin/mkdir \"$1\"\n")
			}},
			{"rewritten in place, its times as they were", "not what was approved", attempt{approve: by(nil)}, func() {
				copy(mapped[strings.Index(good, "unset"):], "true;")
				unmap() // the kernel starts nothing that somebody may write to
			}},
			{"policy changed since", "policy_hash differs", attempt{approve: by(before)}, func() {
				earlier = s.roster
				s.setPolicy(string(s.roster.PolicyDocument()) + "# another one\n")
				s.must(s.refreshAgent())
			}},
			{"approver revoked since", "revoked", attempt{approve: by(before)}, func() {
				earlier = s.roster
				s.state(roster.KindRevoke, roster.Revoke{Kid: s.bob.key.Kid(), Reason: "left"})
				s.must(s.refreshAgent())
			}},
		} {
			write(good)
			unmap()
			mapped = s.mapped(script)
			e := start("LD_PRELOAD= " + script + " never")
			if tc.event != nil {
				tc.event()
			}
			s.send(s.answer(e, tc.a))
			if e := s.expect(e.ID, gating.Refused); !strings.Contains(e.Reason, tc.want) {
				t.Errorf("%s: %q, want %q", tc.name, e.Reason, tc.want)
			}
		}
		s.type_("mkdir done")
		s.awaits("done")
		if s.made("never") {
			t.Error("it ran")
		}
	})
}

// inMemory gives a folder of a file system that keeps its files in memory, or another one
// where programs can't be started from such.
func inMemory(t *testing.T, other string) string {
	dir, err := os.MkdirTemp("/dev/shm", "tucdesk")
	if err != nil {
		return other
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Flags&unix.ST_NOEXEC != 0 {
		return other
	}
	return dir
}

// mapped gives a file's bytes to be written to, and has written one of them: the file's
// times change with the first write, and with later ones only after the kernel has
// cleaned the page.
func (s *gatedShell) mapped(path string) []byte {
	s.t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	s.must(err)
	defer f.Close()
	st, err := f.Stat()
	s.must(err)
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	s.must(err)
	b[0] = '#'
	return b
}
