// Package control is the backend of scheme tucdesk: a team's machines through
// its control plane. It is the operator's end of everything the product
// promises: it judges with the signed policy before any server is asked,
// resolves names to keys from the roster alone, signs, seals, shakes hands with
// the agent, and shows approvers what they sign from the bytes they sign.
//
// No server's word is taken for who a machine is, what a policy says or what a
// command was; apid can refuse, delay and withhold, and nothing more.
package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/approver"
	"github.com/tucdesk/tucdesk/backend/control/auditlog"
	"github.com/tucdesk/tucdesk/backend/control/insight"
	"github.com/tucdesk/tucdesk/backend/control/lookout"
	"github.com/tucdesk/tucdesk/backend/control/receipts"
	"github.com/tucdesk/tucdesk/backend/control/sessions"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// rosterFresh is how old the last look for newer statements may be before
	// the next question looks again. A session that apid judges by a newer
	// roster looks at once.
	rosterFresh = 2 * time.Second
	// statesFresh is the same for which machines are online.
	statesFresh = 2 * time.Second
	// answerIn bounds one question to a server, so that a method returns soon
	// after its context is done, and a dead server never hangs a screen.
	answerIn = 15 * time.Second
	// steerAfter is how old a terminal is before a direct path is looked for,
	// and directIn how long one is waited for where nothing else will do.
	steerAfter = 300 * time.Millisecond
	directIn   = 15 * time.Second
)

// A Path says which ways terminals may take.
type Path string

// The values of Path. The zero value is AnyPath.
const (
	AnyPath    Path = ""       // by relay at once, directly when that is found
	RelayOnly  Path = "relay"  // the other side learns no address of this device
	DirectOnly Path = "direct" // not before a direct path is found; for tests
)

// ParsePath reads the value of a --path flag: auto, relay or direct.
func ParsePath(s string) (Path, error) {
	switch s {
	case "auto":
		return AnyPath, nil
	case string(RelayOnly), string(DirectOnly):
		return Path(s), nil
	}
	return "", fmt.Errorf("control: path %q: want auto, relay or direct", s)
}

// Driver opens tucdesk: backends. The URL's path, if any, is the TUCDESK_HOME.
func Driver() backend.Driver {
	return backend.Driver{
		Scheme: "tucdesk",
		Doc:    "a team's machines, through the TucDesk control plane: policy, approvals, end-to-end encryption",
		Open: func(_ context.Context, u *url.URL, env backend.Env) (backend.Backend, error) {
			dir := filepath.FromSlash(u.Path)
			if dir == "" {
				var err error
				if dir, err = profile.DefaultDir(); err != nil {
					return nil, err
				}
			}
			home, err := profile.Open(dir)
			if err != nil {
				return nil, err
			}
			return New(home, env.Logger)
		},
	}
}

// A Backend is one operator's view of a team. It is safe for concurrent use.
type Backend struct {
	auditlog.Auditor
	approver.Approver
	insight.Teller
	home   *profile.Home
	api    *wire.Client
	logger *slog.Logger
	now    func() time.Time
	path   Path
	relays path.Dialer

	ended     chan struct{} // closed by Close
	mu        sync.Mutex
	closed    bool
	looked    time.Time // when the roster was last compared with apid's
	failed    time.Time // when that last failed, with syncErr
	syncErr   error
	states    map[key.Kid]wire.AgentState
	statesAt  time.Time
	hints     int // from apid that roster or states have changed
	terminals map[*terminal]struct{}
	asks      map[backend.ApprovalID]*ask

	receipts receipts.Book

	lookout lookout.Lookout // on the audit log
}

var (
	_ backend.Backend        = (*Backend)(nil)
	_ backend.Evaluator      = (*Backend)(nil)
	_ backend.BatchEvaluator = (*Backend)(nil)
	_ backend.Approver       = (*Backend)(nil)
	_ backend.Asker          = (*Backend)(nil)
	_ backend.Watcher        = (*Backend)(nil)
	_ backend.Noticer        = (*Backend)(nil)
	_ backend.Sessioner      = (*Backend)(nil)
	_ backend.Overseer       = (*Backend)(nil)
)

// New makes a backend of an opened home. It does not touch the network.
func New(home *profile.Home, logger *slog.Logger) (*Backend, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	api, err := wire.NewClient(wire.Options{URL: home.Profile.API, TeamID: home.Profile.TeamID, Identity: home.Identity, HTTP: wire.Pinned(home.Profile.Pins)})
	if err != nil {
		return nil, err
	}
	seen, err := home.Checkpoints()
	if err != nil {
		return nil, err
	}
	b := &Backend{
		home: home, api: api, logger: logger, now: time.Now,
		ended:     make(chan struct{}),
		receipts:  receipts.Book{Home: home, API: api, Now: time.Now},
		terminals: map[*terminal]struct{}{},
		asks:      map[backend.ApprovalID]*ask{},
	}
	b.lookout.API, b.lookout.Home, b.lookout.Seen, b.lookout.Newest = api, home, seen, b.syncNow
	b.lookout.Now, b.lookout.Logger = time.Now, logger
	b.Approver = approver.Approver{API: api, Home: home, Known: b.Sync, Newest: b.syncNow, Me: b.me, Translate: translate, Now: time.Now, Logger: logger}
	b.Auditor = auditlog.Auditor{API: api, With: home.Unsealer, Sync: b.Sync, Seen: seen, Told: b.lookout.Log, Translate: translate}
	b.Teller = insight.Teller{API: api, Rendezvous: home.Profile.Rendezvous, Self: home.Identity.Kid(), Sync: b.Sync, Now: time.Now, Translate: translate}
	b.relays.Carrier.TLS = wire.PinnedTLS(home.Profile.Pins)
	return b, nil
}

// UsePath says which ways terminals may take. It is called before Open.
func (b *Backend) UsePath(p Path) { b.path = p }

// OnAlarm has f called for each new sign that the audit log tells two stories, beside
// what is kept in the home. It is called before anything else, and f by any goroutine.
func (b *Backend) OnAlarm(f func(error)) { b.lookout.Alarm = f }

// Forks gives the files in which this home keeps evidence of that.
func (b *Backend) Forks() []string { return b.lookout.Forks() }

// Client gives the client of apid, for commands that ask it directly.
func (b *Backend) Client() *wire.Client { return b.api }

// Home gives the operator's local state.
func (b *Backend) Home() *profile.Home { return b.home }

// Close ends every terminal and every idle connection.
func (b *Backend) Close() error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.ended)
	}
	open := make([]*terminal, 0, len(b.terminals))
	for t := range b.terminals {
		open = append(open, t)
	}
	b.mu.Unlock()
	var closing sync.WaitGroup
	for _, t := range open {
		closing.Go(func() { t.Close() }) // each waits until its machine has heard it
	}
	closing.Wait()
	b.lookout.Close()
	b.api.CloseIdle()
	return nil
}

func (b *Backend) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// Sync fetches roster statements that this home lacks, unless it has just
// looked, or just failed to. When apid does not answer, the roster that is known stands.
func (b *Backend) Sync(ctx context.Context) (*roster.Roster, error) {
	b.mu.Lock()
	fresh := b.now().Sub(b.looked) < rosterFresh
	failed, err := b.now().Sub(b.failed) < rosterFresh, b.syncErr
	b.mu.Unlock()
	switch {
	case fresh:
		return b.home.Roster(), nil
	case failed:
		return b.home.Roster(), err
	}
	return b.syncNow(ctx)
}

func (b *Backend) syncNow(ctx context.Context) (*roster.Roster, error) {
	hints := b.hinted()
	r, err := b.fetch(ctx)
	if err == nil {
		b.compared(hints)
		return r, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() == nil {
		b.failed, b.syncErr = b.now(), err
	}
	return r, err
}

// compared notes that apid has no newer roster than this home has, as of a question
// before which there were so many hints.
func (b *Backend) compared(hints int) {
	if err := b.home.Synced(); err != nil {
		b.logger.Warn("when the roster was compared is not kept", "error", err)
	}
	b.lookout.Look()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hints == hints { // else it may be older than the hint
		b.looked, b.failed = b.now(), time.Time{}
	}
}

// fetch takes in the statements that apid has and this home lacks. The roster that
// it returns is the newest known, also beside an error.
func (b *Backend) fetch(ctx context.Context) (*roster.Roster, error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	r := b.home.Roster()
	for {
		page, err := b.api.Roster(ctx, r.Head().Seq)
		if err != nil {
			return r, translate(err)
		}
		if r, err = b.home.Learn(page.Statements); err != nil {
			return r, fmt.Errorf("apid answered roster statements that do not hold: %w", err)
		}
		if page.Head.Seq < r.Head().Seq || !r.Knows(roster.Head(page.Head)) && !page.More {
			return r, fmt.Errorf("%w: apid tells of another roster (number %d) than the one this device has verified (number %d)",
				backend.ErrUnavailable, page.Head.Seq, r.Head().Seq)
		}
		if !page.More || len(page.Statements) == 0 {
			return r, nil
		}
	}
}

// me gives this device's place in the roster.
func (b *Backend) me(r *roster.Roster) (roster.Device, error) {
	if err := b.home.Behind(); err != nil {
		return roster.Device{}, fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	d, err := r.Device(b.home.Identity.Kid(), b.now())
	if err != nil {
		return d, fmt.Errorf("%w: this device may not act for team %s: %w", backend.ErrDenied, r.TeamID(), err)
	}
	return d, nil
}

// Targets yields the roster's machines, each with its state as rendezvous has
// it. While apid is down all states are unknown, and the list still stands.
func (b *Backend) Targets(ctx context.Context) iter.Seq2[backend.Target, error] {
	return func(yield func(backend.Target, error) bool) {
		if b.isClosed() {
			yield(backend.Target{}, backend.ErrClosed)
			return
		}
		r, err := b.Sync(ctx)
		if err != nil {
			b.logger.Warn("the roster could not be refreshed", "error", err)
		}
		if ctx.Err() != nil {
			yield(backend.Target{}, ctx.Err())
			return
		}
		states := b.agentStates(ctx)
		for _, a := range r.Agents() {
			t := backend.Target{ID: backend.TargetID(a.Name), Name: a.Name, Tags: a.Tags}
			t.Detail = map[string]string{"key": a.Kid.String(), "login user": a.LoginUser, "key valid until": a.Exp.Format(time.DateOnly)}
			switch st := states[a.Kid]; st.State {
			case wire.Online:
				t.State = backend.Online
			case wire.Offline:
				t.State = backend.Offline
				if st.LastSeen > 0 {
					t.Detail["last seen"] = time.Unix(st.LastSeen, 0).Format(time.DateTime)
				}
			}
			if !yield(t, nil) {
				return
			}
		}
	}
}

// agentStates asks which machines are online, page by page. An error leaves
// what is known; a machine that is in no answer is unknown.
func (b *Backend) agentStates(ctx context.Context) map[key.Kid]wire.AgentState {
	b.mu.Lock()
	states, at, hints := b.states, b.statesAt, b.hints
	b.mu.Unlock()
	if b.now().Sub(at) < statesFresh {
		return states
	}
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	states = map[key.Kid]wire.AgentState{}
	for after := ""; ; {
		page, err := b.api.Agents(ctx, after)
		if err != nil {
			b.logger.Warn("the states of machines are not known", "error", err)
			states = nil
			break
		}
		for _, s := range page.Agents {
			states[s.Kid] = s
		}
		if page.Next == "" || page.Next <= after {
			break
		}
		after = page.Next
	}
	b.mu.Lock()
	b.states = states
	if b.hints == hints {
		b.statesAt = b.now()
	}
	b.mu.Unlock()
	return states
}

// Sessions implements backend.Sessioner.
func (b *Backend) Sessions(ctx context.Context) ([]backend.Session, error) {
	return b.running(ctx, sessions.Running)
}

// Watchable implements backend.Overseer.
func (b *Backend) Watchable(ctx context.Context) ([]backend.Session, error) {
	return b.running(ctx, sessions.Watchable)
}

// running asks apid for its list of sessions, and gives what is wanted of it.
func (b *Backend) running(ctx context.Context, of func(wire.SessionsPage, *roster.Roster, roster.Device, time.Time) []backend.Session) ([]backend.Session, error) {
	r, _ := b.Sync(ctx) // what is known stands
	me, err := b.me(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	page, err := b.api.Sessions(ctx)
	if err != nil {
		return nil, translate(err)
	}
	return of(page, r, me, b.now()), nil
}

// Evaluate judges a request with the signed policy, on this device.
func (b *Backend) Evaluate(ctx context.Context, req backend.OpenRequest) (backend.Verdict, error) {
	if b.isClosed() {
		return backend.Verdict{}, backend.ErrClosed
	}
	r, _ := b.Sync(ctx) // what is known stands; Open looks again
	me, a, err := b.parties(r, req.Target)
	if err != nil {
		return backend.Verdict{}, err
	}
	v, err := b.judge(r, me, a, req)
	return shown(v), err
}

// EvaluateBatch judges many requests by one roster.
func (b *Backend) EvaluateBatch(ctx context.Context, reqs []backend.OpenRequest) ([]backend.Verdict, error) {
	if b.isClosed() {
		return nil, backend.ErrClosed
	}
	r, _ := b.Sync(ctx)
	out := make([]backend.Verdict, len(reqs))
	for i, req := range reqs {
		me, a, err := b.parties(r, req.Target)
		if err == nil {
			var v policy.Verdict
			if v, err = b.judge(r, me, a, req); err == nil {
				out[i] = shown(v)
				continue
			}
		}
		out[i] = backend.Verdict{Effect: backend.Deny, Reason: err.Error()}
	}
	return out, nil
}

// parties finds who asks and which machine is meant, from the roster alone.
func (b *Backend) parties(r *roster.Roster, target backend.TargetID) (roster.Device, roster.Agent, error) {
	a, err := r.AgentNamed(string(target), b.now())
	if err != nil {
		if errors.Is(err, roster.ErrUnknown) {
			return roster.Device{}, a, fmt.Errorf("%w: %w; `tucdesk agents` lists them", backend.ErrNotFound, err)
		}
		return roster.Device{}, a, fmt.Errorf("%w: %w", backend.ErrDenied, err)
	}
	me, err := b.me(r)
	return me, a, err
}

// judge is policy.Evaluate with what the roster says. A command is required for
// an exec: here it is always known.
func (b *Backend) judge(r *roster.Roster, me roster.Device, a roster.Agent, req backend.OpenRequest) (policy.Verdict, error) {
	if req.Kind == backend.KindExec && len(req.Argv) == 0 {
		return policy.Verdict{}, errors.New("no command: name the program to run, after `--`")
	}
	q := r.Request(me, a, policy.Kind(req.Kind), req.As, req.Argv, b.now())
	q.Cwd = req.Cwd
	return policy.Evaluate(q, r.Snapshot()), nil
}

// shown translates a verdict for the seam.
func shown(v policy.Verdict) backend.Verdict {
	out := backend.Verdict{Rule: v.Rule, Line: v.Line, Reason: v.Reason, MaxSession: v.Obligations.MaxSession}
	switch v.Effect {
	case policy.Allow:
		out.Effect = backend.Allow
	case policy.Confirm:
		out.Effect = backend.Confirm
	case policy.Hold:
		out.Effect = backend.Hold
		out.Approvers = v.Obligations.Needs.String()
	}
	return out
}

// translate gives an error of wire the meaning that the seam has for it.
func translate(err error) error {
	if err == nil {
		return nil
	}
	var p *wire.ProblemError
	if !errors.As(err, &p) {
		return err
	}
	v := backend.Verdict{Rule: p.Rule, Line: p.Line, Reason: cmp.Or(p.Detail, p.Title)}
	if p.Next != "" {
		v.Reason += "; " + p.Next
	}
	switch {
	case errors.Is(err, wire.ErrHeld):
		v.Effect, v.Approvers = backend.Hold, p.Needs
		return v.Err()
	case errors.Is(err, wire.ErrConfirm):
		v.Effect = backend.Confirm
		return v.Err()
	case errors.Is(err, wire.ErrDenied):
		return v.Err()
	case errors.Is(err, wire.ErrNotFound):
		return fmt.Errorf("%w: %w", backend.ErrNotFound, err)
	case errors.Is(err, wire.ErrExpired):
		return fmt.Errorf("%w: %w", backend.ErrExpired, err)
	case errors.Is(err, wire.ErrUnavailable), errors.Is(err, wire.ErrTooMany):
		return fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	return err
}
