package rendezvous

import (
	"net/http"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// offering admits who makes offers: an operator with an access token or, where the
// team's policy has break-glass, a device of the roster that signs the request itself,
// because nobody is there to give it a token. It may knock, no more: the agent wants a
// grant, or a quorum's warrants.
func (s *Server) offering(r *http.Request, body []byte) (caller, error) {
	if r.Header.Get("Authorization") == "" && only(r, wire.HeaderRequest) != "" {
		c, _, err := s.device(r, body)
		return c, err
	}
	return s.member(r, body)
}

// device admits a device by its own signature, and gives how long a session of its
// break-glass can last.
func (s *Server) device(r *http.Request, body []byte) (c caller, life time.Duration, err error) {
	u, err := token.ParseRequest(only(r, wire.HeaderRequest))
	if err != nil {
		return caller{}, 0, s.unauthenticated(r, err)
	}
	err = s.judge(r, r.URL.Query().Get(wire.QueryTeam), func(ros *roster.Roster) error {
		now := s.now()
		request, err := u.Verify(
			func(k key.Kid) (key.Public, bool) {
				d, err := ros.Device(k, now)
				return d.Public, err == nil
			},
			token.ExpectRequest{Now: now, Method: r.Method, URL: s.signedURL(r, true), BodySHA256: envelope.Sum(body)})
		if err != nil {
			return err
		}
		signed := request.Body()
		if err := s.once(signed.Kid, signed.JTI.String(), time.Unix(signed.Time, 0), now); err != nil {
			return err
		}
		glass, ok := ros.Snapshot().Policy.BreakGlass()
		if !ok {
			return wire.NewProblem(wire.KindDenied, "the team's policy has no break_glass: without a token of the API server nobody is let in", "wait for the API server")
		}
		c, life = caller{team: ros.TeamID(), roster: ros, kid: signed.Kid}, glass.Expires
		return nil
	})
	return c, life, err
}

// postRelay is POST /v1/break-glass/relay: credentials for a session's relay, which
// the API server gives where it is there.
func (s *Server) postRelay(r *http.Request, body []byte) (any, error) {
	who, life, err := s.device(r, body)
	if err != nil {
		return nil, err
	}
	var in wire.RelayRequest
	if err := strict.Decode(body, &in); err != nil || in.SessionID.IsZero() {
		return nil, wire.NewProblem(wire.KindMalformed, "session_id is missing", "update the client")
	}
	relays := who.roster.Relays()
	if s.cfg.RelaySecret.IsZero() || len(relays) == 0 {
		return nil, wire.NewProblem(wire.KindUnavailable, "this rendezvous has no relay to give", "set relay_secret_file of tucdesk-rendezvousd to the relay's secret")
	}
	out, until := wire.Relay{Addr: relays[0]}, s.now().Add(life)
	for side, into := range map[cred.Side]*wire.Credential{cred.Operator: &out.Operator, cred.Agent: &out.Agent} {
		minted := s.cfg.RelaySecret.Mint(in.SessionID, side, until)
		*into = wire.Credential{Username: minted.Username, Password: string(minted.Password)}
	}
	return out, nil
}
