package drills

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// apid is the true one's handler in the hands of somebody who reads every request
// and writes every answer.
type apid struct {
	w   *world
	url string

	mu     sync.Mutex
	honest http.Handler
	tricks map[string]trick
}

// A trick answers a request. ask has the true apid answer it, or another one.
type trick func(r *http.Request, body []byte, ask func(body []byte) answer) answer

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *apid) use(h http.Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.honest = h
}

// play has requests answered by a trick. The pattern is a method, a blank and a
// path, as path.Match reads it. nil plays honestly again.
func (a *apid) play(pattern string, t trick) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t == nil {
		delete(a.tricks, pattern)
		return
	}
	a.tricks[pattern] = t
}

func (a *apid) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	a.w.saw(body)
	a.mu.Lock()
	honest := a.honest
	t := a.trickFor(r.Method + " " + r.URL.Path)
	if t == nil && r.Method+" "+r.URL.Path == "POST /v1/token" {
		t = atSignIn(a.trickFor("POST /v1/sessions"), body)
	}
	a.mu.Unlock()
	ask := func(body []byte) answer {
		again := r.Clone(r.Context())
		if t != nil { // a trick has nothing to wait for
			query := again.URL.Query()
			query.Del("wait")
			again.URL.RawQuery = query.Encode()
		}
		again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		rec := httptest.NewRecorder()
		honest.ServeHTTP(rec, again)
		return answer{rec.Code, rec.Header(), rec.Body.Bytes()}
	}
	var out answer
	if t != nil {
		out = t(r, body, ask)
	} else {
		out = ask(body)
	}
	a.w.saw(out.body)
	for name, values := range out.header {
		w.Header()[name] = values
	}
	w.WriteHeader(out.status)
	w.Write(out.body)
}

// trickFor gives what is played for a request; nil: nothing. mu is held.
func (a *apid) trickFor(request string) (t trick) {
	for pattern, each := range a.tricks {
		if ok, _ := path.Match(pattern, request); ok {
			t = each
		}
	}
	return t
}

// atSignIn plays a trick with sessions where one is asked for along with a token.
func atSignIn(t trick, body []byte) trick {
	var in wire.TokenRequest
	if t == nil || json.Unmarshal(body, &in) != nil || in.Session == nil {
		return nil
	}
	return func(r *http.Request, body []byte, ask func([]byte) answer) answer {
		out := ask(body)
		var both wire.TokenAnswer
		if out.status != http.StatusOK || json.Unmarshal(out.body, &both) != nil {
			return out
		}
		session, _ := json.Marshal(in.Session)
		played := t(r, session, func([]byte) answer {
			if both.Problem != nil {
				b, _ := json.Marshal(both.Problem)
				return answer{both.Problem.Status, out.header, b}
			}
			b, _ := json.Marshal(both.Session)
			return answer{http.StatusOK, out.header, b}
		})
		both.Session, both.Problem = nil, nil
		if played.status == http.StatusOK {
			_ = json.Unmarshal(played.body, &both.Session)
		} else {
			_ = json.Unmarshal(played.body, &both.Problem)
		}
		out.body, _ = json.Marshal(both)
		return out
	}
}

// alter is the trick that changes true answers of type T.
func alter[T any](change func(*T)) trick {
	return func(_ *http.Request, body []byte, ask func([]byte) answer) answer {
		out := ask(body)
		var v T
		if out.status != http.StatusOK || json.Unmarshal(out.body, &v) != nil {
			return out
		}
		change(&v)
		out.body, _ = json.Marshal(v)
		return out
	}
}

// invent is the trick that answers without asking anybody.
func invent(v any) trick {
	return func(*http.Request, []byte, func([]byte) answer) answer {
		b, _ := json.Marshal(v)
		return answer{http.StatusOK, http.Header{"Content-Type": {"application/json"}}, b}
	}
}

// serveRoster has apid change what it says of the roster.
func (w *world) serveRoster(change func(*wire.RosterPage)) {
	w.apid.play("GET /v1/roster", alter(change))
}

// freeze has apid show the roster up to a head to everybody, whether or not the
// true one would let them see it.
func (w *world) freeze(head roster.Head) {
	w.apid.play("GET /v1/roster", func(r *http.Request, _ []byte, _ func([]byte) answer) answer {
		after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
		true1 := w.homes["carol"].Roster()
		page := wire.RosterPage{Genesis: true1.Genesis(), Statements: [][]byte{}, Head: wire.Head(head)}
		if after < head.Seq {
			page.Statements = true1.Statements(after)[:head.Seq-after]
		}
		return invent(page)(nil, nil, nil)
	})
}

// meet is a rendezvous of the attacker's own. It checks nothing, keeps everything
// and hands on what comes until it is told otherwise.
type meet struct {
	w   *world
	url string

	mu     sync.Mutex
	links  map[key.Kid]*link
	offers []wire.Offer // all that came
	ends   []finish     // all that came
	route  func(*wire.Offer) (wire.OfferAnswer, bool, error)
}

type finish struct {
	id  token.ID
	hs3 []byte
}

// A link is the connection of one agent.
type link struct {
	ws      *websocket.Conn
	mu      sync.Mutex
	waiting map[token.ID]chan wire.Signal
}

// errSilent: the agent has said nothing.
var errSilent = errors.New("drills: the agent is silent")

func newMeet(w *world) *meet {
	m := &meet{w: w, links: map[key.Kid]*link{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.SignalPath, m.agent)
	mux.HandleFunc("POST /v1/offers", m.postOffer)
	mux.HandleFunc("POST /v1/offers/{id}/finish", m.postFinish)
	m.url = w.serve(mux)
	return m
}

func (m *meet) agent(rw http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{wire.SignalProtocol}})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(wire.MaxSignal)
	l := &link{ws: ws, waiting: map[token.ID]chan wire.Signal{}}
	for {
		_, b, err := ws.Read(r.Context())
		if err != nil {
			return
		}
		m.w.saw(b)
		s, err := wire.ParseAgentSignal(b)
		if err != nil {
			m.w.t.Errorf("an agent sent what is no signal: %v", err)
			return
		}
		switch s := s.(type) {
		case wire.SignalHello:
			u, err := token.ParseRegistration(s.Registration)
			if err != nil {
				m.w.t.Error(err)
				return
			}
			m.mu.Lock()
			m.links[u.InsecureSigner()] = l
			m.mu.Unlock()
			l.send(r.Context(), wire.SignalWelcome{Time: time.Now().Unix(), HeadHash: m.w.fp, Heartbeat: 3600})
		case wire.SignalAnswer:
			l.answer(s.SessionID, s)
		case wire.SignalRefuse:
			l.answer(s.SessionID, s)
		}
	}
}

func (l *link) send(ctx context.Context, s wire.Signal) error {
	b, err := wire.EncodeSignal(s)
	if err != nil {
		return err
	}
	return l.ws.Write(ctx, websocket.MessageBinary, b)
}

func (l *link) answer(id token.ID, s wire.Signal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.waiting[id]; c != nil {
		c <- s
		delete(l.waiting, id)
	}
}

func (m *meet) link(kid key.Kid) *link {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.links[kid]
}

// offer gives an offer to a machine and waits for its answer, or for the line in
// its log that says that it drops it. While the machine is busy, as with the end
// of the session before, it is offered again.
func (m *meet) offer(to *machine, o wire.SignalOffer) (wire.OfferAnswer, error) {
	ctx, cancel := m.w.context()
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		c := make(chan wire.Signal, 1)
		l := m.link(to.kid)
		l.mu.Lock()
		l.waiting[o.SessionID] = c
		l.mu.Unlock()
		before := len(to.logs.String())
		if err := l.send(ctx, o); err != nil {
			return wire.OfferAnswer{}, err
		}
		for dropped := ""; dropped == ""; {
			select {
			case s := <-c:
				switch s := s.(type) {
				case wire.SignalAnswer:
					return wire.OfferAnswer{HS2: s.HS2, Candidate: s.Candidate}, nil
				case wire.SignalRefuse:
					return wire.OfferAnswer{}, wire.NewProblem(wire.KindDenied, "the agent refused: "+s.Reason, "")
				}
			case <-tick.C:
				dropped = lineWith(to.logs.String()[before:], "offer dropped")
				if dropped != "" && !strings.Contains(dropped, "code=busy") {
					return wire.OfferAnswer{}, errSilent
				}
			case <-ctx.Done():
				return wire.OfferAnswer{}, ctx.Err()
			}
		}
	}
}

func (m *meet) postOffer(rw http.ResponseWriter, r *http.Request) {
	var o wire.Offer
	if !m.read(rw, r, &o) {
		return
	}
	m.mu.Lock()
	m.offers = append(m.offers, o)
	route := m.route
	m.mu.Unlock()
	var out wire.OfferAnswer
	var err error
	done := false
	if route != nil {
		out, done, err = route(&o)
	}
	if !done && err == nil {
		out, err = m.offer(m.machine(o.Agent), signal(o))
	}
	m.reply(rw, out, err)
}

func signal(o wire.Offer) wire.SignalOffer {
	return wire.SignalOffer{SessionID: o.SessionID, Exp: time.Now().Unix() + 10, Sealed: o.Sealed, HS1: o.HS1, Candidate: o.Candidate}
}

func (m *meet) machine(kid key.Kid) *machine {
	for _, each := range m.w.machines {
		if each.kid == kid {
			return each
		}
	}
	m.w.t.Errorf("an offer for nobody: %s", kid)
	return m.w.machines["web-1"]
}

func (m *meet) postFinish(rw http.ResponseWriter, r *http.Request) {
	var in wire.Finish
	id, err := token.ParseID(r.PathValue("id"))
	if err != nil || !m.read(rw, r, &in) {
		return
	}
	m.mu.Lock()
	m.ends = append(m.ends, finish{id, in.HS3})
	var to *machine
	for _, o := range m.offers {
		if o.SessionID == id {
			to = m.machine(o.Agent)
		}
	}
	m.mu.Unlock()
	m.finish(to, finish{id, in.HS3})
	m.reply(rw, struct{}{}, nil)
}

func (m *meet) finish(to *machine, f finish) {
	ctx, cancel := m.w.context()
	defer cancel()
	m.w.must(m.link(to.kid).send(ctx, wire.SignalFinish{SessionID: f.id, HS3: f.hs3}))
}

// tell gives a machine roster statements, as rendezvousd does.
func (m *meet) tell(to *machine, statements ...[]byte) {
	ctx, cancel := m.w.context()
	defer cancel()
	head := m.w.homes["carol"].Roster().Head()
	m.w.must(m.link(to.kid).send(ctx, wire.SignalRoster{HeadSeq: head.Seq, HeadHash: head.Hash, Statements: statements}))
}

// last gives the newest offer and the newest end.
func (m *meet) last() (wire.Offer, finish) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offers[len(m.offers)-1], m.ends[len(m.ends)-1]
}

func (m *meet) read(rw http.ResponseWriter, r *http.Request, v any) bool {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	m.w.saw(b)
	if err != nil || strict.Decode(b, v) != nil {
		rw.WriteHeader(http.StatusBadRequest)
		return false
	}
	return true
}

func (m *meet) reply(rw http.ResponseWriter, v any, err error) {
	rw.Header().Set("Content-Type", "application/json")
	if err != nil {
		var p *wire.ProblemError
		if !errors.As(err, &p) {
			p = wire.NewProblem(wire.KindUnavailable, "the agent did not answer", "")
		}
		rw.Header().Set("Content-Type", wire.ContentTypeProblem)
		rw.WriteHeader(p.Status)
		v = p
	}
	b, _ := json.Marshal(v)
	m.w.saw(b)
	rw.Write(b)
}
