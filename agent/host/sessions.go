package host

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/agent/host/compare"
	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/metrics"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// maxHalfOpen bounds the sessions that wait for the third message.
	maxHalfOpen = 64
	// offersPerSecond and offersAtOnce bound the work that strangers can cause.
	offersPerSecond = 50
	offersAtOnce    = 200
)

// A way is a path to one peer, as the network half opens it.
type way interface {
	live.Way
	// LocalRelayed is where the peer reaches us.
	LocalRelayed() net.Addr
	// Permit lets the peer through.
	Permit(ctx context.Context, peer net.Addr) error
}

// outside is what the session half asks of the network half.
type outside interface {
	// OpenWay opens a path through a relay.
	OpenWay(ctx context.Context, relay string, c cred.Credential) (way, error)
	// Refresh brings the newest roster, bounded and rate limited.
	Refresh(ctx context.Context) error
	// Consistency brings apid's proof that the audit log of newer entries extends
	// that of older.
	Consistency(ctx context.Context, older, newer int64) (tlog.TreeProof, error)
}

// A half is a session half, in this process or in one of its own.
type half interface {
	// Respond gives the second handshake message. The path is the half's.
	Respond(ctx context.Context, h live.Handshake, w way) (hs2 []byte, err error)
	// Attach answers the first message of who comes back to the session's terminal.
	// The path is the half's.
	Attach(ctx context.Context, h live.Handshake, w way) (hs2 []byte, err error)
	// Finish takes the third, of any handshake. It does not block.
	Finish(hs3 []byte)
	// Resume answers the first message of a resume. Move gives the path that it
	// goes over to, which is the half's.
	Resume(ctx context.Context, rs1 []byte, evidence session.Evidence) (rs2 []byte, err error)
	Move(ctx context.Context, w way, peer netip.AddrPort) error
	// Watch lets somebody watch the session's shell, who is at the other end of conn,
	// which is the half's.
	Watch(ctx context.Context, o live.Onlooker, conn net.Conn) error
	// Cut ends the session for a reason that the operator may read. It does not wait.
	Cut(why error)
	// Kill ends it at once, also when it does not listen.
	Kill()
}

// sessions makes sessions of offers.
type sessions struct {
	identity   key.Identity
	checker    *checker
	evidence   evidence
	compare    *compare.Comparer // with what operators know
	spool      *recording.Spool
	cells      cells // nil: session halves are in this process
	remembered *ledger.Running
	outside    outside
	logger     *slog.Logger
	metrics    *metrics.Metrics
	offers     *rate.Limiter
	max        int         // live sessions
	self       bool        // a demo's agent that is not root runs programs as itself
	fail       func(error) // ends the agent
	gate       *gate.Gate  // of sessions in this process; nil: there is none
	levels     gate.Levels // of shells here
	errand     []string    // see Config.Errand

	ctx     context.Context // ends all sessions
	stop    context.CancelCauseFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	opening map[token.ID]bool  // offers that are being checked
	half    map[token.ID]*ward // until the handshake is done
	live    map[token.ID]*ward
}

// Offer answers an operator's offer (trust.md 2.4, steps 1 to 5, then the second
// handshake message). Towards strangers its error is silence.
func (s *sessions) Offer(ctx context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
	s.metrics.Offers.Inc()
	if !s.offers.Allow() {
		return wire.SignalAnswer{}, s.refused(&admission{id: o.SessionID}, refuse(codeBusy, nil, "too many offers at once"))
	}
	if session.IsResume(o.HS1) {
		return s.resume(ctx, o)
	}
	s.mu.Lock()
	d := s.live[o.SessionID]
	s.mu.Unlock()
	if d == nil {
		if !s.reserve(o.SessionID) {
			return wire.SignalAnswer{}, s.refused(&admission{id: o.SessionID}, refuse(codeBusy, nil, "too many sessions, or this one is being opened"))
		}
		defer s.release(o.SessionID)
	}
	a, no := s.checker.admit(ctx, o)
	if no == nil {
		no = s.meant(d, a)
	}
	if no != nil {
		return wire.SignalAnswer{}, s.refused(a, no)
	}
	answer, no := s.respond(ctx, d, a, o)
	if no != nil {
		return wire.SignalAnswer{}, s.refused(a, no)
	}
	return answer, nil
}

// reserve makes sure that one session id is worked on once, and that no limit
// is passed.
func (s *sessions) reserve(id token.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, half := s.half[id]
	_, live := s.live[id]
	if s.closed || half || live || s.opening[id] || len(s.half)+len(s.opening) >= maxHalfOpen || len(s.live) >= s.max {
		return false
	}
	s.opening[id] = true
	return true
}

func (s *sessions) release(id token.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.opening, id)
}

// refused logs a refusal, makes it an entry where the operator is known, and
// gives the error that rendezvousd passes on: a word to a known operator,
// silence to anyone else.
func (s *sessions) refused(a *admission, no *refusal) error {
	s.metrics.Refusals.WithLabelValues(no.code).Inc()
	if a.operator == nil {
		s.logger.Info("offer dropped", "session", a.id, "code", no.code, "reason", no.reason)
		return no
	}
	s.logger.Warn("session refused", "session", a.id, "operator", a.operator.Email, "code", no.code, "reason", no.reason)
	s.evidence.refused(a, nil, no)
	return errors.Join(no, &wire.RefuseError{Reason: outsideReason(no.code)})
}

// outsideReason is what passes rendezvousd: no rule, no person, no command.
func outsideReason(code string) string {
	switch code {
	case codeRoster:
		return "roster: operator and agent do not know the same roster; get the latest and try again"
	case codePolicy:
		return "policy: the agent's own policy does not allow this; get the latest roster and look at the verdict"
	case codeGate:
		return "gate: policy wants shells gated at a level that this machine does not have; use exec for one command, or ask an admin to change the policy's key gate"
	case codeUsed:
		return "used: this session was used before, or the clock of the machine has gone back; start a new one, or look at the log there"
	case codeProof, codeGrant:
		return code + ": it is expired or not for this request; start again, and check the clocks"
	case codeRelay:
		return "relay: the agent can't use this relay"
	}
	return code + ": the agent refuses; its audit entry says why"
}

// respond gives the second message for a new session, or for who comes back to one (d).
func (s *sessions) respond(ctx context.Context, d *ward, a *admission, o wire.SignalOffer) (wire.SignalAnswer, *refusal) {
	peer, err := netip.ParseAddrPort(o.Candidate)
	if err != nil {
		return wire.SignalAnswer{}, refuse(codeRelay, err, "the operator's candidate is no address")
	}
	w, no := s.open(ctx, a.bundle.Relay, peer)
	if no != nil {
		return wire.SignalAnswer{}, no
	}
	answer := wire.SignalAnswer{SessionID: a.id, Candidate: w.LocalRelayed().String()}
	h := s.handshake(a, o, peer)
	if d != nil {
		d.expect(a)
		if answer.HS2, err = d.half.Attach(ctx, h, w); err != nil {
			return wire.SignalAnswer{}, unanswered(err)
		}
		return answer, nil
	}
	d = newWard(s, a)
	if !s.wait(d) {
		w.Close()
		return wire.SignalAnswer{}, refuse(codeBusy, nil, "the agent stops")
	}
	half, err := s.spawn(d)
	s.running.Done()
	if err != nil {
		w.Close()
		s.gone(d)
		return wire.SignalAnswer{}, because(codeHost, err)
	}
	if !s.has(d, half) {
		half.Kill()
	}
	if answer.HS2, err = half.Respond(ctx, h, w); err != nil {
		half.Kill()
		return wire.SignalAnswer{}, unanswered(err)
	}
	return answer, nil
}

// unanswered refuses for a half that gives no second message.
func unanswered(err error) *refusal {
	if errors.Is(err, link.ErrAway) {
		return refuse(codeBusy, err, "the session's process is not there: the agent was just started again, or it has ended; try again in a moment")
	}
	return because(codeProof, err)
}

// wait notes a session that is half open, for a while; false if no more may be.
// Until its half is there, it counts as running.
func (s *sessions) wait(d *ward) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.half[d.a.id] = d
	s.running.Add(1)
	d.expire = time.AfterFunc(live.HandshakeTime, func() {
		s.mu.Lock()
		half := d.half
		open := s.half[d.a.id] == d && half != nil
		s.mu.Unlock()
		if open {
			s.logger.Info("handshake not finished in time", "session", d.a.id)
			half.Kill()
		}
	})
	return true
}

// has gives a half-open session its half; false if that must end at once.
func (s *sessions) has(d *ward, h half) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.half = h
	return !s.closed && s.half[d.a.id] == d
}

// Finish takes the third handshake message. It does not block.
func (s *sessions) Finish(f wire.SignalFinish) {
	s.mu.Lock()
	d := s.half[f.SessionID]
	if d == nil {
		d = s.live[f.SessionID]
	}
	var half half // nil also while it starts: then nobody has its second message
	if d != nil && !s.closed {
		half = d.half
	}
	s.mu.Unlock()
	if half != nil {
		half.Finish(f.HS3)
	}
}

// enter makes a half-open session a live one, once; false if it may not be.
func (s *sessions) enter(d *ward) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.half[d.a.id] != d || s.closed || len(s.live) >= s.max {
		return false
	}
	d.expire.Stop()
	delete(s.half, d.a.id)
	s.live[d.a.id] = d
	s.metrics.Sessions.Set(float64(len(s.live)))
	return true
}

// gone forgets a session whose half has ended.
func (s *sessions) gone(d *ward) {
	d.expire.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.half[d.a.id] == d {
		delete(s.half, d.a.id)
	}
	if s.live[d.a.id] == d {
		delete(s.live, d.a.id)
	}
	s.metrics.Sessions.Set(float64(len(s.live)))
}

// cells run session halves in processes of their own.
type cells interface {
	// start starts one.
	start(d *ward) (half, error)
	// adopt waits for one that an earlier keeper has started, with its recording.
	adopt(d *ward, hash [32]byte, sink recorder.Sink) half
	// open lets those in that were adopted.
	open() error
	// leave lets them go on by themselves.
	leave()
	// pair makes a connection between two of them.
	pair() (one, other net.Conn, err error)
}

// spawn starts the half of a session.
func (s *sessions) spawn(d *ward) (half, error) {
	if s.cells != nil {
		return s.cells.start(d)
	}
	h := &within{live.New(s.ctx, d.facts(), d, s.logger)}
	s.running.Go(func() {
		<-h.Done()
		s.gone(d)
	})
	return h, nil
}

// within is a session half in this process.
type within struct{ *live.Session }

// Respond implements half.
func (w *within) Respond(_ context.Context, h live.Handshake, to way) ([]byte, error) {
	return w.Session.Respond(h, to)
}

// Kill implements half.
func (w *within) Kill() {
	w.Abort()
	w.Cut(errCut)
}

var errCut = errors.New("the agent has ended the session")

// start makes the session used and its start evidence, on disk.
func (s *sessions) start(a *admission, said session.Evidence) *refusal {
	if err := s.compare.Rosters(said); err != nil {
		return because(codeRoster, err)
	}
	s.running.Go(func() { s.compare.Meet(s.ctx, a.operator.Email, said) })
	if err := s.use(s.checker.sessionItem(a)); err != nil {
		return because(codeUsed, err)
	}
	if err := s.evidence.started(a); err != nil {
		return because(codeLedger, err)
	}
	if a.breakGlass() {
		s.logger.Error("BREAK-GLASS: a session without a server's grant", "session", a.id, "operator", a.operator.Email, "quorum", a.quorum)
	}
	return nil
}

// use marks items as used. If the disk fails, the agent must stop: only a fresh
// start reads what is really there.
func (s *sessions) use(items ...ledger.Item) error {
	err := s.checker.used.Use(items...)
	if err != nil && !errors.Is(err, ledger.ErrUsed) && !errors.Is(err, ledger.ErrTooOld) && !errors.Is(err, ledger.ErrFull) && !errors.Is(err, ledger.ErrBack) {
		s.fail(err)
	}
	return err
}

// recheck ends sessions of operators who may not act any more, and all of them
// when this agent itself may not. The others judge by the new rules from now on.
func (s *sessions) recheck(r *roster.Roster) {
	now := s.checker.now()
	_, self := r.Agent(s.identity.Kid(), now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.live {
		_, err := r.Device(d.holder().operator.Kid, now)
		if err = errors.Join(self, err, d.stillWatches(r, now)); err != nil {
			s.metrics.Refusals.WithLabelValues(codeRevoked).Inc()
			d.half.Cut(err)
		} else if lent, ok := d.half.(interface{ Withdraw() }); ok {
			lent.Withdraw()
		}
	}
}

// Close ends every session of this process and waits for it.
func (s *sessions) Close() {
	s.mu.Lock()
	s.closed = true
	var open []half
	for _, d := range s.half {
		if d.half != nil {
			open = append(open, d.half)
		}
	}
	s.mu.Unlock()
	for _, h := range open {
		h.Kill()
	}
	if s.cells != nil {
		s.cells.leave()
	}
	s.stop(live.ErrStopping)
	s.running.Wait()
	if s.gate != nil {
		s.gate.Close()
	}
}

// watch rechecks running sessions from time to time: keys expire without a
// statement.
func (s *sessions) watch(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			if r := s.checker.team.Newest(); r != nil {
				s.recheck(r)
			}
		}
	}
}
