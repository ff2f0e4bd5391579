package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

var b64 = base64.RawURLEncoding

// jws puts a compact JWS together by hand, signed by sign.
func jws(header, claims string, sign func(input string) []byte) string {
	input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims))
	return input + "." + b64.EncodeToString(sign(input))
}

func ed25519By(t *testing.T, id key.Identity) func(string) []byte {
	return func(input string) []byte {
		sig, err := id.RawSigner().Sign(nil, []byte(input), noHash{})
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
}

// TestMalloryTokens: whatever is wrong with a token or its proof, the answer is
// the same 401.
func TestMalloryTokens(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	signed, err := c.alice.client.SignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const path = "/v1/actor"
	good := func() http.Header { return c.alice.headers("GET", path, nil) }
	withToken := func(access string) http.Header {
		return s.dpopHeaders(t, c.alice.id, access, token.DPoPClaims{Method: "GET", URL: s.url + path, BodySHA256: envelope.Sum(nil)})
	}
	withDPoP := func(id key.Identity, d token.DPoPClaims) http.Header {
		return s.dpopHeaders(t, id, signed.AccessToken, d)
	}
	parts := strings.Split(signed.AccessToken, ".")
	headerJSON, _ := b64.DecodeString(parts[0])
	claimsJSON, _ := b64.DecodeString(parts[1])
	header, claims := string(headerJSON), string(claimsJSON)
	byToken := ed25519By(t, s.tokenKey)
	if status, body := s.send(t, "GET", path, withToken(jws(header, claims, byToken)), nil); status != http.StatusOK {
		t.Fatalf("the hand-made token is not like the real one: %d %s", status, body)
	}
	replayed := good()
	if status, _ := s.send(t, "GET", path, replayed, nil); status != http.StatusOK {
		t.Fatal("the good request is refused")
	}
	claimsWith := func(name string, value any) string {
		var m map[string]any
		if err := json.Unmarshal(claimsJSON, &m); err != nil {
			t.Fatal(err)
		}
		m[name] = value
		return string(mustJSON(t, m))
	}
	twice := good()
	twice.Add(wire.HeaderDPoP, good().Get(wire.HeaderDPoP))
	bearer := good()
	bearer.Set("Authorization", "Bearer "+signed.AccessToken)
	noProof := good()
	noProof.Del(wire.HeaderDPoP)
	stranger := newIdentity(t)
	tests := map[string]http.Header{
		"nothing":                 {},
		"no DPoP":                 noProof,
		"bearer":                  bearer,
		"two DPoP":                twice,
		"replayed DPoP":           replayed,
		"alg none":                withToken(jws(strings.Replace(header, "EdDSA", "none", 1), claims, func(string) []byte { return nil })),
		"alg none, old signature": withToken(b64.EncodeToString([]byte(strings.Replace(header, "EdDSA", "none", 1))) + "." + parts[1] + "." + parts[2]),
		"HS256 with the public key": withToken(jws(strings.Replace(header, "EdDSA", "HS256", 1), claims, func(input string) []byte {
			mac := hmac.New(sha256.New, s.tokenKey.Public().Bytes())
			mac.Write([]byte(input))
			return mac.Sum(nil)
		})),
		"duplicate claim":        withToken(jws(header, strings.Replace(claims, "{", `{"team_id":"acme",`, 1), byToken)),
		"case-variant claim":     withToken(jws(header, strings.Replace(claims, "{", `{"TEAM_ID":"acme",`, 1), byToken)),
		"edited claim":           withToken(parts[0] + "." + b64.EncodeToString([]byte(strings.Replace(claims, "alice", "carol", 1))) + "." + parts[2]),
		"other issuer":           withToken(jws(header, claimsWith("iss", "https://evil.example"), byToken)),
		"other audience":         withToken(jws(header, claimsWith("aud", "https://evil.example"), byToken)),
		"expired":                withToken(jws(header, claimsWith("exp", s.clock.Now().Unix()-600), byToken)),
		"another member's name":  withToken(jws(header, claimsWith("sub", "carol"), byToken)),
		"another team":           withToken(jws(header, claimsWith("team_id", "nobody"), byToken)),
		"signed by a stranger":   withToken(jws(header, claims, ed25519By(t, stranger))),
		"signed by the log key":  withToken(jws(header, claims, ed25519By(t, s.logKey))),
		"DPoP by another device": withDPoP(c.bob.id, token.DPoPClaims{Method: "GET", URL: s.url + path, BodySHA256: envelope.Sum(nil)}),
		"other method":           withDPoP(c.alice.id, token.DPoPClaims{Method: "POST", URL: s.url + path, BodySHA256: envelope.Sum(nil)}),
		"other URL":              withDPoP(c.alice.id, token.DPoPClaims{Method: "GET", URL: s.url + "/v1/agents", BodySHA256: envelope.Sum(nil)}),
		"other host":             withDPoP(c.alice.id, token.DPoPClaims{Method: "GET", URL: "http://127.0.0.1:1" + path, BodySHA256: envelope.Sum(nil)}),
		"wrong body hash":        withDPoP(c.alice.id, token.DPoPClaims{Method: "GET", URL: s.url + path, BodySHA256: envelope.Sum([]byte("x"))}),
	}
	var want []byte
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			status, body := s.send(t, "GET", path, h, nil)
			if status != http.StatusUnauthorized {
				t.Errorf("status %d: %s", status, body)
			}
			if want == nil {
				want = body
			}
			if string(body) != string(want) {
				t.Errorf("says more than the others: %s", body)
			}
		})
	}
	t.Run("no nonce", func(t *testing.T) {
		proof, err := token.SignDPoP(c.alice.id, token.DPoPClaims{Method: "GET", URL: s.url + path, AccessToken: signed.AccessToken, BodySHA256: envelope.Sum(nil), Now: s.clock.Now()})
		if err != nil {
			t.Fatal(err)
		}
		status, body := s.send(t, "GET", path, http.Header{"Authorization": {"DPoP " + signed.AccessToken}, wire.HeaderDPoP: {proof}}, nil)
		if status != http.StatusUnauthorized || !strings.Contains(string(body), string(wire.KindNonce)) {
			t.Errorf("%d %s", status, body)
		}
	})
}

func TestMalloryDevices(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	if _, err := c.alice.client.SignIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := s.client(t, "acme", newIdentity(t)).SignIn(t.Context())
	unknown := wantProblem(t, err, wire.KindUnauthenticated)
	_, err = s.client(t, "nobody", c.bob.id).SignIn(t.Context())
	if p := wantProblem(t, err, wire.KindUnauthenticated); p.Detail != unknown.Detail {
		t.Errorf("an unknown team is told from an unknown device: %v", p)
	}
	c.append(t, roster.KindRevoke, roster.Revoke{Kid: c.alice.id.Kid(), Reason: "lost"})
	_, err = c.alice.client.Actor(t.Context()) // with a token from before
	wantProblem(t, err, wire.KindUnauthenticated)
	s.clock.Advance(91 * 24 * time.Hour)
	_, err = c.bob.client.SignIn(t.Context())
	wantProblem(t, err, wire.KindUnauthenticated) // expired
}

// A device that is revoked while its request is under way gets nothing.
func TestRevokedMeanwhile(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	request := wire.SessionRequest{Proof: c.alice.sign(c.alice.proof(token.ActSession, c.staging.Kid(), token.NewID()))}
	s.presence.set(func() {
		s.presence.before = func() { c.append(t, roster.KindRevoke, roster.Revoke{Kid: c.alice.id.Kid(), Reason: "lost"}) }
	})
	_, err := c.alice.client.OpenSession(t.Context(), request)
	wantProblem(t, err, wire.KindUnauthenticated)
}

// TestMalloryProofs: a signed-in member with a bad proof of the request.
func TestMalloryProofs(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	send := func(raw []byte) error {
		_, err := c.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: raw})
		return err
	}
	older := token.Head(c.roster.Head())
	c.append(t, roster.KindRevoke, roster.Revoke{Kid: c.alice2.id.Kid(), Reason: "old"})
	claims := func(edit func(*token.Proof)) []byte {
		p := c.alice.proof(token.ActSession, c.staging.Kid(), token.NewID())
		edit(&p)
		return c.alice.sign(p)
	}
	byBob := func() []byte {
		p := c.alice.proof(token.ActSession, c.staging.Kid(), token.NewID())
		p.Operator = c.bob.id.Kid()
		return c.bob.sign(p)
	}
	edited := claims(func(*token.Proof) {})
	edited[len(edited)-1] ^= 1
	now := s.clock.Now().Unix()
	tests := map[string]struct {
		proof []byte
		want  wire.Kind
	}{
		"nonsense":           {[]byte("nonsense"), wire.KindMalformed},
		"by another device":  {byBob(), wire.KindUnauthenticated},
		"edited":             {edited, wire.KindUnauthenticated},
		"expired":            {claims(func(p *token.Proof) { p.IAT, p.Exp = now-120, now-60 }), wire.KindExpired},
		"from the future":    {claims(func(p *token.Proof) { p.IAT, p.Exp = now+600, now+660 }), wire.KindMalformed},
		"another act":        {claims(func(p *token.Proof) { p.Act = token.ActAsk }), wire.KindMalformed},
		"older roster":       {claims(func(p *token.Proof) { p.RosterHead = older }), wire.KindConflict},
		"other roster":       {claims(func(p *token.Proof) { p.RosterHead.Hash[0] ^= 1 }), wire.KindConflict},
		"newer roster":       {claims(func(p *token.Proof) { p.RosterHead.Seq++ }), wire.KindConflict},
		"older policy":       {claims(func(p *token.Proof) { p.PolicyHash[0] ^= 1 }), wire.KindConflict},
		"unknown target":     {claims(func(p *token.Proof) { p.Target = c.bob.id.Kid() }), wire.KindNotFound},
		"unknown kind":       {claims(func(p *token.Proof) { p.Kind = "telepathy" }), wire.KindDenied},
		"root without a yes": {claims(func(p *token.Proof) { p.As = "root" }), wire.KindConflict}, // after the one above the chain has moved
	}
	order := []string{"nonsense", "by another device", "edited", "expired", "from the future", "another act", "older roster",
		"other roster", "newer roster", "older policy", "unknown target", "unknown kind", "root without a yes"}
	if len(order) != len(tests) {
		t.Fatal("a case is not run")
	}
	for _, name := range order {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, send(tests[name].proof), tests[name].want)
		})
	}
	t.Run("root", func(t *testing.T) {
		wantProblem(t, send(claims(func(p *token.Proof) { p.As = "root" })), wire.KindDenied)
	})
	t.Run("replayed", func(t *testing.T) {
		raw := claims(func(p *token.Proof) { p.Kind = "telepathy" })
		wantProblem(t, send(raw), wire.KindDenied)
		wantProblem(t, send(raw), wire.KindUsed)
	})
	t.Run("same session id", func(t *testing.T) {
		id := token.NewID()
		if _, err := c.alice.open(c.staging.Kid(), id); err != nil {
			t.Fatal(err)
		}
		_, err := c.alice.open(c.staging.Kid(), id)
		wantProblem(t, err, wire.KindUsed)
	})
	t.Run("chain", func(t *testing.T) {
		p := wantProblem(t, send(claims(func(p *token.Proof) { p.ActorSeq += 3 })), wire.KindConflict)
		at, err := c.alice.client.Actor(t.Context())
		if err != nil || p.Actor == nil || *p.Actor != at {
			t.Errorf("told %+v, is %+v, %v", p.Actor, at, err)
		}
	})
}

func TestMalloryDecisions(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	one, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	send := func(p *person, id token.ID, d wire.SealedDecision) error {
		_, err := p.client.Decide(t.Context(), id, d)
		return err
	}
	good := c.bob.decision(one, true)
	wantProblem(t, send(c.bob, two.ID, good), wire.KindDenied) // moved to another ask
	wantProblem(t, send(c.carol, one.ID, good), wire.KindUnauthenticated)
	swapped := good
	swapped.Sealed = []byte("another sealed approval")
	wantProblem(t, send(c.bob, one.ID, swapped), wire.KindMalformed)
	edited := wire.SealedDecision{Decision: append([]byte(nil), good.Decision...), Sealed: good.Sealed}
	edited.Decision[len(edited.Decision)-1] ^= 1
	wantProblem(t, send(c.bob, one.ID, edited), wire.KindUnauthenticated)
	other := one
	other.AskHash[0] ^= 1
	wantProblem(t, send(c.bob, one.ID, c.bob.decision(other, true)), wire.KindDenied)
	for range 2 { // the same decision again after a lost answer
		if err := send(c.bob, one.ID, good); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := c.bob.client.Approval(t.Context(), one.ID, 0); err != nil || len(a.Decisions) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestMalloryBodies: bodies that are not the strict JSON of their route.
func TestMalloryBodies(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	proof := `"proof":"` + base64.StdEncoding.EncodeToString(c.alice.sign(c.alice.proof(token.ActSession, c.staging.Kid(), token.NewID()))) + `"`
	for name, body := range map[string]string{
		"empty":        ``,
		"not JSON":     `proof`,
		"duplicate":    `{` + proof + `,` + proof + `}`,
		"case variant": `{` + strings.Replace(proof, "proof", "Proof", 1) + `}`,
		"unknown":      `{` + proof + `,"team_id":"eve-corp"}`,
		"trailing":     `{` + proof + `}{}`,
		"deep":         `{"approvals":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			if status, b := c.alice.send(t, "POST", "/v1/sessions", []byte(body)); status != http.StatusUnprocessableEntity {
				t.Errorf("%d %s", status, b)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		big := []byte(`{"proof":"` + strings.Repeat("A", wire.MaxBody) + `"}`)
		if status, b := c.alice.send(t, "POST", "/v1/sessions", big); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d %s", status, b)
		}
	})
	t.Run("unknown parameter", func(t *testing.T) {
		h := c.alice.headers("GET", "/v1/agents", nil)
		if status, b := s.send(t, "GET", "/v1/agents?team_id=eve-corp", h, nil); status != http.StatusUnprocessableEntity {
			t.Errorf("%d %s", status, b)
		}
	})
}

func TestOnlyAuditorsRead(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	for _, path := range []string{"/v1/audit/entries", "/v1/audit/proof", "/v1/audit/export"} {
		if status, b := c.alice.send(t, "GET", path, nil); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, status, b)
		}
		if status, b := c.dora.send(t, "GET", path, nil); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, b)
		}
	}
}
