package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/keys"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/recording/blob"
	"github.com/tucdesk/tucdesk/internal/recording/blob/fs"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store/engine"
	"github.com/tucdesk/tucdesk/internal/store/pgtest"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const testPolicy = `version: 1
mode: allowlist
allowlist:
  - name: sre-staging
    members: ["role:sre"]
    targets: {tags: {env: staging}}
    sessions: [shell, exec]
  - name: sre-prod
    members: ["role:sre"]
    targets: {tags: {env: prod}}
    sessions: [shell, exec]
    hold: {approvers: ["role:approver"], quorum: 1, expires: 15m}
commands:
  high: ["systemctl ..."]
  default: low
  tiers: {high: hold, low: allow}
`

const relayAddr = "127.0.0.1:3478"

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// everyone is a Presence in which all agents are online but the ones named.
type everyone struct {
	mu      sync.Mutex
	offline map[key.Kid]bool
	down    bool
	asked   int
	before  func() // runs once, before the next answer
}

func (e *everyone) States(_ context.Context, _ string, kids []key.Kid) ([]wire.AgentState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.before != nil {
		e.before()
		e.before = nil
	}
	e.asked++
	if e.down {
		return nil, errors.New("rendezvous is down")
	}
	out := make([]wire.AgentState, len(kids))
	for i, k := range kids {
		out[i] = wire.AgentState{Kid: k, State: wire.Online}
		if e.offline[k] {
			out[i].State = wire.Offline
		}
	}
	return out, nil
}

func (e *everyone) set(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

// server is apid on a real store behind a real listener.
type server struct {
	*Server
	url      string
	clock    *clock
	presence *everyone
	tokenKey key.Identity
	logKey   key.Identity
	http     *http.Client
	asked    atomic.Uint32 // nonces
}

func newIdentity(t testing.TB) key.Identity {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newRecipient(t testing.TB) key.Recipient {
	t.Helper()
	u, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	return u.Recipient()
}

func newServer(t testing.TB) *server {
	t.Helper()
	blobs, err := fs.Open(filepath.Join(t.TempDir(), "recordings"))
	if err != nil {
		t.Fatal(err)
	}
	return newServerWith(t, blobs)
}

// onEach runs a test on a server with each kind of database.
func onEach(t *testing.T, f func(*testing.T, *server)) {
	t.Run("SQLite", func(t *testing.T) { f(t, newServer(t)) })
	t.Run("PostgreSQL", func(t *testing.T) {
		c := pgtest.Shared(t)
		name := c.Database(t)
		if _, err := engine.Migrate(t.Context(), c.URL(pgtest.Owner, name), engine.Latest); err != nil {
			t.Fatal(err)
		}
		f(t, newServerOn(t, c.URL(pgtest.Apid, name), nil))
	})
}

func newServerWith(t testing.TB, blobs blob.Store) *server {
	t.Helper()
	return newServerOn(t, filepath.Join(t.TempDir(), "apid.db"), blobs)
}

func newServerOn(t testing.TB, database string, blobs blob.Store) *server {
	t.Helper()
	db, err := engine.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	s := &server{
		url: "http://" + srv.Listener.Addr().String(), clock: &clock{now: time.Unix(1_790_000_000, 0)},
		presence: &everyone{offline: map[key.Kid]bool{}}, tokenKey: newIdentity(t), logKey: newIdentity(t), http: srv.Client(),
	}
	s.Server, err = New(Config{
		URL: s.url, Listen: "127.0.0.1:0", Keys: keys.Set{Grant: keys.Ring{newIdentity(t)}, Token: keys.Ring{s.tokenKey}, Log: keys.Ring{s.logKey}, Rendezvous: []key.Public{newIdentity(t).Public()}},
		RelaySecret: cred.NewSecret(), RelayAddrs: []string{relayAddr}, RendezvousURL: "http://127.0.0.1:9",
		Presence: s.presence, Store: db, Recordings: blobs, Founding: FoundingOpen, Now: s.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = s.Handler()
	srv.Start()
	s.http = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		srv.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// person is a member's device, as a client has it.
type person struct {
	t      testing.TB
	on     *crew
	id     key.Identity
	client *wire.Client
}

// crew is a team with its people and agents.
type crew struct {
	s                                      *server
	name                                   string
	roster                                 *roster.Roster
	rendezvous                             key.Identity
	carol, alice, alice2, bob, dora, frank *person
	staging, prod                          key.Identity // agents web-1 and db-1
}

func (s *server) person(t testing.TB, c *crew) *person {
	p := &person{t: t, on: c, id: newIdentity(t)}
	p.client = s.client(t, c.name, p.id)
	return p
}

func (s *server) client(t testing.TB, team string, id key.Identity) *wire.Client {
	t.Helper()
	c, err := wire.NewClient(wire.Options{URL: s.url, TeamID: team, Identity: id, Now: s.clock.Now, HTTP: s.http})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signedBy is the client of an agent or a server.
func (s *server) signedBy(t testing.TB, id key.Identity) *wire.Signed {
	t.Helper()
	c, err := wire.NewSigned(wire.SignedOptions{URL: s.url, Identity: id, Now: s.clock.Now, HTTP: s.http})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newCrew(t testing.TB, s *server, name string) *crew {
	t.Helper()
	c := &crew{s: s, name: name, staging: newIdentity(t), prod: newIdentity(t)}
	for _, p := range []**person{&c.carol, &c.alice, &c.alice2, &c.bob, &c.dora, &c.frank} {
		*p = s.person(t, c)
	}
	now := s.clock.Now()
	exp := now.Add(90 * 24 * time.Hour).Unix()
	device := func(p *person) roster.DeviceBody {
		return roster.DeviceBody{Public: p.id.Public(), Recipient: newRecipient(t), Exp: exp}
	}
	genesis, err := roster.Found(roster.Genesis{
		TeamID: name, Threshold: 1, Created: now.Unix(),
		Admins: []roster.AdminDevice{{MemberID: "carol", Email: "carol@example.com", Device: device(c.carol)}},
	}, c.carol.id)
	if err != nil {
		t.Fatal(err)
	}
	if c.roster, err = roster.Open(genesis); err != nil {
		t.Fatal(err)
	}
	if _, err := c.carol.client.Found(t.Context(), genesis); err != nil {
		t.Fatal(err)
	}
	info, err := c.carol.client.Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.rendezvous = newIdentity(t)
	keys := map[string][]key.Public{"rendezvous": {c.rendezvous.Public()}}
	for _, k := range info.Keys {
		if k.Purpose != "rendezvous" {
			keys[k.Purpose] = append(keys[k.Purpose], k.Key)
		}
	}
	agentAdd := func(name, env string, id key.Identity) roster.AgentAdd {
		return roster.AgentAdd{Name: name, Public: id.Public(), Recipient: newRecipient(t), Tags: map[string]string{"env": env}, LoginUser: "deploy", Exp: exp}
	}
	c.append(t, roster.KindServerKeys, roster.ServerKeys{
		Grant: keys["grant"], Token: keys["token"], Log: keys["log"], Rendezvous: keys["rendezvous"], Relays: []string{relayAddr},
	})
	c.append(t, roster.KindMemberAdd, roster.MemberAdd{MemberID: "alice", Email: "alice@example.com", Roles: []string{"sre"}, Device: device(c.alice)})
	c.append(t, roster.KindDeviceAdd, roster.DeviceAdd{MemberID: "alice", Device: device(c.alice2)})
	c.append(t, roster.KindMemberAdd, roster.MemberAdd{MemberID: "bob", Email: "bob@example.com", Roles: []string{"approver"}, Device: device(c.bob)})
	c.append(t, roster.KindMemberAdd, roster.MemberAdd{MemberID: "dora", Email: "dora@example.com", Roles: []string{"auditor"}, Device: device(c.dora)})
	c.append(t, roster.KindMemberAdd, roster.MemberAdd{MemberID: "frank", Email: "frank@example.com", Roles: []string{"sre"}, Device: device(c.frank)})
	c.append(t, roster.KindAgentAdd, agentAdd("web-1", "staging", c.staging))
	c.append(t, roster.KindAgentAdd, agentAdd("db-1", "prod", c.prod))
	c.append(t, roster.KindPolicySet, roster.PolicySet{Version: 1, Hash: envelope.Sum([]byte(testPolicy)), Document: []byte(testPolicy)})
	return c
}

// next signs a statement without sending it.
func (c *crew) next(t testing.TB, kind roster.Kind, body any) []byte {
	t.Helper()
	st, err := c.roster.Next(c.s.clock.Now(), kind, body, c.carol.id)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// append signs a statement and sends it.
func (c *crew) append(t testing.TB, kind roster.Kind, body any) {
	t.Helper()
	st := c.next(t, kind, body)
	var err error
	if c.roster, err = c.roster.Apply(st); err != nil {
		t.Fatal(err)
	}
	head, err := c.carol.client.AppendStatements(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if roster.Head(head) != c.roster.Head() {
		t.Fatalf("head %v, want %v", head, c.roster.Head())
	}
}

// proof makes the claims of a proof that continues the device's chain.
func (p *person) proof(act string, target key.Kid, session token.ID) token.Proof {
	p.t.Helper()
	at, err := p.client.Actor(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	now := p.on.s.clock.Now().Unix()
	return token.Proof{
		JTI: token.NewID(), IAT: now, Exp: now + 60, TeamFP: p.on.roster.TeamFP(), Operator: p.id.Kid(), Act: act, Target: target,
		SessionID: session, Kind: "exec", Commitment: envelope.Sum([]byte("a command")),
		PolicyHash: p.on.roster.PolicyHash(), RosterHead: token.Head(p.on.roster.Head()), ActorSeq: at.Seq + 1, ActorPrev: at.Hash,
	}
}

func (p *person) sign(claims token.Proof) []byte {
	p.t.Helper()
	b, err := token.SignProof(p.id, claims)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// open asks for a session.
func (p *person) open(target key.Kid, session token.ID, approvals ...token.ID) (wire.SessionAnswer, error) {
	p.t.Helper()
	return p.client.OpenSession(p.t.Context(), wire.SessionRequest{Proof: p.sign(p.proof(token.ActSession, target, session)), Approvals: approvals})
}

// ask asks for an approval.
func (p *person) ask(target key.Kid, session token.ID) (wire.Approval, error) {
	p.t.Helper()
	return p.client.Ask(p.t.Context(), wire.AskRequest{
		ID: token.NewID(), Proof: p.sign(p.proof(token.ActAsk, target, session)), Tier: "high", Rule: "commands.high",
		AskHash: envelope.Sum([]byte("an ask")), AskUntil: p.on.s.clock.Now().Add(10 * time.Minute).Unix(), Sealed: []byte("sealed ask"),
	})
}

// decision makes a decision on an approval.
func (p *person) decision(a wire.Approval, yes bool) wire.SealedDecision {
	p.t.Helper()
	now := p.on.s.clock.Now()
	sealed := []byte("sealed approval")
	d := approval.Decision{ID: a.ID, AskHash: a.AskHash, Approver: p.id.Kid(), Approve: yes, Decided: now.Unix(), SealedHash: envelope.Sum(sealed)}
	if yes {
		d.UseUntil = now.Add(5 * time.Minute).Unix()
	}
	b, err := approval.SignDecision(p.id, d)
	if err != nil {
		p.t.Fatal(err)
	}
	return wire.SealedDecision{Decision: b, Sealed: sealed}
}

func (p *person) decide(a wire.Approval, yes bool) (wire.Approval, error) {
	p.t.Helper()
	return p.client.Decide(p.t.Context(), a.ID, p.decision(a, yes))
}

// wantProblem fails unless err is a problem of a kind, and gives it.
func wantProblem(t testing.TB, err error, kind wire.Kind) *wire.ProblemError {
	t.Helper()
	var p *wire.ProblemError
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want a problem of kind %s", err, kind)
	}
	if p.Kind() != kind {
		t.Fatalf("got %s (%v), want %s", p.Kind(), err, kind)
	}
	return p
}

// send makes a request with headers of its own and gives status and body.
func (s *server) send(t testing.TB, method, path string, header http.Header, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// headers signs a member's request by hand.
func (p *person) headers(method, path string, body []byte) http.Header {
	p.t.Helper()
	signed, err := p.client.SignIn(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return p.on.s.dpopHeaders(p.t, p.id, signed.AccessToken, token.DPoPClaims{Method: method, URL: p.on.s.url + path, BodySHA256: envelope.Sum(body)})
}

// nonce gives the server's nonce of now. Each question comes from an address of
// its own, so that it counts against nobody's rate.
func (s *server) nonce() string {
	r := httptest.NewRequest("GET", "/v1/server", nil)
	n := s.asked.Add(1)
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", byte(n>>16), byte(n>>8), byte(n))
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Header().Get(wire.HeaderDPoPNonce)
}

// dpopHeaders makes the two headers of a member's request.
func (s *server) dpopHeaders(t testing.TB, id key.Identity, access string, c token.DPoPClaims) http.Header {
	t.Helper()
	c.AccessToken, c.Nonce, c.Now = access, s.nonce(), s.clock.Now()
	proof, err := token.SignDPoP(id, c)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set(wire.HeaderDPoP, proof)
	if access != "" {
		h.Set("Authorization", "DPoP "+access)
	}
	return h
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
