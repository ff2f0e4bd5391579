package mem

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// AskFor is how long an approval waits for people.
const AskFor = 15 * time.Minute

// MaxApprovals bounds the approvals that a World keeps. Asking for more is
// refused while as many wait; ended ones make room, oldest first.
const MaxApprovals = 1000

// A Target is a target with its script.
type Target struct {
	backend.Target
	// Verdict answers shells, and commands that Commands does not name.
	Verdict backend.Verdict
	// Commands answers commands by argv[0].
	Commands map[string]backend.Verdict
	// Tiers names the tier that an approval shows, by argv[0].
	Tiers map[string]string
	// Ways is what would change a verdict, and Posture what the target says of itself.
	Ways    []string
	Posture map[string]string
	// Observe and Join are the members who may watch others' shells on the target.
	Observe, Join []string
	// Assurance is what terminals on the target say of themselves.
	Assurance backend.Assurance
}

// verdict is the script's answer to a member; As other than empty is denied, since the
// script knows of one user only.
func (t *Target) verdict(member string, req backend.OpenRequest) backend.Verdict {
	switch {
	case req.As != "":
		return backend.Verdict{Reason: "this target has one user only"}
	case req.Kind.Watches() && t.may(member, req.Kind):
		return backend.Verdict{Effect: backend.Allow, Rule: "may-watch", Line: 50, Reason: "the script names you"}
	case req.Kind.Watches():
		return backend.Verdict{Reason: "the script does not let you " + string(req.Kind) + " here"}
	}
	if req.Kind == backend.KindExec {
		if v, ok := t.Commands[req.Argv[0]]; ok {
			return v
		}
	}
	return t.Verdict
}

// A World is a team in memory. It is safe for concurrent use.
type World struct {
	commands map[string]command

	mu        sync.Mutex
	targets   []*Target // sorted by ID
	byID      map[backend.TargetID]*Target
	approvals []*approval   // in the order of asking
	changed   chan struct{} // closed at the next change; nil: nobody watches
	link      backend.Link  // of every terminal
	log       []backend.LogEntry
	films     map[string]Film // by session
	visits    map[backend.TargetID][]backend.Visit
	shells    []*stage // that run, the oldest first
	stages    uint64   // shells, ever
}

// SetLink says how the connections of all terminals stand. The programs go on.
func (w *World) SetLink(l backend.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link = l
}

func (w *World) linkNow() backend.Link {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.link
}

type approval struct {
	backend.Approval
	req     backend.OpenRequest
	decided chan struct{} // closed at the decision
	readers []backend.Reader
}

// NewWorld returns a world with these targets. Two targets with the same ID,
// or one without, are an error.
func NewWorld(targets []Target) (*World, error) {
	w := &World{commands: builtins(), byID: make(map[backend.TargetID]*Target, len(targets))}
	for i := range targets {
		t := targets[i]
		if t.ID == "" {
			return nil, fmt.Errorf("mem: target %d has no ID", i)
		}
		if w.byID[t.ID] != nil {
			return nil, fmt.Errorf("mem: two targets have the ID %q", t.ID)
		}
		w.byID[t.ID] = &t
		w.targets = append(w.targets, &t)
	}
	slices.SortFunc(w.targets, func(a, b *Target) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return w, nil
}

// Backend returns the world as member sees it.
func (w *World) Backend(member string) *Backend {
	return &Backend{world: w, member: member, open: make(map[*terminal]struct{})}
}

// Driver opens Demo worlds: "mem:alice" as alice.
func Driver() backend.Driver {
	return backend.Driver{
		Scheme: "mem",
		Doc:    "a made-up team in memory, to try the console: mem:NAME",
		Open: func(_ context.Context, u *url.URL, _ backend.Env) (backend.Backend, error) {
			if u.Opaque == "" || u.Host != "" {
				return nil, fmt.Errorf("mem: the URL is mem:NAME, with the name you want to be")
			}
			return Demo().Backend(u.Opaque), nil
		},
	}
}

// A Backend is a World as one member sees it. It has all optional
// capabilities.
type Backend struct {
	world  *World
	member string

	mu     sync.Mutex
	closed bool
	open   map[*terminal]struct{}
	// others' shells that are looked at; nil: none were
	watching map[*watcher]struct{}
}

var _ interface {
	backend.Backend
	backend.Evaluator
	backend.BatchEvaluator
	backend.Approver
	backend.Asker
	backend.Watcher
} = (*Backend)(nil)

// Targets implements backend.Backend.
func (b *Backend) Targets(ctx context.Context) iter.Seq2[backend.Target, error] {
	return func(yield func(backend.Target, error) bool) {
		// The slice never changes after NewWorld.
		for _, t := range b.world.targets {
			if err := b.usable(ctx); err != nil {
				yield(backend.Target{}, err)
				return
			}
			if !yield(t.Target, nil) {
				return
			}
		}
	}
}

func (b *Backend) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mem: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("mem: %w", backend.ErrClosed)
	}
	return nil
}

// find returns the target of a request that makes sense.
func (b *Backend) find(ctx context.Context, req backend.OpenRequest) (*Target, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	t := b.world.byID[req.Target]
	if t == nil {
		return nil, fmt.Errorf("mem: %w: target %+.100q", backend.ErrNotFound, string(req.Target))
	}
	switch {
	case req.Kind == backend.KindShell && len(req.Argv) == 0:
	case req.Kind == backend.KindExec && len(req.Argv) > 0:
	case req.Kind.Watches() && len(req.Argv) == 0:
		req.Session = "" // is no extra
	default:
		return nil, fmt.Errorf("mem: a %.20q request can't have %d arguments", string(req.Kind), len(req.Argv))
	}
	if err := req.Extra(); err != nil {
		return nil, fmt.Errorf("mem: %w", err)
	}
	return t, nil
}

// Evaluate implements backend.Evaluator.
func (b *Backend) Evaluate(ctx context.Context, req backend.OpenRequest) (backend.Verdict, error) {
	t, err := b.find(ctx, req)
	if err != nil {
		return backend.Verdict{}, err
	}
	return t.verdict(b.member, req), nil
}

// EvaluateBatch implements backend.BatchEvaluator.
func (b *Backend) EvaluateBatch(ctx context.Context, reqs []backend.OpenRequest) ([]backend.Verdict, error) {
	out := make([]backend.Verdict, len(reqs))
	for i, req := range reqs {
		v, err := b.Evaluate(ctx, req)
		if err != nil {
			if uerr := b.usable(ctx); uerr != nil {
				return nil, uerr
			}
			v = backend.Verdict{Reason: "no such target"}
		}
		out[i] = v
	}
	return out, nil
}

// Open implements backend.Backend.
func (b *Backend) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	t, err := b.find(ctx, req)
	if err != nil {
		return nil, err
	}
	// Before anything else: an approval must not be used up for nothing.
	if t.State == backend.Offline {
		return nil, fmt.Errorf("mem: %w: target %+q is offline", backend.ErrUnavailable, string(t.ID))
	}
	v := t.verdict(b.member, req)
	switch {
	case v.Effect == backend.Hold && req.Approval != "":
		if err := b.world.use(b.member, req); err != nil {
			return nil, err
		}
	case v.Effect == backend.Confirm && req.Confirmed:
	default:
		if err := v.Err(); err != nil {
			return nil, fmt.Errorf("mem: %w", err)
		}
	}

	if req.Kind.Watches() {
		return b.watch(req)
	}
	run := b.world.command(req)

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("mem: %w", backend.ErrClosed)
	}
	term := newTerminal(t, b.member, req, run, b.world.linkNow, func(t *terminal) {
		b.mu.Lock()
		delete(b.open, t)
		b.mu.Unlock()
		if t.stage != nil {
			b.world.close(t.stage)
		}
	})
	if req.Kind == backend.KindShell {
		term.stage = b.world.perform(b.member, term, req, time.Now())
		term.process.Stdout = io.MultiWriter(term.stage, term.stdoutW)
		term.process.Stderr = term.process.Stdout
	}
	b.open[term] = struct{}{}
	b.world.visited(b.member, req, time.Now())
	backend.Go(term.run)
	return term, nil
}

// Close implements backend.Backend.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	open := make([]*terminal, 0, len(b.open))
	for t := range b.open {
		open = append(open, t)
	}
	watching := slices.Collect(maps.Keys(b.watching))
	b.mu.Unlock()
	for _, w := range watching {
		_ = w.Close() // it never fails
	}
	b.world.mu.Lock()
	b.world.tell() // a Watch sees that it has ended
	b.world.mu.Unlock()
	var errs []error
	for _, t := range open {
		errs = append(errs, t.Close())
	}
	for _, t := range open {
		<-t.ended
	}
	return errors.Join(errs...)
}

// Ask implements backend.Asker.
func (b *Backend) Ask(ctx context.Context, req backend.OpenRequest) (backend.ApprovalID, error) {
	t, err := b.find(ctx, req)
	if err != nil {
		return "", err
	}
	if v := t.verdict(b.member, req); v.Effect != backend.Hold {
		if err := v.Err(); err != nil {
			return "", fmt.Errorf("mem: nobody can approve this: %w", err)
		}
		return "", errors.New("mem: this needs no approval: open it")
	}
	if strings.TrimSpace(req.Reason) == "" {
		return "", errors.New("mem: asking needs a reason")
	}
	return b.world.ask(b.member, t, req, time.Now())
}

// Await implements backend.Asker.
func (b *Backend) Await(ctx context.Context, id backend.ApprovalID) error {
	a, until, err := b.world.mine(b.member, id)
	if err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("mem: %w", ctx.Err())
	case <-timer.C:
	case <-a.decided:
	}
	switch state, reason := b.world.state(a); state {
	case backend.ApprovalApproved, backend.ApprovalUsed:
		return nil
	case backend.ApprovalDenied:
		return fmt.Errorf("mem: %w", &backend.DeniedError{Verdict: backend.Verdict{Reason: "an approver refused: " + reason}})
	default:
		return fmt.Errorf("mem: %w", backend.ErrExpired)
	}
}

// Pending implements backend.Approver.
func (b *Backend) Pending(ctx context.Context) iter.Seq2[backend.Approval, error] {
	return func(yield func(backend.Approval, error) bool) {
		if err := b.usable(ctx); err != nil {
			yield(backend.Approval{}, err)
			return
		}
		for _, a := range b.world.seenBy(b.member, time.Now()) {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// Decide implements backend.Approver.
func (b *Backend) Decide(ctx context.Context, id backend.ApprovalID, d backend.Decision) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	return b.world.decide(b.member, id, d, time.Now())
}

// Watch implements backend.Watcher. Targets never change.
func (b *Backend) Watch(ctx context.Context, changed func(backend.Change)) error {
	for c := (backend.Change{Targets: true, Approvals: true}); ; c.Targets = false {
		next := b.world.next()
		if err := b.usable(ctx); err != nil {
			return err
		}
		changed(c)
		select {
		case <-next:
		case <-ctx.Done():
		}
	}
}

// next gives a channel that is closed at the next change.
func (w *World) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

// tell wakes those who watch. The caller holds w.mu.
func (w *World) tell() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

func (w *World) ask(member string, t *Target, req backend.OpenRequest, now time.Time) (backend.ApprovalID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.approvals) >= MaxApprovals {
		ended := slices.IndexFunc(w.approvals, func(a *approval) bool { return a.stateAt(now) != backend.ApprovalWaiting })
		if ended < 0 {
			return "", fmt.Errorf("mem: %w: %d approvals wait already", backend.ErrUnavailable, MaxApprovals)
		}
		w.approvals = slices.Delete(w.approvals, ended, ended+1)
	}
	a := &approval{
		Approval: backend.Approval{
			ID:       backend.ApprovalID(rand.Text()),
			Target:   t.Name,
			Operator: member,
			Kind:     string(req.Kind),
			Argv:     slices.Clone(req.Argv),
			As:       req.As,
			Reason:   req.Reason,
			Lasts:    req.Lasts,
			State:    backend.ApprovalWaiting,
			Asked:    now,
			AskUntil: now.Add(AskFor),
			Quorum:   1,
		},
		req:     req,
		decided: make(chan struct{}),
	}
	if len(req.Argv) > 0 {
		a.Tier = t.Tiers[req.Argv[0]]
	}
	w.approvals = append(w.approvals, a)
	w.tell()
	return a.ID, nil
}

// stateAt is the state with the time limit applied.
func (a *approval) stateAt(now time.Time) backend.ApprovalState {
	if a.State == backend.ApprovalWaiting && !now.Before(a.AskUntil) {
		return backend.ApprovalExpired
	}
	return a.State
}

func (w *World) find(id backend.ApprovalID) (*approval, error) {
	for _, a := range w.approvals {
		if a.ID == id {
			return a, nil
		}
	}
	return nil, fmt.Errorf("mem: %w: approval %+.100q", backend.ErrNotFound, string(id))
}

func (w *World) mine(member string, id backend.ApprovalID) (*approval, time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, err := w.find(id)
	if err == nil && a.Operator != member {
		return nil, time.Time{}, fmt.Errorf("mem: %w: approval %+.100q", backend.ErrNotFound, string(id))
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	return a, a.AskUntil, nil
}

func (w *World) state(a *approval) (backend.ApprovalState, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a.stateAt(time.Now()), a.WhyNot
}

func (w *World) seenBy(member string, now time.Time) []backend.Approval {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]backend.Approval, 0, len(w.approvals))
	for _, a := range w.approvals {
		view := a.Approval
		view.State = a.stateAt(now)
		view.Readers = a.readBy(member)
		view.Mine = a.Operator == member
		view.CanDecide = view.State == backend.ApprovalWaiting && !view.Mine
		switch {
		case view.State != backend.ApprovalWaiting:
			view.WhyNot = "it is " + string(view.State)
		case view.Mine:
			view.WhyNot = "nobody approves their own request"
		}
		out = append(out, view)
	}
	return out
}

func (w *World) decide(member string, id backend.ApprovalID, d backend.Decision, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, err := w.find(id)
	if err != nil {
		return err
	}
	if a.Operator == member {
		return fmt.Errorf("mem: %w: nobody approves their own request", backend.ErrDenied)
	}
	if s := a.stateAt(now); s != backend.ApprovalWaiting {
		return fmt.Errorf("mem: %w: it is %s", backend.ErrDecided, s)
	}
	if d.Approve {
		a.State, a.Approved = backend.ApprovalApproved, 1
	} else {
		if strings.TrimSpace(d.Reason) == "" {
			return errors.New("mem: a refusal needs a reason")
		}
		a.State, a.WhyNot = backend.ApprovalDenied, d.Reason
	}
	close(a.decided)
	w.tell()
	return nil
}

// use spends a granted approval on exactly the request that it was asked for.
func (w *World) use(member string, req backend.OpenRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, err := w.find(req.Approval)
	if err != nil {
		return err
	}
	same := a.Operator == member && a.req.Target == req.Target && a.req.Kind == req.Kind &&
		a.req.As == req.As && slices.Equal(a.req.Argv, req.Argv)
	switch {
	case !same:
		return fmt.Errorf("mem: %w: the approval is for another request", backend.ErrDenied)
	case a.State == backend.ApprovalUsed:
		return fmt.Errorf("mem: %w: the approval was used already", backend.ErrDenied)
	case a.State != backend.ApprovalApproved:
		return fmt.Errorf("mem: %w", backend.ErrHeld)
	}
	a.State = backend.ApprovalUsed
	w.tell()
	return nil
}
