package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

func identity(t testing.TB) key.Identity {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// fake is a server that checks what each request is signed over, as apid and
// rendezvousd do.
type fake struct {
	*httptest.Server
	t      *testing.T
	id     key.Identity
	nonces *token.ServerNonces

	mu      sync.Mutex
	valid   string // the access token that is taken
	signIns int
	alone   bool                               // it knows signing in alone, as before there was anything else
	open    func(SessionRequest, *TokenAnswer) // answers a session that is asked for while signing in
	jtis    map[string]bool
	answer  http.HandlerFunc
}

func newFake(t *testing.T, answer http.HandlerFunc) (*fake, *Client) {
	f := &fake{t: t, id: identity(t), nonces: token.NewServerNonces(), jtis: map[string]bool{}, answer: answer}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	c, err := NewClient(Options{URL: f.URL, TeamID: "acme", Identity: f.id, HTTP: f.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return f, c
}

func refuse(w http.ResponseWriter, kind Kind) {
	p := NewProblem(kind, "because", "do better")
	w.Header().Set("Content-Type", ContentTypeProblem)
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	now := time.Now()
	w.Header().Set(HeaderDPoPNonce, f.nonces.Nonce(now))
	access := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
	want := token.ExpectDPoP{
		Method: r.Method, URL: f.URL + r.URL.Path, AccessToken: access, BodySHA256: envelope.Sum(body), Now: now,
		Nonce: func(s string) bool { return f.nonces.Valid(s, now) },
	}
	if access != "" {
		want.JKT = f.id.Kid()
	}
	u, err := token.ParseDPoP(r.Header.Get(HeaderDPoP))
	if err != nil {
		f.t.Errorf("%s: %v", r.URL, err)
		refuse(w, KindUnauthenticated)
		return
	}
	proof, err := u.Verify(want)
	if errors.Is(err, token.ErrNonce) {
		refuse(w, KindNonce)
		return
	}
	if err != nil || f.jtis[proof.JTI] {
		f.t.Errorf("%s: %v, or a jti used twice", r.URL, err)
		refuse(w, KindUnauthenticated)
		return
	}
	f.jtis[proof.JTI] = true
	if r.URL.Path == "/v1/token" {
		var in TokenRequest
		if err := strict.Decode(body, &in); err != nil {
			f.t.Error(err)
		}
		if f.alone && in.Session != nil {
			refuse(w, KindMalformed)
			return
		}
		f.signIns++
		f.valid = fmt.Sprintf("token-%d", f.signIns)
		answer := TokenAnswer{AccessToken: f.valid, TokenType: "DPoP", ExpiresIn: 600}
		if in.Session != nil {
			f.open(*in.Session, &answer)
		}
		json.NewEncoder(w).Encode(answer)
		return
	}
	if access != f.valid {
		refuse(w, KindUnauthenticated)
		return
	}
	f.answer(w, r)
}

func TestClientSignsInOnceAndTakesNonces(t *testing.T) {
	f, c := newFake(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"agents":[]}`) })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := c.Agents(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if f.signIns != 1 {
		t.Errorf("signed in %d times", f.signIns)
	}
}

// Who is not signed in asks for the token and for the session in one call, whose answer
// is for that session alone. An apid that does not know this is asked twice.
func TestClientOpensWhileItSignsIn(t *testing.T) {
	grant := func(r SessionRequest) *SessionAnswer {
		return &SessionAnswer{Grant: append([]byte("grant of "), r.Proof...)}
	}
	for _, alone := range []bool{false, true} {
		asked := 0
		f, c := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			json.NewEncoder(w).Encode(grant(SessionRequest{Proof: []byte("later")}))
		})
		f.alone = alone
		f.open = func(r SessionRequest, a *TokenAnswer) { a.Session = grant(r) }
		for i, want := range []string{"first", "second"} {
			if alone || i > 0 {
				want = "later"
			}
			got, err := c.OpenSession(t.Context(), SessionRequest{Proof: []byte("first")})
			if err != nil || string(got.Grant) != "grant of "+want {
				t.Errorf("alone %v: %q, %v; want that of %s", alone, got.Grant, err, want)
			}
		}
		want := 1
		if alone {
			want = 2
		}
		if f.signIns != 1 || asked != want {
			t.Errorf("alone %v: %d sign-ins and %d other questions, want 1 and %d", alone, f.signIns, asked, want)
		}
		if held, err := c.SignIn(t.Context()); err != nil || held.Session != nil || held.AccessToken != "token-1" {
			t.Errorf("alone %v: the client keeps %+v, %v", alone, held, err)
		}
	}
	f, c := newFake(t, nil)
	f.open = func(_ SessionRequest, a *TokenAnswer) { a.Problem = NewProblem(KindHeld, "two must say yes", "ask") }
	if _, err := c.OpenSession(t.Context(), SessionRequest{Proof: []byte("p")}); !errors.Is(err, ErrHeld) {
		t.Errorf("a no beside the token: %v", err)
	}
	if _, err := c.SignIn(t.Context()); err != nil || f.signIns != 1 {
		t.Errorf("%d sign-ins, %v: the token was lost with the no", f.signIns, err)
	}
}

func TestClientReplacesARefusedToken(t *testing.T) {
	f, c := newFake(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"agents":[]}`) })
	if _, err := c.Agents(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.valid = "another" // as after a restart of apid with a new key
	f.mu.Unlock()
	if _, err := c.Agents(t.Context(), ""); err != nil || f.signIns != 2 {
		t.Errorf("%v after %d sign-ins", err, f.signIns)
	}
}

func TestClientGivesUp(t *testing.T) {
	var asked atomic.Int32
	for _, kind := range []Kind{KindNonce, KindUnauthenticated} {
		asked.Store(0)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/token" {
				json.NewEncoder(w).Encode(TokenAnswer{AccessToken: "x", TokenType: "DPoP", ExpiresIn: 600})
				return
			}
			asked.Add(1)
			refuse(w, kind)
		}))
		c, err := NewClient(Options{URL: srv.URL, TeamID: "acme", Identity: identity(t), HTTP: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Sessions(t.Context()); !errors.Is(err, ErrUnauthenticated) || asked.Load() != 2 {
			t.Errorf("%s: %v after %d requests", kind, err, asked.Load())
		}
		srv.Close()
	}
}

func TestClientAnswers(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"held":          {func(w http.ResponseWriter, r *http.Request) { refuse(w, KindHeld) }, ErrHeld},
		"denied":        {func(w http.ResponseWriter, r *http.Request) { refuse(w, KindDenied) }, ErrDenied},
		"a proxy's 502": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, ErrUnavailable},
		"a proxy's 404": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "<html>", http.StatusNotFound) }, ErrNotFound},
		"a lying status": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ContentTypeProblem)
			w.WriteHeader(403)
			json.NewEncoder(w).Encode(NewProblem(KindHeld, "", ""))
		}, ErrDenied},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/v1/agents", http.StatusTemporaryRedirect)
		}, ErrUnavailable},
		"not JSON":      {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }, ErrUnavailable},
		"unknown field": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"sessions":[],"x":1}`) }, ErrUnavailable},
		"case variant":  {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"Sessions":[]}`) }, ErrUnavailable},
		"too long": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"sessions":[`)
			w.Write(bytes.Repeat([]byte(" "), MaxAnswer))
			io.WriteString(w, `]}`)
		}, ErrUnavailable},
		"cut": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"sessions":[`)
			w.(http.Flusher).Flush() // or net/http sends the request again by itself
			panic(http.ErrAbortHandler)
		}, ErrUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, c := newFake(t, tt.answer)
			_, err := c.Sessions(t.Context())
			var p *ProblemError
			if !errors.Is(err, tt.want) || !errors.As(err, &p) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestClientWithoutServer(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	url := srv.URL
	srv.Close()
	c, err := NewClient(Options{URL: url, TeamID: "acme", Identity: identity(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Server(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Server(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestSignedCoversTheQuery(t *testing.T) {
	id := identity(t)
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := token.ParseRequest(r.Header.Get(HeaderRequest))
		if err != nil {
			t.Error(err)
		}
		body, _ := io.ReadAll(r.Body)
		_, err = u.Verify(envelope.One(id.Public()), token.ExpectRequest{
			Now: time.Now(), Method: r.Method, URL: srv.URL + r.URL.RequestURI(), BodySHA256: envelope.Sum(body),
		})
		if err != nil || r.URL.Query().Get(QueryTeam) != "acme & co" {
			t.Errorf("%s: %v", r.URL, err)
		}
		io.WriteString(w, `{"agents":[]}`)
	}))
	defer srv.Close()
	c, err := NewSigned(SignedOptions{URL: srv.URL, Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Registry(t.Context(), "acme & co", []key.Kid{id.Kid()}); err != nil {
		t.Error(err)
	}
}

func TestParseBase(t *testing.T) {
	for url, want := range map[string]bool{
		"https://api.example.com":      true,
		"https://api.example.com/":     true,
		"https://api.example.com:8443": true,
		"http://127.0.0.1:8443":        true,
		"http://[::1]:8443":            true,
		"http://localhost:8443":        true,
		"http://api.example.com":       false,
		"http://127.0.0.1.example.com": false,
		"http://192.0.2.1":             false,
		"http://localhost.example.com": false,
		"https://u:p@api.example.com":  false,
		"https://api.example.com/v1":   false,
		"https://api.example.com?x=1":  false,
		"https://api.example.com#x":    false,
		"ftp://api.example.com":        false,
		"api.example.com":              false,
		"https://":                     false,
		"":                             false,
	} {
		if _, err := ParseBase(url); (err == nil) != want {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := ParseBase("http://api.example.com"); !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("got %v", err)
	}
	if _, err := ParseBase("ftp://u:secret@h"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows a password: %v", err)
	}
}

func TestProblems(t *testing.T) {
	for kind, k := range kinds {
		p := NewProblem(kind, "what and why", "what to do")
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back ProblemError
		if err := strict.Decode(b, &back); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if back.Kind() != kind || back.Status != k.status || !errors.Is(&back, k.err) || back.Error() != p.Error() {
			t.Errorf("%s: got %v", kind, back.Error())
		}
	}
	zero := new(ProblemError)
	if errors.Is(zero, ErrDenied) || !errors.Is(zero, ErrUnavailable) {
		t.Error("a problem of no kind says more than that")
	}
	if p := NewProblem("made-up", "", ""); p.Kind() != KindInternal {
		t.Errorf("got %s", p.Kind())
	}
}

func TestCredentialDoesNotPrint(t *testing.T) {
	c := Credential{Username: "u", Password: "hunter2"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{c, &c, SessionAnswer{Relay: Relay{Agent: c}}} {
			s := fmt.Sprintf(format, v)
			if strings.Contains(s, "hunter2") || strings.Contains(s, fmt.Sprintf("%x", "hunter2")) {
				t.Errorf("%s of %T: %s", format, v, s)
			}
		}
	}
}

// Whatever Decode takes, encoding and decoding it again gives the same value.
func FuzzDecode(f *testing.F) {
	for _, v := range []any{
		SessionRequest{Proof: []byte("p"), Approvals: []token.ID{{1}}},
		SessionRequest{}, Approval{Decisions: []SealedDecision{{}}, Actor: &Actor{}}, NewProblem(KindHeld, "d", "n"),
	} {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"proof":"","proof":""}`))
	f.Add([]byte(`{"a":{"b":[1,{"c":null}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v Approval
		if strict.Decode(b, &v) != nil {
			return
		}
		once, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var again Approval
		if err := strict.Decode(once, &again); err != nil {
			t.Fatal(err)
		}
		if twice, _ := json.Marshal(again); !bytes.Equal(once, twice) {
			t.Errorf("%s\n%s", once, twice)
		}
	})
}
