package rendezvous

import (
	"net/http"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// An offer waits for its answer, and then for its finish.
type offer struct {
	session  token.ID
	team     string
	operator key.Kid    // the device that made it, and alone may finish it
	agent    *agentConn // that it was sent to, and alone may answer it
	resume   bool       // of a session that stands
	outcome  chan outcome
	answered bool
	timer    *time.Timer // forgets the offer
}

type outcome struct {
	hs2       []byte
	candidate string
	refused   bool
	reason    string
	gone      bool // the agent's connection ended
}

// A board holds the offers that wait. It is safe for concurrent use.
type board struct {
	max     int
	metrics *metrics

	mu       sync.Mutex
	offers   map[token.ID]*offer
	ofAgent  map[*agentConn]int
	ofDevice map[key.Kid]int
	ofPair   map[pair]int
}

type pair struct {
	agent  *agentConn
	device key.Kid
}

func newBoard(max int, m *metrics) *board {
	return &board{
		max: max, metrics: m,
		offers: make(map[token.ID]*offer), ofAgent: make(map[*agentConn]int), ofDevice: make(map[key.Kid]int), ofPair: make(map[pair]int),
	}
}

// add puts an offer up for twice offerTime: to be answered and to be finished. A
// resume takes the place of one of the same device for the same session, which that
// device has given up: it tries until it works.
func (b *board) add(o *offer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.offers[o.session]; old != nil && o.resume && old.resume && old.operator == o.operator && old.team == o.team {
		b.endLocked(old)
	}
	switch {
	case b.offers[o.session] != nil:
		return wire.NewProblem(wire.KindUsed, "this session id has an offer already", "begin a new session")
	case len(b.offers) >= b.max, b.ofDevice[o.operator] >= maxOffersOfDevice:
		return wire.NewProblem(wire.KindTooMany, "too many offers wait here", "try again in some seconds")
	case b.ofAgent[o.agent] >= maxOffersOfAgent, b.ofPair[pair{o.agent, o.operator}] >= maxOffersOfPair, !o.agent.offers.Allow():
		return wire.NewProblem(wire.KindTooMany, "too many offers wait for this agent", "try again in some seconds")
	}
	b.offers[o.session] = o
	b.ofAgent[o.agent]++
	b.ofDevice[o.operator]++
	b.ofPair[pair{o.agent, o.operator}]++
	o.timer = time.AfterFunc(2*offerTime, func() { b.drop(o) })
	b.metrics.waiting.Set(float64(len(b.offers)))
	return nil
}

// drop forgets an offer. Doing it again does nothing.
func (b *board) drop(o *offer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropLocked(o)
}

func (b *board) dropLocked(o *offer) {
	if b.offers[o.session] != o {
		return
	}
	o.timer.Stop()
	delete(b.offers, o.session)
	countDown(b.ofAgent, o.agent)
	countDown(b.ofDevice, o.operator)
	countDown(b.ofPair, pair{o.agent, o.operator})
	b.metrics.waiting.Set(float64(len(b.offers)))
}

func countDown[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] == 0 {
		delete(m, k)
	}
}

// answer gives an agent's word to the offer of that session, if it is the first
// and from the agent that the offer was sent to. Anything else is dropped.
func (b *board) answer(from *agentConn, session token.ID, out outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.offers[session]
	if o == nil || o.agent != from || o.answered {
		b.metrics.dropped.WithLabelValues("no-such-offer").Inc()
		return
	}
	o.answered = true
	o.outcome <- out // has room for one
	if out.refused {
		b.dropLocked(o)
	}
}

// gone ends the offers of a connection that is no more.
func (b *board) gone(c *agentConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ofAgent[c] == 0 {
		return
	}
	for _, o := range b.offers {
		if o.agent == c {
			b.endLocked(o)
		}
	}
}

// endLocked drops an offer, and tells who waits for an answer that none will come.
func (b *board) endLocked(o *offer) {
	if !o.answered {
		o.answered = true
		o.outcome <- outcome{gone: true}
	}
	b.dropLocked(o)
}

// finish takes an answered offer down, for the device that made it.
func (b *board) finish(session token.ID, team string, operator key.Kid) (*agentConn, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.offers[session]
	if o == nil || o.team != team || o.operator != operator || !o.answered {
		return nil, false
	}
	b.dropLocked(o)
	return o.agent, true
}

// postOffer is POST /v1/offers.
func (s *Server) postOffer(r *http.Request, body []byte) (any, error) {
	who, err := s.offering(r, body)
	if err != nil {
		return nil, err
	}
	var in wire.Offer
	if err := strict.Decode(body, &in); err != nil {
		return nil, malformed(err)
	}
	if err := in.Check(); err != nil {
		return nil, malformed(err)
	}
	now := s.now()
	if _, err := who.roster.Agent(in.Agent, now); err != nil {
		return nil, notFound()
	}
	agent, ok := s.agents.online(agentID{who.team, in.Agent})
	if !ok {
		s.metrics.offers.WithLabelValues("offline").Inc()
		return nil, wire.NewProblem(wire.KindUnavailable, "the agent is offline", "check that tucdesk-agent runs there and reaches this rendezvous")
	}
	o := &offer{
		session: in.SessionID, team: who.team, operator: who.kid, agent: agent, resume: len(in.Sealed) == 0, outcome: make(chan outcome, 1),
	}
	if err := s.offers.add(o); err != nil {
		s.metrics.offers.WithLabelValues("not-taken").Inc()
		return nil, err
	}
	sent := agent.send(wire.SignalOffer{
		SessionID: in.SessionID, Exp: now.Add(offerTime).Unix(), Sealed: in.Sealed, HS1: in.HS1, Candidate: in.Candidate,
	})
	if !sent {
		s.offers.drop(o)
		s.metrics.offers.WithLabelValues("busy").Inc()
		return nil, wire.NewProblem(wire.KindUnavailable, "the agent does not keep up", "try again in some seconds")
	}
	return s.await(r, o)
}

// await gives the outcome of an offer to the operator who waits for it.
func (s *Server) await(r *http.Request, o *offer) (any, error) {
	timer := time.NewTimer(offerTime)
	defer timer.Stop()
	var out outcome
	select {
	case out = <-o.outcome:
	case <-timer.C:
		s.offers.drop(o)
		s.metrics.offers.WithLabelValues("no-answer").Inc()
		return nil, wire.NewProblem(wire.KindUnavailable, "the agent did not answer: it may be busy, or it does not accept this request and says so to nobody",
			"try again; the agent's log and the audit log tell more")
	case <-r.Context().Done():
		s.offers.drop(o)
		s.metrics.offers.WithLabelValues("left").Inc()
		return nil, wire.NewProblem(wire.KindUnavailable, "the request ended", "")
	case <-s.stop:
		s.offers.drop(o)
		return nil, wire.NewProblem(wire.KindUnavailable, "this server stops", "try again shortly")
	}
	switch {
	case out.gone:
		s.metrics.offers.WithLabelValues("gone").Inc()
		return nil, wire.NewProblem(wire.KindUnavailable, "the agent's connection ended", "try again shortly")
	case out.refused:
		s.metrics.offers.WithLabelValues("refused").Inc()
		return nil, wire.NewProblem(wire.KindDenied, "the agent refused: "+sanitize.Clean(out.reason).String(), "")
	}
	s.metrics.offers.WithLabelValues("ok").Inc()
	return wire.OfferAnswer{HS2: out.hs2, Candidate: out.candidate}, nil
}

// postFinish is POST /v1/offers/{session_id}/finish.
func (s *Server) postFinish(r *http.Request, body []byte) (any, error) {
	who, err := s.offering(r, body)
	if err != nil {
		return nil, err
	}
	session, err := token.ParseID(r.PathValue("session_id"))
	if err != nil {
		return nil, notFound()
	}
	var in wire.Finish
	if err := strict.Decode(body, &in); err != nil {
		return nil, malformed(err)
	}
	if err := in.Check(); err != nil {
		return nil, malformed(err)
	}
	agent, ok := s.offers.finish(session, who.team, who.kid)
	if !ok {
		return nil, notFound()
	}
	if !agent.send(wire.SignalFinish{SessionID: session, HS3: in.HS3}) {
		return nil, wire.NewProblem(wire.KindUnavailable, "the agent's connection ended", "begin a new session")
	}
	return nil, nil
}

func malformed(err error) error {
	return wire.NewProblem(wire.KindMalformed, err.Error(), "check that both sides run the same version")
}
