package host

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/errand"
	"github.com/tucdesk/tucdesk/agent/host/gate/shim"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/skiptest"
	"github.com/tucdesk/tucdesk/internal/token"
)

const (
	shimArg   = "shim-of-the-exec-gate"
	errandArg = "errand-of-a-session"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == shimArg {
		fmt.Fprintln(os.Stderr, shim.Main())
		os.Exit(1)
	}
	if len(os.Args) > 1 && os.Args[1] == errandArg {
		if err := errand.Main(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A gatedShell is a shell of alice's on an agent whose policy wants it gated.
type gatedShell struct {
	*world
	sh, gate *channel.Channel
	events   chan gating.Event
	dir      string
}

// inGatedShell has use work in a shell at level enforced; policy changes the policy's text.
func inGatedShell(t *testing.T, policy func(string) string, use func(*gatedShell)) *world {
	t.Helper()
	needsKernel(t)
	return inShellAt(t, "enforced", policy, use)
}

// needsKernel skips, aloud, where the kernel's gate can't be.
func needsKernel(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "the exec gate needs root: run the tests as root")
	}
}

// inShellAt does so at a level. Only for enforced there is a kernel's gate.
func inShellAt(t *testing.T, level string, policy func(string) string, use func(*gatedShell)) *world {
	t.Helper()
	w := newWorld(t)
	if level == "enforced" {
		w.gate = []string{shimArg}
	}
	doc := strings.Replace(string(policyDoc(w)), "gate: none", "gate: "+level, 1)
	if policy != nil {
		doc = policy(doc)
	}
	w.setPolicy(doc)
	w.start()
	e := w.try(attempt{kind: "shell", as: w.user, tty: &channel.TTY{Cols: 80, Rows: 24, Term: "dumb"}, drive: func(mux *channel.Mux, sh *channel.Channel) {
		g, err := mux.Open(t.Context(), channel.OpenMessage{Kind: gating.Kind})
		w.must(err)
		if a, err := g.AwaitAnswer(t.Context()); err != nil || !a.Allowed() {
			t.Fatalf("%+v %v", a, err)
		}
		s := &gatedShell{world: w, sh: sh, gate: g, events: make(chan gating.Event, 100), dir: t.TempDir()}
		go io.Copy(io.Discard, sh)
		go func() {
			defer close(s.events)
			for {
				e, err := gating.ReadEvent(g)
				if err != nil {
					return
				}
				s.events <- e
			}
		}()
		s.type_("cd " + s.dir)
		use(s)
	}})
	if !e.answer.Allowed() || e.answer.Gate != level {
		t.Fatalf("%+v", e)
	}
	return w
}

func (s *gatedShell) type_(line string) {
	s.t.Helper()
	_, err := s.sh.Write([]byte(line + "\n"))
	s.must(err)
}

// next gives the next event.
func (s *gatedShell) next() gating.Event {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatal("the channel has ended")
		}
		return e
	case <-time.After(time.Minute):
		s.t.Fatal("no event came")
	}
	return gating.Event{}
}

// awaits waits for a file that a command of the shell makes.
func (s *gatedShell) awaits(name string) {
	s.t.Helper()
	for until := time.Now().Add(time.Minute); !s.made(name); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			s.t.Fatalf("%s is not there", name)
		}
	}
}

func (s *gatedShell) made(name string) bool {
	_, err := os.Stat(filepath.Join(s.dir, name))
	return err == nil
}

// answer gives what lets a start begin, as a client that has asked for it.
func (s *gatedShell) answer(e gating.Event, a attempt) gating.Answer {
	s.t.Helper()
	id := session.ID(token.NewID())
	a.kind, a.as = "exec", s.user
	by := s.alice
	if a.by != nil {
		by = *a.by
	}
	c := token.Command{V: token.Version, Argv: e.Argv, Cwd: e.Cwd, Env: e.Env, Stdin: token.StdinTTY, Bound: e.Bound, Salt: token.NewID()}
	if a.argv != nil {
		c.Argv = a.argv
	}
	if a.cwd != "" {
		c.Cwd = a.cwd
	}
	sealed, _ := s.seal(a, by, id, c)
	return gating.Answer{ID: e.ID, Session: token.ID(id), Salt: c.Salt, Bundle: sealed}
}

func (s *gatedShell) send(a gating.Answer) {
	s.t.Helper()
	s.must(gating.Write(s.gate, a))
}

func (s *gatedShell) expect(id uint64, state gating.State) gating.Event {
	s.t.Helper()
	e := s.next()
	if e.State != state || id != 0 && e.ID != id {
		s.t.Fatalf("%+v, want %s of %d", e, state, id)
	}
	return e
}

// What policy lets run runs, what it denies does not, and what it holds waits for
// exactly its approval.
func TestGatedShell(t *testing.T) {
	var held gating.Event
	w := inGatedShell(t, nil, func(s *gatedShell) {
		s.type_("/bin/true && mkdir low")
		s.awaits("low")

		s.type_("/sbin/mkfs.ext4 /nothing; mkdir on")
		e := s.expect(0, gating.Refused)
		if e.Tier != "critical" || e.Rule != "commands.critical" || !strings.Contains(e.Argv[0], "mkfs") {
			t.Errorf("%+v", e)
		}
		s.awaits("on")

		s.type_("touch held; mkdir after")
		held = s.expect(0, gating.Hold)
		if !slices.Equal(held.Argv, []string{"/usr/bin/touch", "held"}) || held.Cwd != s.dir || held.Tier != "high" {
			t.Errorf("%+v", held)
		}
		if s.made("held") || s.made("after") {
			t.Error("it ran before it was approved")
		}
		good := s.answer(held, attempt{approve: s.approvedBy(s.bob)})
		s.send(good)
		s.expect(held.ID, gating.Started)
		s.awaits("after")
		if !s.made("held") {
			t.Error("it did not run")
		}

		// Whatever it calls itself, it is asked for by its file's name.
		s.type_("(exec -a ls touch sneaky); mkdir sneaked")
		e = s.expect(0, gating.Hold)
		if !slices.Equal(e.Argv, []string{"/usr/bin/touch", "sneaky"}) {
			t.Errorf("%+v", e)
		}
		s.send(gating.Answer{ID: e.ID})
		s.expect(e.ID, gating.Refused)
		s.awaits("sneaked")

		// Once is once: neither its approval nor its session is good for another.
		s.type_("touch held; mkdir again")
		e = s.expect(0, gating.Hold)
		good.ID = e.ID
		s.send(good)
		e = s.expect(e.ID, gating.Refused)
		if !strings.Contains(e.Reason, "used") {
			t.Errorf("%s", e.Reason)
		}
		s.awaits("again")

		s.type_("/usr/bin/printf x >confirmed; mkdir confirming")
		e = s.expect(0, gating.Confirm)
		s.send(s.answer(e, attempt{confirmed: true}))
		s.expect(e.ID, gating.Started)
		s.awaits("confirming")
		if b, _ := os.ReadFile(filepath.Join(s.dir, "confirmed")); string(b) != "x" {
			t.Errorf("%q", b)
		}

		s.type_("touch canceled")
		e = s.expect(0, gating.Hold)
		s.type_("\x03")
		s.expect(e.ID, gating.Canceled)
		s.type_("touch unwanted; mkdir last")
		e = s.expect(0, gating.Hold)
		s.send(gating.Answer{ID: e.ID})
		s.expect(e.ID, gating.Refused)
		s.awaits("last")
		if s.made("canceled") || s.made("unwanted") {
			t.Error("it ran")
		}
	})
	var entries []string
	for _, e := range w.evidence() {
		if e.Type == audit.Exec || e.Type == audit.Refusal {
			entries = append(entries, fmt.Sprintf("%s %s %s %s", e.Type, e.Action, e.Command.Tier, e.Policy.Effect))
		}
	}
	t.Log(entries)
	for _, want := range []string{"exec start high hold", "exec start medium confirm", "refusal shell critical deny", "refusal shell high hold"} {
		if !slices.Contains(entries, want) {
			t.Errorf("no entry %q among %q", want, entries)
		}
	}
}

// Where policy wants a gate that an agent does not have, there is no shell.
func TestNoGateNoShell(t *testing.T) {
	w := newWorld(t)
	w.setPolicy(strings.Replace(string(policyDoc(w)), "gate: none", "gate: enforced", 1))
	w.start()
	e := w.try(attempt{kind: "shell", as: w.user, tty: &channel.TTY{Cols: 80, Rows: 24}})
	if e.refused == "" && e.answer.Allowed() {
		t.Fatalf("%+v", e)
	}
	if x := w.try(attempt{as: w.user, argv: []string{"true"}}); !x.answer.Allowed() || x.exit.Code != 0 {
		t.Errorf("an exec needs no gate: %+v", x)
	}
}
