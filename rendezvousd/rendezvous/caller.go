package rendezvous

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/replay"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A caller is somebody whose team was verified.
type caller struct {
	team   string
	roster *roster.Roster
	kid    key.Kid // of the device or the server
}

// unauthenticated is the one answer to whoever is not admitted; the log knows why.
// More would tell a stranger which teams exist.
func (s *Server) unauthenticated(r *http.Request, why error) error {
	s.metrics.strangers.Inc()
	s.logger.Debug("request refused", "route", r.Pattern, "err", why)
	return wire.NewProblem(wire.KindUnauthenticated, "token, proof or signature was not accepted", "check the clock (tucdesk doctor), then sign in again (tucdesk login)")
}

var (
	errNoScheme   = errors.New("rendezvous: Authorization is not of type DPoP, or stands more than once")
	errNotSubject = errors.New("rendezvous: the device is not its subject's")
)

// judge calls try with the roster that a claim names and, where that one lacks a
// key, once more with a newer one. It turns errors into answers.
func (s *Server) judge(r *http.Request, team string, try func(*roster.Roster) error) error {
	ros, err := s.cfg.Rosters.Roster(r.Context(), team)
	if err == nil {
		err = s.try(ros, team, try)
		if errors.Is(err, token.ErrUnknownKey) || errors.Is(err, envelope.ErrUnknownSigner) || errors.Is(err, roster.ErrUnknown) {
			if newer, e := s.cfg.Rosters.Refresh(r.Context(), team); e == nil && newer.Head() != ros.Head() {
				err = s.try(newer, team, try)
			}
		}
		if err == nil {
			return nil
		}
		var p *wire.ProblemError
		switch {
		case errors.As(err, &p):
			return p
		case errors.Is(err, token.ErrNonce):
			return wire.NewProblem(wire.KindNonce, "the DPoP proof needs a fresh nonce", "take the one in the DPoP-Nonce header and sign again")
		}
		return s.unauthenticated(r, err)
	}
	if errors.Is(err, ErrNoTeam) {
		return s.unauthenticated(r, err)
	}
	s.logger.Warn("no roster", "err", err)
	return wire.NewProblem(wire.KindUnavailable, "this server can't get the team's roster from the API server", "try again shortly")
}

func (s *Server) try(ros *roster.Roster, team string, try func(*roster.Roster) error) error {
	if ros.TeamID() != team {
		return ErrNoTeam
	}
	return try(ros)
}

// member admits an operator: access token, DPoP proof, live device of the
// roster, each proof once.
func (s *Server) member(r *http.Request, body []byte) (caller, error) {
	compact, ok := strings.CutPrefix(only(r, "Authorization"), "DPoP ")
	if !ok {
		return caller{}, s.unauthenticated(r, errNoScheme)
	}
	access, err := token.ParseAccess(compact)
	if err != nil {
		return caller{}, s.unauthenticated(r, err)
	}
	proof, err := token.ParseDPoP(only(r, wire.HeaderDPoP))
	if err != nil {
		return caller{}, s.unauthenticated(r, err)
	}
	var c caller
	err = s.judge(r, access.InsecureTeamID(), func(ros *roster.Roster) (err error) {
		c, err = s.admitMember(r, body, ros, access, proof)
		return err
	})
	return c, err
}

func (s *Server) admitMember(r *http.Request, body []byte, ros *roster.Roster, ua token.UnverifiedAccess, up token.UnverifiedDPoP) (caller, error) {
	now := s.now()
	access, err := ua.Verify(
		func(k key.Kid) (key.Public, bool) { return ros.ServerKey(roster.ServerToken, k) },
		token.Expect{Issuer: s.cfg.APIURL, Audience: s.cfg.APIURL, Now: now})
	if err != nil {
		return caller{}, err
	}
	claims := access.Claims()
	proof, err := up.Verify(token.ExpectDPoP{
		Method: r.Method, URL: s.signedURL(r, false), AccessToken: access.Token(),
		Nonce:      func(n string) bool { return s.nonces.Valid(n, now) },
		BodySHA256: sha256.Sum256(body), Now: now, JKT: claims.JKT,
	})
	if err != nil {
		return caller{}, err
	}
	device, err := ros.Device(claims.JKT, now)
	if err != nil {
		return caller{}, err
	}
	if device.MemberID != claims.Subject {
		return caller{}, errNotSubject
	}
	if err := s.once(claims.JKT, proof.JTI, proof.IssuedAt, now); err != nil {
		return caller{}, err
	}
	return caller{team: ros.TeamID(), roster: ros, kid: claims.JKT}, nil
}

// server admits apid: a request that one of its keys on the roster has signed.
func (s *Server) server(r *http.Request, body []byte) (caller, error) {
	u, err := token.ParseRequest(only(r, wire.HeaderRequest))
	if err != nil {
		return caller{}, s.unauthenticated(r, err)
	}
	var c caller
	err = s.judge(r, r.URL.Query().Get("team"), func(ros *roster.Roster) (err error) {
		c, err = s.admitServer(r, body, ros, u)
		return err
	})
	return c, err
}

func (s *Server) admitServer(r *http.Request, body []byte, ros *roster.Roster, u token.UnverifiedRequest) (caller, error) {
	now := s.now()
	request, err := u.Verify(
		func(k key.Kid) (key.Public, bool) { return ros.ServerKey(roster.ServerGrant, k) },
		token.ExpectRequest{Now: now, Method: r.Method, URL: s.signedURL(r, true), BodySHA256: envelope.Sum(body)})
	if err != nil {
		return caller{}, err
	}
	signed := request.Body()
	if err := s.once(signed.Kid, signed.JTI.String(), time.Unix(signed.Time, 0), now); err != nil {
		return caller{}, err
	}
	return caller{team: ros.TeamID(), roster: ros, kid: signed.Kid}, nil
}

// once refuses a second use of one key's jti.
func (s *Server) once(k key.Kid, jti string, at, now time.Time) error {
	err := s.proofs.Use(sha256.Sum256(append(k[:], jti...)), at, now)
	if errors.Is(err, replay.ErrReplay) {
		return wire.NewProblem(wire.KindUsed, "this proof was used before", "sign a new request")
	}
	return err
}

// only gives a header that stands exactly once.
func only(r *http.Request, name string) string {
	if v := r.Header.Values(name); len(v) == 1 {
		return v[0]
	}
	return ""
}

func (s *Server) write(w http.ResponseWriter, status int, contentType string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.logger.Error("answer not encoded", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	s.cfg.Tap(b)
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(b)
}
