package webhook

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

var secret = []byte("0123456789abcdef")

func notice() Notice {
	return Notice{ID: "00ff", Team: "acme", Target: "web-1", Operator: "alice@example.com", Tier: "high", AskUntil: time.Unix(1_795_000_900, 0)}
}

func hook(t *testing.T, address string) *Hook {
	t.Helper()
	h, err := New(address, secret, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h.pause = time.Millisecond
	h.now = func() time.Time { return time.Unix(1_795_000_000, 0) }
	return h
}

// A receiver that fails twice gets a signed message with the third try, and it holds
// what it may and nothing else.
func TestDelivers(t *testing.T) {
	type call struct {
		body   []byte
		header string
	}
	got, n := make(chan call, 1), 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n < tries {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		b, _ := io.ReadAll(r.Body)
		got <- call{b, r.Header.Get(Header)}
	}))
	defer s.Close()
	h := hook(t, s.URL)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go h.Run(ctx)
	h.Tell(notice())
	c := <-got
	if c.header != h.sign(1_795_000_000, c.body) || !strings.HasPrefix(c.header, "t=1795000000,v1=") {
		t.Errorf("signed as %s", c.header)
	}
	var m map[string]any
	if err := json.Unmarshal(c.body, &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]any{
		"text":  "alice@example.com asks for approval on web-1 (high). tucdesk approvals show 00ff",
		"event": "approval", "id": "00ff", "team": "acme", "target": "web-1", "operator": "alice@example.com", "tier": "high",
		"ask_until": 1_795_000_900.0, "open": "tucdesk approvals show 00ff",
	} {
		if m[k] != v {
			t.Errorf("%s is %v, want %v", k, m[k], v)
		}
		delete(m, k)
	}
	if len(m) > 0 {
		t.Errorf("it says more than it may: %v", m)
	}
}

func TestGivesUp(t *testing.T) {
	for status, want := range map[int]int{http.StatusBadGateway: tries, http.StatusTooManyRequests: tries, http.StatusForbidden: 1, http.StatusFound: 1} {
		n := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}))
		err := hook(t, s.URL).deliver(t.Context(), notice())
		s.Close()
		if err == nil || n != want || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("%d: %d tries, %v", status, n, err)
		}
	}
	h := hook(t, "http://127.0.0.1:1/secret-path")
	if err := h.deliver(t.Context(), notice()); err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("nobody listens: %v", err)
	}
	for range maxWaiting + 10 {
		h.Tell(notice()) // nobody sends: it must not wait
	}
	(*Hook)(nil).Tell(notice())
}

func TestHostileNames(t *testing.T) {
	if s := plain("a<!channel>\x1b[2J\nb"); strings.ContainsAny(s, "<>\x1b\n") {
		t.Errorf("%q", s)
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct{ address, secret string }{
		{"http://example.com/x", string(secret)}, {"", string(secret)}, {"ftp://example.com", string(secret)},
		{"https://example.com", "short"}, {"https://", string(secret)}, {"http://127.0.0.1.example.com", string(secret)},
	} {
		if _, err := New(c.address, []byte(c.secret), nil); err == nil {
			t.Errorf("%s was taken", c.address)
		}
	}
}
