package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const testURL = "https://api.example.com"

// world is a door with a clock that tests set and a roster that can't be had.
type world struct {
	t       *testing.T
	now     time.Time
	rosters func(ctx context.Context, team string) (*roster.Roster, error)
	id      key.Identity
	handler http.Handler
}

func newWorld(t *testing.T, table ...Route) *world {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: time.Unix(1_790_000_000, 0), id: id}
	w.rosters = func(context.Context, string) (*roster.Roster, error) { return nil, errors.New("no such team") }
	d, err := New(Config{
		URL: testURL, TokenKeys: []key.Public{id.Public()}, Roster: func(ctx context.Context, team string) (*roster.Roster, error) { return w.rosters(ctx, team) },
		Now: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.handler, _, err = d.Handler(table); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec
}

func (w *world) get(path string) *httptest.ResponseRecorder {
	return w.do(httptest.NewRequestWithContext(w.t.Context(), "GET", path, nil))
}

func hello(context.Context, *Request) (string, error) { return "hello", nil }

// A route that names nobody serves nobody, and what is no route is not found.
func TestZeroRouteRefuses(t *testing.T) {
	w := newWorld(t, Get("/v1/forgotten", 0, "", hello))
	if got := w.get("/v1/forgotten"); got.Code != http.StatusUnauthorized {
		t.Errorf("status %d: %s", got.Code, got.Body)
	}
	if got := w.get("/v1/unheard"); got.Code != http.StatusNotFound || got.Header().Get("Content-Type") != wire.ContentTypeProblem {
		t.Errorf("status %d: %s", got.Code, got.Body)
	}
}

func TestStrangersRate(t *testing.T) {
	w := newWorld(t, Get("/v1/mine", Member, "", hello), Get("/v1/all", Anyone, "", hello))
	for range strangerBurst {
		if got := w.get("/v1/mine"); got.Code != http.StatusUnauthorized {
			t.Fatalf("status %d: %s", got.Code, got.Body)
		}
	}
	for _, path := range []string{"/v1/mine", "/v1/all"} {
		if got := w.get(path); got.Code != http.StatusTooManyRequests {
			t.Errorf("%s: status %d: %s", path, got.Code, got.Body)
		}
	}
	other := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/all", nil)
	other.RemoteAddr = "198.51.100.7:1"
	if got := w.do(other); got.Code != http.StatusOK {
		t.Errorf("another address: status %d", got.Code)
	}
	w.now = w.now.Add(time.Minute)
	if got := w.get("/v1/all"); got.Code != http.StatusOK {
		t.Errorf("a minute later: status %d", got.Code)
	}
}

// Who is on no roster sends little.
func TestStrangersSendLittle(t *testing.T) {
	take := func(context.Context, *Request, string) (string, error) { return "taken", nil }
	w := newWorld(t, Post("/v1/found", Anyone, "", take))
	for size, want := range map[int]int{maxStranger: http.StatusOK, maxStranger + 1: http.StatusRequestEntityTooLarge} {
		body := `"` + strings.Repeat("a", size-2) + `"`
		if got := w.do(httptest.NewRequestWithContext(t.Context(), "POST", "/v1/found", strings.NewReader(body))); got.Code != want {
			t.Errorf("%d bytes: status %d, want %d", size, got.Code, want)
		}
	}
}

// signed makes a request that is signed like an agent's.
func (w *world) signed(path string) *http.Request {
	w.t.Helper()
	h, err := token.SignRequest(w.id, token.Request{Method: "GET", URL: testURL + path, BodySHA256: envelope.Sum(nil), Time: w.now.Unix()})
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), "GET", path, nil)
	r.Header.Set(wire.HeaderRequest, h)
	return r
}

// A store that does not answer is our trouble; a team that is not there is 401.
// The answer tells neither.
func TestRosterTrouble(t *testing.T) {
	w := newWorld(t, Get("/v1/mine", Agent, "", hello))
	if got := w.do(w.signed("/v1/mine?team=acme")); got.Code != http.StatusUnauthorized {
		t.Errorf("status %d: %s", got.Code, got.Body)
	}
	w.rosters = func(context.Context, string) (*roster.Roster, error) {
		return nil, fmt.Errorf("%w: disk on fire", ErrNotNow)
	}
	got := w.do(w.signed("/v1/mine?team=acme"))
	if got.Code != http.StatusInternalServerError || strings.Contains(got.Body.String(), "fire") {
		t.Errorf("status %d: %s", got.Code, got.Body)
	}
}

// An export that fails under way is cut, not ended.
func TestStreamIsCut(t *testing.T) {
	w := newWorld(t, Get("/v1/all", Anyone, "", func(context.Context, *Request) (Stream, error) {
		return func(w io.Writer) error {
			io.WriteString(w, "half of it")
			return errors.New("disk on fire")
		}, nil
	}))
	srv := httptest.NewServer(w.handler)
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL + "/v1/all")
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("half an export reads like a whole one")
	}
}

// A feed outlives the deadlines that the server has for answers, over HTTP/1.1
// and HTTP/2, and its reader has each part at once.
func TestFeedOutlivesDeadlines(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			next, ended := make(chan string), make(chan error, 1)
			w := newWorld(t, Get("/v1/feed", Anyone, "", func(context.Context, *Request) (Feed, error) {
				return func(ctx context.Context, send func([]byte) error) error {
					for {
						select {
						case part := <-next:
							if err := send([]byte(part)); err != nil {
								return err
							}
						case <-ctx.Done():
							ended <- ctx.Err()
							return ctx.Err()
						}
					}
				}, nil
			}))
			srv := httptest.NewUnstartedServer(w.handler)
			const deadline = 100 * time.Millisecond
			srv.Config.ReadTimeout, srv.Config.WriteTimeout = deadline, deadline
			srv.EnableHTTP2 = proto == "HTTP/2.0"
			srv.StartTLS()
			defer srv.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/v1/feed", nil)
			if err != nil {
				t.Fatal(err)
			}
			answer := make(chan *http.Response, 1)
			go func() {
				resp, err := srv.Client().Do(req)
				if err != nil {
					t.Error(err)
				}
				answer <- resp
			}()
			next <- "first"
			resp := <-answer
			if resp == nil {
				return
			}
			defer resp.Body.Close()
			if resp.Proto != proto || resp.Header.Get("Content-Type") != wire.ContentTypeEvents {
				t.Errorf("%s, %s", resp.Proto, resp.Header.Get("Content-Type"))
			}
			got := make([]byte, 5)
			for i := range 3 {
				if i > 0 {
					time.Sleep(2 * deadline) // both deadlines are over
					next <- "again"
				}
				if _, err := io.ReadFull(resp.Body, got); err != nil {
					t.Fatalf("part %d: %v", i, err)
				}
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the feed of a reader that went ended with %v", err)
			}
		})
	}
}

func TestConfigIsComplete(t *testing.T) {
	if _, err := New(Config{URL: testURL}); err == nil {
		t.Error("a door without a key")
	}
}

func TestLimiterIsBounded(t *testing.T) {
	l := NewLimiter(1, 1)
	now := time.Unix(0, 0)
	for i := range 5 * maxLimited {
		l.Take(fmt.Sprint(i), now)
	}
	if n := len(l.young) + len(l.old); n > 2*maxLimited {
		t.Errorf("%d buckets", n)
	}
	if l.Take("x", now); l.Take("x", now) {
		t.Error("a bucket of one gave two")
	}
}
