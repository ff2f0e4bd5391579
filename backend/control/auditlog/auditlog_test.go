package auditlog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/playback"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/filecopy"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// server is an apid that says what a test has it say.
type server struct {
	playback.API
	page wire.EntriesPage
	err  error
	n    int // that were asked for last
}

func (s *server) Entries(_ context.Context, _ uint64, n int) (wire.EntriesPage, error) {
	s.n = n
	return s.page, s.err
}

// A world is a team with a machine and an auditor who reads the log.
type world struct {
	roster  *roster.Roster
	machine *audit.Chain
	kid     key.Kid
	dora    key.Unsealer
	apid    *server
	reader  Auditor
}

func newWorld() *world {
	now := time.Unix(1_790_000_000, 0)
	exp := now.Add(24 * time.Hour).Unix()
	carol, machine := must(key.GenerateIdentity()), must(key.GenerateIdentity())
	w := &world{machine: audit.NewChain(machine, audit.Link{}), kid: machine.Kid(), dora: must(key.GenerateUnsealer()), apid: new(server)}
	admin := roster.AdminDevice{MemberID: "carol", Email: "carol@example.com", Device: roster.DeviceBody{Public: carol.Public(), Recipient: w.dora.Recipient(), Exp: exp}}
	r := must(roster.Open(must(roster.Found(roster.Genesis{TeamID: "acme", Threshold: 1, Created: now.Unix(), Admins: []roster.AdminDevice{admin}}, carol))))
	w.roster = must(r.Apply(must(r.Next(now, roster.KindAgentAdd, roster.AgentAdd{
		Name: "web-1", Public: machine.Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), LoginUser: "deploy", Exp: exp,
	}, carol))))
	w.reader = Auditor{
		API: w.apid, With: w.dora, Sync: func(context.Context) (*roster.Roster, error) { return w.roster, nil },
		Translate: func(err error) error { return errors.Join(backend.ErrUnavailable, err) },
	}
	return w
}

// entry is one that the machine could sign.
func (w *world) entry(t audit.Type, action string) audit.Entry {
	me := audit.Party{Kid: w.kid, Name: "web-1"}
	return audit.Entry{
		TeamFP: w.roster.TeamFP(), TeamID: "acme", Type: t, Timestamp: 1_790_000_100, Actor: me, Action: action, Target: me,
		SessionID: token.ID{7}, RosterHead: w.roster.Head(),
	}
}

// read has apid give one entry, and gives what is shown of it.
func (w *world) read(t *testing.T, raw []byte) backend.LogEntry {
	t.Helper()
	w.apid.page = wire.EntriesPage{From: 3, Entries: [][]byte{raw}, Size: 9}
	page, err := w.reader.Log(t.Context(), 3, 10)
	if err != nil || page.Size != 9 || len(page.Entries) != 1 || page.Entries[0].Index != 3 {
		t.Fatalf("%+v, %v", page, err)
	}
	return page.Entries[0]
}

// What was sealed to the auditor is opened; only what it is bound to is shown as the
// command.
func TestCommands(t *testing.T) {
	w := newWorld()
	c := token.Command{V: token.Version, Argv: []string{"uptime"}, Salt: token.ID{1}, Stdin: token.StdinNone}
	e := w.entry(audit.Exec, "start")
	e.Command = audit.CommandContext{Tier: "low", Commitment: c.Commitment(), Sealed: must(key.Seal(must(envelope.Marshal(c)), w.dora.Recipient()))}
	got := w.read(t, must(w.machine.Next(e)))
	if !slices.Equal(got.Argv, c.Argv) || got.Signer != "machine web-1" || got.Session != (token.ID{7}).String() || got.Problem != "" || got.BreakGlass {
		t.Errorf("%+v", got)
	}
	e.Command.Commitment[0] ^= 1
	if got := w.read(t, must(w.machine.Next(e))); got.Argv != nil || !got.Sealed {
		t.Errorf("a command that is not the one: %+v", got)
	}
	e.Command.Sealed = must(key.Seal(must(envelope.Marshal(c)), must(key.GenerateUnsealer()).Recipient()))
	if got := w.read(t, must(w.machine.Next(e))); got.Argv != nil || !got.Sealed || got.Problem != "" {
		t.Errorf("a command for others: %+v", got)
	}
}

func TestCopied(t *testing.T) {
	w := newWorld()
	rep := must(filecopy.ParseReport(must(report().Marshal())))
	e := w.entry(audit.Exec, "exit")
	e.Command.Sealed = must(key.Seal(must(rep.Marshal()), w.dora.Recipient()))
	got := w.read(t, must(w.machine.Next(e)))
	want := []backend.CopiedFile{{Name: "app.log", Size: 42, SHA256: rep.Files[0].SHA256.String()}}
	if !slices.Equal(got.Copied, want) || !strings.Contains(got.Reason, "copied: ") || got.Argv != nil {
		t.Errorf("%+v", got)
	}
}

func report() filecopy.Report {
	return filecopy.Report{V: 1, Entries: 1, Bytes: 42, Whole: true, Files: []filecopy.Copied{{Name: "app.log", Mode: 0o644, Size: 42, SHA256: envelope.Sum([]byte("log"))}}}
}

// Only the start of a session that a quorum has opened is marked; another entry's reason
// is text.
func TestBreakGlass(t *testing.T) {
	w := newWorld()
	for _, c := range []struct {
		of     audit.Type
		reason string
		want   bool
	}{
		{audit.SessionStart, audit.BreakGlass + "without a grant of apid", true},
		{audit.SessionStart, "", false},
		{audit.SessionEnd, audit.BreakGlass + "not really", false},
	} {
		e := w.entry(c.of, "shell")
		e.Outcome.Reason = c.reason
		if got := w.read(t, must(w.machine.Next(e))); got.BreakGlass != c.want || got.Problem != "" {
			t.Errorf("%s, %q: %+v", c.of, c.reason, got)
		}
	}
}

// An entry that does not verify shows nothing of itself.
func TestProblems(t *testing.T) {
	w := newWorld()
	good := must(w.machine.Next(w.entry(audit.Exec, "start")))
	stranger := audit.NewChain(must(key.GenerateIdentity()), audit.Link{})
	foreign := w.entry(audit.Exec, "start")
	foreign.TeamFP[0] ^= 1
	misnamed := w.entry(audit.Exec, "start")
	misnamed.Actor.Name = "bob@example.com"
	for what, raw := range map[string][]byte{
		"nothing":        nil,
		"cut":            good[:len(good)-1],
		"a stranger's":   must(stranger.Next(w.entry(audit.Exec, "start"))),
		"another team's": must(w.machine.Next(foreign)),
		"another's name": must(w.machine.Next(misnamed)),
	} {
		if got := w.read(t, raw); got.Problem == "" || got.Actor != "" || got.Signer != "" || got.Action != "" {
			t.Errorf("%s: %+v", what, got)
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if got := w.read(t, bad); got.Problem == "" || got.Actor != "" {
			t.Fatalf("byte %d changed: %+v", i, got)
		}
	}
}

// A page is what was asked for, or an error.
func TestPages(t *testing.T) {
	w := newWorld()
	one := [][]byte{must(w.machine.Next(w.entry(audit.Exec, "start")))}
	for what, page := range map[string]wire.EntriesPage{
		"another place": {From: 4, Entries: one},
		"too many":      {From: 3, Entries: slices.Repeat(one, 3)},
	} {
		w.apid.page = page
		if got, err := w.reader.Log(t.Context(), 3, 2); err == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
	w.apid.page = wire.EntriesPage{Size: 3}
	if got, err := w.reader.Log(t.Context(), 3, 1<<30); err != nil || got.Size != 3 || w.apid.n != wire.MaxEntries {
		t.Errorf("%+v, %v, %d asked for", got, err, w.apid.n)
	}
	w.apid.err = errors.New("gone")
	if _, err := w.reader.Log(t.Context(), 3, 2); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("apid is gone: %v", err)
	}
	w.apid.err = nil
	w.reader.Sync = func(context.Context) (*roster.Roster, error) { return w.roster, backend.ErrUnavailable }
	if _, err := w.reader.Log(t.Context(), 3, 2); err != nil {
		t.Errorf("the roster that is known does: %v", err)
	}
}
