package team

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/mailbox"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// A server plays apid and rendezvousd at once, and asks nobody who they are. Its
// hooks make it a bad one.
type server struct {
	t   *testing.T
	url string
	box *mailbox.Box

	mu       sync.Mutex
	roster   *roster.Roster
	keys     map[string]key.Identity
	receipts map[key.Kid][]byte
	appended int
	conflict int // answers to AppendStatements that say conflict first

	requests func([]wire.Newcomer) []wire.Newcomer // shown to admins
	answers  func([][]byte) [][]byte               // shown to newcomers
	oldest   func(*roster.Roster) *roster.Roster   // that it serves
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, box: mailbox.New(nil), receipts: map[key.Kid][]byte{}, keys: map[string]key.Identity{}}
	for i, purpose := range []string{"grant", "token", "log", "rendezvous"} {
		s.keys[purpose] = key.IdentityFromSeed([32]byte{200, byte(i)})
	}
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request, []byte) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			out, err := f(r, body)
			if p, ok := err.(*wire.ProblemError); ok {
				w.Header().Set("Content-Type", wire.ContentTypeProblem)
				w.WriteHeader(p.Status)
				json.NewEncoder(w).Encode(p)
				return
			}
			json.NewEncoder(w).Encode(out)
		})
	}
	handle("POST /v1/token", func(*http.Request, []byte) (any, error) {
		return wire.TokenAnswer{AccessToken: "x", TokenType: "DPoP", ExpiresIn: 600, Roles: []string{}}, nil
	})
	handle("GET /v1/server", func(*http.Request, []byte) (any, error) {
		info := wire.ServerInfo{URL: s.url, Rendezvous: s.url, Relays: []string{"127.0.0.1:3478"}}
		for purpose, id := range s.keys {
			info.Keys = append(info.Keys, wire.ServerKey{Purpose: purpose, Key: id.Public()})
		}
		return info, nil
	})
	handle("POST /v1/teams", s.found)
	handle("GET /v1/roster", s.page)
	handle("POST /v1/roster/statements", s.append)
	handle("POST /v1/receipts", s.giveReceipts)
	handle("POST /v1/newcomers", func(_ *http.Request, body []byte) (any, error) {
		var in wire.NewcomerRequest
		s.decode(body, &in)
		id, err := s.box.Put("", in.Topic, in.Request)
		return wire.NewcomerPlace{ID: id}, mailbox.Problem(err)
	})
	handle("GET /v1/newcomers", func(r *http.Request, _ []byte) (any, error) {
		topic, err := envelope.ParseHash(r.URL.Query().Get("topic"))
		if err != nil {
			return nil, wire.NewProblem(wire.KindMalformed, "", "")
		}
		have, wait := patience(r)
		list, err := s.box.Requests(r.Context(), topic, have, wait)
		out := wire.Newcomers{Newcomers: []wire.Newcomer{}}
		for _, n := range list {
			out.Newcomers = append(out.Newcomers, wire.Newcomer(n))
		}
		if s.requests != nil {
			out.Newcomers = s.requests(out.Newcomers)
		}
		return out, mailbox.Problem(err)
	})
	handle("GET /v1/newcomers/{id}", func(r *http.Request, _ []byte) (any, error) {
		id, err := token.ParseID(r.PathValue("id"))
		if err != nil {
			return nil, wire.NewProblem(wire.KindMalformed, "", "")
		}
		have, wait := patience(r)
		if s.answers != nil {
			wait = min(wait, 50*time.Millisecond)
		}
		list, err := s.box.Answers(r.Context(), id, have, wait)
		if s.answers != nil {
			list = s.answers(list)
		}
		return wire.NewcomerAnswers{Answers: append([][]byte{}, list...)}, mailbox.Problem(err)
	})
	handle("POST /v1/newcomers/{id}/answer", func(r *http.Request, body []byte) (any, error) {
		id, err := token.ParseID(r.PathValue("id"))
		if err != nil {
			return nil, wire.NewProblem(wire.KindMalformed, "", "")
		}
		var in wire.NewcomerAnswer
		s.decode(body, &in)
		return wire.Nothing{}, mailbox.Problem(s.box.Answer(id, in.Answer))
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func patience(r *http.Request) (int, time.Duration) {
	have, _ := strconv.Atoi(r.URL.Query().Get("have"))
	wait, _ := strconv.Atoi(r.URL.Query().Get("wait"))
	return have, time.Duration(wait) * time.Second
}

func (s *server) decode(body []byte, into any) {
	if err := strict.Decode(body, into); err != nil {
		s.t.Error(err)
	}
}

func (s *server) found(_ *http.Request, body []byte) (any, error) {
	var in wire.FoundRequest
	s.decode(body, &in)
	r, err := roster.Open(in.Genesis)
	if err != nil {
		return nil, wire.NewProblem(wire.KindMalformed, err.Error(), "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roster == nil {
		s.roster = r
	}
	return wire.Founded{TeamID: r.TeamID(), TeamFP: r.TeamFP()}, nil
}

func (s *server) page(r *http.Request, _ []byte) (any, error) {
	after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	on := s.now()
	if s.oldest != nil {
		on = s.oldest(on)
	}
	return wire.RosterPage{Genesis: on.Genesis(), Statements: append([][]byte{}, on.Statements(after)...), Head: wire.Head(on.Head())}, nil
}

func (s *server) append(_ *http.Request, body []byte) (any, error) {
	var in wire.StatementsRequest
	s.decode(body, &in)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conflict > 0 {
		s.conflict--
		return nil, wire.NewProblem(wire.KindConflict, "", "")
	}
	next, err := s.roster.Apply(in.Statements...)
	if err != nil {
		return nil, wire.NewProblem(wire.KindDenied, err.Error(), "")
	}
	s.appended += int(next.Head().Seq - s.roster.Head().Seq)
	s.roster = next
	return wire.StatementsAnswer{Head: wire.Head(next.Head())}, nil
}

func (s *server) giveReceipts(_ *http.Request, body []byte) (any, error) {
	var in wire.ReceiptsRequest
	s.decode(body, &in)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := wire.ReceiptsAnswer{Receipts: [][]byte{}}
	for _, k := range in.Kids {
		out.Receipts = append(out.Receipts, append([]byte{}, s.receipts[k]...))
	}
	return out, nil
}

func (s *server) now() *roster.Roster {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roster
}

// control is a home and its client.
type control struct {
	home   *profile.Home
	client *wire.Client
}

func (c control) Client() *wire.Client { return c.client }
func (c control) Home() *profile.Home  { return c.home }
func (c control) Sync(ctx context.Context) (*roster.Roster, error) {
	r, err := fetch(ctx, c.client, c.home.Roster())
	if err != nil {
		return nil, err
	}
	return c.home.Learn(r.Statements(0))
}

// admin makes an Admin of a home.
func admin(t *testing.T, h *profile.Home) *Admin {
	t.Helper()
	client, err := wire.NewClient(wire.Options{URL: h.Profile.API, TeamID: h.Profile.TeamID, Identity: h.Identity})
	if err != nil {
		t.Fatal(err)
	}
	return &Admin{Control: control{h, client}, Tell: func(s sanitize.Text) { t.Log(s) }}
}

func yes(wire.ServerInfo) (bool, error) { return true, nil }

// founded gives a team's founder.
func founded(t *testing.T, s *server, name string) *Admin {
	t.Helper()
	h, err := Found(t.Context(), Founding{Dir: filepath.Join(t.TempDir(), "carol"), API: s.url, TeamID: name, Email: "carol@example.com", Confirm: yes})
	if err != nil {
		t.Fatal(err)
	}
	return admin(t, h)
}

// evil gives a team that mallory has made at a server of its own, and its card.
func evil(t *testing.T) (*Admin, contact.Answer) {
	t.Helper()
	a := founded(t, newServer(t), "acme")
	r := a.Home().Roster()
	return a, contact.Answer{Card: a.Home().Profile.Card(r), Genesis: r.Genesis(), Name: "web-1"}
}
