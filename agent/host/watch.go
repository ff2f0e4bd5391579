package host

import (
	"cmp"
	"context"
	"errors"
	"net"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/onlook"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// findShell finds the shell that a decided task is to watch, and does nothing for other
// tasks.
func (d *ward) findShell(t *task) *refusal {
	if !onlook.Looks(d.kind()) {
		return nil
	}
	if d.a.breakGlass() {
		return because(codeRequest, onlook.ErrBreakGlass)
	}
	id, err := token.ParseID(t.command.Argv[0])
	if err != nil {
		return because(codeRequest, onlook.ErrNoShell)
	}
	d.s.mu.Lock()
	shell := d.s.live[id]
	d.s.mu.Unlock()
	s := shell.asShell()
	who := d.onlooker()
	who.Record = t.verdict.Obligations.Record
	if err := who.Sees(s, t.roster, d.s.checker.now()); errors.Is(err, onlook.ErrNoShell) {
		return because(codeRequest, err)
	} else if err != nil {
		return unmet(codePolicy, t.verdict, "%s", err)
	}
	t.shell, t.level, t.recorded = shell, s.Gate, s.Recording()
	return nil
}

func (d *ward) kind() policy.Kind { return policy.Kind(d.a.proof.Body().Kind) }

// account is whom the ward's session runs as.
func (d *ward) account() string { return cmp.Or(d.a.proof.Body().As, d.a.agent.LoginUser) }

func (d *ward) onlooker() onlook.Onlooker {
	return onlook.Onlooker{
		Operator: d.a.operator.Kid, Agent: d.a.agent.Kid, Kind: d.kind(), As: d.a.proof.Body().As, Account: d.account(),
	}
}

// asShell is the ward's session as others may see it. A shell that an earlier process has
// begun is taken for gated.
func (d *ward) asShell() (s onlook.Shell) {
	if d == nil {
		return s
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s = onlook.Shell{
		Running: d.began && !d.over && d.kind() == policy.Shell, Owner: d.holder().operator.Kid, As: d.a.proof.Body().As, Account: d.account(),
		Gate: gate.Enforced, Recorded: d.sink != nil,
	}
	for _, t := range d.tasks {
		if t.committed && t.level != "" {
			s.Gate = t.level
		}
	}
	return s
}

// stillWatches gives an error for who watches and may not by a newer roster. Whose shell
// is not known, after a restart, may observe it and not type.
func (d *ward) stillWatches(r *roster.Roster, now time.Time) error {
	if !onlook.Looks(d.kind()) {
		return nil
	}
	var shell *ward
	d.mu.Lock()
	for _, t := range d.tasks {
		shell = t.shell
	}
	d.mu.Unlock()
	return d.onlooker().Still(shell.asShell(), r, now)
}

// Guide implements live.Guide.
func (d *ward) Guide(ctx context.Context, asked live.Task) (net.Conn, error) {
	d.mu.Lock()
	t := d.tasks[asked.ID]
	d.mu.Unlock()
	if t == nil || !t.committed || t.shell == nil {
		return nil, &live.Refusal{Answer: refuse(codeUsed, nil, "%s", errAgain).answer()}
	}
	who := live.Onlooker{Who: d.a.operator.Email, Types: d.kind() == policy.Join}
	if who.Types && t.shell.typists.Add(d.a.operator.MemberID) {
		if err := t.shell.remember(); err != nil {
			return nil, &live.Refusal{Answer: because(codeLedger, err).answer()}
		}
	}
	one, other, err := d.s.pair()
	if err == nil {
		if err = t.shell.half.Watch(ctx, who, other); err != nil {
			one.Close()
		}
	}
	if err != nil {
		d.s.logger.Info("a shell can't be watched", "session", d.a.id, "shell", t.shell.a.id, "error", err)
		return nil, &live.Refusal{Answer: refuse(codeBusy, err, "this shell can't be watched now: it has just ended, or as many watch it as may; tucdesk ps --all lists what runs").answer()}
	}
	d.s.logger.Info("watching", "session", d.a.id, "shell", t.shell.a.id, "operator", d.a.operator.Email, "types", who.Types)
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
