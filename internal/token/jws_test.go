package token

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/c2sp/wycheproof"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

var now = time.Unix(1_795_000_000, 0)

// identity gives the same identity for the same number.
func identity(n byte) key.Identity { return key.IdentityFromSeed([32]byte{n, 1}) }

func goodClaims() Claims {
	return Claims{
		Issuer: "https://api.example.com", Audience: "https://api.example.com", Subject: "m-alice",
		TeamID: "acme", Email: "alice@example.com", Role: "sre", JKT: identity(2).Kid(),
		IssuedAt: now, Expires: now.Add(AccessLife), ID: "jti-1",
	}
}

var goodExpect = Expect{Issuer: "https://api.example.com", Audience: "https://api.example.com", Now: now}

func keysOf(ids ...key.Identity) Keys {
	return func(k key.Kid) (key.Public, bool) {
		for _, id := range ids {
			if id.Kid() == k {
				return id.Public(), true
			}
		}
		return key.Public{}, false
	}
}

// raw signs any header and claims, as an attacker with a key can.
func raw(t testing.TB, id key.Identity, header, claims string) string {
	t.Helper()
	input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims))
	sig, err := id.RawSigner().Sign(nil, []byte(input), crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64.EncodeToString(sig)
}

func accessOf(s string, keys Keys, want Expect) (Access, error) {
	u, err := ParseAccess(s)
	if err != nil {
		return Access{}, err
	}
	return u.Verify(keys, want)
}

func TestAccess(t *testing.T) {
	signer := identity(1)
	c := goodClaims()
	s, err := SignAccess(signer, c)
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseAccess(s)
	if err != nil {
		t.Fatal(err)
	}
	if u.Kid() != signer.Kid() || u.InsecureTeamID() != "acme" {
		t.Fatalf("kid %v, team %q", u.Kid(), u.InsecureTeamID())
	}
	a, err := u.Verify(keysOf(signer), goodExpect)
	if err != nil {
		t.Fatal(err)
	}
	if a.Claims() != c || a.Token() != s {
		t.Fatalf("claims changed on the way: %+v", a.Claims())
	}
}

func TestAccessTimes(t *testing.T) {
	s, err := SignAccess(identity(1), goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		at   time.Duration
		want error
	}{
		{"a slow clock, within the skew", -Skew, nil},
		{"before it was made", -Skew - time.Second, ErrNotYet},
		{"last second with skew", AccessLife + Skew, nil},
		{"over", AccessLife + Skew + time.Second, ErrExpired},
	} {
		want := goodExpect
		want.Now = now.Add(c.at)
		if _, err := accessOf(s, keysOf(identity(1)), want); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// Every expectation that a server forgets to state refuses.
func TestAccessZeroExpectations(t *testing.T) {
	s, _ := SignAccess(identity(1), goodClaims())
	for name, want := range map[string]Expect{
		"nothing":     {},
		"no issuer":   {Audience: goodExpect.Audience, Now: now},
		"no audience": {Issuer: goodExpect.Issuer, Now: now},
		"no time":     {Issuer: goodExpect.Issuer, Audience: goodExpect.Audience},
	} {
		if _, err := accessOf(s, keysOf(identity(1)), want); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := (UnverifiedAccess{}).Verify(func(key.Kid) (key.Public, bool) { return key.Public{}, true }, goodExpect); err == nil {
		t.Error("the zero token was accepted")
	}
}

func TestAccessAttacks(t *testing.T) {
	signer, mallory := identity(1), identity(9)
	good, err := SignAccess(signer, goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	kid := signer.Kid().String()
	head := func(extra string) string {
		return `{"alg":"EdDSA","typ":"at+jwt","kid":"` + kid + `"` + extra + `}`
	}
	claimsJSON, _ := b64.DecodeString(parts[1])
	claims := string(claimsJSON)
	with := func(old, new string) string {
		if !strings.Contains(claims, old) {
			t.Fatalf("no %q in the claims", old)
		}
		return strings.Replace(claims, old, new, 1)
	}
	hs256 := func() string { // the public key as an HMAC key
		input := b64.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`"}`)) + "." + parts[1]
		mac := hmac.New(sha256.New, signer.Public().Bytes())
		mac.Write([]byte(input))
		return input + "." + b64.EncodeToString(mac.Sum(nil))
	}
	exp := fmt.Sprint(now.Add(AccessLife).Unix())
	for _, c := range []struct {
		name, token string
		want        error
	}{
		{"alg none", b64.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"`+kid+`"}`)) + "." + parts[1] + ".", ErrMalformed},
		{"alg none with a signature", raw(t, signer, `{"alg":"none","typ":"at+jwt","kid":"`+kid+`"}`, claims), ErrMalformed},
		{"alg None", raw(t, signer, `{"alg":"None","typ":"at+jwt","kid":"`+kid+`"}`, claims), ErrMalformed},
		{"alg eddsa", raw(t, signer, `{"alg":"eddsa","typ":"at+jwt","kid":"`+kid+`"}`, claims), ErrMalformed},
		{"alg Ed25519", raw(t, signer, `{"alg":"Ed25519","typ":"at+jwt","kid":"`+kid+`"}`, claims), ErrMalformed},
		{"HS256 with the public key", hs256(), ErrMalformed},
		{"no alg", raw(t, signer, `{"typ":"at+jwt","kid":"`+kid+`"}`, claims), ErrMalformed},
		{"wrong typ", raw(t, signer, strings.Replace(head(""), "at+jwt", "JWT", 1), claims), ErrMalformed},
		{"typ of a DPoP proof", raw(t, signer, strings.Replace(head(""), "at+jwt", "dpop+jwt", 1), claims), ErrMalformed},
		{"typ in capitals", raw(t, signer, strings.Replace(head(""), "at+jwt", "AT+JWT", 1), claims), ErrMalformed},
		{"jwk in the header", raw(t, mallory, head(`,"jwk":{"kty":"OKP","crv":"Ed25519","x":"`+b64.EncodeToString(mallory.Public().Bytes())+`"}`), claims), ErrMalformed},
		{"jku", raw(t, mallory, head(`,"jku":"https://evil.example/keys"`), claims), ErrMalformed},
		{"x5u", raw(t, mallory, head(`,"x5u":"https://evil.example/cert"`), claims), ErrMalformed},
		{"x5c", raw(t, mallory, head(`,"x5c":["AA"]`), claims), ErrMalformed},
		{"crit", raw(t, signer, head(`,"crit":["exp"]`), claims), ErrMalformed},
		{"zip", raw(t, signer, head(`,"zip":"DEF"`), claims), ErrMalformed},
		{"b64", raw(t, signer, head(`,"b64":false`), claims), ErrMalformed},
		{"cty", raw(t, signer, head(`,"cty":"JWT"`), claims), ErrMalformed},
		{"duplicate alg", raw(t, signer, head(`,"alg":"EdDSA"`), claims), ErrMalformed},
		{"kid is a path", raw(t, signer, strings.Replace(head(""), kid, "../../../../etc/passwd", 1), claims), ErrMalformed},
		{"kid is a path of the right length", raw(t, signer, strings.Replace(head(""), kid, "../../../../../../../../../../../dev/null/xx"[:43], 1), claims), ErrMalformed},
		{"kid with a line break", raw(t, signer, strings.Replace(head(""), kid, kid[:20]+`\n`+kid[20:], 1), claims), ErrMalformed},
		{"kid with trailing bits", raw(t, signer, strings.Replace(head(""), kid, kid[:42]+"_", 1), claims), ErrMalformed},
		{"kid is a number", raw(t, signer, strings.Replace(head(""), `"`+kid+`"`, "1", 1), claims), ErrMalformed},
		{"no kid", raw(t, signer, `{"alg":"EdDSA","typ":"at+jwt"}`, claims), ErrMalformed},
		{"unknown kid", raw(t, mallory, strings.Replace(head(""), kid, mallory.Kid().String(), 1), claims), ErrUnknownKey},
		{"known kid, other key", raw(t, mallory, head(""), claims), ErrSignature},
		{"duplicate claim", raw(t, signer, head(""), with(`"team_id":"acme"`, `"team_id":"acme","team_id":"other"`)), ErrMalformed},
		{"duplicate claim, escaped", raw(t, signer, head(""), with(`"team_id":"acme"`, `"team_id":"acme","team\u005fid":"other"`)), ErrMalformed},
		{"case variant beside", raw(t, signer, head(""), with(`"team_id":"acme"`, `"team_id":"acme","Team_ID":"other"`)), ErrMalformed},
		{"case variant instead", raw(t, signer, head(""), with(`"team_id"`, `"TEAM_ID"`)), ErrMalformed},
		{"unknown claim", raw(t, signer, head(""), with(`"team_id"`, `"admin":true,"team_id"`)), ErrMalformed},
		{"audience list", raw(t, signer, head(""), with(`"aud":"https://api.example.com"`, `"aud":["https://api.example.com"]`)), ErrMalformed},
		{"null claim", raw(t, signer, head(""), with(`"role":"sre"`, `"role":null`)), ErrMalformed},
		{"empty role", raw(t, signer, head(""), with(`"role":"sre"`, `"role":""`)), ErrMalformed},
		{"exp as text", raw(t, signer, head(""), with(`"exp":`+exp, `"exp":"`+exp+`"`)), ErrMalformed},
		{"exp with exponent", raw(t, signer, head(""), with(`"exp":`+exp, `"exp":1e18`)), ErrMalformed},
		{"exp with fraction", raw(t, signer, head(""), with(`"exp":`+exp, `"exp":`+exp+`.5`)), ErrMalformed},
		{"no exp", raw(t, signer, head(""), with(`,"exp":`+exp, ``)), ErrMalformed},
		{"long life", raw(t, signer, head(""), with(`"exp":`+exp, fmt.Sprintf(`"exp":%d`, now.Add(AccessLife+time.Second).Unix()))), ErrMalformed},
		{"exp before iat", raw(t, signer, head(""), with(`"exp":`+exp, fmt.Sprintf(`"exp":%d`, now.Unix()-1))), ErrMalformed},
		{"cnf with more", raw(t, signer, head(""), with(`"cnf":{`, `"cnf":{"jwk":{},`)), ErrMalformed},
		{"cnf twice inside", raw(t, signer, head(""), with(`"cnf":{`, `"cnf":{"jkt":"`+mallory.Kid().String()+`",`)), ErrMalformed},
		{"trailing object", raw(t, signer, head(""), claims+`{}`), ErrMalformed},
		{"not UTF-8", raw(t, signer, head(""), with(`acme`, "ac\xffme")), ErrMalformed},
		{"half a surrogate pair", raw(t, signer, head(""), with(`"sre"`, `"sre\ud800"`)), ErrMalformed},
		{"bidi in the team", raw(t, signer, head(""), with(`"acme"`, `"ac\u202eme"`)), ErrMalformed},
		{"foreign audience", raw(t, signer, head(""), with(`"aud":"https://api.example.com"`, `"aud":"https://other.example.com"`)), ErrMismatch},
		{"foreign issuer", raw(t, signer, head(""), with(`"iss":"https://api.example.com"`, `"iss":"https://other.example.com"`)), ErrMismatch},
		{"oversized", good + strings.Repeat("A", maxHeader), ErrMalformed},
		{"three dots", good + ".", ErrMalformed},
		{"many dots", strings.Repeat(".", 7000), ErrMalformed},
		{"one dot", parts[0] + "." + parts[1], ErrMalformed},
		{"padded base64", parts[0] + "=." + parts[1] + "." + parts[2], ErrMalformed},
		{"padded signature", good + "==", ErrMalformed},
		{"line break in base64", parts[0] + "." + parts[1][:4] + "\n" + parts[1][4:] + "." + parts[2], ErrMalformed},
		{"standard base64", parts[0] + "." + parts[1] + "." + strings.Repeat("+", 86), ErrMalformed},
		{"short signature", parts[0] + "." + parts[1] + "." + b64.EncodeToString(make([]byte, 63)), ErrMalformed},
		{"long signature", parts[0] + "." + parts[1] + "." + b64.EncodeToString(make([]byte, 65)), ErrMalformed},
		{"space before", " " + good, ErrMalformed},
		{"JSON serialisation", `{"payload":"` + parts[1] + `","signatures":[]}`, ErrMalformed},
		{"empty", "", ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := accessOf(c.token, keysOf(signer), goodExpect); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

// Not one byte of a token can change.
func TestAccessTampering(t *testing.T) {
	good, err := SignAccess(identity(1), goodClaims())
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for _, c := range []byte{good[i] ^ 1, good[i] ^ 0x20, 'A', '.', '\n', '='} {
			if c == good[i] {
				continue
			}
			b := []byte(good)
			b[i] = c
			if _, err := accessOf(string(b), keysOf(identity(1)), goodExpect); err == nil {
				t.Fatalf("byte %d: %q for %q accepted", i, c, good[i])
			}
		}
	}
	if _, err := accessOf(good[:len(good)-1], keysOf(identity(1)), goodExpect); err == nil {
		t.Fatal("a cut token was accepted")
	}
}

// No claim can be left out or take a wrong type, whoever signs.
func TestAccessEveryClaimIsRequired(t *testing.T) {
	good, _ := SignAccess(identity(1), goodClaims())
	parts := strings.Split(good, ".")
	for i, n := range []int{0, 1} {
		b, _ := b64.DecodeString(parts[n])
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if i == 1 && len(m) != 10 {
			t.Fatalf("%d claims", len(m))
		}
		for name := range m {
			for _, v := range []any{nil, true, 1.5, []any{}, map[string]any{}, "missing"} {
				changed := maps.Clone(m)
				changed[name] = v
				if v == "missing" {
					delete(changed, name)
				}
				b, _ := json.Marshal(changed)
				header, claims := parts[0], parts[1]
				if i == 0 {
					header = b64.EncodeToString(b)
				} else {
					claims = b64.EncodeToString(b)
				}
				h, _ := b64.DecodeString(header)
				c, _ := b64.DecodeString(claims)
				if _, err := accessOf(raw(t, identity(1), string(h), string(c)), keysOf(identity(1)), goodExpect); err == nil {
					t.Errorf("%s = %v accepted", name, v)
				}
			}
		}
	}
}

func TestSignAccessRefuses(t *testing.T) {
	for name, change := range map[string]func(*Claims){
		"no issuer":  func(c *Claims) { c.Issuer = "" },
		"no subject": func(c *Claims) { c.Subject = "" },
		"no role":    func(c *Claims) { c.Role = "" },
		"no team":    func(c *Claims) { c.TeamID = "" },
		"no key":     func(c *Claims) { c.JKT = key.Kid{} },
		"long life":  func(c *Claims) { c.Expires = c.IssuedAt.Add(AccessLife + time.Second) },
		"no life":    func(c *Claims) { c.Expires = c.IssuedAt },
		"bad text":   func(c *Claims) { c.Email = "a\xff" },
		"huge":       func(c *Claims) { c.Email = strings.Repeat("a", 2049) },
	} {
		c := goodClaims()
		change(&c)
		if _, err := SignAccess(identity(1), c); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SignAccess(key.Identity{}, goodClaims()); err == nil {
		t.Error("the zero identity signed")
	}
}

const proofURL = "https://api.example.com/v1/sessions"

func goodDPoP(access string) DPoPClaims {
	return DPoPClaims{Method: "POST", URL: proofURL, AccessToken: access, Nonce: "nonce-1", BodySHA256: envelope.Sum([]byte("body")), Now: now, JTI: "0123456789abcdef0123456789abcdef"}
}

func expectDPoP(access string, jkt key.Kid) ExpectDPoP {
	return ExpectDPoP{
		Method: "POST", URL: proofURL, AccessToken: access, Nonce: func(s string) bool { return s == "nonce-1" },
		BodySHA256: envelope.Sum([]byte("body")), Now: now, JKT: jkt,
	}
}

func dpopOf(s string, want ExpectDPoP) (DPoP, error) {
	u, err := ParseDPoP(s)
	if err != nil {
		return DPoP{}, err
	}
	return u.Verify(want)
}

func TestDPoP(t *testing.T) {
	id := identity(2)
	for _, c := range []struct {
		name, access string
		jkt          key.Kid
	}{
		{"sign-in", "", key.Kid{}},
		{"request", "the.access.token", id.Kid()},
	} {
		s, err := SignDPoP(id, goodDPoP(c.access))
		if err != nil {
			t.Fatal(err)
		}
		p, err := dpopOf(s, expectDPoP(c.access, c.jkt))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if p.Key != id.Public() || len(p.JTI) != 32 || !p.IssuedAt.Equal(now) {
			t.Fatalf("%s: %+v", c.name, p)
		}
	}
}

func TestDPoPAttacks(t *testing.T) {
	id, mallory := identity(2), identity(9)
	const access = "the.access.token"
	good, err := SignDPoP(id, goodDPoP(access))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	h, _ := b64.DecodeString(parts[0])
	b, _ := b64.DecodeString(parts[1])
	header, claims := string(h), string(b)
	with := func(in, old, new string) string {
		if !strings.Contains(in, old) {
			t.Fatalf("no %q in %s", old, in)
		}
		return strings.Replace(in, old, new, 1)
	}
	x := b64.EncodeToString(id.Public().Bytes())
	type change = func(*ExpectDPoP)
	same := func(*ExpectDPoP) {}
	for _, c := range []struct {
		name, proof string
		change      change
		want        error
	}{
		{"other method", good, func(w *ExpectDPoP) { w.Method = "GET" }, ErrMismatch},
		{"method in lower case", good, func(w *ExpectDPoP) { w.Method = "post" }, ErrMismatch},
		{"other path", good, func(w *ExpectDPoP) { w.URL = "https://api.example.com/v1/approvals" }, ErrMismatch},
		{"other host", good, func(w *ExpectDPoP) { w.URL = "https://rendezvous.example.com/v1/sessions" }, ErrMismatch},
		{"other scheme", good, func(w *ExpectDPoP) { w.URL = "http://api.example.com/v1/sessions" }, ErrMismatch},
		{"other port", good, func(w *ExpectDPoP) { w.URL = "https://api.example.com:8443/v1/sessions" }, ErrMismatch},
		{"path in another case", good, func(w *ExpectDPoP) { w.URL = "https://api.example.com/V1/sessions" }, ErrMismatch},
		{"other body", good, func(w *ExpectDPoP) { w.BodySHA256 = envelope.Sum([]byte("other")) }, ErrMismatch},
		{"other token", good, func(w *ExpectDPoP) { w.AccessToken = "another.access.token" }, ErrMismatch},
		{"proof of a request at sign-in", good, func(w *ExpectDPoP) { w.AccessToken, w.JKT = "", key.Kid{} }, ErrMismatch},
		{"token bound to another key", good, func(w *ExpectDPoP) { w.JKT = mallory.Kid() }, ErrMismatch},
		{"token without a key", good, func(w *ExpectDPoP) { w.JKT = key.Kid{} }, ErrMismatch},
		{"too old", good, func(w *ExpectDPoP) { w.Now = now.Add(DPoPWindow + time.Second) }, ErrExpired},
		{"from the future", good, func(w *ExpectDPoP) { w.Now = now.Add(-DPoPWindow - time.Second) }, ErrNotYet},
		{"old nonce", good, func(w *ExpectDPoP) { w.Nonce = func(s string) bool { return s == "nonce-2" } }, ErrNonce},
		{"server without nonces", good, func(w *ExpectDPoP) { w.Nonce = nil }, ErrNonce},
		{"no nonce", raw(t, id, header, with(claims, `"nonce":"nonce-1",`, ``)), func(w *ExpectDPoP) { w.Nonce = func(string) bool { return true } }, ErrNonce},
		{"signed by another key", raw(t, mallory, header, claims), same, ErrSignature},
		{"alg none", raw(t, id, with(header, `"alg":"EdDSA"`, `"alg":"none"`), claims), same, ErrMalformed},
		{"typ of an access token", raw(t, id, with(header, "dpop+jwt", "at+jwt"), claims), same, ErrMalformed},
		{"kid beside jwk", raw(t, id, with(header, `{"typ"`, `{"kid":"`+id.Kid().String()+`","typ"`), claims), same, ErrMalformed},
		{"private key in the header", raw(t, id, with(header, `"x":`, `"d":"AA","x":`), claims), same, ErrMalformed},
		{"another curve", raw(t, id, with(header, `"Ed25519"`, `"X25519"`), claims), same, ErrMalformed},
		{"another key type", raw(t, id, with(header, `"OKP"`, `"EC"`), claims), same, ErrMalformed},
		{"small-order key", raw(t, id, with(header, x, b64.EncodeToString(append([]byte{1}, make([]byte, 31)...))), claims), same, ErrMalformed},
		{"key of 31 bytes", raw(t, id, with(header, x, b64.EncodeToString(make([]byte, 31))), claims), same, ErrMalformed},
		{"two keys", raw(t, id, with(header, `"x":`, `"x":"`+b64.EncodeToString(mallory.Public().Bytes())+`","x":`), claims), same, ErrMalformed},
		{"no jti", raw(t, id, header, with(claims, `"jti"`, `"jtj"`)), same, ErrMalformed},
		{"no body_sha256", raw(t, id, header, with(claims, `"body_sha256"`, `"x"`)), same, ErrMalformed},
		{"two htu", raw(t, id, header, with(claims, `"htu"`, `"htu":"https://evil.example/","htu"`)), same, ErrMalformed},
		{"htu in capitals", raw(t, id, header, with(claims, `"htu"`, `"HTU"`)), same, ErrMalformed},
		{"htu with a user", raw(t, id, header, with(claims, "https://api.", "https://a@api.")), same, ErrMalformed},
		{"htu is a path", raw(t, id, header, with(claims, "https://api.example.com", "")), same, ErrMalformed},
		{"exp beside", raw(t, id, header, with(claims, `"jti"`, `"exp":1,"jti"`)), same, ErrMalformed},
		{"iat far away", raw(t, id, header, with(claims, fmt.Sprint(now.Unix()), "99999999999999")), same, ErrMalformed},
		{"three dots", good + ".", same, ErrMalformed},
		{"oversized", good + strings.Repeat("A", maxHeader), same, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := expectDPoP(access, id.Kid())
			c.change(&want)
			if _, err := dpopOf(c.proof, want); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
	if _, err := (UnverifiedDPoP{}).Verify(expectDPoP("", key.Kid{})); err == nil {
		t.Error("the zero proof was accepted")
	}
}

func TestDPoPTampering(t *testing.T) {
	good, err := SignDPoP(identity(2), goodDPoP(""))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for _, c := range []byte{good[i] ^ 1, good[i] ^ 0x20, 'A', '.', '\n', '='} {
			b := []byte(good)
			if b[i] = c; c == good[i] {
				continue
			}
			if _, err := dpopOf(string(b), expectDPoP("", key.Kid{})); err == nil {
				t.Fatalf("byte %d: %q for %q accepted", i, c, good[i])
			}
		}
	}
}

func TestNormalURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://API.Example.com":                "https://api.example.com/",
		"HTTPS://api.example.com:443/v1/x":       "https://api.example.com/v1/x",
		"http://127.0.0.1:80/":                   "http://127.0.0.1/",
		"http://127.0.0.1:8443/v1?a=b#c":         "http://127.0.0.1:8443/v1",
		"https://[2001:DB8::1]:443/x":            "https://[2001:db8::1]/x",
		"https://[::1]:9/x":                      "https://[::1]:9/x",
		"https://api.example.com/a%2Fb":          "https://api.example.com/a%2Fb",
		"https://api.example.com:80/":            "https://api.example.com:80/",
		"ftp://api.example.com/":                 "",
		"//api.example.com/":                     "",
		"https:opaque":                           "",
		"https://":                               "",
		"https://u:p@api.example.com/":           "",
		"https://x/" + strings.Repeat("a", 2048): "",
	} {
		got, err := normalURL(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.60s: %q, %v; want %q", in, got, err, want)
		}
		if err == nil {
			if again, err := normalURL(got); again != got || err != nil {
				t.Errorf("%s: normalised twice gives %q", in, again)
			}
		}
	}
}

func TestServerNonces(t *testing.T) {
	n, other := NewServerNonces(), NewServerNonces()
	s := n.Nonce(now)
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true}, {NonceLife, true}, {NonceLife + time.Minute, false}, {-time.Minute, true}, {-2 * time.Minute, false},
	} {
		if got := n.Valid(s, now.Add(c.at)); got != c.want {
			t.Errorf("after %v: %v", c.at, got)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
		if got := fmt.Sprintf(verb, n) + fmt.Sprintf(verb, *n); got != strings.Repeat("token.ServerNonces(redacted)", 2) {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if other.Valid(s, now) || n.Valid("", now) || n.Valid(s+"x", now) {
		t.Error("a foreign nonce is valid")
	}
}

// None of the vectors is EdDSA with one of our types, so each must be refused:
// they try other algorithms, odd encodings, keys for other uses, critical
// headers.
func TestWycheproof(t *testing.T) {
	b, err := fs.ReadFile(wycheproof.TestVectors, "json_web_signature_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			Tests []struct {
				TcID int             `json:"tcId"`
				JWS  json.RawMessage `json:"jws"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			n++
			var s string
			if json.Unmarshal(c.JWS, &s) != nil {
				s = string(c.JWS)
			}
			if _, err := ParseAccess(s); !errors.Is(err, ErrMalformed) {
				t.Errorf("tcId %d as access token: %v", c.TcID, err)
			}
			if _, err := ParseDPoP(s); !errors.Is(err, ErrMalformed) {
				t.Errorf("tcId %d as DPoP proof: %v", c.TcID, err)
			}
		}
	}
	if n < 400 {
		t.Fatalf("only %d vectors", n)
	}
}

func FuzzAccess(f *testing.F) {
	good, err := SignAccess(identity(1), goodClaims())
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for _, s := range []string{good, good + ".", "..", parts[0] + ".e30." + parts[2], raw(f, identity(1), `{}`, `{}`)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseAccess(s)
		if err != nil {
			return
		}
		// What parses is one text only, and signing its claims parses again.
		if u.t.compact != s {
			t.Fatal("parsed something else")
		}
		again, err := SignAccess(identity(1), u.claims)
		if err != nil {
			t.Fatalf("parsed claims can't be signed: %v", err)
		}
		if v, err := ParseAccess(again); err != nil || v.claims != u.claims {
			t.Fatalf("%v: %+v became %+v", err, u.claims, v.claims)
		}
		if _, err := u.Verify(keysOf(identity(1)), goodExpect); err == nil && s != good {
			t.Fatal("a forgery was accepted")
		}
	})
}

func FuzzDPoP(f *testing.F) {
	good, err := SignDPoP(identity(2), goodDPoP("t"))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{good, good + ".", "..", raw(f, identity(2), `{}`, `{}`)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseDPoP(s)
		if err != nil {
			return
		}
		if u.by.IsZero() {
			t.Fatal("parsed without a key")
		}
		if _, err := u.Verify(expectDPoP("t", identity(2).Kid())); err == nil && s != good {
			t.Fatal("a forgery was accepted")
		}
	})
}

func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"a":2}`, `{"a":{"b":[1,2,{"c":null}]}}`, `{"a":1}x`, `[]`, "{\"\\u0061\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseObject(b)
		if err != nil {
			return
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatalf("encoding/json refuses what the strict reader takes: %v", err)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(o)), slices.Sorted(maps.Keys(m))) {
			t.Fatal("other members than encoding/json sees")
		}
	})
}

func BenchmarkAccessVerify(b *testing.B) {
	s, err := SignAccess(identity(1), goodClaims())
	if err != nil {
		b.Fatal(err)
	}
	keys := keysOf(identity(1))
	for b.Loop() {
		if _, err := accessOf(s, keys, goodExpect); err != nil {
			b.Fatal(err)
		}
	}
}
