package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/sessions"
	"github.com/tucdesk/tucdesk/apid/api/webhook"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A listener is a stream that a person has open.
type listener struct {
	*wire.EventReader
	t    *testing.T
	stop context.CancelFunc
}

// listen opens a stream by hand; after is the event that was seen last.
func (p *person) listen(t *testing.T, after string) *listener {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute) // only ends a test that has failed
	req, err := http.NewRequestWithContext(ctx, "GET", p.on.s.url+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = p.headers("GET", "/v1/events", nil)
	if after != "" {
		req.Header.Set(wire.HeaderLastEvent, after)
	}
	resp, err := p.on.s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{wire.NewEventReader(resp.Body), t, stop}
	t.Cleanup(func() {
		stop()
		resp.Body.Close()
	})
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != wire.ContentTypeEvents {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return l
}

// want reads events up to one of a kind, and fails on one of a kind that is not
// expected before it.
func (l *listener) want(kind wire.EventKind) wire.Event {
	l.t.Helper()
	e, err := l.Next()
	if err != nil || e.Kind != kind {
		l.t.Fatalf("got %+v, %v; want %s", e, err, kind)
	}
	return e
}

func TestEvents(t *testing.T) {
	s := newServer(t)
	acme, eve := newCrew(t, s, "acme"), newCrew(t, s, "eve-corp")
	alice, bob, frank, dora := acme.alice.listen(t, ""), acme.bob.listen(t, ""), acme.frank.listen(t, ""), acme.dora.listen(t, "")
	evil := eve.bob.listen(t, "")
	for _, l := range []*listener{alice, bob, frank, dora, evil} {
		l.want(wire.EventReset)
	}

	asked, err := acme.alice.ask(acme.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	var seen wire.Event
	for _, l := range []*listener{alice, bob, dora} { // who asked, who may decide, who audits
		seen = l.want(wire.EventApproval)
		if seen.ID != asked.ID || seen.State != wire.Pending {
			t.Errorf("told of %+v, want the ask %s", seen, asked.ID)
		}
	}
	if _, err := acme.bob.decide(asked, true); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*listener{alice, bob, dora} {
		if e := l.want(wire.EventApproval); e.ID != asked.ID || e.State != wire.Approved {
			t.Errorf("told of %+v", e)
		}
	}
	session := token.NewID()
	if _, err := acme.alice.open(acme.staging.Kid(), session); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*listener{alice, dora} { // whose it is, who audits
		if e := l.want(wire.EventSession); e.ID != session || e.State != sessions.Granted {
			t.Errorf("told of %+v", e)
		}
	}
	// Frank could see none of this, nor could the other team: the next that they
	// hear of is their roster. So it is with bob, who was told of no session.
	acme.append(t, roster.KindRevoke, roster.Revoke{Kid: acme.alice.id.Kid(), Reason: "lost"})
	head := acme.roster.Head().Seq
	for _, l := range []*listener{bob, frank, dora} {
		if e := l.want(wire.EventRoster); e.Seq != head {
			t.Errorf("told of %+v, want %d", e, head)
		}
	}
	if e, err := alice.Next(); err == nil {
		t.Errorf("a removed device is told of %+v", e)
	}
	eve.append(t, roster.KindRevoke, roster.Revoke{Kid: eve.frank.id.Kid(), Reason: "lost"})
	if e := evil.want(wire.EventRoster); e.Seq != eve.roster.Head().Seq {
		t.Errorf("told of %+v", e)
	}

	// Bob comes back: with an id of his stream he misses nothing and nothing is
	// said twice; another team's id, and one that never was, tell nothing.
	last := dora.last(t, s, acme)
	bob = acme.bob.listen(t, last)
	acme.append(t, roster.KindRevoke, roster.Revoke{Kid: acme.frank.id.Kid(), Reason: "lost"})
	if e := bob.want(wire.EventRoster); e.Seq != acme.roster.Head().Seq {
		t.Errorf("told of %+v", e)
	}
	acme.bob.listen(t, token.NewID().String()).want(wire.EventReset)
	acme.bob.listen(t, "nonsense").want(wire.EventReset)
}

// last gives the id of a new event that this listener has seen.
func (l *listener) last(t *testing.T, s *server, c *crew) string {
	t.Helper()
	s.events.PublishAgents(c.name, []wire.AgentState{{Kid: c.prod.Kid(), State: wire.Offline}})
	e := l.want(wire.EventAgent)
	if e.Kid != c.prod.Kid() || e.State != wire.Offline {
		t.Errorf("told of %+v", e)
	}
	return e.Stamp.String()
}

// The streams of one device are bounded, and a stream ends with the token that
// opened it.
func TestEventsEnd(t *testing.T) {
	s := newServer(t)
	acme := newCrew(t, s, "acme")
	var open []*listener
	for range 4 {
		open = append(open, acme.bob.listen(t, ""))
		open[len(open)-1].want(wire.EventReset)
	}
	if status, _ := acme.bob.send(t, "GET", "/v1/events", nil); status != http.StatusTooManyRequests {
		t.Errorf("a fifth stream of one device: %d", status)
	}
	s.clock.Advance(token.AccessLife)
	s.events.PublishAgents(acme.name, []wire.AgentState{{Kid: acme.prod.Kid(), State: wire.Offline}})
	for _, l := range open {
		if e, err := l.Next(); err == nil {
			t.Errorf("told of %+v after the token's end", e)
		}
	}
	// Closed for good.
	l := acme.bob.listen(t, "")
	l.want(wire.EventReset)
	s.events.Close()
	if e, err := l.Next(); err == nil {
		t.Errorf("told of %+v after the end", e)
	}
	if status, _ := acme.bob.send(t, "GET", "/v1/events", nil); status != http.StatusServiceUnavailable {
		t.Errorf("a stream of a server that stops: %d", status)
	}
}

// The client opens its stream again by itself, and gives up where it is refused
// for good.
func TestEventsClient(t *testing.T) {
	s := newServer(t)
	acme := newCrew(t, s, "acme")
	ctx, stop := context.WithCancel(t.Context())
	got := make(chan wire.Event, 16)
	ended := make(chan error, 1)
	go func() { ended <- acme.bob.client.Events(ctx, func(e wire.Event) { got <- e }) }()
	if e := <-got; e.Kind != wire.EventReset {
		t.Errorf("began with %+v", e)
	}
	asked, err := acme.alice.ask(acme.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if e := <-got; e.ID != asked.ID {
		t.Errorf("told of %+v", e)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	acme.append(t, roster.KindRevoke, roster.Revoke{Kid: acme.bob.id.Kid(), Reason: "lost"})
	err = acme.bob.client.Events(t.Context(), func(e wire.Event) { t.Errorf("told of %+v", e) })
	wantProblem(t, err, wire.KindUnauthenticated)
}

// A webhook hears of an ask once, by the names of the roster, and of nothing else.
func TestWebhook(t *testing.T) {
	s := newServer(t)
	acme := newCrew(t, s, "acme")
	got := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
	}))
	defer srv.Close()
	var err error
	if s.cfg.Webhook, err = webhook.New(srv.URL, []byte("0123456789abcdef"), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	go s.cfg.Webhook.Run(t.Context())
	for range 2 { // the second is told only after all of the first was
		asked, err := acme.alice.ask(acme.prod.Kid(), token.NewID())
		if err != nil {
			t.Fatal(err)
		}
		body := <-got
		for _, want := range []string{asked.ID.String(), `"target":"`, `"tier":"high"`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s is not in %s", want, body)
			}
		}
		if strings.Contains(body, "sealed") {
			t.Errorf("it says what is sealed: %s", body)
		}
		if _, err := acme.bob.decide(asked, true); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) > 0 {
		t.Errorf("told too often: %s", <-got)
	}
}
