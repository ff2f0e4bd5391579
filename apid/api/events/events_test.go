package events

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// world is a hub whose callers are on the roster until they are not.
type world struct {
	t   *testing.T
	hub *Hub

	mu   sync.Mutex
	gone map[key.Kid]bool
	asks int
}

// inWorld runs f in a bubble in which time stands still until all wait.
func inWorld(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, gone: map[key.Kid]bool{}}
		w.hub = New(func(_ context.Context, c door.Caller) (door.Caller, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asks++
			if w.gone[c.Kid] {
				return c, door.Unauthenticated()
			}
			return c, nil
		}, time.Now)
		f(t, w)
		w.hub.Close()
		synctest.Wait()
		if w.hub.n != 0 || len(w.hub.devices) != 0 || len(w.hub.Teams()) != 0 {
			t.Errorf("%d streams of %d devices are still counted", w.hub.n, len(w.hub.devices))
		}
	})
}

func (w *world) revoke(kid key.Kid) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone[kid] = true
}

// A listener has a stream open, and everything it was sent.
type listener struct {
	mu    sync.Mutex
	sent  bytes.Buffer
	block chan struct{} // not nil: the reader takes nothing until it is closed
	done  bool
}

func (w *world) join(team string, kid key.Kid, life time.Duration, last string) (door.Feed, error) {
	r := &door.Request{HTTP: httptest.NewRequest("GET", "/v1/events", nil)}
	r.HTTP.Header.Set(wire.HeaderLastEvent, last)
	r.Caller = door.Caller{Team: team, Kid: kid, Roster: new(roster.Roster), Until: time.Now().Add(life)}
	return w.hub.Serve(w.t.Context(), r)
}

func (w *world) listen(team string, kid key.Kid, last string) *listener {
	w.t.Helper()
	feed, err := w.join(team, kid, time.Hour, last)
	if err != nil {
		w.t.Fatal(err)
	}
	l := new(listener)
	go l.run(w.t.Context(), feed)
	synctest.Wait()
	return l
}

func (l *listener) run(ctx context.Context, feed door.Feed) {
	feed(ctx, func(b []byte) error {
		l.mu.Lock()
		block := l.block
		l.mu.Unlock()
		if block != nil {
			<-block
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sent.Write(b)
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
}

// take gives the events that came since the last call.
func (l *listener) take(t *testing.T) []wire.Event {
	t.Helper()
	time.Sleep(pause)
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []wire.Event
	for r := wire.NewEventReader(&l.sent); ; {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
}

func kinds(list []wire.Event) (out []wire.EventKind) {
	for _, e := range list {
		out = append(out, e.Kind)
	}
	return out
}

func wantKinds(t *testing.T, list []wire.Event, want ...wire.EventKind) {
	t.Helper()
	if got := kinds(list); !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
}

func session() Event {
	return Event{Event: wire.Event{Kind: wire.EventSession, ID: token.NewID(), State: "granted"}}
}

func TestGoesOnWhereItWas(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hub.Publish("acme", session()) // nobody listened: nothing is kept
		l := w.listen("acme", key.Kid{1}, "")
		began := l.take(t)
		wantKinds(t, began, wire.EventReset)
		w.hub.Publish("acme", session())
		first := l.take(t)
		wantKinds(t, first, wire.EventSession)
		w.hub.Publish("acme", session(), session())
		rest := l.take(t)
		for _, from := range []struct {
			after wire.Event
			want  []wire.Event
		}{{began[0], append(first, rest...)}, {first[0], rest}, {rest[1], nil}} {
			l := w.listen("acme", key.Kid{2}, from.after.Stamp.String())
			if got := l.take(t); !slices.Equal(got, from.want) {
				t.Errorf("after %v: got %+v, want %+v", from.after.Kind, got, from.want)
			}
		}
		// The same id means nothing in another team.
		wantKinds(t, w.listen("eve", key.Kid{3}, first[0].Stamp.String()).take(t), wire.EventReset)
		// Too long ago.
		for range kept {
			w.hub.Publish("acme", session())
		}
		l = w.listen("acme", key.Kid{4}, first[0].Stamp.String())
		wantKinds(t, l.take(t), wire.EventReset)
	})
}

func TestOnlyWhatOneSees(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mine, others, foreign := w.listen("acme", key.Kid{1}, ""), w.listen("acme", key.Kid{2}, ""), w.listen("eve", key.Kid{1}, "")
		for _, l := range []*listener{mine, others, foreign} {
			wantKinds(t, l.take(t), wire.EventReset)
		}
		e := session()
		e.Sees = func(c *door.Caller) bool { return c.Kid == key.Kid{1} }
		w.hub.Publish("acme", e)
		wantKinds(t, mine.take(t), wire.EventSession)
		wantKinds(t, others.take(t))
		wantKinds(t, foreign.take(t))
		many := make([]wire.AgentState, maxNamed+1)
		w.hub.PublishAgents("acme", many)
		if got := others.take(t); len(got) != 1 || got[0].Kind != wire.EventAgent || !got[0].Kid.IsZero() {
			t.Errorf("many agents are told of as %+v", got)
		}
	})
}

func TestEndsOfAStream(t *testing.T) {
	ends := map[string]func(w *world, cancel func()){
		"the reader goes": func(_ *world, cancel func()) { cancel() },
		"apid stops":      func(w *world, _ func()) { w.hub.Close() },
		"the token ends":  func(*world, func()) { time.Sleep(time.Hour) },
		"revoked, as a statement says": func(w *world, _ func()) {
			w.revoke(key.Kid{1})
			w.hub.Publish("acme", session(), Event{Event: wire.Event{Kind: wire.EventRoster, Seq: 1}})
			time.Sleep(pause)
		},
		"revoked, through another process": func(w *world, _ func()) {
			w.revoke(key.Kid{1})
			time.Sleep(heartbeat)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				feed, err := w.join("acme", key.Kid{1}, time.Hour, "")
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				l := new(listener)
				go l.run(ctx, feed)
				wantKinds(t, l.take(t), wire.EventReset)
				end(w, cancel)
				synctest.Wait()
				l.mu.Lock()
				done := l.done
				l.mu.Unlock()
				if !done {
					t.Error("it goes on")
				}
				wantKinds(t, l.take(t)) // nothing more, whatever was published with its end
			})
		})
	}
}

func TestSaysThatItLives(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l := w.listen("acme", key.Kid{1}, "")
		l.take(t)
		time.Sleep(3 * heartbeat)
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if n := bytes.Count(l.sent.Bytes(), []byte(": alive\n\n")); n != 3 {
			t.Errorf("%d heartbeats in three times their time", n)
		}
		// What is told counts the roster's reads: one at the start, one a beat.
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.asks != 4 {
			t.Errorf("the roster was read %d times", w.asks)
		}
	})
}

// A reader that takes nothing costs no memory: it is told so when it reads on.
func TestSlowReader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l := w.listen("acme", key.Kid{1}, "")
		l.take(t)
		block := make(chan struct{})
		l.mu.Lock()
		l.block = block
		l.mu.Unlock()
		w.hub.Publish("acme", session())
		time.Sleep(pause)
		synctest.Wait() // it holds this one
		for range 10 * kept {
			w.hub.Publish("acme", session())
		}
		if n := len(w.hub.logs["acme"].events); n != kept {
			t.Errorf("%d events are kept", n)
		}
		close(block)
		wantKinds(t, l.take(t), wire.EventSession, wire.EventReset)
	})
}

func TestBounds(t *testing.T) {
	tooMany := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, wire.ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
	}
	inWorld(t, func(t *testing.T, w *world) {
		for range maxDevice {
			w.listen("acme", key.Kid{1}, "")
		}
		_, err := w.join("eve", key.Kid{1}, time.Hour, "")
		tooMany(t, err)
	})
	inWorld(t, func(t *testing.T, w *world) {
		kid := func(i int) key.Kid { return key.Kid{byte(i), byte(i >> 8), 1} }
		for i := range maxTeam {
			w.listen("acme", kid(i), "")
		}
		_, err := w.join("acme", kid(maxTeam), time.Hour, "")
		tooMany(t, err)
		for i := maxTeam; i < maxStreams; i++ {
			w.listen(kid(i).String(), kid(i), "")
		}
		_, err = w.join("eve", kid(maxStreams), time.Hour, "")
		tooMany(t, err)
	})
	inWorld(t, func(t *testing.T, w *world) {
		for i := range maxLogs + 10 {
			feed, err := w.join(key.Kid{byte(i), byte(i >> 8)}.String(), key.Kid{1}, 0, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := feed(t.Context(), func([]byte) error { return nil }); !errors.Is(err, errEnded) {
				t.Fatal(err)
			}
		}
		if n := len(w.hub.logs); n > maxLogs {
			t.Errorf("the events of %d teams are kept", n)
		}
	})
}
