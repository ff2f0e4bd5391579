package api

import (
	"context"
	"errors"
	"strings"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// signIn gives a token to a device that has proved its key and is on the roster
// of the team that it names. What is wrong with the team or the device is not
// told: the answer is the same 401. A session that the device asks for in the same
// request gets an answer of its own beside the token.
func (s *Server) signIn(ctx context.Context, r *door.Request, in wire.TokenRequest) (wire.TokenAnswer, error) {
	on, err := s.roster(ctx, in.TeamID)
	switch {
	case errors.Is(err, door.ErrNotNow):
		return wire.TokenAnswer{}, err
	case err != nil:
		s.logger.Info("sign-in refused", "device", r.Caller.Kid.Short(), "err", err)
		return wire.TokenAnswer{}, door.Unauthenticated()
	}
	c := r.Caller
	c.Team, c.Roster = in.TeamID, on
	if c.Device, err = on.Device(c.Kid, s.now()); err != nil {
		s.logger.Info("sign-in refused", "device", c.Kid.Short(), "err", err)
		if known, ok := on.EverDevice(c.Kid); ok {
			c.Device = known
			s.recordRefusal(ctx, c, door.Unauthenticated())
		}
		return wire.TokenAnswer{}, door.Unauthenticated()
	}
	now := s.now()
	claims := token.Claims{
		Issuer: s.cfg.URL, Audience: s.cfg.URL, Subject: c.Device.MemberID, TeamID: c.Team, Email: c.Device.Email,
		Role: roleClaim(c.Device.Roles), JKT: c.Kid, IssuedAt: now, Expires: now.Add(token.AccessLife), ID: token.NewID().String(),
	}
	access, err := token.SignAccess(s.cfg.Keys.Token.For(on.ServerKeys(roster.ServerToken)), claims)
	if err != nil {
		return wire.TokenAnswer{}, err
	}
	err = s.effect(ctx, c, func(t *team) error {
		return s.record(t, audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: party(c)})
	})
	if err != nil {
		return wire.TokenAnswer{}, err
	}
	answer := wire.TokenAnswer{
		AccessToken: access, TokenType: "DPoP", ExpiresIn: int64(token.AccessLife.Seconds()),
		TeamID: c.Team, TeamFP: on.TeamFP(), MemberID: c.Device.MemberID, Email: c.Device.Email,
		Roles: c.Device.Roles, RosterHead: wire.Head(on.Head()),
	}
	if in.Session != nil {
		err = s.sessionAtSignIn(ctx, r, c, claims, *in.Session, &answer)
	}
	return answer, err
}

// sessionAtSignIn asks for a session as the bearer of a token that was signed just now
// would with the next request, and answers that along with the token.
func (s *Server) sessionAtSignIn(ctx context.Context, r *door.Request, c door.Caller, of token.Claims, in wire.SessionRequest, answer *wire.TokenAnswer) error {
	c.Team, c.Until = of.TeamID, of.Expires
	c.Proof.JTI += " session" // signing in has used the proof up once
	session, err := s.postSession(ctx, &door.Request{Caller: c, HTTP: r.HTTP}, in)
	switch {
	case err == nil:
		answer.Session = &session
	case !errors.As(err, &answer.Problem):
		return err
	}
	return nil
}

// roleClaim is the claim "role": for readers of the token who have no roster.
// Nobody who decides anything reads it.
func roleClaim(roles []string) string {
	if len(roles) == 0 {
		return "member"
	}
	return strings.Join(roles, " ")
}
