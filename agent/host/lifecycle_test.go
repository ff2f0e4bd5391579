//go:build unix

package host

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/team"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// sleeper is a command that says its process id and stays.
func sleeper() attempt { return attempt{argv: []string{"sh", "-c", "echo $$; exec sleep 1000"}} }

// pid reads the process id.
func pid(t *testing.T, ch *channel.Channel) int {
	t.Helper()
	f, err := ch.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(f.Payload)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// exitOf reads to the exit.
func exitOf(t *testing.T, ch *channel.Channel) channel.Exit {
	t.Helper()
	for {
		f, err := ch.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == channel.FrameExit {
			x, err := f.Exit()
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
	}
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for until := time.Now().Add(15 * time.Second); unix.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("process %d still runs", pid)
		}
	}
}

// What ends a session ends its program, is told to the operator where there is
// one, and stands in the log.
func TestEnds(t *testing.T) {
	for _, tc := range []struct {
		name  string
		grant func(*token.Grant)
		cause func(*world, *channel.Mux)
		why   string // in the exit and in the entry
		told  bool
	}{
		{"revoked", nil, func(w *world, _ *channel.Mux) {
			w.state(roster.KindRevoke, roster.Revoke{Kid: w.alice.key.Kid(), Reason: "lost"})
			w.must(w.refreshAgent())
		}, "revoked", true},
		{"revoked, as rendezvous tells while apid is down", nil, func(w *world, _ *channel.Mux) {
			w.setAPI(errors.New("down"))
			st := w.state(roster.KindRevoke, roster.Revoke{Kid: w.alice.key.Kid(), Reason: "lost"})
			h := w.roster.Head()
			w.handler.Roster(w.t.Context(), wire.SignalRoster{HeadSeq: h.Seq, HeadHash: h.Hash, Statements: [][]byte{st}})
			w.setAPI(nil)
		}, "revoked", true},
		{"agent revoked", nil, func(w *world, _ *channel.Mux) {
			w.state(roster.KindRevoke, roster.Revoke{Kid: w.agent.Kid(), Reason: "sold"})
			w.must(w.refreshAgent())
		}, "revoked", true},
		{"time is over", func(g *token.Grant) { g.StartBy, g.EndsBy = g.IAT+2, g.IAT+2 }, func(*world, *channel.Mux) {}, "time is over", true},
		{"agent stops", nil, func(w *world, _ *channel.Mux) { go w.stop() }, "the agent stops", true},
		{"operator leaves", nil, func(_ *world, m *channel.Mux) { m.Close() }, "closed", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.start()
			a := sleeper()
			a.grant = tc.grant
			a.drive = func(m *channel.Mux, ch *channel.Channel) {
				p := pid(t, ch)
				tc.cause(w, m)
				if tc.told {
					if x := exitOf(t, ch); x.Signal != "HUP" || !strings.Contains(x.Reason, tc.why) {
						t.Errorf("%+v", x)
					}
				}
				waitGone(t, p)
			}
			if e := w.try(a); !e.answer.Allowed() {
				t.Fatalf("%+v\n%s", e, w.logs)
			}
			w.idle() // or the stop that evidence makes may come first
			entries := w.evidence()
			last := entries[len(entries)-1]
			if last.Type != "session-end" || !strings.Contains(last.Outcome.Reason, tc.why) || last.Outcome.Signal != "HUP" {
				t.Errorf("%+v", last)
			}
		})
	}
}

// Closing only the channel ends what ran on it.
func TestChannelClosed(t *testing.T) {
	w := newWorld(t)
	w.start()
	a := sleeper()
	a.drive = func(_ *channel.Mux, ch *channel.Channel) {
		p := pid(t, ch)
		ch.Close()
		waitGone(t, p)
	}
	w.try(a)
}

func TestSignalAndInput(t *testing.T) {
	w := newWorld(t)
	w.start()
	a := sleeper()
	a.drive = func(_ *channel.Mux, ch *channel.Channel) {
		pid(t, ch)
		w.must(ch.Signal("NONSENSE"))
		w.must(ch.Signal("TERM"))
		if x := exitOf(t, ch); x.Signal != "TERM" || x.Code != 128+15 || x.Reason != "" {
			t.Errorf("%+v", x)
		}
	}
	w.try(a)
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	if e := w.try(attempt{argv: []string{"sort", "-u"}, stdin: token.StdinStream, input: strings.Repeat("x\n", 1<<15)}); e.stdout != "x\n" {
		t.Errorf("%+v", e)
	}
	if e := w.try(attempt{argv: []string{"cat"}, stdin: token.StdinStream, input: big}); e.stdout != big || e.exit.Code != 0 {
		t.Errorf("%d bytes came back of %d, exit %+v %v", len(e.stdout), len(big), e.exit, e.err)
	}
	// A program that does not read its input can still end.
	if e := w.try(attempt{argv: []string{"true"}, stdin: token.StdinStream, input: big}); e.exit.Code != 0 {
		t.Errorf("%+v", e)
	}
	if e := w.try(attempt{argv: []string{"no-such-program-here"}}); e.exit.Code != 127 || e.exit.Reason == "" || strings.Contains(w.logs.String(), "no-such-program") {
		t.Errorf("%+v", e)
	}
	if e := w.try(attempt{argv: []string{"true"}, cwd: "/no/such/folder"}); e.exit.Code != 126 || e.exit.Reason == "" {
		t.Errorf("%+v", e)
	}
}

func TestMuchOutput(t *testing.T) {
	w := newWorld(t)
	w.start()
	e := w.try(attempt{argv: []string{"head", "-c", "5000000", "/dev/zero"}, drive: func(_ *channel.Mux, ch *channel.Channel) {
		n := 0
		for {
			f, err := ch.ReadFrame()
			w.must(err)
			if f.Type == channel.FrameExit {
				break
			}
			n += len(f.Payload)
		}
		if n != 5000000 {
			t.Errorf("%d bytes", n)
		}
	}})
	if !e.answer.Allowed() {
		t.Fatalf("%+v", e)
	}
}

// A roster that nobody has confirmed for a day starts nothing; once apid is
// there again it does.
func TestStaleRoster(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.confirmedBefore(25 * time.Hour)
	w.setAPI(errors.New("down"))
	if e := w.try(attempt{argv: []string{"true"}}); !e.silent || w.logs.codes()[0] != codeRoster {
		t.Fatalf("%+v", e)
	}
	w.setAPI(nil)
	if e := w.try(attempt{argv: []string{"true"}}); e.err != nil || !e.answer.Allowed() {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
}

// What is held needs a roster confirmed within the hour.
func TestStaleRosterForHeld(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.confirmedBefore(2 * time.Hour)
	w.setAPI(errors.New("down"))
	argv, ran := canary(t)
	if e := w.try(attempt{argv: argv, approve: w.approvedBy(w.bob)}); e.answer.Allowed() || ran() || w.logs.codes()[0] != codeRoster {
		t.Fatalf("%+v", e)
	}
	w.setAPI(nil)
	if e := w.try(attempt{argv: argv, approve: w.approvedBy(w.bob)}); !e.answer.Allowed() || !ran() {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
}

// Withholding a newer roster takes apid, rendezvous and the operator: one bundle
// that carries it is enough. And an approval on a newer roster waits for it.
func TestCatchesUp(t *testing.T) {
	w := newWorld(t)
	w.start()
	known := w.roster.Head().Seq
	zoe := newPerson(t, "zoe", "sre")
	w.state(roster.KindMemberAdd, roster.MemberAdd{MemberID: "zoe", Email: zoe.email, Roles: zoe.roles, Device: zoe.device(time.Now().Add(time.Hour))})
	w.setAPI(errors.New("down"))
	if e := w.try(attempt{by: &zoe, argv: []string{"true"}}); !e.silent {
		t.Errorf("unknown so far: %+v", e)
	}
	bring := func(b *token.Bundle) { b.Statements = w.roster.Statements(known) }
	if e := w.try(attempt{by: &zoe, argv: []string{"true"}, bundle: bring}); !e.answer.Allowed() {
		t.Errorf("with the statements in the bundle: %+v\n%s", e, w.logs)
	}
	w.setAPI(nil)

	// Bob approves knowing a roster that neither alice nor the agent has.
	old := w.roster
	w.state(roster.KindRevoke, roster.Revoke{Kid: zoe.key.Kid(), Reason: "left"})
	newer := w.roster
	argv, ran := canary(t)
	a := attempt{argv: argv,
		proof:   func(p *token.Proof) { p.RosterHead = head(old) },
		approve: w.approvedWith(func(a *approval.Approval) { a.RosterHead = head(newer) }, w.bob),
	}
	if e := w.try(a); !e.answer.Allowed() || !ran() {
		t.Errorf("approval on a newer roster, and apid has it: %+v\n%s", e, w.logs)
	}
	if got, _ := w.net.Inside.Head(); got != wire.Head(newer.Head()) {
		t.Errorf("the agent is at %d, the approval at %d", got.Seq, newer.Head().Seq)
	}
}

// What first contact has named is a floor: an agent that has seen nothing yet
// takes no older roster from apid or rendezvous, and no other one of that number,
// also after its folder of rosters was removed.
func TestFloor(t *testing.T) {
	for name, change := range map[string]func(w *world, full *roster.Roster) (floor roster.Head, fixed bool){
		"older": func(w *world, full *roster.Roster) (roster.Head, bool) { return full.Head(), true },
		"another": func(w *world, full *roster.Roster) (roster.Head, bool) {
			return roster.Head{Seq: full.Head().Seq - 1, Hash: full.TeamFP()}, false
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.state(roster.KindThreshold, roster.Threshold{K: 1}) // nothing that the older one would lack
			full := w.roster
			older, err := roster.Load(w.genesis, full.Statements(0)[:full.Head().Seq-1]...)
			if err != nil {
				t.Fatal(err)
			}
			floor, fixed := change(w, full)
			w.floor, w.roster = floor, older
			w.start()
			h := older.Head()
			w.handler.Roster(t.Context(), wire.SignalRoster{HeadSeq: h.Seq, HeadHash: h.Hash, Statements: older.Statements(0)})
			run := func() end { return w.try(attempt{argv: []string{"true"}}) }
			if e := run(); e.answer.Allowed() || w.logs.codes()[0] != codeRoster {
				t.Fatalf("on an older roster: %+v", e)
			}
			w.stop()
			w.must(removeRoster(w.dir))
			w.start()
			if e := run(); e.answer.Allowed() {
				t.Fatalf("after a restart without the folder: %+v", e)
			}
			w.mu.Lock()
			w.roster = full
			w.mu.Unlock()
			w.must(w.refreshAgent())
			if e := run(); e.answer.Allowed() != fixed {
				t.Fatalf("with the whole roster: %+v", e)
			}
		})
	}
}

// A server that shows an older roster than before, or one that forks, is not
// followed.
func TestRosterNeverGoesBack(t *testing.T) {
	w := newWorld(t)
	full := w.roster
	w.start()
	w.stop()
	w.must(removeRoster(w.dir))
	older, err := roster.Load(w.genesis, full.Statements(0)[:3]...)
	w.must(err)
	w.mu.Lock()
	w.roster = older
	w.mu.Unlock()
	w.start()
	w.mu.Lock()
	w.roster = full // alice knows better
	w.mu.Unlock()
	w.setAPI(errors.New("down"))
	if e := w.try(attempt{argv: []string{"true"}}); !e.silent || w.logs.codes()[0] != codeRoster {
		t.Fatalf("%+v", e)
	}
	if e := w.try(attempt{argv: []string{"true"}, bundle: func(b *token.Bundle) { b.Statements = full.Statements(0) }}); !e.answer.Allowed() {
		t.Fatalf("once it has caught up: %+v\n%s", e, w.logs)
	}
}

// Forged third messages neither start nor spoil a session.
func TestForgedFinish(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.forge = [][]byte{{1}, bytes.Repeat([]byte{3}, 200)}
	if e := w.try(attempt{argv: []string{"echo", "still"}}); e.stdout != "still\n" {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
	w.handler.Finish(wire.SignalFinish{SessionID: token.NewID(), HS3: []byte{3}}) // of nothing
}

func TestHalfOpenIsBounded(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.onlyOffer = true
	n := 0
	for range maxHalfOpen + 5 {
		if e := w.try(attempt{argv: []string{"true"}}); !e.silent && e.refused == "" {
			n++
		}
	}
	if n != maxHalfOpen {
		t.Errorf("%d half-open sessions, at most %d", n, maxHalfOpen)
	}
}

// Entries that could not be handed in are handed in later, also by the next
// process, once each and in order.
func TestEntriesWaitForTheLog(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.setAPI(errors.New("down"))
	for range 3 {
		w.try(attempt{argv: []string{"true"}})
	}
	w.stop()
	w.setAPI(nil)
	w.start()
	w.try(attempt{argv: []string{"true"}})
	if got := w.evidence(); len(got) != 16 { // start, start, exit, end, four times
		t.Errorf("%v", kinds(got))
	}
}

func TestDemoStaysADemo(t *testing.T) {
	w := newWorld(t)
	g, err := roster.Found(roster.Genesis{
		TeamID: "acme", Threshold: 1, Created: time.Now().Unix(), Demo: true,
		Admins: []roster.AdminDevice{{MemberID: "carol", Email: "carol@example.com", Device: w.admin.device(time.Now().Add(time.Hour))}},
	}, w.admin.key)
	w.must(err)
	r, err := roster.Open(g)
	w.must(err)
	w.genesis, w.roster = g, r
	h, err := New(w.config())
	w.must(err)
	h.api, h.dial = fakeAPI{w}, w.dial
	if err := h.Run(context.Background(), func() { t.Error("ready") }); !errors.Is(err, team.ErrDemo) {
		t.Errorf("%v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{
		Dir: "d", TeamID: "t", TeamFP: envelope.Sum(nil), APIURL: "https://api.example.com", RendezvousURL: "https://r.example.com",
	}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no dir":                func(c *Config) { c.Dir = "" },
		"no team":               func(c *Config) { c.TeamID = "" },
		"no fingerprint":        func(c *Config) { c.TeamFP = envelope.Hash{} },
		"no api":                func(c *Config) { c.APIURL = "" },
		"plain http":            func(c *Config) { c.APIURL = "http://api.example.com" },
		"plain http rendezvous": func(c *Config) { c.RendezvousURL = "http://r.example.com" },
		"a demo far away":       func(c *Config) { c.Demo = true },
		"negative":              func(c *Config) { c.MaxSessions = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
