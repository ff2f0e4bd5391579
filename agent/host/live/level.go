package live

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"time"

	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/line"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

const (
	// toldEach and toldAtOnce bound the lines that are judged after a shell has told
	// them: it may tell anything, and as fast as it likes.
	toldEach   = 200 * time.Millisecond
	toldAtOnce = 50
)

// A program is what runs on a channel: a process, or a shell whose lines are decided.
type program interface {
	Done() <-chan struct{} // closed when it has ended; its output may hold bytes
	Exit() process.Exit
	Resize(process.Size) error
	Signal(name string) error
	Kill(grace time.Duration)
	CloseInput()
	Close()
}

// running is a program with its streams.
type running struct {
	program
	Stdin  io.WriteCloser // nil without input
	Stdout io.Reader
	Stderr io.Reader // nil with a TTY
}

// launch starts a channel's program, at the level that the keeper has said. end is to
// be called when it has ended, also after an error.
func (s *Session) launch(w *work, spec process.Spec, u process.User) (p *running, end func(), err error) {
	end = func() {}
	switch gate.Level(w.Answer.Gate) {
	case gate.None:
	case gate.Line:
		return s.byLine(w, spec, u)
	case gate.Enforced:
		var start func(*exec.Cmd) error
		if start, end, err = s.gateOf(w); err != nil {
			return nil, func() {}, err
		}
		spec.Starter = start
	case gate.Advisory:
		var env [][2]string
		if env, end, err = s.listen(w, u); err != nil {
			return nil, func() {}, err
		}
		spec.Env = append(spec.Env, env...)
	default:
		return nil, end, errNoGate
	}
	started, err := process.Start(spec, u)
	if err != nil {
		return nil, end, err
	}
	if err := w.files.Started(); err != nil {
		started.Close() // nobody has seen a byte of it
		return nil, end, err
	}
	w.watch.Attach(started)
	return &running{started, started.Stdin, started.Stdout, started.Stderr}, end, nil
}

// byLine starts a shell whose every line is decided.
func (s *Session) byLine(w *work, spec process.Spec, u process.User) (*running, func(), error) {
	g, err := s.judgeOf(w)
	if err != nil || spec.TTY == nil {
		return nil, func() {}, errNoGate
	}
	shell := line.Start(line.Config{User: u, TTY: *spec.TTY, Dir: spec.Dir, Env: spec.Env, Allow: g.line})
	return &running{shell, shell.Stdin, shell.Stdout, nil}, g.sum, nil
}

// line decides about a line.
func (g *gated) line(ctx context.Context, l line.Line) error {
	q := g.judge(Start{Requested: l.Argv[0], Argv: l.Argv, Cwd: l.Cwd})
	if q.allowed() {
		g.ended(nil, gate.Started, "")
		return nil
	}
	var err error
	if q.waits() {
		err = g.decide(ctx, q)
	} else {
		err = sayError(q.ruling.Reason)
	}
	switch {
	case ctx.Err() != nil:
		g.ended(q, gate.Canceled, "nobody waited for the decision")
	case err != nil:
		g.ended(q, gate.Refused, err.Error())
	default:
		g.ended(q, gate.Started, "")
	}
	return err
}

// sayError is a reason that is somebody else's words.
type sayError string

func (e sayError) Error() string { return string(e) }

// listen has a shell tell its lines, and gives the variables for that.
func (s *Session) listen(w *work, u process.User) (env [][2]string, end func(), err error) {
	g, err := s.judgeOf(w)
	if err != nil {
		return nil, nil, err
	}
	t, err := line.NewTeller(u)
	if err != nil {
		return nil, nil, err
	}
	go func() {
		limit := rate.NewLimiter(rate.Every(toldEach), toldAtOnce)
		for {
			l, err := t.Next()
			if err != nil || s.ctx.Err() != nil {
				return
			}
			if limit.Allow() {
				g.notice(l)
			} else {
				g.mark("gate: lines are told too fast to be judged")
			}
		}
	}()
	return t.Env, func() { t.Close(); g.sum() }, nil
}

// notice tells, and makes evidence, where policy would not have let a line run.
func (g *gated) notice(l line.Line) {
	q := g.judge(Start{Requested: l.Argv[0], Argv: l.Argv, Cwd: l.Cwd})
	g.mu.Lock()
	if q.allowed() {
		g.started++
	} else {
		g.noticed++
	}
	g.mu.Unlock()
	if q.allowed() {
		return
	}
	g.keeper.Report(g.w.Task, q.start, q.ruling, gating.Noticed, q.ruling.Reason)
	g.mark(fmt.Sprintf("gate: %s: %s", gating.Noticed, sanitize.Argv(l.Argv)))
	g.s.talk.tell(q, gating.Noticed, q.ruling.Reason)
}
