//go:build unix

package host

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/onlook"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/watching"
)

// watchPolicy lets approvers observe, contractors join, and beth observe once approved.
const watchPolicy = `  - name: look
    members: ["bob@example.com"]
    targets: {tags: {env: staging}}
    sessions: [observe]
    as: [%[1]s]
  - name: help
    members: ["role:contractor"]
    targets: {tags: {env: staging}}
    sessions: [join]
    as: [%[1]s]
  - name: look-when-asked
    members: ["beth@example.com"]
    targets: {tags: {env: staging}}
    sessions: [observe]
    as: [%[1]s]
    hold: {approvers: ["role:approver"], quorum: 1, expires: 15m}
blocklist:
`

func (w *world) watchPolicy(change ...string) {
	w.t.Helper()
	doc := strings.Replace(testPolicy, "blocklist:\n", watchPolicy, 1)
	w.setPolicy(strings.ReplaceAll(strings.NewReplacer(change...).Replace(doc), "%[1]s", w.user))
}

// watcher is an attempt to watch a shell.
func (w *world) watcher(kind string, shell session.ID, by person) attempt {
	a := attempt{kind: kind, as: w.user, argv: []string{token.ID(shell).String()}, by: &by}
	if kind == "join" {
		a.tty = &channel.TTY{Cols: 10, Rows: 5}
	}
	return a
}

// A view is what somebody sees who watches.
type view struct {
	t    *testing.T
	mux  *channel.Mux
	ch   *channel.Channel
	text strings.Builder
	cols uint16
	end  string

	owner string // as the machine has said
}

func (w *world) watches(a attempt) *view {
	w.t.Helper()
	mux, ch, e := w.connect(a)
	if ch == nil || !e.answer.Allowed() {
		w.t.Fatalf("not let in: %+v", e)
	}
	return &view{t: w.t, mux: mux, ch: ch, owner: e.answer.Owner}
}

// until reads until a text has been shown; "": until the end.
func (v *view) until(want string) {
	v.t.Helper()
	for want == "" || !strings.Contains(v.text.String(), want) {
		m, err := watching.Read(v.ch)
		if err != nil {
			v.t.Fatalf("%v before %q came; there was %q", err, want, v.text.String())
		}
		switch m.Type {
		case watching.Screen:
			v.text.Reset()
			v.cols = m.Cols
			v.text.Write(m.Bytes)
		case watching.Output:
			v.text.Write(m.Bytes)
		case watching.Size:
			v.cols = m.Cols
		case watching.End:
			v.end = m.Reason
			if want != "" {
				v.t.Fatalf("the end (%s) before %q came; there was %q", m.Reason, want, v.text.String())
			}
			return
		}
	}
}

// An owner hears who watches.
func owner(t *testing.T, mux *channel.Mux) (next func(n int) []watching.Watcher, dismiss func(n uint64)) {
	t.Helper()
	ch, err := mux.Open(t.Context(), channel.OpenMessage{Kind: watching.Kind})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ch.AwaitAnswer(t.Context()); err != nil || !a.Allowed() {
		t.Fatalf("%+v %v", a, err)
	}
	next = func(n int) []watching.Watcher {
		t.Helper()
		for {
			r, err := watching.ReadRoll(ch)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Watchers) == n {
				return r.Watchers
			}
		}
	}
	return next, func(n uint64) { watching.WriteDismissal(ch, watching.Dismissal{N: n}) }
}

func (w *world) shell(by person) (session.ID, *channel.Mux, *screen) {
	w.t.Helper()
	id := session.ID(token.NewID())
	mux, ch, e := w.connect(attempt{kind: "shell", as: w.user, tty: &channel.TTY{Cols: 80, Rows: 24, Term: "dumb"}, asker: &id, grace: time.Minute, by: &by})
	if ch == nil || !e.answer.Allowed() {
		w.t.Fatalf("no shell: %+v", e)
	}
	return id, mux, &screen{t: w.t, ch: ch}
}

// Whom policy lets observe sees a shell and types nothing; whom it lets join types, too.
// The owner hears of both, and may end either. Both are on record.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.watchPolicy()
	w.start()
	id, mux, sh := w.shell(w.alice)
	next, dismiss := owner(t, mux)
	next(0)
	sh.types("V=there; echo is-$V")
	sh.until("is-there")

	bob := w.watches(w.watcher("observe", id, w.bob))
	bob.until("is-there") // what was shown before
	if got := next(1); got[0].Who != "bob@example.com" || got[0].Types || bob.cols != 80 {
		t.Errorf("the owner hears of %+v; %d columns", got, bob.cols)
	}
	io.WriteString(bob.ch, "echo bob-$V\n")
	bob.ch.Resize(20, 5)
	sh.types("echo more-$V")
	bob.until("more-there")
	if strings.Contains(bob.text.String(), "bob-") {
		t.Error("who observes has typed")
	}
	sh.ch.Resize(100, 30)
	sh.types("stty size; echo sized-$V")
	bob.until("sized-there")
	if !strings.Contains(bob.text.String(), "30 100") || bob.cols != 100 {
		t.Errorf("%d columns, %q", bob.cols, bob.text.String())
	}

	carl := w.watches(w.watcher("join", id, w.carl))
	if got := next(2); got[1].Who != "carl@example.com" || !got[1].Types {
		t.Errorf("the owner hears of %+v", got)
	}
	if bob.owner != "alice@example.com" || carl.owner != bob.owner {
		t.Errorf("the machine says that the shell is %q's, and %q's", bob.owner, carl.owner)
	}
	io.WriteString(carl.ch, "echo carl-$V\n")
	for _, v := range []*view{carl, bob} {
		v.until("carl-there")
	}
	sh.until("carl-there")

	// One leaves, one must go, the rest end with the shell.
	carl.mux.Close()
	left := next(1)
	dismiss(left[0].N)
	bob.until("")
	if next(0); !strings.Contains(bob.end, "owner has ended") {
		t.Errorf("who was sent away reads %q", bob.end)
	}
	bob.mux.Close()
	again := w.watches(w.watcher("observe", id, w.bob))
	again.until("carl-there")
	sh.types("exit")
	again.until("")
	if again.end != "the shell has ended" {
		t.Errorf("at the shell's end: %q", again.end)
	}
	again.mux.Close()
	mux.Close()
	w.idle()
	w.stop()
	var got []string
	for _, e := range w.evidence() {
		if e.Action == "observe" || e.Action == "join" || strings.Contains(e.Outcome.Reason, token.ID(id).String()) {
			got = append(got, string(e.Type)+" "+e.Action+" "+e.Actor.Name)
		}
	}
	for _, want := range []string{
		"session-start observe bob@example.com", "exec start bob@example.com", "session-end observe bob@example.com",
		"session-start join carl@example.com", "exec start carl@example.com", "session-end join carl@example.com",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no entry %q among %q", want, got)
		}
	}
}

// Nobody watches who may not, and what runs can't be found out by asking.
func TestNobodyWatches(t *testing.T) {
	w := newWorld(t)
	w.watchPolicy()
	w.start()
	id, mux, sh := w.shell(w.alice)
	next, _ := owner(t, mux)
	sh.types("echo ready")
	sh.until("ready")

	refused := func(what string, a attempt, want string) {
		t.Helper()
		mux, ch, e := w.connect(a)
		if mux != nil {
			mux.Close()
		}
		if got := e.refused + e.answer.Reason; ch != nil && e.answer.Allowed() || !strings.Contains(got, want) {
			t.Errorf("%s: %+v, want %q", what, e, want)
		}
	}
	refused("a member without the kind", w.watcher("observe", id, w.alice), "policy")
	refused("an observer who joins", w.watcher("join", id, w.bob), "policy")
	refused("a stranger to the shell's existence", w.watcher("observe", session.ID(token.NewID()), w.bob), onlook.ErrNoShell.Error())
	watching := session.ID(token.NewID()) // bob's own session is no shell
	asSession := w.watcher("observe", id, w.bob)
	asSession.asker = &watching
	seen := w.watches(asSession)
	seen.until("ready")
	refused("a session that is no shell", w.watcher("observe", watching, w.bob), onlook.ErrNoShell.Error())
	bad := w.watcher("observe", id, w.bob)
	bad.argv = []string{"../" + bad.argv[0]}
	refused("a name that is none", bad, onlook.ErrNoShell.Error())
	bad = w.watcher("observe", id, w.bob)
	bad.open = func(m *channel.OpenMessage) { m.Kind = "join" }
	refused("a grant to observe on a channel to join", bad, "not for another kind")
	bad.open = func(m *channel.OpenMessage) { m.Kind, m.Argv = "shell", nil }
	refused("a grant to observe on a channel of a shell", bad, "not for another kind")
	bad.open = func(m *channel.OpenMessage) { m.Argv = []string{token.NewID().String()} }
	refused("another shell than proof and grant are about", bad, "not the command")
	bad = w.watcher("observe", id, w.bob)
	bad.argv = nil
	refused("no shell named", bad, onlook.ErrRequest.Error())
	bad = w.watcher("observe", id, w.bob)
	bad.tty = &channel.TTY{Cols: 1, Rows: 1}
	refused("an observer with keys", bad, onlook.ErrRequest.Error())
	bad = w.watcher("observe", id, w.bob)
	bad.proof = func(p *token.Proof) {
		p.RosterHead = token.Head{Seq: p.RosterHead.Seq - 1, Hash: p.RosterHead.Hash}
	}
	refused("an older roster", bad, "roster")
	bad = w.watcher("observe", id, w.bob)
	bad.grant = func(g *token.Grant) { g.Agent = w.bob.key.Kid() }
	refused("a grant for another machine", bad, "grant")

	// A yes for one shell is none for another.
	held := w.watcher("observe", id, w.beth)
	refused("nobody has said yes", held, "held")
	held.approve = w.approvedBy(w.bob)
	beth := w.watches(held)
	beth.until("ready")
	beth.mux.Close()
	held.approve = func(a approval.Approval) [][]byte {
		a.Command.Argv = []string{token.NewID().String()}
		return w.approvedBy(w.bob)(a)
	}
	refused("a yes for another shell", held, "held")

	// What was sent once opens nothing again.
	old := *w.last
	if _, err := w.handler.Offer(context.Background(), old.offer); err == nil {
		t.Error("an offer was taken twice")
	}
	for range 8 - 1 {
		w.watches(w.watcher("observe", id, w.bob)).until("ready")
	}
	refused("a ninth", w.watcher("observe", id, w.bob), "can't be watched now")

	// Who is removed sees nothing more, at once.
	w.state(roster.KindRevoke, roster.Revoke{Kid: w.bob.key.Kid(), Reason: "lost"})
	w.must(w.refreshAgent())
	<-seen.mux.Done()
	next(0)
	refused("a device that was revoked", w.watcher("observe", id, w.bob), "device")
	mux.Close()
	w.idle()
	w.stop()
	if n := len(slices.DeleteFunc(w.evidence(), func(e audit.Entry) bool { return e.Type != audit.Refusal })); n < 15 {
		t.Errorf("%d refusals are on record", n)
	}
}

// A shell whose lines are judged for its owner is joined by who has such a shell by the
// same rule; and ends for them when policy changes its mind.
func TestJoinGated(t *testing.T) {
	w := newWorld(t)
	dave := newPerson(t, "dave", "sre", "contractor", "approver")
	exp := time.Now().Add(24 * time.Hour)
	w.state(roster.KindMemberAdd, roster.MemberAdd{MemberID: "dave", Email: dave.email, Roles: dave.roles, Device: dave.device(exp)})
	w.watchPolicy("gate: none", "gate: line")
	w.start()
	id, mux, sh := w.shell(w.alice)
	defer mux.Close()
	sh.types("echo ready")
	sh.until("ready")
	if _, _, e := w.connect(w.watcher("join", id, w.carl)); e.answer.Allowed() || !strings.Contains(e.answer.Reason, "by the same rule") {
		t.Errorf("who has no shell has joined: %+v", e)
	}
	in := w.watches(w.watcher("join", id, dave))
	io.WriteString(in.ch, "echo typed-by-$((40+2))\n")
	in.until("typed-by-42")
	s := w.net.Inside.(*inside).sessions
	s.mu.Lock()
	d := s.live[token.ID(id)]
	s.mu.Unlock()
	if got := d.typists.All(); !slices.Equal(got, []string{"dave"}) {
		t.Errorf("the keeper knows that %q have typed", got)
	}
	w.watchPolicy("gate: none", "gate: line", "sessions: [join]", "sessions: [exec]")
	w.must(w.refreshAgent())
	<-in.mux.Done()
	sh.types("echo goes-$((40+2))")
	sh.until("goes-42")
}
