package rendezvous_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/rendezvousd/rendezvous"
)

const apiURL = "https://api.example.com"

func identity(team, n byte) key.Identity { return key.IdentityFromSeed([32]byte{team, n, 3}) }

var recipient = sync.OnceValue(func() key.Recipient {
	u, err := key.GenerateUnsealer()
	if err != nil {
		panic(err)
	}
	return u.Recipient()
})

// A team of these tests: an admin who is also the operator, two agents, and the
// keys of apid.
type team struct {
	id           string
	admin        key.Identity
	web, db      key.Identity
	grant, token key.Identity
	roster       *roster.Roster
}

func newTeam(t testing.TB, id string, n byte) *team {
	t.Helper()
	tm := &team{id: id, admin: identity(n, 1), web: identity(n, 2), db: identity(n, 3), grant: identity(n, 4), token: identity(n, 5)}
	created := time.Now().Add(-time.Hour)
	exp := time.Now().Add(24 * time.Hour).Unix()
	genesis, err := roster.Found(roster.Genesis{
		TeamID: id, Threshold: 1, Created: created.Unix(),
		Admins: []roster.AdminDevice{{MemberID: "m-admin", Email: "admin@" + id + ".example.com", Device: roster.DeviceBody{
			Public: tm.admin.Public(), Recipient: recipient(), Exp: exp}}},
	}, tm.admin)
	if err != nil {
		t.Fatal(err)
	}
	if tm.roster, err = roster.Open(genesis); err != nil {
		t.Fatal(err)
	}
	tm.add(t, roster.KindServerKeys, roster.ServerKeys{
		Grant: []key.Public{tm.grant.Public()}, Token: []key.Public{tm.token.Public()},
		Log: []key.Public{identity(n, 6).Public()}, Rendezvous: []key.Public{identity(n, 7).Public()}, Relays: []string{"127.0.0.1:3478"},
	})
	for name, a := range map[string]key.Identity{"web-1": tm.web, "db-1": tm.db} {
		tm.add(t, roster.KindAgentAdd, roster.AgentAdd{Name: name, LoginUser: "deploy", Public: a.Public(), Recipient: recipient(), Exp: exp})
	}
	return tm
}

func (tm *team) add(t testing.TB, kind roster.Kind, body any) {
	t.Helper()
	st, err := tm.roster.Next(time.Now(), kind, body, tm.admin)
	if err != nil {
		t.Fatal(err)
	}
	if tm.roster, err = tm.roster.Apply(st); err != nil {
		t.Fatal(err)
	}
}

// rosters is a Rosters that gives what a test puts in.
type rosters struct {
	mu    sync.Mutex
	teams map[string]*roster.Roster
	newer map[string]*roster.Roster // what only Refresh gives
	fail  error
	news  func(*roster.Roster)
}

func (r *rosters) Watch(news func(*roster.Roster)) { r.news = news }

func (r *rosters) Learn(ctx context.Context, id string, statements [][]byte) (*roster.Roster, error) {
	ros, err := r.Roster(ctx, id)
	if err != nil {
		return nil, err
	}
	next, err := ros.Apply(statements...)
	r.put(next)
	return next, err
}

func (r *rosters) Roster(_ context.Context, id string) (*roster.Roster, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return nil, r.fail
	}
	if ros := r.teams[id]; ros != nil {
		return ros, nil
	}
	return nil, rendezvous.ErrNoTeam
}

func (r *rosters) Refresh(ctx context.Context, id string) (*roster.Roster, error) {
	r.mu.Lock()
	if n := r.newer[id]; n != nil {
		r.teams[id] = n
	}
	r.mu.Unlock()
	return r.Roster(ctx, id)
}

func (r *rosters) put(ros *roster.Roster) {
	r.mu.Lock()
	r.teams[ros.TeamID()] = ros
	r.mu.Unlock()
	r.news(ros)
}

// A world is a running server with two teams.
type world struct {
	t           testing.TB
	url         string
	acme, other *team
	rosters     *rosters
	server      *rendezvous.Server

	mu     sync.Mutex
	passed bytes.Buffer // what the tap saw
}

func newWorld(t testing.TB, change func(*rendezvous.Config)) *world {
	t.Helper()
	w := &world{t: t, acme: newTeam(t, "acme", 1), other: newTeam(t, "other", 2)}
	w.rosters = &rosters{teams: map[string]*roster.Roster{"acme": w.acme.roster, "other": w.other.roster}, newer: map[string]*roster.Roster{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + l.Addr().String()
	cfg := rendezvous.Config{Listen: l.Addr().String(), URL: w.url, APIURL: apiURL, Rosters: w.rosters, Tap: func(b []byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.passed.Write(b)
	}}
	if change != nil {
		change(&cfg)
	}
	if w.server, err = rendezvous.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() { done <- w.server.Serve(ctx, l, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// presence signs for one agent. Its fields may be changed before it is used.
type presence struct {
	id       key.Identity
	reg      token.Registration
	beat     func(*token.Heartbeat)
	beatBy   key.Identity
	register func() ([]byte, error)
}

func (w *world) presence(tm *team, id key.Identity) *presence {
	return &presence{id: id, beatBy: id, beat: func(*token.Heartbeat) {}, reg: token.Registration{
		TeamFP: tm.roster.TeamFP(), TeamID: tm.id, Agent: id.Kid(), Audience: w.url, Time: time.Now().Unix(),
		Nonce: token.NewID(), Version: "test", OS: "test", RosterHead: tm.roster.Head(),
	}}
}

func (p *presence) Register() ([]byte, error) {
	if p.register != nil {
		return p.register()
	}
	return token.SignRegistration(p.id, p.reg)
}

func (p *presence) Heartbeat(registration envelope.Hash, seq uint64) ([]byte, error) {
	h := token.Heartbeat{Agent: p.id.Kid(), Registration: registration, Seq: seq, Time: time.Now().Unix(), RosterHead: p.reg.RosterHead}
	p.beat(&h)
	if h.Agent != p.beatBy.Kid() { // mallory signs what nobody honest would
		h.V = token.Version
		return envelope.Sign(h.Context(), h, p.beatBy)
	}
	return token.SignHeartbeat(p.beatBy, h)
}

// handler is an agent that answers with what its functions say.
type handler struct {
	welcome chan wire.SignalWelcome
	offer   func(context.Context, wire.SignalOffer) (wire.SignalAnswer, error)
	finish  chan wire.SignalFinish
	roster  func(wire.SignalRoster)
}

func newHandler() *handler {
	return &handler{
		welcome: make(chan wire.SignalWelcome, 1), finish: make(chan wire.SignalFinish, 100),
		roster: func(wire.SignalRoster) {},
		offer: func(_ context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
			return wire.SignalAnswer{HS2: append([]byte("hs2 for "), o.HS1...), Candidate: "127.0.0.1:2"}, nil
		},
	}
}

func (h *handler) Welcome(w wire.SignalWelcome)                     { h.welcome <- w }
func (h *handler) Finish(f wire.SignalFinish)                       { h.finish <- f }
func (h *handler) Roster(_ context.Context, news wire.SignalRoster) { h.roster(news) }
func (h *handler) Offer(ctx context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
	return h.offer(ctx, o)
}

// dial runs an agent; its error comes when it ends.
func (w *world) dial(p *presence, h *handler) <-chan error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		done <- wire.DialAgent(ctx, wire.AgentOptions{URL: w.url, Presence: p}, h)
	}()
	w.t.Cleanup(func() { cancel(); <-gone })
	return done
}

// online runs an agent and waits until it is registered.
func (w *world) online(tm *team, id key.Identity, h *handler) <-chan error {
	w.t.Helper()
	done := w.dial(w.presence(tm, id), h)
	select {
	case <-h.welcome:
	case err := <-done:
		w.t.Fatalf("not registered: %v", err)
	}
	return done
}

// operator is a client of a team's admin that has signed in already.
type operator struct {
	w      *world
	tm     *team
	device key.Identity
	claims token.Claims
	signer key.Identity
	dpop   func(*token.DPoPClaims)
	nonce  string
}

func (w *world) operator(tm *team) *operator {
	return &operator{w: w, tm: tm, device: tm.admin, signer: tm.token, dpop: func(*token.DPoPClaims) {}, claims: token.Claims{
		Issuer: apiURL, Audience: apiURL, Subject: "m-admin", TeamID: tm.id, Email: "a@b.c", Role: "admin", JKT: tm.admin.Kid(),
		IssuedAt: time.Now().Add(-time.Second), Expires: time.Now().Add(time.Minute), ID: "jti",
	}}
}

func (o *operator) request(path, body string) *http.Request {
	o.w.t.Helper()
	access, err := token.SignAccess(o.signer, o.claims)
	if err != nil {
		o.w.t.Fatal(err)
	}
	if o.nonce == "" {
		resp, err := http.Get(o.w.url + "/")
		if err != nil {
			o.w.t.Fatal(err)
		}
		resp.Body.Close()
		o.nonce = resp.Header.Get(wire.HeaderDPoPNonce)
	}
	c := token.DPoPClaims{Method: "POST", URL: o.w.url + path, AccessToken: access, Nonce: o.nonce, BodySHA256: envelope.Sum([]byte(body)), Now: time.Now()}
	o.dpop(&c)
	proof, err := token.SignDPoP(o.device, c)
	if err != nil {
		o.w.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", o.w.url+path, strings.NewReader(body))
	if err != nil {
		o.w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+access)
	r.Header.Set(wire.HeaderDPoP, proof)
	return r
}

// answer is the status and the body of a request.
func (w *world) answer(r *http.Request) (int, string) {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

func offerBody(session token.ID, agent key.Kid) string {
	return fmt.Sprintf(`{"session_id":%q,"agent":%q,"sealed":"c2VhbGVk","hs1":"aHMx","candidate":"127.0.0.1:1"}`, session, agent)
}

func (o *operator) offer(session token.ID, agent key.Kid) (int, string) {
	o.w.t.Helper()
	return o.w.answer(o.request("/v1/offers", offerBody(session, agent)))
}

func (o *operator) finish(session token.ID) (int, string) {
	o.w.t.Helper()
	return o.w.answer(o.request("/v1/offers/"+session.String()+"/finish", `{"hs3":"aHMz"}`))
}

func (w *world) registry(by key.Identity, team string, kids ...key.Kid) (wire.RegistryAnswer, error) {
	c, err := wire.NewSigned(wire.SignedOptions{URL: w.url, Identity: by})
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Registry(context.Background(), team, kids)
}

func TestOfferAnswerFinish(t *testing.T) {
	w := newWorld(t, nil)
	h := newHandler()
	w.online(w.acme, w.acme.web, h)
	o, session := w.operator(w.acme), token.NewID()
	status, body := o.offer(session, w.acme.web.Kid())
	if status != 200 || !strings.Contains(body, `"hs2":"aHMyIGZvciBoczE="`) || !strings.Contains(body, `"candidate":"127.0.0.1:2"`) {
		t.Fatal(status, body)
	}
	if status, body := o.finish(session); status != 204 {
		t.Fatal(status, body)
	}
	if f := <-h.finish; f.SessionID != session || string(f.HS3) != "hs3" {
		t.Fatalf("%+v", f)
	}
	if status, _ := o.finish(session); status != 404 {
		t.Errorf("finished twice: %d", status)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, seen := range []string{"hs2 for hs1", "aHMz", w.acme.web.Kid().String()} {
		if !strings.Contains(w.passed.String(), seen) {
			t.Errorf("the tap did not see %q", seen)
		}
	}
}

func TestOfferRefusedOrSilent(t *testing.T) {
	w := newWorld(t, nil)
	h := newHandler()
	h.offer = func(context.Context, wire.SignalOffer) (wire.SignalAnswer, error) {
		return wire.SignalAnswer{}, &wire.RefuseError{Reason: "busy\x1b[2J"}
	}
	done := w.online(w.acme, w.acme.web, h)
	o := w.operator(w.acme)
	status, body := o.offer(token.NewID(), w.acme.web.Kid())
	if status != 403 || !strings.Contains(body, "the agent refused: busy") || strings.Contains(body, "\\u001b") {
		t.Fatal(status, body)
	}
	// An agent that says nothing, and then goes.
	silent := make(chan struct{})
	h.offer = func(ctx context.Context, _ wire.SignalOffer) (wire.SignalAnswer, error) {
		close(silent)
		return wire.SignalAnswer{}, errors.New("no")
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if status, body := o.offer(token.NewID(), w.acme.web.Kid()); status != 503 || !strings.Contains(body, "connection ended") {
			t.Error(status, body)
		}
	})
	<-silent
	other := newHandler()
	w.online(w.acme, w.acme.web, other) // replaces the silent one
	wg.Wait()
	var bye *wire.ByeError
	if err := <-done; !errors.As(err, &bye) || bye.Reason != wire.ByeReplaced {
		t.Fatalf("%v", err)
	}
	// The newer connection serves on.
	if status, body := w.operator(w.acme).offer(token.NewID(), w.acme.web.Kid()); status != 200 {
		t.Fatal(status, body)
	}
}

func TestRegistrationAttacks(t *testing.T) {
	w := newWorld(t, nil)
	mallory := identity(9, 9)
	revoked := newTeam(t, "gone", 3)
	revoked.add(t, roster.KindRevoke, roster.Revoke{Kid: revoked.web.Kid(), Reason: "lost"})
	w.rosters.put(revoked.roster)
	replayed := w.presence(w.acme, w.acme.web)
	first, err := replayed.Register()
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler()
	replayed.register = func() ([]byte, error) { return first, nil }
	w.dial(replayed, h)
	<-h.welcome

	edit := func(change func(*token.Registration)) *presence {
		p := w.presence(w.acme, w.acme.web)
		change(&p.reg)
		return p
	}
	bytesOf := func(b []byte) *presence {
		p := w.presence(w.acme, w.acme.web)
		p.register = func() ([]byte, error) { return b, nil }
		return p
	}
	signed := func(by key.Identity, r token.Registration, context string) []byte {
		r.V = token.Version
		b, err := envelope.Sign(context, r, by)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := w.presence(w.acme, w.acme.web).reg
	tampered := signed(w.acme.web, good, good.Context())
	tampered[len(tampered)-1] ^= 1
	asMallory := good
	asMallory.Agent = mallory.Kid()
	for _, c := range []struct {
		name string
		p    *presence
		want wire.ByeReason
	}{
		{"unknown key", w.presence(w.acme, mallory), wire.ByeUnknown},
		{"unknown team", w.presence(newTeam(t, "nowhere", 4), identity(4, 2)), wire.ByeUnknown},
		{"another team's agent", edit(func(r *token.Registration) { r.TeamID, r.TeamFP = "other", w.other.roster.TeamFP() }), wire.ByeUnknown},
		{"revoked agent", w.presence(revoked, revoked.web), wire.ByeUnknown},
		{"a member's device as an agent", w.presence(w.acme, w.acme.admin), wire.ByeUnknown},
		{"another team's fingerprint", edit(func(r *token.Registration) { r.TeamFP = w.other.roster.TeamFP() }), wire.ByeRefused},
		{"old timestamp", edit(func(r *token.Registration) { r.Time -= 65 }), wire.ByeClock},
		{"future timestamp", edit(func(r *token.Registration) { r.Time += 65 }), wire.ByeClock},
		{"other audience", edit(func(r *token.Registration) { r.Audience = "https://elsewhere.example.com" }), wire.ByeRefused},
		{"replayed", bytesOf(first), wire.ByeRefused},
		{"tampered", bytesOf(tampered), wire.ByeRefused},
		{"in the name of another key", bytesOf(signed(mallory, good, good.Context())), wire.ByeRefused},
		{"signed in another context", bytesOf(signed(w.acme.web, good, "tucdesk heartbeat v1")), wire.ByeRefused},
		{"another agent's key id", bytesOf(signed(w.acme.web, asMallory, good.Context())), wire.ByeRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			var bye *wire.ByeError
			if err := <-w.dial(c.p, newHandler()); !errors.As(err, &bye) || bye.Reason != c.want {
				t.Fatalf("%v, want bye %s", err, c.want)
			}
		})
	}
	// None of that has moved the honest agent.
	if status, body := w.operator(w.acme).offer(token.NewID(), w.acme.web.Kid()); status != 200 {
		t.Fatal(status, body)
	}
}

// While the roster can't be had, nobody new comes in and nobody is told that
// they are unknown.
func TestNoRoster(t *testing.T) {
	w := newWorld(t, nil)
	w.rosters.mu.Lock()
	w.rosters.fail = errors.New("apid is away")
	w.rosters.mu.Unlock()
	var bye *wire.ByeError
	if err := <-w.dial(w.presence(w.acme, w.acme.web), newHandler()); !errors.As(err, &bye) || bye.Reason != wire.ByeBusy {
		t.Fatal(err)
	}
	if status, _ := w.operator(w.acme).offer(token.NewID(), w.acme.web.Kid()); status != 503 {
		t.Fatal(status)
	}
}

// An agent that was added a moment ago is found by asking once more.
func TestNewAgentIsFound(t *testing.T) {
	w := newWorld(t, nil)
	fresh := identity(1, 30)
	w.acme.add(t, roster.KindAgentAdd, roster.AgentAdd{Name: "new-1", LoginUser: "x", Public: fresh.Public(), Recipient: recipient(), Exp: time.Now().Add(time.Hour).Unix()})
	w.rosters.mu.Lock()
	w.rosters.newer["acme"] = w.acme.roster
	w.rosters.mu.Unlock()
	w.online(w.acme, fresh, newHandler())
}

func TestNewestRegistrationWins(t *testing.T) {
	w := newWorld(t, nil)
	first := w.online(w.acme, w.acme.web, newHandler())
	older := w.presence(w.acme, w.acme.web)
	older.reg.Time -= 20
	var bye *wire.ByeError
	if err := <-w.dial(older, newHandler()); !errors.As(err, &bye) || bye.Reason != wire.ByeReplaced {
		t.Fatalf("an older registration: %v", err)
	}
	select {
	case err := <-first:
		t.Fatalf("the first agent went: %v", err)
	default:
	}
	w.online(w.acme, w.acme.web, newHandler())
	if err := <-first; !errors.As(err, &bye) || bye.Reason != wire.ByeReplaced {
		t.Fatal(err)
	}
}

func TestHeartbeatAttacks(t *testing.T) {
	w := newWorld(t, func(c *rendezvous.Config) { c.Offline = 3 * time.Second }) // a heartbeat each second
	for _, c := range []struct {
		name   string
		change func(*presence)
		want   wire.ByeReason
	}{
		{"signed by another key", func(p *presence) { p.beatBy = w.acme.db }, wire.ByeRefused},
		{"of another agent", func(p *presence) {
			p.beatBy = w.acme.db
			p.beat = func(h *token.Heartbeat) { h.Agent = w.acme.db.Kid() }
		}, wire.ByeRefused},
		{"of another registration", func(p *presence) { p.beat = func(h *token.Heartbeat) { h.Registration = envelope.Sum(nil) } }, wire.ByeRefused},
		{"number left out", func(p *presence) { p.beat = func(h *token.Heartbeat) { h.Seq++ } }, wire.ByeRefused},
		{"old timestamp", func(p *presence) { p.beat = func(h *token.Heartbeat) { h.Time -= 65 } }, wire.ByeClock},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := w.presence(w.acme, w.acme.web)
			if c.name != "signed by another key" { // one connection for each agent
				tm := newTeam(t, "team-"+strings.ReplaceAll(c.name, " ", "-"), byte(40+len(c.name)))
				w.rosters.put(tm.roster)
				p = w.presence(tm, tm.web)
			}
			c.change(p)
			var bye *wire.ByeError
			if err := <-w.dial(p, newHandler()); !errors.As(err, &bye) || bye.Reason != c.want {
				t.Fatalf("%v, want bye %s", err, c.want)
			}
		})
	}
	t.Run("of an agent that was revoked meanwhile", func(t *testing.T) {
		t.Parallel()
		tm := newTeam(t, "revoking", 39)
		w.rosters.put(tm.roster)
		done := w.online(tm, tm.web, newHandler())
		tm.add(t, roster.KindRevoke, roster.Revoke{Kid: tm.web.Kid(), Reason: "lost"})
		w.rosters.put(tm.roster)
		var bye *wire.ByeError
		if err := <-done; !errors.As(err, &bye) || bye.Reason != wire.ByeUnknown {
			t.Fatal(err)
		}
		// The goodbye may be read before its connection has left the registry.
		for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			answer, err := w.registry(tm.grant, tm.id, tm.web.Kid())
			if err == nil && answer.Agents[0].State == wire.Offline && answer.Agents[0].LastSeen != 0 {
				break
			}
			if err != nil || time.Now().After(until) {
				t.Fatalf("%+v, %v", answer, err)
			}
		}
	})
}

// Answers count only for the offer of their session, from its agent, once.
func TestAnswersOfOthersAreDropped(t *testing.T) {
	w := newWorld(t, nil)
	session := token.NewID()
	web := newHandler()
	dbAnswers := make(chan struct{})
	web.offer = func(ctx context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
		<-dbAnswers
		return wire.SignalAnswer{HS2: []byte("web"), Candidate: "127.0.0.1:2"}, nil
	}
	w.online(w.acme, w.acme.web, web)
	// db answers web's session, an unknown one, and again, over a raw connection.
	db, _, err := websocket.Dial(context.Background(), w.url+wire.SignalPath, &websocket.DialOptions{Subprotocols: []string{wire.SignalProtocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.CloseNow()
	send := func(s wire.Signal) {
		b, err := wire.EncodeSignal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Write(context.Background(), websocket.MessageBinary, b); err != nil {
			t.Fatal(err)
		}
	}
	registration, err := w.presence(w.acme, w.acme.db).Register()
	if err != nil {
		t.Fatal(err)
	}
	send(wire.SignalHello{Registration: registration})
	if _, _, err := db.Read(context.Background()); err != nil {
		t.Fatal(err)
	}
	o := w.operator(w.acme)
	first := o.request("/v1/offers", offerBody(session, w.acme.web.Kid()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if status, body := w.answer(first); status != 200 || !strings.Contains(body, `"d2Vi"`) {
			t.Error(status, body)
		}
	})
	for range 2 {
		send(wire.SignalAnswer{SessionID: session, HS2: []byte("db"), Candidate: "127.0.0.1:3"})
		send(wire.SignalAnswer{SessionID: token.NewID(), HS2: []byte("db"), Candidate: "127.0.0.1:3"})
		send(wire.SignalRefuse{SessionID: session, Reason: "no"})
	}
	// An own offer proves that the server has read all of the above.
	wg.Go(func() {
		if status, body := o.offer(token.NewID(), w.acme.db.Kid()); status != 200 || !strings.Contains(body, `"b3du"`) {
			t.Error(status, body)
		}
	})
	_, b, err := db.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.ParseServerSignal(b)
	own, ok := m.(wire.SignalOffer)
	if err != nil || !ok {
		t.Fatal(m, err)
	}
	send(wire.SignalAnswer{SessionID: own.SessionID, HS2: []byte("own"), Candidate: "127.0.0.1:3"})
	close(dbAnswers)
	wg.Wait()
	// Only who made the offer finishes it.
	stranger := w.operator(w.other)
	if status, _ := stranger.finish(session); status != 404 {
		t.Errorf("another team finished: %d", status)
	}
	if status, body := o.finish(session); status != 204 {
		t.Error(status, body)
	}
}

func TestCallerAttacks(t *testing.T) {
	w := newWorld(t, nil)
	w.online(w.acme, w.acme.web, newHandler())
	w.online(w.other, w.other.web, newHandler())
	mallory := identity(9, 9)
	web := w.acme.web.Kid()
	for _, c := range []struct {
		name   string
		change func(*operator)
		status int
	}{
		{"as it should be", func(*operator) {}, 200},
		{"token by another key", func(o *operator) { o.signer = mallory }, 401},
		{"token by apid's grant key", func(o *operator) { o.signer = w.acme.grant }, 401},
		{"token by another team's key", func(o *operator) { o.signer = w.other.token }, 401},
		{"team of another key", func(o *operator) { o.claims.TeamID = "other" }, 401},
		{"team that is not there", func(o *operator) { o.claims.TeamID = "nowhere" }, 401},
		{"token for another server", func(o *operator) { o.claims.Audience = "https://elsewhere.example.com" }, 401},
		{"token of another server", func(o *operator) { o.claims.Issuer = "https://elsewhere.example.com" }, 401},
		{"expired token", func(o *operator) {
			o.claims.IssuedAt, o.claims.Expires = time.Now().Add(-5*time.Minute), time.Now().Add(-time.Minute)
		}, 401},
		{"stolen token", func(o *operator) { o.device = mallory }, 401},
		{"token for a device that is not on the roster", func(o *operator) { o.device, o.claims.JKT = mallory, mallory.Kid() }, 401},
		{"device of an agent", func(o *operator) { o.device, o.claims.JKT = w.acme.web, web }, 401},
		{"another member's device", func(o *operator) { o.claims.Subject = "m-other" }, 401},
		{"other method", func(o *operator) { o.dpop = func(c *token.DPoPClaims) { c.Method = "GET" } }, 401},
		{"other URL", func(o *operator) { o.dpop = func(c *token.DPoPClaims) { c.URL += "/x" } }, 401},
		{"other host", func(o *operator) { o.dpop = func(c *token.DPoPClaims) { c.URL = apiURL + "/v1/offers" } }, 401},
		{"other body", func(o *operator) { o.dpop = func(c *token.DPoPClaims) { c.BodySHA256 = envelope.Sum(nil) } }, 401},
		{"other token", func(o *operator) { o.dpop = func(c *token.DPoPClaims) { c.AccessToken += "x" } }, 401},
		{"old proof", func(o *operator) { o.dpop = func(c *token.DPoPClaims) { c.Now = c.Now.Add(-2 * time.Minute) } }, 401},
		{"no nonce", func(o *operator) { o.dpop = func(c *token.DPoPClaims) { c.Nonce = "" } }, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := w.operator(w.acme)
			c.change(o)
			if status, body := o.offer(token.NewID(), web); status != c.status {
				t.Fatal(status, body)
			}
		})
	}
	o := w.operator(w.acme)
	t.Run("replayed request", func(t *testing.T) {
		body := offerBody(token.NewID(), web)
		r := o.request("/v1/offers", body)
		again := r.Clone(context.Background())
		again.Body, _ = r.GetBody()
		if status, b := w.answer(r); status != 200 {
			t.Fatal(status, b)
		}
		if status, b := w.answer(again); status != 409 {
			t.Fatal(status, b)
		}
	})
	t.Run("two tokens", func(t *testing.T) {
		r := o.request("/v1/offers", offerBody(token.NewID(), web))
		r.Header.Add("Authorization", r.Header.Get("Authorization"))
		if status, b := w.answer(r); status != 401 {
			t.Fatal(status, b)
		}
	})
	t.Run("a session id twice", func(t *testing.T) {
		session := token.NewID()
		if status, b := o.offer(session, web); status != 200 {
			t.Fatal(status, b)
		}
		if status, b := o.offer(session, web); status != 409 {
			t.Fatal(status, b)
		}
	})
	t.Run("bodies", func(t *testing.T) {
		for _, body := range []string{"", "{}", `{"session_id":"00"}`, strings.Replace(offerBody(token.NewID(), web), `"hs1"`, `"HS1"`, 1),
			strings.Replace(offerBody(token.NewID(), web), `"hs1":"aHMx"`, `"hs1":""`, 1), offerBody(token.NewID(), web) + "x",
			offerBody(token.ID{}, web), offerBody(token.NewID(), key.Kid{})} {
			if status, b := w.answer(o.request("/v1/offers", body)); status != 422 {
				t.Errorf("%.60s: %d %s", body, status, b)
			}
		}
		if status, _ := w.answer(o.request("/v1/offers", strings.Repeat(" ", 300<<10))); status != 413 {
			t.Errorf("huge: %d", status)
		}
	})
	t.Run("foreign and unknown agents look the same", func(t *testing.T) {
		status1, body1 := o.offer(token.NewID(), w.other.web.Kid())
		status2, body2 := o.offer(token.NewID(), mallory.Kid())
		_, body3 := o.finish(token.NewID())
		status4, body4 := w.answer(o.request("/v1/nothing", "{}"))
		if status1 != 404 || status2 != 404 || status4 != 404 || body1 != body2 || body2 != body3 || body3 != body4 {
			t.Fatal(status1, body1, status2, body2)
		}
	})
	t.Run("offline agent of the own team", func(t *testing.T) {
		if status, body := o.offer(token.NewID(), w.acme.db.Kid()); status != 503 || !strings.Contains(body, "offline") {
			t.Fatal(status, body)
		}
	})
}

func TestRegistry(t *testing.T) {
	w := newWorld(t, nil)
	w.online(w.acme, w.acme.web, newHandler())
	kids := []key.Kid{w.acme.web.Kid(), w.acme.db.Kid(), identity(9, 9).Kid()}
	answer, err := w.registry(w.acme.grant, "acme", kids...)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for i, a := range answer.Agents {
		if a.Kid != kids[i] || (a.LastSeen != 0) != (i == 0) {
			t.Errorf("%+v", a)
		}
		states = append(states, a.State)
	}
	if !slices.Equal(states, []string{wire.Online, wire.Offline, wire.Offline}) {
		t.Fatal(states)
	}
	// Another team's agent is as unknown as one that never was.
	foreign, err := w.registry(w.other.grant, "other", w.acme.web.Kid())
	if err != nil || foreign.Agents[0].State != wire.Offline || foreign.Agents[0].LastSeen != 0 {
		t.Fatalf("%+v, %v", foreign, err)
	}
	for name, ask := range map[string]func() (wire.RegistryAnswer, error){
		"another team's key":   func() (wire.RegistryAnswer, error) { return w.registry(w.other.grant, "acme", kids...) },
		"an agent":             func() (wire.RegistryAnswer, error) { return w.registry(w.acme.web, "acme", kids...) },
		"a member":             func() (wire.RegistryAnswer, error) { return w.registry(w.acme.admin, "acme", kids...) },
		"apid's token key":     func() (wire.RegistryAnswer, error) { return w.registry(w.acme.token, "acme", kids...) },
		"an unknown key":       func() (wire.RegistryAnswer, error) { return w.registry(identity(9, 9), "acme", kids...) },
		"a team that is not":   func() (wire.RegistryAnswer, error) { return w.registry(w.acme.grant, "nowhere", kids...) },
		"a team without name":  func() (wire.RegistryAnswer, error) { return w.registry(w.acme.grant, "", kids...) },
		"the same key, others": func() (wire.RegistryAnswer, error) { return w.registry(w.acme.grant, "other", kids...) },
	} {
		if _, err := ask(); !errors.Is(err, wire.ErrUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Offers that wait are bounded, for each device and for each agent; a flood
// leaves others alone.
func TestFloodOfOffers(t *testing.T) {
	w := newWorld(t, nil)
	h := newHandler()
	release := make(chan struct{})
	h.offer = func(context.Context, wire.SignalOffer) (wire.SignalAnswer, error) {
		<-release
		return wire.SignalAnswer{HS2: []byte("late"), Candidate: "127.0.0.1:2"}, nil
	}
	w.online(w.acme, w.acme.web, h)
	w.online(w.acme, w.acme.db, newHandler())
	// Three devices of the team, with ten offers each.
	var requests []*http.Request
	for n := range byte(3) {
		o := w.operator(w.acme)
		if n > 0 {
			o.device = identity(1, 20+n)
			o.claims.JKT = o.device.Kid()
			w.acme.add(t, roster.KindDeviceAdd, roster.DeviceAdd{MemberID: "m-admin", Device: roster.DeviceBody{
				Public: o.device.Public(), Recipient: recipient(), Exp: time.Now().Add(time.Hour).Unix()}})
		}
		for range 10 {
			requests = append(requests, o.request("/v1/offers", offerBody(token.NewID(), w.acme.web.Kid())))
		}
	}
	w.rosters.put(w.acme.roster)
	statuses := make(chan int, len(requests))
	for _, r := range requests {
		go func() {
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	for range 14 { // those above 8 of a device, and above 16 in all, are refused at once
		if s := <-statuses; s != http.StatusTooManyRequests {
			t.Fatalf("status %d", s)
		}
	}
	if status, body := w.operator(w.acme).offer(token.NewID(), w.acme.db.Kid()); status != 200 {
		t.Fatal(status, body)
	}
	close(release)
	for range 16 {
		if s := <-statuses; s != 200 {
			t.Fatalf("status %d", s)
		}
	}
}

// Offers that an agent refuses at once are many, but never so many that its
// refusals end its connection.
func TestFloodOfRefusedOffers(t *testing.T) {
	w := newWorld(t, nil)
	h := newHandler()
	h.offer = func(context.Context, wire.SignalOffer) (wire.SignalAnswer, error) {
		return wire.SignalAnswer{}, &wire.RefuseError{Reason: "no"}
	}
	done := w.online(w.acme, w.acme.web, h)
	o := w.operator(w.acme)
	counts := map[int]int{}
	for range 300 {
		status, _ := o.offer(token.NewID(), w.acme.web.Kid())
		counts[status]++
	}
	if counts[403] == 0 || counts[429] == 0 || counts[403]+counts[429] != 300 {
		t.Errorf("%v", counts)
	}
	select {
	case err := <-done:
		t.Fatalf("the agent went: %v", err)
	default:
	}
}

func TestHello(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	dial := func(sub ...string) *websocket.Conn {
		c, _, err := websocket.Dial(ctx, w.url+wire.SignalPath, &websocket.DialOptions{Subprotocols: sub})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseNow() })
		return c
	}
	if _, _, err := dial().Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("no subprotocol: %v", err)
	}
	beat, err := wire.EncodeSignal(wire.SignalHeartbeat{Heartbeat: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"a heartbeat first": beat, "noise": []byte("noise"), "nothing": {}, "of the server": {16, 0xa0}} {
		c := dial(wire.SignalProtocol)
		if err := c.Write(ctx, websocket.MessageBinary, b); err != nil {
			t.Fatal(err)
		}
		_, got, err := c.Read(ctx)
		if err != nil {
			t.Fatal(name, err)
		}
		if s, err := wire.ParseServerSignal(got); err != nil || s != (wire.SignalBye{Reason: wire.ByeRefused}) {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
	c := dial(wire.SignalProtocol)
	c.Write(ctx, websocket.MessageBinary, make([]byte, wire.MaxSignal+1))
	if _, got, err := c.Read(ctx); err == nil && len(got) > 0 && got[0] != 19 {
		t.Error("a huge message was taken")
	}
}

func TestStopSaysBye(t *testing.T) {
	acme := newTeam(t, "acme", 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, url: "http://" + l.Addr().String(), acme: acme}
	s, err := rendezvous.New(rendezvous.Config{Listen: l.Addr().String(), URL: w.url, APIURL: apiURL,
		Rosters: &rosters{teams: map[string]*roster.Roster{"acme": acme.roster}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, l, func() {}) }()
	done := w.online(acme, acme.web, newHandler())
	cancel()
	var bye *wire.ByeError
	if err := <-done; !errors.As(err, &bye) || bye.Reason != wire.ByeStopping {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	cert := httptest.NewTLSServer(nil) // for its certificate, and a client that trusts it
	defer cert.Close()
	acme := newTeam(t, "acme", 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, url: "https://" + l.Addr().String(), acme: acme}
	s, err := rendezvous.New(rendezvous.Config{Listen: l.Addr().String(), URL: w.url, APIURL: apiURL, TLS: &tls.Config{Certificates: cert.TLS.Certificates},
		Rosters: &rosters{teams: map[string]*roster.Roster{"acme": acme.roster}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, l, func() {}) }()
	h := newHandler()
	dialled := make(chan error, 1)
	go func() {
		dialled <- wire.DialAgent(ctx, wire.AgentOptions{URL: w.url, Presence: w.presence(acme, acme.web), HTTP: cert.Client()}, h)
	}()
	select {
	case <-h.welcome:
	case err := <-dialled:
		t.Fatal(err)
	}
	cancel()
	<-dialled
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := rendezvous.Config{Listen: "127.0.0.1:0", URL: "http://127.0.0.1:1", APIURL: apiURL, Rosters: &rosters{}}
	if _, err := rendezvous.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*rendezvous.Config){
		"no rosters":               func(c *rendezvous.Config) { c.Rosters = nil },
		"plain http beyond":        func(c *rendezvous.Config) { c.Listen = "0.0.0.0:80" },
		"every address":            func(c *rendezvous.Config) { c.Listen = ":8444" },
		"plain URL beyond":         func(c *rendezvous.Config) { c.URL = "http://rv.example.com" },
		"no URL":                   func(c *rendezvous.Config) { c.URL = "" },
		"no API":                   func(c *rendezvous.Config) { c.APIURL = "" },
		"offline in no time":       func(c *rendezvous.Config) { c.Offline = time.Second },
		"a negative limit":         func(c *rendezvous.Config) { c.MaxAgents = -1 },
		"a URL with a path beyond": func(c *rendezvous.Config) { c.URL = "http://127.0.0.1:1/x" },
	} {
		c := good
		change(&c)
		if _, err := rendezvous.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
