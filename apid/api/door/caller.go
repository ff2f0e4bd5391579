package door

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

// Who says whom a route serves. The zero value serves nobody.
type Who uint8

const (
	nobody  Who = iota
	Anyone      // asks nobody who they are
	Device      // anyone with a DPoP proof, also a device that is not signed in
	Member      // a device of a member that has signed in
	Auditor     // a member with the role auditor or admin
	Agent       // an agent, by signed request
	Reader      // a member, an agent, or the team's rendezvous
	Relay       // a relay that has the secret it shares with apid; it is of no team
)

// A Caller is who made a request, as the team's roster has them.
type Caller struct {
	Team   string // routing name, from the verified token or roster
	Roster *roster.Roster
	Kid    key.Kid
	Device roster.Device // of a member
	Agent  roster.Agent  // of an agent
	Proof  token.DPoP    // of a member: of this request
	Until  time.Time     // of a member: when the access token ends
}

// Audits reports whether a member may read the audit log.
func (c *Caller) Audits() bool {
	return c.Device.Admin || slices.Contains(c.Device.Roles, "auditor") || slices.Contains(c.Device.Roles, "admin")
}

// authenticate finds out who made a request. Whatever is wrong, the answer is the
// same 401, except for a missing nonce.
func (d *Door) authenticate(r *http.Request, sum envelope.Hash, need Who) (Caller, error) {
	var c Caller
	var err error
	signed := len(r.Header.Values(wire.HeaderRequest)) > 0
	switch need {
	case Anyone:
		return Caller{}, nil
	case Device:
		c, err = d.newcomer(r, sum)
	case Member, Auditor:
		c, err = d.signedIn(r, sum)
	case Agent:
		c, err = d.signed(r, sum, false)
	case Relay:
		err = d.relay(r, sum)
	case Reader:
		if signed {
			c, err = d.signed(r, sum, true)
		} else {
			c, err = d.signedIn(r, sum)
		}
	default:
		err = errors.New("door: a route that serves nobody")
	}
	switch {
	case errors.Is(err, token.ErrNonce):
		return Caller{}, wire.NewProblem(wire.KindNonce, "the DPoP proof needs a fresh nonce", "take the one in the DPoP-Nonce header and sign again")
	case errors.Is(err, ErrNotNow):
		return Caller{}, err
	case err != nil:
		d.cfg.Logger.Info("request refused", "path", r.URL.Path, "err", err)
		return Caller{}, Unauthenticated()
	case need == Auditor && !c.Audits():
		return Caller{}, Denied("only auditors and admins read the audit log, recordings and usage", "ask an admin of your team for the role auditor")
	}
	return c, nil
}

// one gives the only value of a header. Two values could mean different things
// to two readers.
func one(h http.Header, name string) (string, error) {
	v := h.Values(name)
	if len(v) != 1 || v[0] == "" {
		return "", errors.New("door: want the header " + name + " once")
	}
	return v[0], nil
}

// newcomer checks the DPoP proof of a device that asks for a token. Its team and
// its place on a roster are still to be seen.
func (d *Door) newcomer(r *http.Request, sum envelope.Hash) (Caller, error) {
	proof, err := d.dpop(r, sum, "", key.Kid{})
	if err != nil {
		return Caller{}, err
	}
	return Caller{Kid: proof.Key.Kid(), Proof: proof}, nil
}

// relay checks that a request comes from a relay, which has the secret.
func (d *Door) relay(r *http.Request, sum envelope.Hash) error {
	text, err := one(r.Header, wire.HeaderRequest)
	if err != nil {
		return err
	}
	if !d.cfg.Relays.Vouched(sum, text) {
		return errors.New("door: whoever says it is a relay does not have its secret")
	}
	return nil
}

// tokenKey finds a key that access tokens may be signed with.
func (d *Door) tokenKey(kid key.Kid) (key.Public, bool) {
	i := slices.IndexFunc(d.cfg.TokenKeys, func(p key.Public) bool { return p.Kid() == kid })
	if i < 0 {
		return key.Public{}, false
	}
	return d.cfg.TokenKeys[i], true
}

// signedIn checks the access token and the DPoP proof of a member's device, and
// that the device is on the roster now.
func (d *Door) signedIn(r *http.Request, sum envelope.Hash) (Caller, error) {
	authorization, err := one(r.Header, "Authorization")
	if err != nil {
		return Caller{}, err
	}
	compact, ok := strings.CutPrefix(authorization, "DPoP ")
	if !ok {
		return Caller{}, errors.New("door: Authorization is not of type DPoP")
	}
	u, err := token.ParseAccess(compact)
	if err != nil {
		return Caller{}, err
	}
	access, err := u.Verify(d.tokenKey, token.Expect{Issuer: d.cfg.URL, Audience: d.cfg.URL, Now: d.cfg.Now()})
	if err != nil {
		return Caller{}, err
	}
	claims := access.Claims()
	proof, err := d.dpop(r, sum, access.Token(), claims.JKT)
	if err != nil {
		return Caller{}, err
	}
	c := Caller{Team: claims.TeamID, Kid: claims.JKT, Proof: proof, Until: claims.Expires}
	if c.Roster, err = d.cfg.Roster(r.Context(), c.Team); err != nil {
		return Caller{}, err
	}
	if c.Device, err = c.Roster.Device(c.Kid, d.cfg.Now()); err != nil {
		return Caller{}, err
	}
	if c.Device.MemberID != claims.Subject {
		return Caller{}, errors.New("door: the token is of another member")
	}
	return c, nil
}

// dpop checks the DPoP proof of this request, and that it is not a replay.
func (d *Door) dpop(r *http.Request, sum envelope.Hash, access string, jkt key.Kid) (token.DPoP, error) {
	header, err := one(r.Header, wire.HeaderDPoP)
	if err != nil {
		return token.DPoP{}, err
	}
	u, err := token.ParseDPoP(header)
	if err != nil {
		return token.DPoP{}, err
	}
	now := d.cfg.Now()
	proof, err := u.Verify(token.ExpectDPoP{
		Method:      r.Method,
		URL:         d.cfg.URL + r.URL.EscapedPath(),
		AccessToken: access,
		Nonce:       func(n string) bool { return d.nonces.Valid(n, now) },
		BodySHA256:  sum,
		Now:         now,
		JKT:         jkt,
	})
	if err != nil {
		return token.DPoP{}, err
	}
	return proof, d.fresh(proof.Key.Kid(), proof.JTI, proof.IssuedAt)
}

// fresh refuses a request proof that was seen before. The memory is of this
// process: server nonces, which die with it, cover the time before it began.
func (d *Door) fresh(kid key.Kid, jti string, at time.Time) error {
	h := sha256.New()
	h.Write(kid[:])
	h.Write([]byte(jti))
	return d.seen.Use(replay.Nonce(h.Sum(nil)), at, d.cfg.Now())
}

// claimedSum gives what a signed request says that its body is, before any check.
func claimedSum(r *http.Request) (sum envelope.Hash, err error) {
	header, err := one(r.Header, wire.HeaderRequest)
	if err != nil {
		return sum, err
	}
	u, err := token.ParseRequest(header)
	if err != nil {
		return sum, err
	}
	var b token.Request
	err = u.InsecureDecode(&b)
	return b.BodySHA256, err
}

// signed checks a request that an agent, or the team's rendezvous, has signed.
// The team is named in the signed URL; its roster says whether the key is on it.
func (d *Door) signed(r *http.Request, sum envelope.Hash, orServer bool) (Caller, error) {
	header, err := one(r.Header, wire.HeaderRequest)
	if err != nil {
		return Caller{}, err
	}
	u, err := token.ParseRequest(header)
	if err != nil {
		return Caller{}, err
	}
	c := Caller{Team: r.URL.Query().Get(wire.QueryTeam)}
	if c.Roster, err = d.cfg.Roster(r.Context(), c.Team); err != nil {
		return Caller{}, err
	}
	now := d.cfg.Now()
	verified, err := u.Verify(func(k key.Kid) (key.Public, bool) {
		if a, err := c.Roster.Agent(k, now); err == nil {
			c.Agent = a
			return a.Public, true
		}
		if !orServer {
			return key.Public{}, false
		}
		return c.Roster.ServerKey(roster.ServerRendezvous, k)
	}, token.ExpectRequest{
		Now:        now,
		Method:     r.Method,
		URL:        d.cfg.URL + r.URL.RequestURI(),
		BodySHA256: sum,
	})
	if err != nil {
		return Caller{}, err
	}
	c.Kid = verified.Signer()
	b := verified.Body()
	return c, d.fresh(c.Kid, b.JTI.String(), time.Unix(b.Time, 0))
}
