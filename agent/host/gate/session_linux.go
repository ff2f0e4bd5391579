package gate

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/gate/claim"
	"github.com/tucdesk/tucdesk/agent/host/gate/filter"
	"github.com/tucdesk/tucdesk/agent/host/gate/notify"
	"github.com/tucdesk/tucdesk/agent/host/gate/shim"
	"github.com/tucdesk/tucdesk/agent/host/gate/trace"
	"github.com/tucdesk/tucdesk/internal/policy/variable"
)

// look is how often a held program start is looked at: whether its caller still
// waits, or was asked to end.
const look = 200 * time.Millisecond

// patience is how long the kernel may take to load a session's first program.
const patience = 30 * time.Second

// A Gate starts gated sessions. Its methods are safe for concurrent use.
type Gate struct {
	pool *notify.Pool
	shim []string
}

// New makes a gate. shim are the arguments that lead this program to shim.Main.
func New(shim ...string) (*Gate, error) {
	pool, err := notify.NewPool()
	if err != nil {
		return nil, err
	}
	return &Gate{pool, shim}, nil
}

// Open makes a gate and probes it: without an error, sessions can be Enforced.
func Open(args []string) (*Gate, shim.Features, error) {
	g, err := New(args...)
	if err != nil {
		return nil, shim.Features{}, err
	}
	f, err := g.Probe()
	if err != nil {
		g.Close()
		return nil, f, err
	}
	return g, f, nil
}

// Close ends the gate. Sessions that still run start no more programs.
func (g *Gate) Close() { g.pool.Close() }

// Probe starts a program under the gate, to its end: where that works, sessions can be
// Enforced. The features are what is there beyond.
func (g *Gate) Probe() (shim.Features, error) {
	cmd := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", ":"}, Env: []string{}}
	s, err := g.Start(cmd, refuseAll{})
	if err != nil {
		return shim.Features{}, err
	}
	defer s.Close()
	if err := cmd.Wait(); err != nil {
		return shim.Features{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return s.features, nil
}

// refuseAll is a judge.
type refuseAll struct{}

func (refuseAll) Judge(*Program) Answer                  { return Refuse }
func (refuseAll) Decide(context.Context, *Program) error { return ErrRefused }
func (refuseAll) Ended(*Program, Outcome, string)        {}

// A Session is a gated tree of processes.
type Session struct {
	gate     *Gate
	judge    Judge
	listener *notify.Listener
	features shim.Features
	ctx      context.Context
	cancel   context.CancelFunc

	mu     sync.Mutex
	first  *first // until the session's first program has started
	begun  chan bool
	holds  int
	closed bool
	busy   sync.WaitGroup // who uses the listener
}

// first is the program that the session begins with, which is not asked about: who
// started the session was.
type first struct {
	pid  int
	argv []string
	env  []string
	path string
}

// Start starts cmd, which is ready to be started, with all that it will start in turn
// under the judge. cmd itself is decided: it starts, or is killed if it is not what
// the kernel loaded. Who has started it must not wait for it by number while it runs:
// that would take stops which are the gate's (wait for a pidfd instead).
func (g *Gate) Start(cmd *exec.Cmd, judge Judge) (*Session, error) {
	f := &first{argv: slices.Clone(cmd.Args), env: slices.Clone(cmd.Env), path: cmd.Path}
	l, err := shim.Wrap(cmd, g.shim...)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f.pid = cmd.Process.Pid
	s := &Session{gate: g, judge: judge, first: f, begun: make(chan bool, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err = s.open(l); err == nil {
		if err = l.Run(); err == nil && !s.hasBegun() {
			err = ErrRefused
		}
	}
	if err != nil {
		s.Close()
		l.Close() // a shim that still waits ends
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	return s, nil
}

// open takes the listener and begins to serve it.
func (s *Session) open(l *shim.Launcher) error {
	fd, features, err := l.Listen()
	if err != nil {
		return err
	}
	s.listener, s.features = notify.NewListener(fd), features
	return s.gate.pool.Add(s.listener, s.handle, func() {})
}

// Features are what the kernel gives beyond what the gate needs.
func (s *Session) Features() shim.Features { return s.features }

// Close ends the session's gate: who is held, and who asks from now on, is refused by
// the kernel. It does not end programs that run. It waits until the judge has heard
// of all it was asked, and so must not be called by a judge.
func (s *Session) Close() {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	if !again && s.listener != nil {
		s.gate.pool.Remove(s.listener)
	}
	// The listener's number must not become another file's while somebody uses it.
	s.busy.Wait()
	if !again && s.listener != nil {
		s.listener.Close()
	}
}

// hasBegun waits until the first program was looked at; false if it was killed, or
// somebody has killed the shim.
func (s *Session) hasBegun() bool {
	select {
	case ok := <-s.begun:
		return ok
	case <-time.After(patience):
		return false
	}
}

// enter takes part in the use of the listener; false if it is closed.
func (s *Session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.busy.Add(1)
	}
	return !s.closed
}

// handle answers one notification, or has it held. It runs on a thread of the pool.
func (s *Session) handle(n notify.Notification) {
	if !s.enter() {
		return
	}
	defer s.busy.Done()
	p, err := s.read(n)
	if err == nil && !s.listener.Valid(n.ID) {
		return // it was read from whoever has the number now
	}
	if err != nil {
		s.refuse(n, p, err)
		return
	}
	if p.OnlyAsks() {
		// This starts nothing, whatever the answer.
		_ = s.listener.Continue(n.ID)
		return
	}
	if s.takeFirst(p) {
		s.start(n, p, false)
		return
	}
	switch s.judge.Judge(p) {
	case Start:
		s.start(n, p, false)
	case Hold:
		s.hold(n, p)
	default:
		s.refuse(n, p, errors.New("refused"))
	}
}

// read reads what n wants to start. The Program is never nil.
func (s *Session) read(n notify.Notification) (*Program, error) {
	p := &Program{TID: int(n.TID)}
	call, ok := filter.Lookup(runtime.GOARCH, n.Arch, n.Nr)
	if !ok || n.TID == 0 {
		return p, errors.New("its caller can't be seen")
	}
	c, err := claim.Read(p.TID, call, n.Args)
	if err != nil {
		return p, err
	}
	p.Claim = c
	return p, nil
}

// takeFirst reports whether p is the program that the session begins with.
func (s *Session) takeFirst(p *Program) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.first
	// The shim asks from whatever thread it runs on.
	return f != nil && unix.Tgkill(f.pid, p.TID, 0) == nil && p.Path == f.path && slices.Equal(p.Argv, f.argv) && slices.Equal(p.Env, f.env)
}

// refuse answers with an error.
func (s *Session) refuse(n notify.Notification, p *Program, why error) {
	errno := unix.EACCES
	var r *claim.RefusalError
	if errors.As(why, &r) {
		errno = r.Errno
	}
	if errors.Is(s.listener.Refuse(n.ID, errno), notify.ErrGone) {
		s.judge.Ended(p, Canceled, "its caller did not wait")
		return
	}
	s.judge.Ended(p, Refused, why.Error())
}

// start lets p start, and looks at what was loaded. It runs on a thread of the pool.
// held programs also must not have changed while they waited.
func (s *Session) start(n notify.Notification, p *Program, held bool) {
	r, differs, err := trace.Start(trace.Call{
		TID: p.TID, Asleep: s.features.Killable,
		Continue: func() error { return s.listener.Continue(n.ID) },
		Valid:    func() bool { return s.listener.Valid(n.ID) },
		Look:     func(pid int) string { return p.Differs(pid, held, variable.IsRisky) },
	})
	if s.begin(r == trace.Started) {
		return
	}
	switch {
	case errors.Is(err, trace.ErrTraced):
		s.refuse(n, p, errors.New("a debugger traces its caller, so that it can't be checked; attach to the running program instead"))
	case err != nil:
		// If it still sleeps, this ends it.
		_ = s.listener.Refuse(n.ID, unix.EACCES)
		s.judge.Ended(p, Failed, err.Error())
	case r == trace.Killed:
		s.judge.Ended(p, Killed, differs)
	case r == trace.Started:
		s.judge.Ended(p, Started, "")
	default:
		s.judge.Ended(p, Failed, "the kernel did not load it, or its caller has ended")
	}
}

// begin reports whether this is how the first program's start has ended.
func (s *Session) begin(ok bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return false
	}
	s.first = nil
	s.begun <- ok
	return true
}

// hold lets p wait for its decision.
func (s *Session) hold(n notify.Notification, p *Program) {
	s.mu.Lock()
	full := s.holds >= MaxHolds
	if !full {
		s.holds++
	}
	s.mu.Unlock()
	if full {
		s.refuse(n, p, fmt.Errorf("%d program starts of this session wait already", MaxHolds))
		return
	}
	s.busy.Add(1)
	go func() {
		defer s.busy.Done()
		err := s.decide(n, p)
		s.mu.Lock()
		s.holds--
		s.mu.Unlock()
		if err != nil {
			return
		}
		s.busy.Add(1)
		if s.gate.pool.Do(func() {
			defer s.busy.Done()
			s.resume(n, p)
		}) != nil {
			s.busy.Done()
		}
	}()
}

var errCanceled = errors.New("gate: nobody waits for it any more")

// decide waits for the decision, and answers unless it is yes.
func (s *Session) decide(n notify.Notification, p *Program) error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	go func() {
		tick := time.NewTicker(look)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !s.listener.Valid(n.ID) || trace.IsAskedToEnd(p.TID) {
					cancel(errCanceled)
					return
				}
			}
		}
	}()
	err := s.judge.Decide(ctx, p)
	switch {
	case ctx.Err() != nil:
		// With EINTR a caller that catches the signal goes on to do so.
		_ = s.listener.Refuse(n.ID, unix.EINTR)
		s.judge.Ended(p, Canceled, "its caller did not wait for the decision")
		return errCanceled
	case err != nil:
		s.refuse(n, p, err)
	}
	return err
}

// resume starts what was held, if it is still the same.
func (s *Session) resume(n notify.Notification, p *Program) {
	again, err := s.read(n)
	switch {
	case !s.listener.Valid(n.ID):
		s.judge.Ended(p, Canceled, "its caller did not wait for the decision")
	case err != nil:
		s.refuse(n, p, err)
	case !again.Equal(p.Claim):
		s.refuse(n, p, errors.New("the file, or what is in it, or its arguments have changed while it waited"))
	default:
		s.start(n, p, true)
	}
}
