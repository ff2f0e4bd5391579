package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// DPoPWindow is how far a DPoP proof's iat may be from the server's clock, in
// either direction.
const DPoPWindow = 60 * time.Second

const typeDPoP = "dpop+jwt" // RFC 9449

// DPoPClaims are what a client says of one request.
type DPoPClaims struct {
	Method      string
	URL         string        // query and fragment are left out (RFC 9449 section 4.2)
	AccessToken string        // empty at sign-in
	Nonce       string        // the server's latest; empty before the first answer
	BodySHA256  envelope.Hash // of the body; of no bytes where there is none
	Now         time.Time
	JTI         string // empty: a random one
}

type dpopHeader struct {
	Typ string `json:"typ"`
	Alg string `json:"alg"`
	JWK jwk    `json:"jwk"`
}

type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
}

type dpopClaims struct {
	Jti        string `json:"jti"`
	Htm        string `json:"htm"`
	Htu        string `json:"htu"`
	Iat        int64  `json:"iat"`
	Ath        string `json:"ath,omitempty"`
	Nonce      string `json:"nonce,omitempty"`
	BodySHA256 string `json:"body_sha256"`
}

// SignDPoP makes the value of a DPoP header, signed by the device.
func SignDPoP(id key.Identity, c DPoPClaims) (string, error) {
	htu, err := normalURL(c.URL)
	if err != nil {
		return "", err
	}
	if c.JTI == "" {
		c.JTI = NewID().String()
	}
	claims := dpopClaims{
		Jti: c.JTI, Htm: c.Method, Htu: htu, Iat: c.Now.Unix(), Nonce: c.Nonce,
		BodySHA256: b64.EncodeToString(c.BodySHA256[:]),
	}
	if c.AccessToken != "" {
		claims.Ath = accessHash(c.AccessToken)
	}
	return signJWS(id, dpopHeader{
		Typ: typeDPoP, Alg: algorithm,
		JWK: jwk{Kty: "OKP", Crv: "Ed25519", X: b64.EncodeToString(id.Public().Bytes())},
	}, claims)
}

// accessHash is the claim ath (RFC 9449 section 4.2).
func accessHash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return b64.EncodeToString(sum[:])
}

// normalURL gives the form in which htu is compared (RFC 3986 section 6.2.2 and
// 6.2.3, as RFC 9449 section 4.3 asks): scheme and host in lower case, no
// default port, an empty path as "/", no query, no fragment.
func normalURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || u.Opaque != "" || u.User != nil || u.Host == "" {
		return "", malformed("htu is not an absolute URL of at most %d bytes", maxURL)
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		port = ""
	}
	if scheme != "https" && scheme != "http" || host == "" {
		return "", malformed("htu is not an http or https URL")
	}
	switch {
	case port != "":
		host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return scheme + "://" + host + path, nil
}

// An UnverifiedDPoP is a DPoP proof that nobody has checked.
type UnverifiedDPoP struct {
	t      jws
	by     key.Public
	claims dpopClaims
	body   envelope.Hash
}

// ParseDPoP reads the value of a DPoP header, of at most 8 KiB.
func ParseDPoP(s string) (UnverifiedDPoP, error) {
	u, err := parseDPoP(s)
	if err != nil {
		return UnverifiedDPoP{}, fmt.Errorf("DPoP proof: %w", err)
	}
	return u, nil
}

func parseDPoP(s string) (u UnverifiedDPoP, err error) {
	if u.t, err = parseJWS(s, typeDPoP, "jwk"); err != nil {
		return u, err
	}
	if u.by, err = parseJWK(u.t.header); err != nil {
		return u, err
	}
	o := u.t.claims
	names := []string{"jti", "htm", "htu", "iat", "body_sha256"}
	texts := map[string]*string{"jti": &u.claims.Jti, "htm": &u.claims.Htm, "htu": &u.claims.Htu}
	for name, into := range map[string]*string{"ath": &u.claims.Ath, "nonce": &u.claims.Nonce} {
		if _, ok := o[name]; ok {
			names = append(names, name)
			texts[name] = into
		}
	}
	if err := o.only(names...); err != nil {
		return u, err
	}
	for name, into := range texts {
		if *into, err = o.text(name); err != nil {
			return u, err
		}
	}
	if u.claims.Iat, err = o.seconds("iat"); err != nil {
		return u, err
	}
	u.body, err = o.hash("body_sha256")
	return u, err
}

// parseJWK reads the public key in the header: exactly kty, crv and x, so that
// no private part and no certificate is ever looked at.
func parseJWK(header object) (key.Public, error) {
	o, err := header.inner("jwk", "kty", "crv", "x")
	if err != nil {
		return key.Public{}, err
	}
	kty, err1 := o.text("kty")
	crv, err2 := o.text("crv")
	if err1 != nil || err2 != nil || kty != "OKP" || crv != "Ed25519" {
		return key.Public{}, malformed("jwk is not an Ed25519 key")
	}
	x, err := o.text("x")
	if err != nil {
		return key.Public{}, err
	}
	b, err := unbase64(x)
	if err != nil {
		return key.Public{}, err
	}
	pub, err := key.ParsePublic(b)
	if err != nil {
		return key.Public{}, fmt.Errorf("%w: jwk: %w", ErrMalformed, err)
	}
	return pub, nil
}

// ExpectDPoP is the request as it arrived.
type ExpectDPoP struct {
	Method      string
	URL         string            // as the client knows this server; normalised like htu
	AccessToken string            // empty at sign-in
	Nonce       func(string) bool // is this a nonce that the server gave out lately? nil: none is
	BodySHA256  envelope.Hash
	Now         time.Time
	JKT         key.Kid // of the access token; zero at sign-in, where the key shows itself
}

// A DPoP is a proof that the holder of Key made this request now. Its jti may
// still have been used before: the caller keeps that memory.
type DPoP struct {
	Key      key.Public
	JTI      string
	IssuedAt time.Time
}

// Verify checks signature, key, method, URL, body, token, time, and last the
// nonce, so that ErrNonce means that all the rest is well.
func (u UnverifiedDPoP) Verify(want ExpectDPoP) (DPoP, error) {
	if err := u.t.verify(u.by); err != nil {
		return DPoP{}, fmt.Errorf("DPoP proof: %w", err)
	}
	htu, err := normalURL(u.claims.Htu)
	if err != nil {
		return DPoP{}, err
	}
	url, err := normalURL(want.URL)
	if err != nil {
		return DPoP{}, err
	}
	ath := ""
	if want.AccessToken != "" {
		ath = accessHash(want.AccessToken)
	}
	if err := firstMismatch("DPoP proof", []pair{
		// A token without a key, or a key without a token, is nobody's request.
		{"jwk", want.JKT.IsZero() == (want.AccessToken == "") && (want.JKT.IsZero() || u.by.Kid() == want.JKT)},
		{"htm", u.claims.Htm == want.Method},
		{"htu", htu == url},
		{"body_sha256", u.body == want.BodySHA256},
		{"ath", u.claims.Ath == ath},
	}); err != nil {
		return DPoP{}, err
	}
	window := int64(DPoPWindow / time.Second)
	if u.claims.Iat > want.Now.Unix()+window {
		return DPoP{}, fmt.Errorf("DPoP proof: %w", ErrNotYet)
	}
	if u.claims.Iat < want.Now.Unix()-window {
		return DPoP{}, fmt.Errorf("DPoP proof: %w", ErrExpired)
	}
	if u.claims.Nonce == "" || want.Nonce == nil || !want.Nonce(u.claims.Nonce) {
		return DPoP{}, ErrNonce
	}
	return DPoP{Key: u.by, JTI: u.claims.Jti, IssuedAt: time.Unix(u.claims.Iat, 0)}, nil
}

// NonceLife is how long a server nonce is taken, at least.
const NonceLife = 2 * time.Minute

// ServerNonces gives out DPoP nonces (RFC 9449 section 8) and knows them again
// without storing any: a nonce is a number of minutes and its HMAC under a key
// of this value. Anybody may get one. It limits how long ahead a stolen device
// key can sign; that each proof is used once, the jti says.
type ServerNonces struct{ secret [32]byte }

// NewServerNonces makes one with a random key. After a restart clients are told
// a new nonce, which costs them one more round trip.
func NewServerNonces() *ServerNonces {
	var n ServerNonces
	rand.Read(n.secret[:]) // never fails: crypto/rand ends the program instead
	return &n
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (ServerNonces) Format(f fmt.State, _ rune) { io.WriteString(f, "token.ServerNonces(redacted)") }

// Nonce gives the nonce of now.
func (n *ServerNonces) Nonce(now time.Time) string { return n.at(now.Unix() / 60) }

// Valid reports whether s is the nonce of now or of one of the minutes before,
// within NonceLife, or of the next one, for a clock that was set back.
func (n *ServerNonces) Valid(s string, now time.Time) bool {
	ok := false
	for minute := now.Unix()/60 - int64(NonceLife/time.Minute); minute <= now.Unix()/60+1; minute++ {
		ok = hmac.Equal([]byte(n.at(minute)), []byte(s)) || ok
	}
	return ok
}

func (n *ServerNonces) at(minute int64) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(minute))
	mac := hmac.New(sha256.New, n.secret[:])
	mac.Write([]byte("tucdesk-dpop-nonce-v1\x00"))
	mac.Write(b)
	return b64.EncodeToString(mac.Sum(nil)[:16])
}
