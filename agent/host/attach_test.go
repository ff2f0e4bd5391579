//go:build unix

package host

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A screen is what a channel of a terminal has sent, as it comes.
type screen struct {
	t    *testing.T
	ch   *channel.Channel
	text strings.Builder
}

// until reads up to a text.
func (s *screen) until(want string) {
	s.t.Helper()
	for !strings.Contains(s.text.String(), want) {
		f, err := s.ch.ReadFrame()
		if err != nil {
			s.t.Fatalf("%v before %q came; there was %q", err, want, s.text.String())
		}
		s.text.Write(f.Payload)
	}
}

func (s *screen) types(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.ch, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// returning is an attempt to come back to a shell.
func (w *world) returning(id session.ID, by person) attempt {
	return attempt{
		kind: "shell", as: w.user, tty: &channel.TTY{Cols: 100, Rows: 30, Term: "dumb"}, asker: &id, by: &by,
		grace: time.Minute, proof: func(p *token.Proof) { p.Act = token.ActResume },
	}
}

// A shell outlives the client that opened it. Its member comes back to it, from the same
// device or another one, and finds what was there; whoever sat there hears of it. Nobody
// else can, and nobody with an old proof.
func TestAttach(t *testing.T) {
	w := newWorld(t)
	alice2 := newPerson(t, "alice", "sre", "approver")
	exp := time.Now().Add(24 * time.Hour)
	w.state(roster.KindDeviceAdd, roster.DeviceAdd{MemberID: "alice", Device: alice2.device(exp)})
	dave := newPerson(t, "dave", "sre")
	w.state(roster.KindMemberAdd, roster.MemberAdd{MemberID: "dave", Email: dave.email, Roles: dave.roles, Device: dave.device(exp)})
	w.start()
	open := func(a attempt) (*channel.Mux, *screen, channel.Answer) {
		t.Helper()
		mux, ch, e := w.connect(a)
		if ch == nil || !e.answer.Allowed() {
			t.Fatalf("not opened: %+v", e)
		}
		return mux, &screen{t: t, ch: ch}, e.answer
	}
	refused := func(what string, a attempt, want string) {
		t.Helper()
		mux, ch, e := w.connect(a)
		if mux != nil {
			mux.Close()
		}
		if ch != nil && e.answer.Allowed() || !strings.Contains(e.refused+e.answer.Reason, want) {
			t.Errorf("%s: %+v, want %q", what, e, want)
		}
	}

	id := session.ID(token.NewID())
	first, sh, _ := open(attempt{kind: "shell", as: w.user, tty: &channel.TTY{Cols: 80, Rows: 24, Term: "dumb"}, asker: &id, grace: time.Minute})
	sh.types("V=there; echo is-$V")
	sh.until("is-there")

	// Its operator detaches, and comes back from another device.
	first.Leave()
	second, sh2, answer := open(w.returning(id, alice2))
	if answer.Past == nil || answer.Past.Lost > 0 || answer.Past.Cols != 80 || answer.Past.Rows != 24 {
		t.Errorf("the past: %+v", answer.Past)
	}
	sh2.until("is-there") // of the past
	sh2.types("echo still-$V $(stty size)")
	sh2.until("still-there 30 100")
	stolen := *w.last

	// The one who sits there does not know that another client takes its place.
	third, sh3, _ := open(w.returning(id, w.alice))
	for {
		if _, err := sh2.ch.ReadFrame(); err != nil {
			break
		}
	}
	if <-second.Done(); second.Err() != channel.ErrLeft {
		t.Errorf("who sat there hears %v", second.Err())
	}
	sh3.types("echo again-$V")
	sh3.until("again-there")

	before := w.refusals()
	refused("another member", w.returning(id, dave), "proof")
	other := w.returning(session.ID(token.NewID()), w.alice)
	refused("a session that is not here", other, "request")
	exec := w.returning(id, w.alice)
	exec.kind, exec.tty, exec.argv = "exec", nil, []string{"true"}
	refused("as something else", exec, "proof")
	opened := w.returning(id, w.alice)
	opened.proof = nil
	refused("a new session of this name", opened, "used")
	if got := w.refusals() - before; got != 4 {
		t.Errorf("%d refusals of members were noted, want 4", got)
	}
	if _, err := w.handler.Offer(context.Background(), stolen.offer); err == nil {
		t.Error("an offer was taken twice")
	}
	old := w.returning(id, w.alice)
	old.proof = func(p *token.Proof) {
		p.Act, p.RosterHead = token.ActResume, token.Head{Seq: p.RosterHead.Seq - 1, Hash: p.RosterHead.Hash}
	}
	refused("another roster", old, "roster")
	w.state(roster.KindRevoke, roster.Revoke{Kid: alice2.key.Kid(), Reason: "lost"})
	w.must(w.refreshAgent())
	refused("a device that was revoked", w.returning(id, alice2), "device")

	// The exit reaches whoever sits there.
	fourth, sh4, _ := open(w.returning(id, w.alice))
	<-third.Done()
	sh4.types("exit 7")
	for {
		f, err := sh4.ch.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == channel.FrameExit {
			if x, err := f.Exit(); err != nil || x.Code != 7 {
				t.Errorf("exit %+v, %v", x, err)
			}
			break
		}
	}
	fourth.Close()
	w.idle()
	var attached []string
	for _, e := range w.evidence() {
		if e.Type == audit.SessionAttach {
			attached = append(attached, e.Actor.Kid.String())
			if len(e.Proof) == 0 || e.SessionID != token.ID(id) {
				t.Errorf("an entry of coming back: %+v", e)
			}
		}
	}
	if want := []string{alice2.key.Kid().String(), w.alice.key.Kid().String(), w.alice.key.Kid().String()}; !slices.Equal(attached, want) {
		t.Errorf("came back: %v, want %v", attached, want)
	}
}

// refusals is how many the agent has noted as evidence so far, as its log says.
func (w *world) refusals() int { return strings.Count(w.logs.String(), "session refused") }

// A terminal that nobody comes back to ends after its grace time.
func TestNobodyComesBack(t *testing.T) {
	w := newWorld(t)
	w.setPolicy(strings.Replace(string(w.roster.PolicyDocument()), "gate: none", "gate: none\ngrace: 1s", 1))
	w.start()
	mux, ch, e := w.connect(attempt{kind: "shell", as: w.user, tty: &channel.TTY{Cols: 80, Rows: 24, Term: "dumb"}, grace: time.Second})
	if mux == nil || !e.answer.Allowed() {
		t.Fatalf("%+v", e)
	}
	sh := &screen{t: t, ch: ch}
	sh.types("echo is-$((1+1))")
	sh.until("is-2")
	mux.Leave()
	w.idle()
	all := w.evidence()
	last := all[len(all)-1]
	if last.Type != audit.SessionEnd || !strings.Contains(last.Outcome.Reason, "nobody came back") {
		t.Errorf("the end: %+v", last)
	}
}
