package token

import (
	"fmt"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// AccessLife bounds exp - iat of an access token.
const AccessLife = 10 * time.Minute

const typeAccess = "at+jwt" // RFC 9068

// Claims are what an access token says of a member's device. All are required.
// Role never widens what the roster says; it may only narrow it.
type Claims struct {
	Issuer   string
	Audience string
	Subject  string // member id
	TeamID   string
	Email    string
	Role     string
	JKT      key.Kid // of the device key that must sign each request (cnf.jkt)
	IssuedAt time.Time
	Expires  time.Time // at most AccessLife after IssuedAt
	ID       string
}

type accessHeader struct {
	Alg string  `json:"alg"`
	Typ string  `json:"typ"`
	Kid key.Kid `json:"kid"`
}

type accessClaims struct {
	Iss    string       `json:"iss"`
	Aud    string       `json:"aud"`
	Sub    string       `json:"sub"`
	TeamID string       `json:"team_id"`
	Email  string       `json:"email"`
	Role   string       `json:"role"`
	Cnf    confirmation `json:"cnf"`
	Iat    int64        `json:"iat"`
	Exp    int64        `json:"exp"`
	Jti    string       `json:"jti"`
}

type confirmation struct {
	JKT key.Kid `json:"jkt"`
}

// check holds for what is signed and for what arrives.
func (c Claims) check() error {
	for _, s := range []struct{ name, text string }{
		{"iss", c.Issuer}, {"aud", c.Audience}, {"sub", c.Subject}, {"email", c.Email}, {"role", c.Role}, {"jti", c.ID},
	} {
		if s.text == "" || len(s.text) > maxText || !plain(s.text) || strings.ContainsRune(s.text, '\uFFFD') {
			return malformed("access token: %s has not 1 to %d bytes of plain text", s.name, maxText)
		}
	}
	life := c.Expires.Unix() - c.IssuedAt.Unix()
	switch {
	case sanitize.Name(c.TeamID) != nil:
		return malformed("access token: team_id is not a name that may enter the system")
	case c.JKT.IsZero():
		return malformed("access token: cnf.jkt names no key")
	case c.IssuedAt.Unix() <= 0 || life <= 0 || life > int64(AccessLife/time.Second):
		return malformed("access token: exp must be at most %v after iat", AccessLife)
	}
	return nil
}

// SignAccess makes an access token, signed by one of apid's token keys.
func SignAccess(signer key.Identity, c Claims) (string, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	return signJWS(signer, accessHeader{Alg: algorithm, Typ: typeAccess, Kid: signer.Kid()}, accessClaims{
		Iss: c.Issuer, Aud: c.Audience, Sub: c.Subject, TeamID: c.TeamID, Email: c.Email, Role: c.Role,
		Cnf: confirmation{c.JKT}, Iat: c.IssuedAt.Unix(), Exp: c.Expires.Unix(), Jti: c.ID,
	})
}

// An UnverifiedAccess is an access token that nobody has checked.
type UnverifiedAccess struct {
	t      jws
	kid    key.Kid
	claims Claims
}

// ParseAccess reads a compact access token of at most 8 KiB.
func ParseAccess(s string) (UnverifiedAccess, error) {
	u, err := parseAccess(s)
	if err != nil {
		return UnverifiedAccess{}, fmt.Errorf("access token: %w", err)
	}
	return u, nil
}

func parseAccess(s string) (u UnverifiedAccess, err error) {
	if u.t, err = parseJWS(s, typeAccess, "kid"); err != nil {
		return u, err
	}
	if u.kid, err = u.t.header.kid("kid"); err != nil {
		return u, err
	}
	o := u.t.claims
	if err := o.only("iss", "aud", "sub", "team_id", "email", "role", "cnf", "iat", "exp", "jti"); err != nil {
		return u, err
	}
	for name, into := range map[string]*string{
		"iss": &u.claims.Issuer, "aud": &u.claims.Audience, "sub": &u.claims.Subject, "team_id": &u.claims.TeamID,
		"email": &u.claims.Email, "role": &u.claims.Role, "jti": &u.claims.ID,
	} {
		if *into, err = o.text(name); err != nil {
			return u, err
		}
	}
	cnf, err := o.inner("cnf", "jkt")
	if err != nil {
		return u, err
	}
	if u.claims.JKT, err = cnf.kid("jkt"); err != nil {
		return u, err
	}
	for name, into := range map[string]*time.Time{"iat": &u.claims.IssuedAt, "exp": &u.claims.Expires} {
		n, err := o.seconds(name)
		if err != nil {
			return u, err
		}
		*into = time.Unix(n, 0)
	}
	return u, u.claims.check()
}

// Kid gives the key that claims to have signed. It is for a map lookup only.
func (u UnverifiedAccess) Kid() key.Kid { return u.kid }

// InsecureTeamID gives the team whose keys to ask for.
func (u UnverifiedAccess) InsecureTeamID() string { return u.claims.TeamID }

// Expect is what a server knows by itself. No field may be left zero.
type Expect struct {
	Issuer   string
	Audience string
	Now      time.Time
}

// An Access is an access token that is good now and here: the only form that
// handlers take. The zero value is nobody's.
type Access struct {
	claims  Claims
	compact string
}

// Verify checks signature, issuer, audience and time, with Skew of tolerance at
// both ends. keys answers the token keys of the team.
func (u UnverifiedAccess) Verify(keys Keys, want Expect) (Access, error) {
	pub, ok := keys(u.kid)
	if !ok || u.kid.IsZero() || pub.Kid() != u.kid {
		return Access{}, fmt.Errorf("access token: %w", ErrUnknownKey)
	}
	if err := u.t.verify(pub); err != nil {
		return Access{}, fmt.Errorf("access token: %w", err)
	}
	if err := firstMismatch("access token", []pair{
		{"iss", u.claims.Issuer == want.Issuer},
		{"aud", u.claims.Audience == want.Audience},
	}); err != nil {
		return Access{}, err
	}
	if err := within("access token", u.claims.IssuedAt.Unix(), u.claims.Expires.Unix()+int64(Skew/time.Second), want.Now); err != nil {
		return Access{}, err
	}
	return Access{u.claims, u.t.compact}, nil
}

// Claims gives what the token says; nothing for the zero value.
func (a Access) Claims() Claims { return a.claims }

// Token gives the compact form, which the DPoP proof of each request names.
func (a Access) Token() string { return a.compact }
