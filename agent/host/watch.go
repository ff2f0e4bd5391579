package host

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// noShell is all that anybody hears who names a shell that is not there for them: what
// runs on a machine is not to be found out by asking.
const noShell = "no shell that you may watch runs here by this name: it has ended, is another machine's, or runs as another user"

// watches reports whether sessions of a kind look at a shell of another session.
func watches(k policy.Kind) bool { return k == policy.Observe || k == policy.Join }

// watchable wants a request to watch to be about one shell, and nothing else.
func watchable(m channel.OpenMessage) *refusal {
	if len(m.Argv) != 1 || m.Cwd != "" || len(m.Bound) > 0 {
		return refuse(codeRequest, nil, "who watches names one session, and nothing else")
	}
	for _, kv := range m.Env {
		if kv[0] != "TERM" {
			return refuse(codeRequest, nil, "who watches brings no variables along")
		}
	}
	if (m.TTY != nil) != (m.Kind == live.Join) {
		return refuse(codeRequest, nil, "who joins has a terminal, and who observes has none")
	}
	return nil
}

// findShell finds the shell that a decided task is to watch, and does nothing for other
// tasks.
func (d *ward) findShell(t *task) *refusal {
	p := d.a.proof.Body()
	if !watches(policy.Kind(p.Kind)) {
		return nil
	}
	if d.a.breakGlass() {
		return refuse(codeRequest, nil, "break-glass opens shells of one's own; it does not watch others'")
	}
	id, err := token.ParseID(t.command.Argv[0])
	if err != nil {
		return refuse(codeRequest, err, "%s", noShell)
	}
	d.s.mu.Lock()
	shell := d.s.live[id]
	d.s.mu.Unlock()
	if shell == nil || !shell.isShell(d.account()) {
		return refuse(codeRequest, nil, "%s", noShell)
	}
	if !d.mayType(shell, t.roster, d.s.checker.now()) {
		return refuse(codePolicy, nil, "the programs that start in this shell are judged for its owner: to join it, policy must allow you a shell there by the same rule; policy may let you observe it")
	}
	if t.verdict.Obligations.Record == recorder.Required && !shell.recorded() {
		return unmet(codeRecording, t.verdict, "policy wants a recording of what is watched here, and this shell has none")
	}
	t.shell, t.level = shell, shell.level()
	return nil
}

// account is whom the ward's session runs as.
func (d *ward) account() string {
	if as := d.a.proof.Body().As; as != "" {
		return as
	}
	return d.a.agent.LoginUser
}

// isShell reports whether this is a shell that runs as somebody.
func (d *ward) isShell(as string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.began && !d.over && policy.Kind(d.a.proof.Body().Kind) == policy.Shell && d.account() == as
}

// level is that of the gate, for a shell. One that an earlier process has begun is taken
// for gated.
func (d *ward) level() gate.Level {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.tasks {
		if t.committed && t.level != "" {
			return t.level
		}
	}
	return gate.Enforced
}

func (d *ward) recorded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sink != nil
}

// mayType reports whether the ward's member, if that joins, gets no more from a shell
// than from one of their own. What starts in a gated shell is judged for its owner, and
// so it must be the same rule that gives both of them the shell.
func (d *ward) mayType(shell *ward, r *roster.Roster, now time.Time) bool {
	if policy.Kind(d.a.proof.Body().Kind) != policy.Join || shell.level() == gate.None {
		return true
	}
	as := shell.a.proof.Body().As
	verdict := func(kid key.Kid) policy.Verdict {
		device, err := r.Device(kid, now)
		if err != nil {
			return policy.Verdict{}
		}
		return policy.Evaluate(r.Request(device, d.a.agent, policy.Shell, as, nil, now), r.Snapshot())
	}
	mine, theirs := verdict(d.a.operator.Kid), verdict(shell.holder().operator.Kid)
	return mine.Effect == policy.Allow && mine.Rule == theirs.Rule && mine.Line == theirs.Line
}

// errNoMore ends the watching of who may not any more.
var errNoMore = errors.New("policy does not let you watch this shell any more")

// stillWatches gives an error for who watches and may not by a newer roster.
func (d *ward) stillWatches(r *roster.Roster, now time.Time) error {
	p := d.a.proof.Body()
	if !watches(policy.Kind(p.Kind)) {
		return nil
	}
	device, err := r.Device(d.a.operator.Kid, now)
	if err != nil {
		return err
	}
	agent, err := r.Agent(d.a.agent.Kid, now)
	if err != nil {
		return err
	}
	if policy.Evaluate(r.Request(device, agent, policy.Kind(p.Kind), p.As, nil, now), r.Snapshot()).Effect == policy.Deny {
		return errNoMore
	}
	shell := d.watched()
	switch {
	case policy.Kind(p.Kind) == policy.Observe:
	case shell == nil:
		return errAgain
	case !d.mayType(shell, r, now):
		return errNoMore
	}
	return nil
}

// watched is the shell that the ward's session watches. It is nil before it does, and
// after a restart.
func (d *ward) watched() *ward {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.tasks {
		if t.shell != nil {
			return t.shell
		}
	}
	return nil
}

// joined gives the members who have joined a shell, ever.
func (d *ward) joined() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.typists)
}

// join notes that a member types in the shell from now on, on disk.
func (d *ward) join(member string) error {
	d.mu.Lock()
	known := slices.Contains(d.typists, member)
	if !known {
		d.typists = append(d.typists, member)
	}
	d.mu.Unlock()
	if known {
		return nil
	}
	return d.remember()
}

// Guide implements live.Guide.
func (d *ward) Guide(ctx context.Context, asked live.Task) (net.Conn, error) {
	d.mu.Lock()
	t := d.tasks[asked.ID]
	d.mu.Unlock()
	if t == nil || !t.committed || t.shell == nil {
		return nil, &live.Refusal{Answer: refuse(codeUsed, nil, "%s", errAgain).answer()}
	}
	types := policy.Kind(d.a.proof.Body().Kind) == policy.Join
	if types {
		if err := t.shell.join(d.a.operator.MemberID); err != nil {
			return nil, &live.Refusal{Answer: because(codeLedger, err).answer()}
		}
	}
	one, other, err := d.s.pair()
	if err == nil {
		if err = t.shell.half.Watch(ctx, live.Onlooker{Who: d.a.operator.Email, Types: types}, other); err != nil {
			one.Close()
		}
	}
	if err != nil {
		d.s.logger.Info("a shell can't be watched", "session", d.a.id, "shell", t.shell.a.id, "error", err)
		return nil, &live.Refusal{Answer: refuse(codeBusy, err, "this shell can't be watched now: it has just ended, or as many watch it as may; tucdesk ps --all lists what runs").answer()}
	}
	d.s.logger.Info("watching", "session", d.a.id, "shell", t.shell.a.id, "operator", d.a.operator.Email, "types", types)
	return one, nil
}

// pair makes a connection between two session halves.
func (s *sessions) pair() (one, other net.Conn, err error) {
	if s.cells != nil {
		return s.cells.pair()
	}
	one, other = net.Pipe()
	return one, other, nil
}

// Watch implements half.
func (w *within) Watch(_ context.Context, o live.Onlooker, conn net.Conn) error {
	return w.Session.Watch(o, conn)
}
