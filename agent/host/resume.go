package host

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// resume answers a resume of a session. It needs no grant: whoever asks must have
// the session's keys, which its half looks at before a path is opened, and the
// operator's device, before the path is used.
func (s *sessions) resume(ctx context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
	s.mu.Lock()
	d := s.live[o.SessionID]
	s.mu.Unlock()
	if d == nil {
		s.logger.Info("no session to resume", "session", o.SessionID)
		return wire.SignalAnswer{}, &wire.RefuseError{Reason: wire.ReasonGone}
	}
	var peer netip.AddrPort
	if o.Candidate != "" {
		var err error
		if peer, err = netip.ParseAddrPort(o.Candidate); err != nil {
			return wire.SignalAnswer{}, refuse(codeRelay, err, "the operator's candidate is no address")
		}
	}
	rs2, err := d.half.Resume(ctx, o.HS1, s.checker.said(s.checker.team.Newest(), nil))
	if err != nil && d.by.Load() != nil {
		// Most likely by the keys that it had before somebody came back to it.
		return wire.SignalAnswer{}, &wire.RefuseError{Reason: wire.ReasonTaken}
	}
	if err != nil {
		s.logger.Info("resume refused", "session", o.SessionID, "error", err)
		return wire.SignalAnswer{}, unanswered(err)
	}
	answer := wire.SignalAnswer{SessionID: o.SessionID, HS2: rs2}
	if !peer.IsValid() {
		return answer, nil
	}
	w, no := s.open(ctx, d.relay(), peer)
	if no != nil {
		s.logger.Info("resume without a path", "session", o.SessionID, "error", no)
		return wire.SignalAnswer{}, errors.Join(no, &wire.RefuseError{Reason: outsideReason(no.code)})
	}
	answer.Candidate = w.LocalRelayed().String()
	if err := d.half.Move(ctx, w, peer); err != nil {
		return wire.SignalAnswer{}, because(codeRelay, err)
	}
	return answer, nil
}

// relay is what the session's paths go by. After a take-over only its half knows.
func (d *ward) relay() token.RelayAccess {
	r := d.holder().bundle.Relay
	if h, ok := d.half.(interface{ Relay() token.RelayAccess }); ok && r.Addr == "" {
		return h.Relay()
	}
	return r
}

// open opens a path through a relay to the operator's side.
func (s *sessions) open(ctx context.Context, r token.RelayAccess, peer netip.AddrPort) (way, *refusal) {
	w, err := s.outside.OpenWay(ctx, r.Addr, cred.Credential{Username: r.Username, Password: cred.Password(r.Password)})
	if err == nil {
		if err = w.Permit(ctx, net.UDPAddrFromAddrPort(peer)); err != nil {
			w.Close()
		}
	}
	if err != nil {
		return nil, because(codeRelay, err)
	}
	return w, nil
}

// Resume implements half.
func (w *within) Resume(_ context.Context, rs1 []byte, evidence session.Evidence) ([]byte, error) {
	return w.Session.Resume(rs1, evidence)
}

// Move implements half.
func (w *within) Move(_ context.Context, to way, peer netip.AddrPort) error {
	return w.Session.Move(to, peer)
}

// Attach implements half.
func (w *within) Attach(_ context.Context, h live.Handshake, to way) ([]byte, error) {
	return w.Session.Attach(h, to)
}
