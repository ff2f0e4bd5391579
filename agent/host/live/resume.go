package live

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/tucdesk/tucdesk/internal/session"
)

var (
	errNotYet = errors.New("live: there is no connection to resume")
	errNoneOn = errors.New("live: no resume is on")
)

// Resume answers an operator's first message of a resume (internal/session/SPEC.md,
// section 9). The session goes on as it is until the third one comes, or a later
// resume. evidence is for the operator.
func (s *Session) Resume(rs1 []byte, evidence session.Evidence) (rs2 []byte, err error) {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c == nil || s.ctx.Err() != nil {
		return nil, errNotYet
	}
	h := c.hand
	h.Evidence = evidence
	responder, rs2, err := c.mux.Session().Respond(s.responder(h), rs1)
	if err != nil {
		return nil, err
	}
	s.turn(&halfOpen{responder: responder})
	return rs2, nil
}

// turn notes a handshake that is on within the session, in place of an earlier one.
func (s *Session) turn(again *halfOpen) {
	s.mu.Lock()
	before := s.again
	s.again = again
	s.mu.Unlock()
	if before != nil {
		before.abort()
	}
	time.AfterFunc(HandshakeTime, func() { s.giveUp(again) })
}

// Move gives the path that the session goes over to with the resume that is on. It
// owns the way, also when it fails. A resume without one is for new keys alone.
func (s *Session) Move(w Way, peer netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again == nil || s.again.way != nil || s.again.hand != nil || s.ctx.Err() != nil {
		w.Close()
		return errNoneOn
	}
	s.again.way, s.again.peer = w, net.UDPAddrFromAddrPort(peer)
	return nil
}

// giveUp ends the resume that is on, if it is the given one; nil: whichever it is.
func (s *Session) giveUp(which *halfOpen) {
	s.mu.Lock()
	again := s.again
	if which != nil && which != again {
		again = nil
	}
	if again != nil {
		s.again = nil
	}
	s.mu.Unlock()
	if again != nil {
		again.abort()
	}
}

// resumed takes the third message of a resume. It does not block.
func (s *Session) resumed(rs3 []byte) {
	s.mu.Lock()
	again, c := s.again.try(), s.conn
	s.mu.Unlock()
	if again == nil || again.hand != nil {
		return
	}
	go func() {
		est, err := again.responder.Consume(rs3)
		if err != nil {
			s.logger.Info("resume refused", "session", s.ID, "error", err)
			return
		}
		if !s.mine(again) {
			est.Close()
			return
		}
		var conn net.PacketConn
		if again.way != nil {
			conn = again.way
			s.mu.Lock()
			c.way, c.direct = again.way, false
			s.mu.Unlock()
		}
		if err := c.mux.Resume(s.ctx, est, conn, again.peer); err != nil {
			s.logger.Info("resume not confirmed", "session", s.ID, "error", err)
			return
		}
		s.logger.Info("session resumed", "session", s.ID, "new_path", conn != nil)
	}()
}

// forgetTime is for how long an operator may be silent in a session in which nothing
// runs: there is nothing to come back to, and a goodbye may have been lost.
const forgetTime = 15 * time.Second
