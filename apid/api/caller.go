package api

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/replay"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// who says whom a route serves. The zero value serves nobody.
type who uint8

const (
	nobody  who = iota
	anyone      // asks nobody who they are
	device      // anyone with a DPoP proof, also a device that is not signed in
	member      // a device of a member that has signed in
	auditor     // a member with the role auditor or admin
	agent       // an agent, by signed request
	reader      // a member, an agent, or the team's rendezvous
)

// A caller is who made a request, as the team's roster has them.
type caller struct {
	team   string // routing name, from the verified token or roster
	roster *roster.Roster
	kid    key.Kid
	device roster.Device // of a member
	agent  roster.Agent  // of an agent
	proof  token.DPoP    // of a member: of this request
}

// audits reports whether a member may read the audit log.
func (c *caller) audits() bool {
	return c.device.Admin || slices.Contains(c.device.Roles, "auditor") || slices.Contains(c.device.Roles, "admin")
}

// authenticate finds out who made a request. Whatever is wrong, the answer is the
// same 401, except for a missing nonce.
func (s *Server) authenticate(r *http.Request, body []byte, need who) (caller, error) {
	var c caller
	var err error
	signed := len(r.Header.Values(wire.HeaderRequest)) > 0
	switch need {
	case anyone:
		return caller{}, nil
	case device:
		c, err = s.newcomer(r, body)
	case member, auditor:
		c, err = s.signedIn(r, body)
	case agent:
		c, err = s.signed(r, body, false)
	case reader:
		if signed {
			c, err = s.signed(r, body, true)
		} else {
			c, err = s.signedIn(r, body)
		}
	default:
		err = errors.New("api: a route that serves nobody")
	}
	switch {
	case errors.Is(err, token.ErrNonce):
		return caller{}, wire.NewProblem(wire.KindNonce, "the DPoP proof needs a fresh nonce", "take the one in the DPoP-Nonce header and sign again")
	case errors.Is(err, errNotNow):
		return caller{}, err
	case err != nil:
		s.logger.Info("request refused", "path", r.URL.Path, "err", err)
		return caller{}, unauthenticated()
	case need == auditor && !c.audits():
		return caller{}, denied("only auditors and admins read the audit log", "ask an admin of your team for the role auditor")
	}
	return c, nil
}

// one gives the only value of a header. Two values could mean different things
// to two readers.
func one(h http.Header, name string) (string, error) {
	v := h.Values(name)
	if len(v) != 1 || v[0] == "" {
		return "", errors.New("api: want the header " + name + " once")
	}
	return v[0], nil
}

// newcomer checks the DPoP proof of a device that asks for a token. Its team and
// its place on a roster are still to be seen.
func (s *Server) newcomer(r *http.Request, body []byte) (caller, error) {
	proof, err := s.dpop(r, body, "", key.Kid{})
	if err != nil {
		return caller{}, err
	}
	return caller{kid: proof.Key.Kid(), proof: proof}, nil
}

// signedIn checks the access token and the DPoP proof of a member's device, and
// that the device is on the roster now.
func (s *Server) signedIn(r *http.Request, body []byte) (caller, error) {
	authorization, err := one(r.Header, "Authorization")
	if err != nil {
		return caller{}, err
	}
	compact, ok := strings.CutPrefix(authorization, "DPoP ")
	if !ok {
		return caller{}, errors.New("api: Authorization is not of type DPoP")
	}
	u, err := token.ParseAccess(compact)
	if err != nil {
		return caller{}, err
	}
	access, err := u.Verify(envelope.One(s.cfg.TokenKey.Public()), token.Expect{Issuer: s.cfg.URL, Audience: s.cfg.URL, Now: s.now()})
	if err != nil {
		return caller{}, err
	}
	claims := access.Claims()
	proof, err := s.dpop(r, body, access.Token(), claims.JKT)
	if err != nil {
		return caller{}, err
	}
	c := caller{team: claims.TeamID, kid: claims.JKT, proof: proof}
	if c.roster, err = s.roster(r.Context(), c.team); err != nil {
		return caller{}, err
	}
	if c.device, err = c.roster.Device(c.kid, s.now()); err != nil {
		return caller{}, err
	}
	if c.device.MemberID != claims.Subject {
		return caller{}, errors.New("api: the token is of another member")
	}
	return c, nil
}

// dpop checks the DPoP proof of this request, and that it is not a replay.
func (s *Server) dpop(r *http.Request, body []byte, access string, jkt key.Kid) (token.DPoP, error) {
	header, err := one(r.Header, wire.HeaderDPoP)
	if err != nil {
		return token.DPoP{}, err
	}
	u, err := token.ParseDPoP(header)
	if err != nil {
		return token.DPoP{}, err
	}
	now := s.now()
	proof, err := u.Verify(token.ExpectDPoP{
		Method:      r.Method,
		URL:         s.cfg.URL + r.URL.EscapedPath(),
		AccessToken: access,
		Nonce:       func(n string) bool { return s.nonces.Valid(n, now) },
		BodySHA256:  envelope.Sum(body),
		Now:         now,
		JKT:         jkt,
	})
	if err != nil {
		return token.DPoP{}, err
	}
	return proof, s.fresh(proof.Key.Kid(), proof.JTI, proof.IssuedAt)
}

// fresh refuses a request proof that was seen before. The memory is of this
// process: server nonces, which die with it, cover the time before it began.
func (s *Server) fresh(kid key.Kid, jti string, at time.Time) error {
	h := sha256.New()
	h.Write(kid[:])
	h.Write([]byte(jti))
	return s.seen.Use(replay.Nonce(h.Sum(nil)), at, s.now())
}

// signed checks a request that an agent, or the team's rendezvous, has signed.
// The team is named in the signed URL; its roster says whether the key is on it.
func (s *Server) signed(r *http.Request, body []byte, orServer bool) (caller, error) {
	header, err := one(r.Header, wire.HeaderRequest)
	if err != nil {
		return caller{}, err
	}
	u, err := token.ParseRequest(header)
	if err != nil {
		return caller{}, err
	}
	c := caller{team: r.URL.Query().Get(wire.QueryTeam)}
	if c.roster, err = s.roster(r.Context(), c.team); err != nil {
		return caller{}, err
	}
	now := s.now()
	verified, err := u.Verify(func(k key.Kid) (key.Public, bool) {
		if a, err := c.roster.Agent(k, now); err == nil {
			c.agent = a
			return a.Public, true
		}
		if !orServer {
			return key.Public{}, false
		}
		return c.roster.ServerKey(roster.ServerRendezvous, k)
	}, token.ExpectRequest{
		Now:        now,
		Method:     r.Method,
		URL:        s.cfg.URL + r.URL.RequestURI(),
		BodySHA256: envelope.Sum(body),
	})
	if err != nil {
		return caller{}, err
	}
	c.kid = verified.Signer()
	b := verified.Body()
	return c, s.fresh(c.kid, b.JTI.String(), time.Unix(b.Time, 0))
}
