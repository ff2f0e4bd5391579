package rendezvous_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/rendezvousd/rendezvous"
)

// A learner is an agent that takes every roster it is told of, and says so in
// its heartbeats.
type learner struct {
	*presence
	*handler
	got chan wire.SignalRoster

	mu   sync.Mutex
	head token.Head
}

// learns runs one that knows the roster up to a head.
func (w *world) learns(tm *team, id key.Identity, head roster.Head) *learner {
	w.t.Helper()
	l := &learner{presence: w.presence(tm, id), handler: newHandler(), got: make(chan wire.SignalRoster, 8), head: token.Head(head)}
	l.presence.reg.RosterHead = l.head
	l.presence.beat = func(h *token.Heartbeat) {
		l.mu.Lock()
		defer l.mu.Unlock()
		h.RosterHead = l.head
	}
	l.handler.roster = func(s wire.SignalRoster) {
		l.mu.Lock()
		l.head = token.Head{Seq: s.HeadSeq, Hash: s.HeadHash}
		l.mu.Unlock()
		l.got <- s
	}
	done := w.dial(l.presence, l.handler)
	select {
	case <-l.handler.welcome:
	case err := <-done:
		w.t.Fatalf("not registered: %v", err)
	}
	return l
}

// told waits for what the agent is told.
func (l *learner) told(t *testing.T) wire.SignalRoster {
	t.Helper()
	select {
	case s := <-l.got:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("the agent was told nothing")
		return wire.SignalRoster{}
	}
}

func (o *operator) post(t *testing.T, path string, in, out any) int {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	status, body := o.w.answer(o.request(path, string(b)))
	if status == http.StatusOK && out != nil {
		if err := json.Unmarshal([]byte(body), out); err != nil {
			t.Fatal(err)
		}
	}
	return status
}

// receipt asks for one agent's receipt and gives the head in it, checked by the
// agent's key.
func (o *operator) receipt(t *testing.T, agent key.Public) (token.Head, bool) {
	t.Helper()
	var out wire.ReceiptsAnswer
	if status := o.post(t, "/v1/receipts", wire.ReceiptsRequest{Kids: []key.Kid{agent.Kid()}}, &out); status != 200 || len(out.Receipts) != 1 {
		t.Fatalf("status %d, %d receipts", status, len(out.Receipts))
	}
	if len(out.Receipts[0]) == 0 {
		return token.Head{}, false
	}
	u, err := token.Parse(out.Receipts[0])
	if err != nil {
		t.Fatal(err)
	}
	if h, err := token.VerifySigned[token.Heartbeat](u, envelope.One(agent)); err == nil {
		return h.Body().RosterHead, true
	}
	r, err := token.VerifySigned[token.Registration](u, envelope.One(agent))
	if err != nil {
		t.Fatal(err)
	}
	return r.Body().RosterHead, true
}

// A change that a member hands in reaches every agent of the team that is
// online, at once, and nobody else; what agents have signed of it can be asked.
func TestStatementsReachAgents(t *testing.T) {
	w := newWorld(t, nil)
	before := w.acme.roster.Head()
	web, db := w.learns(w.acme, w.acme.web, before), w.learns(w.acme, w.acme.db, before)
	foreign := w.learns(w.other, w.other.web, w.other.roster.Head())
	o := w.operator(w.acme)
	if h, ok := o.receipt(t, w.acme.web.Public()); !ok || h != token.Head(before) {
		t.Errorf("after the registration: %+v", h)
	}
	if _, ok := o.receipt(t, w.other.web.Public()); ok {
		t.Error("a receipt of another team's agent")
	}
	w.acme.add(t, roster.KindThreshold, roster.Threshold{K: 1})
	now := w.acme.roster.Head()
	st := w.acme.roster.Statements(before.Seq)
	var out wire.StatementsAnswer
	if status := o.post(t, "/v1/roster/statements", wire.StatementsRequest{Statements: st}, &out); status != 200 || out.Head != wire.Head(now) {
		t.Fatalf("status %d, %+v", status, out)
	}
	for _, l := range []*learner{web, db} {
		if s := l.told(t); s.HeadSeq != now.Seq || len(s.Statements) != 1 || string(s.Statements[0]) != string(st[0]) {
			t.Errorf("told of %d with %d statements", s.HeadSeq, len(s.Statements))
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if h, _ := o.receipt(t, w.acme.web.Public()); h == token.Head(now) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no heartbeat has confirmed the change")
		}
	}
	if len(foreign.got) != 0 {
		t.Error("another team's agent was told")
	}
}

// Who is behind when it registers is told without being asked.
func TestWhoIsBehindIsTold(t *testing.T) {
	w := newWorld(t, nil)
	l := w.learns(w.acme, w.acme.web, roster.Head{Hash: w.acme.roster.TeamFP()})
	if s := l.told(t); s.HeadSeq != w.acme.roster.Head().Seq || uint64(len(s.Statements)) != s.HeadSeq {
		t.Errorf("told of %d with %d statements", s.HeadSeq, len(s.Statements))
	}
	if s, err := roster.Load(w.acme.roster.Genesis(), w.acme.roster.Statements(0)...); err != nil || s.Head() != w.acme.roster.Head() {
		t.Error(err)
	}
}

// What is not signed as its kind demands changes nothing here and goes nowhere.
func TestStatementsAreJudged(t *testing.T) {
	w := newWorld(t, nil)
	l := w.learns(w.acme, w.acme.web, w.acme.roster.Head())
	o := w.operator(w.acme)
	forged, err := w.acme.roster.Next(time.Now(), roster.KindRevoke, roster.Revoke{Kid: w.acme.db.Kid(), Reason: "x"}, w.acme.web)
	if err != nil {
		t.Fatal(err)
	}
	w.acme.add(t, roster.KindThreshold, roster.Threshold{K: 1})
	w.acme.add(t, roster.KindThreshold, roster.Threshold{K: 1})
	gap := w.acme.roster.Statements(w.acme.roster.Head().Seq - 1)
	w.other.add(t, roster.KindThreshold, roster.Threshold{K: 1})
	foreign := w.other.roster.Statements(w.other.roster.Head().Seq - 1)
	for name, c := range map[string]struct {
		statements [][]byte
		want       int
	}{
		"by an agent":  {[][]byte{forged}, 403},
		"a gap":        {gap, 409},
		"another team": {foreign, 422},
		"noise":        {[][]byte{[]byte("noise")}, 422},
		"none":         {nil, 422},
	} {
		if status := o.post(t, "/v1/roster/statements", wire.StatementsRequest{Statements: c.statements}, nil); status != c.want {
			t.Errorf("%s: status %d, want %d", name, status, c.want)
		}
	}
	mallory := w.operator(w.acme)
	mallory.device = w.acme.web
	if status := mallory.post(t, "/v1/roster/statements", wire.StatementsRequest{Statements: gap}, nil); status != 401 {
		t.Errorf("from nobody: status %d", status)
	}
	if status := mallory.post(t, "/v1/receipts", wire.ReceiptsRequest{}, nil); status != 401 {
		t.Errorf("receipts for nobody: status %d", status)
	}
	if len(l.got) != 0 {
		t.Error("an agent was told of what does not hold")
	}
}

// More than fits into one message is told by its head alone.
func TestNewsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	for range wire.MaxStatements + 1 {
		w.acme.add(t, roster.KindThreshold, roster.Threshold{K: 1})
	}
	w.rosters.put(w.acme.roster)
	l := w.learns(w.acme, w.acme.web, roster.Head{Hash: w.acme.roster.TeamFP()})
	if s := l.told(t); s.HeadSeq != w.acme.roster.Head().Seq || len(s.Statements) != 0 {
		t.Errorf("told of %d with %d statements", s.HeadSeq, len(s.Statements))
	}
}

// The cache takes statements by their signatures, fetches what lies between, and
// tells who watches once for each newer roster. What apid says later does not
// take it back.
func TestCachedLearns(t *testing.T) {
	tm := newTeam(t, "acme", 1)
	src := &pages{roster: tm.roster, size: wire.MaxStatements}
	c := rendezvous.NewCached(src, nil)
	var heads []uint64
	c.Watch(func(r *roster.Roster) { heads = append(heads, r.Head().Seq) })
	first, err := c.Roster(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	tm.add(t, roster.KindThreshold, roster.Threshold{K: 1})
	r, err := c.Learn(t.Context(), "acme", tm.roster.Statements(first.Head().Seq))
	if err != nil || r.Head() != tm.roster.Head() {
		t.Fatalf("%v", err)
	}
	if again, err := c.Learn(t.Context(), "acme", tm.roster.Statements(first.Head().Seq)); err != nil || again.Head() != r.Head() {
		t.Errorf("the same again: %v", err)
	}
	if r, err := c.Refresh(t.Context(), "acme"); err != nil || r.Head() != tm.roster.Head() {
		t.Errorf("apid, which is behind, has taken it back: %v", err)
	}
	if want := []uint64{first.Head().Seq, tm.roster.Head().Seq}; fmt.Sprint(heads) != fmt.Sprint(want) {
		t.Errorf("told of %v, want %v", heads, want)
	}
	if _, err := c.Learn(t.Context(), "nowhere", nil); err == nil {
		t.Error("a team that is not there has learnt")
	}
}

// The mailbox over HTTP: anybody may ask to be added, members read and answer.
func TestNewcomers(t *testing.T) {
	w := newWorld(t, nil)
	nobody, err := wire.NewClient(wire.Options{URL: w.url, Identity: identity(9, 9)})
	if err != nil {
		t.Fatal(err)
	}
	topic := envelope.Sum([]byte("topic"))
	id, err := nobody.PostNewcomer(t.Context(), "", wire.NewcomerRequest{Topic: topic, Request: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.PostNewcomer(t.Context(), "", wire.NewcomerRequest{Topic: topic, Request: make([]byte, 64<<10)}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("a long request: %v", err)
	}
	o := w.operator(w.acme)
	if status := o.post(t, "/v1/newcomers/"+id.String()+"/answer", wire.NewcomerAnswer{Answer: []byte("welcome")}, nil); status != 200 {
		t.Errorf("answer: status %d", status)
	}
	got, err := nobody.NewcomerAnswers(t.Context(), "", id, 0, time.Second)
	if err != nil || len(got) != 1 || string(got[0]) != "welcome" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := nobody.NewcomerAnswers(t.Context(), "", token.NewID(), 0, 0); !errors.Is(err, wire.ErrExpired) {
		t.Errorf("an id that was never given: %v", err)
	}
	for path, want := range map[string]int{
		"/v1/newcomers?topic=" + topic.String():             401,
		"/v1/newcomers/" + id.String() + "?wait=x":          422,
		"/v1/newcomers/nonsense":                            404,
		"/v1/newcomers/" + id.String() + "?have=0&wait=0":   200,
		"/v1/newcomers/" + strings.Repeat("0", 32) + "?a=b": 410,
	} {
		r, err := http.NewRequest("GET", w.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := w.answer(r); status != want || strings.Contains(body, base64.StdEncoding.EncodeToString([]byte("hello"))) {
			t.Errorf("%s: status %d %s", path, status, body)
		}
	}
	mallory := w.operator(w.acme)
	mallory.device = w.acme.web
	if status := mallory.post(t, "/v1/newcomers/"+id.String()+"/answer", wire.NewcomerAnswer{Answer: []byte("evil")}, nil); status != 401 {
		t.Errorf("an answer of nobody: status %d", status)
	}
}
