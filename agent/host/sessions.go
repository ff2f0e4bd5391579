package host

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// handshakeTime is how long a session may be half open.
	handshakeTime = 10 * time.Second
	// maxHalfOpen bounds the sessions that wait for the third message.
	maxHalfOpen = 64
	// maxTries bounds the third messages that one half-open session looks at:
	// the first forged one must not end it.
	maxTries = 3
	// offersPerSecond and offersAtOnce bound the work that strangers can cause.
	offersPerSecond = 50
	offersAtOnce    = 200
)

// A way is a path to one peer, as the network half opens it.
type way interface {
	net.PacketConn
	// LocalRelayed is where the peer reaches us.
	LocalRelayed() net.Addr
	// Permit lets the peer through.
	Permit(ctx context.Context, peer net.Addr) error
	// Gather begins an attempt at a path without the relay.
	Gather(ctx context.Context) (direct.Attempt, error)
}

// outside is what the session half asks of the network half.
type outside interface {
	// OpenWay opens a path through a relay.
	OpenWay(ctx context.Context, relay string, c cred.Credential) (way, error)
	// Refresh brings the newest roster, bounded and rate limited.
	Refresh(ctx context.Context) error
}

// halfOpen is a session between the second and the third handshake message.
type halfOpen struct {
	admission *admission
	responder *session.Responder
	way       way
	peer      net.Addr
	expire    *time.Timer
	tries     int
}

func (h *halfOpen) abort() {
	h.expire.Stop()
	h.responder.Abort()
	h.way.Close()
}

// sessions makes sessions of offers.
type sessions struct {
	identity key.Identity
	checker  *checker
	evidence *evidence
	recorder *recorder.Recorder
	outside  outside
	logger   *slog.Logger
	metrics  *metrics
	offers   *rate.Limiter
	max      int         // live sessions
	self     bool        // a demo's agent that is not root runs programs as itself
	fail     func(error) // ends the agent

	ctx     context.Context // ends all sessions
	stop    context.CancelCauseFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	opening map[token.ID]bool // offers that are being checked
	half    map[token.ID]*halfOpen
	live    map[token.ID]*live
}

// Offer answers an operator's offer (trust.md 2.4, steps 1 to 5, then the second
// handshake message). Towards strangers its error is silence.
func (s *sessions) Offer(ctx context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
	s.metrics.offers.Inc()
	if !s.offers.Allow() {
		return wire.SignalAnswer{}, s.refused(&admission{id: o.SessionID}, refuse(codeBusy, nil, "too many offers at once"))
	}
	if !s.reserve(o.SessionID) {
		return wire.SignalAnswer{}, s.refused(&admission{id: o.SessionID}, refuse(codeBusy, nil, "too many sessions, or this one is open already"))
	}
	defer s.release(o.SessionID)
	a, no := s.checker.admit(ctx, o)
	if no != nil {
		return wire.SignalAnswer{}, s.refused(a, no)
	}
	answer, no := s.respond(ctx, a, o)
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
	s.metrics.refusals.WithLabelValues(no.code).Inc()
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
	case codeUsed:
		return "used: this session was used before; start a new one"
	case codeProof, codeGrant:
		return code + ": it is expired or not for this request; start again, and check the clocks"
	case codeRelay:
		return "relay: the agent can't use this relay"
	}
	return code + ": the agent refuses; its audit entry says why"
}

func (s *sessions) respond(ctx context.Context, a *admission, o wire.SignalOffer) (wire.SignalAnswer, *refusal) {
	peer, err := netip.ParseAddrPort(o.Candidate)
	if err != nil {
		return wire.SignalAnswer{}, refuse(codeRelay, err, "the operator's candidate is no address")
	}
	h := a.roster.Head()
	responder, hs2, err := session.Respond(session.ResponderConfig{
		ID: session.ID(a.id), Self: s.identity, Peer: a.operator.Public,
		TeamFP: a.roster.TeamFP(), BundleHash: a.hash,
		Evidence: session.Evidence{RosterSeq: h.Seq, RosterHash: h.Hash, Time: s.checker.now().Truncate(time.Second)},
		MinSuite: session.Suite(a.verdict.Obligations.MinSuite),
	}, o.HS1)
	if err != nil {
		return wire.SignalAnswer{}, because(codeProof, err)
	}
	r := a.bundle.Relay
	w, err := s.outside.OpenWay(ctx, r.Addr, cred.Credential{Username: r.Username, Password: cred.Password(r.Password)})
	if err == nil {
		if err = w.Permit(ctx, net.UDPAddrFromAddrPort(peer)); err != nil {
			w.Close()
		}
	}
	if err != nil {
		responder.Abort()
		return wire.SignalAnswer{}, because(codeRelay, err)
	}
	half := &halfOpen{admission: a, responder: responder, way: w, peer: net.UDPAddrFromAddrPort(peer)}
	half.expire = time.AfterFunc(handshakeTime, func() {
		if s.take(a.id, half) {
			half.abort()
			s.logger.Info("handshake not finished in time", "session", a.id)
		}
	})
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.half[a.id] = half
	}
	s.mu.Unlock()
	if closed {
		half.abort()
		return wire.SignalAnswer{}, refuse(codeBusy, nil, "the agent stops")
	}
	return wire.SignalAnswer{SessionID: a.id, HS2: hs2, Candidate: w.LocalRelayed().String()}, nil
}

// take removes a half-open session; false if somebody else has.
func (s *sessions) take(id token.ID, half *halfOpen) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.half[id] != half {
		return false
	}
	delete(s.half, id)
	return true
}

// Finish takes the third handshake message. It does not block.
func (s *sessions) Finish(f wire.SignalFinish) {
	s.mu.Lock()
	half := s.half[f.SessionID]
	if half != nil {
		if half.tries++; half.tries > maxTries {
			half = nil
		}
	}
	if half == nil || s.closed {
		s.mu.Unlock()
		return
	}
	s.running.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		est, err := half.responder.Consume(f.HS3)
		if err != nil {
			s.logger.Info("handshake refused", "session", f.SessionID, "error", err)
			return
		}
		if !s.take(f.SessionID, half) {
			est.Close()
			return
		}
		half.expire.Stop()
		s.begin(half, est)
	}()
}

// begin makes a finished handshake a live session, once. If it may not be, the
// operator, who has proved to be there, is told why on the first channel.
func (s *sessions) begin(half *halfOpen, est *session.Established) {
	a := half.admission
	l := newLive(s, a)
	if !s.add(l) {
		est.Close()
		half.way.Close()
		_ = s.refused(a, refuse(codeBusy, nil, "too many sessions"))
		return
	}
	defer s.remove(l)
	if l.no = s.start(a, est.Peer); l.no != nil {
		_ = s.refused(a, l.no)
		l.life = handshakeTime
		l.run(half.way, half.peer, est)
		return
	}
	s.logger.Info("session", "session", a.id, "operator", a.operator.Email, "kind", a.proof.Body().Kind, "suite", est.Suite.String())
	last, reason := l.run(half.way, half.peer, est)
	s.logger.Info("session ended", "session", a.id, "reason", reason)
	head, err := l.tape.End()
	if err != nil {
		reason += "; its recording is not whole: " + err.Error()
	}
	_ = s.evidence.ended(a, last, reason, head) // logged there
}

// start makes the session used and its start evidence, on disk.
func (s *sessions) start(a *admission, said session.Evidence) *refusal {
	if no := s.witness(a, said); no != nil {
		return no
	}
	if err := s.use(s.checker.sessionItem(a)); err != nil {
		return because(codeUsed, err)
	}
	if err := s.evidence.started(a); err != nil {
		return because(codeLedger, err)
	}
	return nil
}

// use marks items as used. If the disk fails, the agent must stop: only a fresh
// start reads what is really there.
func (s *sessions) use(items ...ledger.Item) error {
	err := s.checker.used.Use(items...)
	if err != nil && !errors.Is(err, ledger.ErrUsed) && !errors.Is(err, ledger.ErrTooOld) && !errors.Is(err, ledger.ErrFull) {
		s.fail(err)
	}
	return err
}

// witness compares what the operator says about the roster with what we know.
func (s *sessions) witness(a *admission, said session.Evidence) *refusal {
	h := roster.Head{Seq: said.RosterSeq, Hash: said.RosterHash}
	r := s.checker.team.newest()
	if r.Knows(h) {
		return nil
	}
	if h.Seq <= r.Head().Seq {
		s.logger.Error("the operator holds another roster under a number that we know: somebody tells two stories; tell an admin of the team", "session", a.id, "seq", h.Seq, "theirs", h.Hash)
		return refuse(codeRoster, nil, "operator and agent hold different rosters under number %d; tell an admin of your team", h.Seq)
	}
	go s.outside.Refresh(s.ctx) // there is a newer one; it will judge the next channel
	return nil
}

func (s *sessions) add(l *live) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.live) >= s.max {
		return false
	}
	s.live[l.id] = l
	s.metrics.sessions.Set(float64(len(s.live)))
	return true
}

func (s *sessions) remove(l *live) {
	l.cancel(channel.ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, l.id)
	s.metrics.sessions.Set(float64(len(s.live)))
}

// recheck ends sessions of operators who may not act any more, and all of them
// when this agent itself may not.
func (s *sessions) recheck(r *roster.Roster) {
	now := s.checker.now()
	_, self := r.Agent(s.identity.Kid(), now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.live {
		_, err := r.Device(l.operator.Kid, now)
		if err = errors.Join(self, err); err != nil {
			s.metrics.refusals.WithLabelValues(codeRevoked).Inc()
			l.cancel(err)
		}
	}
}

// Close ends every session and waits for it.
func (s *sessions) Close() {
	s.mu.Lock()
	s.closed = true
	half := s.half
	s.half = map[token.ID]*halfOpen{}
	s.mu.Unlock()
	for _, h := range half {
		h.abort()
	}
	s.stop(errStopping)
	s.running.Wait()
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
			if r := s.checker.team.newest(); r != nil {
				s.recheck(r)
			}
		}
	}
}
