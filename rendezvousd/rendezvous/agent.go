package rendezvous

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/mailbox"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// An agentID names an agent of a team. Another team's key is another agentID.
type agentID struct {
	team string
	kid  key.Kid
}

// An agentConn is one registered connection.
type agentConn struct {
	id           agentID
	registration envelope.Hash
	registered   int64            // unix seconds, of the registration
	out          chan wire.Signal // bounded by maxOffersOfAgent: an offer and its finish each
	offers       *rate.Limiter    // below what the agent may answer, so that no flood of offers ends it
	ending       chan struct{}    // closed once, by end
	once         sync.Once
	bye          wire.ByeReason // set before ending is closed

	news chan struct{} // holds one value while there is something to tell
	mu   sync.Mutex
	// receipt is the registration or the heartbeat that the agent sent last, as
	// it signed it, and head the roster head in it.
	receipt []byte
	head    token.Head
	newest  *roster.Roster // to tell of; nil: nothing
}

// end makes the connection say bye and close.
func (c *agentConn) end(why wire.ByeReason) {
	c.once.Do(func() {
		c.bye = why
		close(c.ending)
	})
}

// send queues a message. It never blocks; false means that the agent does not
// keep up, or is gone.
func (c *agentConn) send(s wire.Signal) bool {
	select {
	case <-c.ending:
		return false
	default:
	}
	select {
	case c.out <- s:
		return true
	default:
		return false
	}
}

// A directory knows who is online. It is safe for concurrent use.
type directory struct {
	max     int
	metrics *metrics

	mu   sync.Mutex
	conn map[agentID]*agentConn
	seen map[agentID]int64 // unix seconds; also of agents that are gone, at most 2*max
}

func newDirectory(max int, m *metrics) *directory {
	return &directory{max: max, metrics: m, conn: make(map[agentID]*agentConn), seen: make(map[agentID]int64)}
}

// add makes c the connection of its agent, and ends the one before. It answers
// a bye when a newer registration is there already, or no room.
func (d *directory) add(c *agentConn, now time.Time) (wire.ByeReason, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.conn[c.id]
	switch {
	case old != nil && old.registered > c.registered:
		return wire.ByeReplaced, false
	case old != nil:
		old.end(wire.ByeReplaced)
	case len(d.conn) >= d.max:
		return wire.ByeBusy, false
	}
	d.conn[c.id] = c
	d.touchLocked(c.id, now)
	d.metrics.agents.Set(float64(len(d.conn)))
	return "", true
}

// remove takes c away, unless another connection has replaced it.
func (d *directory) remove(c *agentConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn[c.id] == c {
		delete(d.conn, c.id)
	}
	d.metrics.agents.Set(float64(len(d.conn)))
}

// touch notes that an agent was heard.
func (d *directory) touch(id agentID, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.touchLocked(id, now)
}

func (d *directory) touchLocked(id agentID, now time.Time) {
	if _, known := d.seen[id]; !known && len(d.seen) >= 2*d.max {
		for other := range d.seen { // any agent that is gone: when it was seen is a courtesy
			if d.conn[other] == nil {
				delete(d.seen, other)
				break
			}
		}
	}
	d.seen[id] = now.Unix()
}

// online gives an agent's connection.
func (d *directory) online(id agentID) (*agentConn, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.conn[id]
	return c, ok
}

// state tells what a team may know of an agent: nothing but "offline, never
// seen" where the team has no such agent.
func (d *directory) state(id agentID) wire.AgentState {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := wire.AgentState{Kid: id.kid, State: wire.Offline, LastSeen: d.seen[id]}
	if d.conn[id] != nil {
		s.State = wire.Online
	}
	return s
}

// serveAgent is the life of one agent's connection.
func (s *Server) serveAgent(w http.ResponseWriter, r *http.Request) {
	greeted, ok := s.hellos.enter(r.RemoteAddr)
	if !ok {
		http.Error(w, "too many connections that have not registered; come back later", http.StatusServiceUnavailable)
		return
	}
	defer greeted()
	s.running.Add(1)
	defer s.running.Done()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.SignalProtocol}})
	if err != nil {
		return // Accept has answered
	}
	defer ws.CloseNow()
	ws.SetReadLimit(wire.MaxSignal)
	if ws.Subprotocol() != wire.SignalProtocol {
		ws.Close(websocket.StatusPolicyViolation, "want "+wire.SignalProtocol)
		return
	}
	c, ros, why := s.greet(ws)
	greeted()
	if why != "" {
		s.metrics.registrations.WithLabelValues(string(why)).Inc()
		s.farewell(ws, why)
		return
	}
	s.metrics.registrations.WithLabelValues("ok").Inc()
	defer s.offers.gone(c)
	defer s.agents.remove(c)
	head := ros.Head()
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.writeAgent(ws, c, wire.SignalWelcome{
			Time: s.now().Unix(), HeadSeq: head.Seq, HeadHash: head.Hash, Heartbeat: max(1, int64(s.cfg.Offline/(3*time.Second))),
		})
	}()
	c.end(s.readAgent(ws, c))
	<-written
}

// hellos counts the connections that have not registered yet, in all and for each
// address. On loopback all may come from one proxy, so there only the sum counts.
type hellos struct {
	mu     sync.Mutex
	all    int
	ofAddr map[string]int
}

// enter admits a connection. leave may be called more than once.
func (h *hellos) enter(remote string) (leave func(), ok bool) {
	addr := mailbox.Source(remote)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= maxHellos || addr != "" && h.ofAddr[addr] >= maxHellosOfAddr {
		return nil, false
	}
	h.all++
	h.ofAddr[addr]++
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all--
		if h.ofAddr[addr]--; h.ofAddr[addr] == 0 {
			delete(h.ofAddr, addr)
		}
	}), true
}

// greet waits for the hello and registers the agent, or says why not.
func (s *Server) greet(ws *websocket.Conn) (*agentConn, *roster.Roster, wire.ByeReason) {
	ctx, cancel := context.WithTimeout(context.Background(), helloTime)
	defer cancel()
	m, err := s.receive(ctx, ws)
	hello, ok := m.(wire.SignalHello)
	if err != nil || !ok {
		return nil, nil, wire.ByeRefused
	}
	u, err := token.ParseRegistration(hello.Registration)
	if err != nil {
		return nil, nil, wire.ByeRefused
	}
	team, err := u.InsecureTeamID()
	if err != nil {
		return nil, nil, wire.ByeRefused
	}
	now := s.now()
	ros, why := s.rosterWith(ctx, team, u.InsecureSigner(), now)
	if why != "" {
		return nil, nil, why
	}
	v, err := u.Verify(liveAgents(ros, now), token.ExpectRegistration{
		Now: now, TeamID: team, TeamFP: ros.TeamFP(), Audience: s.cfg.URL,
	})
	switch {
	case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrNotYet):
		return nil, nil, wire.ByeClock
	case err != nil:
		s.logger.Info("registration refused", "err", err)
		return nil, nil, wire.ByeRefused
	}
	body := v.Body()
	if err := s.registrations.Use(nonceOf(body), time.Unix(body.Time, 0), now); err != nil {
		s.logger.Info("registration refused", "agent", body.Agent.Short(), "err", err)
		return nil, nil, wire.ByeRefused
	}
	c := &agentConn{
		id: agentID{team, body.Agent}, registration: v.Hash(), registered: body.Time,
		out: make(chan wire.Signal, 2*maxOffersOfAgent), ending: make(chan struct{}),
		offers: rate.NewLimiter(offersPerSecond, 2*maxOffersOfAgent),
		news:   make(chan struct{}, 1),
	}
	c.confirm(hello.Registration, body.RosterHead, ros)
	if why, ok := s.agents.add(c, now); !ok {
		return nil, nil, why
	}
	s.logger.Info("agent registered", "agent", body.Agent.Short())
	return c, ros, ""
}

// rosterWith gives a roster that has the agent, asking for a newer one if need be.
func (s *Server) rosterWith(ctx context.Context, team string, kid key.Kid, now time.Time) (*roster.Roster, wire.ByeReason) {
	ros, err := s.cfg.Rosters.Roster(ctx, team)
	if err == nil {
		if _, unknown := ros.Agent(kid, now); errors.Is(unknown, roster.ErrUnknown) {
			ros, err = s.cfg.Rosters.Refresh(ctx, team)
		}
	}
	switch {
	case errors.Is(err, ErrNoTeam):
		return nil, wire.ByeUnknown
	case err != nil:
		s.logger.Warn("no roster", "err", err)
		return nil, wire.ByeBusy
	}
	if _, err := ros.Agent(kid, now); err != nil || ros.TeamID() != team {
		return nil, wire.ByeUnknown
	}
	return ros, ""
}

func liveAgents(ros *roster.Roster, now time.Time) token.Keys {
	return func(k key.Kid) (key.Public, bool) {
		a, err := ros.Agent(k, now)
		return a.Public, err == nil
	}
}

// nonceOf is the registration's nonce within its team and agent.
func nonceOf(r token.Registration) [32]byte {
	return envelope.Sum(append(append(r.TeamFP[:], r.Agent[:]...), r.Nonce[:]...))
}

// writeAgent sends what is queued until the connection ends, and then bye.
func (s *Server) writeAgent(ws *websocket.Conn, c *agentConn, welcome wire.Signal) {
	err := s.transmit(ws, welcome)
	for err == nil {
		select {
		case <-c.news:
			if m, ok := c.untold(); ok {
				err = s.transmit(ws, m)
			}
		case m := <-c.out:
			err = s.transmit(ws, m)
		case <-c.ending:
			s.farewell(ws, c.bye)
			return
		case <-s.stop:
			s.farewell(ws, wire.ByeStopping)
			return
		}
	}
	ws.CloseNow()
}

func (s *Server) farewell(ws *websocket.Conn, why wire.ByeReason) {
	if why != "" && s.transmit(ws, wire.SignalBye{Reason: why}) == nil {
		ws.Close(websocket.StatusNormalClosure, string(why))
	}
	ws.CloseNow()
}

func (s *Server) transmit(ws *websocket.Conn, m wire.Signal) error {
	b, err := wire.EncodeSignal(m)
	if err != nil {
		return err
	}
	s.cfg.Tap(b)
	ctx, cancel := context.WithTimeout(context.Background(), writeTime)
	defer cancel()
	return ws.Write(ctx, websocket.MessageBinary, b)
}

func (s *Server) receive(ctx context.Context, ws *websocket.Conn) (wire.Signal, error) {
	typ, b, err := ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	s.cfg.Tap(b)
	if typ != websocket.MessageBinary {
		return nil, errors.New("rendezvous: not a binary message")
	}
	return wire.ParseAgentSignal(b)
}

// readAgent takes what an agent sends until it is silent too long or says
// something wrong. Only heartbeats keep it online.
func (s *Server) readAgent(ws *websocket.Conn, c *agentConn) wire.ByeReason {
	limit := rate.NewLimiter(4*offersPerSecond, 8*maxOffersOfAgent)
	deadline := time.Now().Add(s.cfg.Offline)
	for seq := uint64(0); ; {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		m, err := s.receive(ctx, ws)
		silent := ctx.Err() != nil
		cancel()
		switch {
		case silent:
			s.logger.Info("agent silent", "agent", c.id.kid.Short())
			return wire.ByeRefused
		case err != nil || !limit.Allow():
			return wire.ByeRefused
		}
		switch m := m.(type) {
		case wire.SignalHeartbeat:
			if why := s.heartbeat(c, m, seq); why != "" {
				return why
			}
			seq++
			deadline = time.Now().Add(s.cfg.Offline)
		case wire.SignalAnswer:
			s.offers.answer(c, m.SessionID, outcome{hs2: m.HS2, candidate: m.Candidate})
		case wire.SignalRefuse:
			s.offers.answer(c, m.SessionID, outcome{refused: true, reason: m.Reason})
		default:
			return wire.ByeRefused
		}
	}
}

// heartbeat judges one, by the roster as it is now: a revoked agent goes.
func (s *Server) heartbeat(c *agentConn, m wire.SignalHeartbeat, last uint64) wire.ByeReason {
	u, err := token.ParseHeartbeat(m.Heartbeat)
	if err != nil {
		return wire.ByeRefused
	}
	ctx, cancel := context.WithTimeout(context.Background(), helloTime)
	defer cancel()
	now := s.now()
	ros, err := s.cfg.Rosters.Roster(ctx, c.id.team)
	switch {
	case errors.Is(err, ErrNoTeam):
		return wire.ByeUnknown
	case err != nil:
		return wire.ByeBusy
	}
	if _, err := ros.Agent(c.id.kid, now); err != nil {
		s.logger.Info("agent no longer on the roster", "agent", c.id.kid.Short())
		return wire.ByeUnknown
	}
	v, err := u.Verify(liveAgents(ros, now), token.ExpectHeartbeat{
		Now: now, Agent: c.id.kid, Registration: c.registration, AfterSeq: last,
	})
	switch {
	case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrNotYet):
		return wire.ByeClock
	case err != nil:
		s.logger.Info("heartbeat refused", "agent", c.id.kid.Short(), "err", err)
		return wire.ByeRefused
	}
	s.agents.touch(c.id, now)
	c.confirm(m.Heartbeat, v.Body().RosterHead, ros)
	return ""
}
