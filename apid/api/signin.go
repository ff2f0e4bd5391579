package api

import (
	"context"
	"errors"
	"strings"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// signIn gives a token to a device that has proved its key and is on the roster
// of the team that it names. What is wrong with the team or the device is not
// told: the answer is the same 401.
func (s *Server) signIn(ctx context.Context, r *request, in wire.TokenRequest) (wire.TokenAnswer, error) {
	on, err := s.roster(ctx, in.TeamID)
	switch {
	case errors.Is(err, errNotNow):
		return wire.TokenAnswer{}, err
	case err != nil:
		s.logger.Info("sign-in refused", "device", r.caller.kid.Short(), "err", err)
		return wire.TokenAnswer{}, unauthenticated()
	}
	c := r.caller
	c.team, c.roster = in.TeamID, on
	if c.device, err = on.Device(c.kid, s.now()); err != nil {
		s.logger.Info("sign-in refused", "device", c.kid.Short(), "err", err)
		if known, ok := on.EverDevice(c.kid); ok {
			c.device = known
			s.recordRefusal(ctx, c, unauthenticated())
		}
		return wire.TokenAnswer{}, unauthenticated()
	}
	now := s.now()
	access, err := token.SignAccess(s.cfg.TokenKey, token.Claims{
		Issuer: s.cfg.URL, Audience: s.cfg.URL, Subject: c.device.MemberID, TeamID: c.team, Email: c.device.Email,
		Role: roleClaim(c.device.Roles), JKT: c.kid, IssuedAt: now, Expires: now.Add(token.AccessLife), ID: token.NewID().String(),
	})
	if err != nil {
		return wire.TokenAnswer{}, err
	}
	err = s.effect(ctx, c, func(t *team) error {
		return s.record(t, audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: c.party()})
	})
	if err != nil {
		return wire.TokenAnswer{}, err
	}
	return wire.TokenAnswer{
		AccessToken: access, TokenType: "DPoP", ExpiresIn: int64(token.AccessLife.Seconds()),
		TeamID: c.team, TeamFP: on.TeamFP(), MemberID: c.device.MemberID, Email: c.device.Email,
		Roles: c.device.Roles, RosterHead: wire.Head(on.Head()),
	}, nil
}

// roleClaim is the claim "role": for readers of the token who have no roster.
// Nobody who decides anything reads it.
func roleClaim(roles []string) string {
	if len(roles) == 0 {
		return "member"
	}
	return strings.Join(roles, " ")
}
