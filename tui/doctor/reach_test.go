package doctor

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/wire"
)

func TestReach(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Redirect(w, &http.Request{Method: "GET"}, "https://elsewhere.example.com/", http.StatusFound)
	}))
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	srv.StartTLS()
	defer srv.Close()
	pin := wire.Pin(srv.Certificate())
	r, err := reach(t.Context(), wire.Pinned([]envelope.Hash{pin}), srv.URL)
	if err != nil || r.Certificate == nil || wire.Pin(r.Certificate) != pin || r.Status != http.StatusFound || time.Since(r.Date).Abs() > time.Minute {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := reach(t.Context(), wire.Pinned([]envelope.Hash{{1}}), srv.URL); !errors.Is(err, wire.ErrPin) || !errors.Is(err, wire.ErrUnavailable) {
		t.Errorf("another key: %v", err)
	}
	if _, err := reach(t.Context(), nil, srv.URL); !errors.Is(err, wire.ErrUnavailable) {
		t.Errorf("a certificate that nobody trusts: %v", err)
	}
	if _, err := reach(t.Context(), nil, "http://192.0.2.1"); !errors.Is(err, wire.ErrPlainHTTP) {
		t.Errorf("plain http beyond loopback: %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	plain.Close()
	if _, err := reach(t.Context(), nil, plain.URL); !errors.Is(err, wire.ErrUnavailable) || strings.Contains(err.Error(), "GET") {
		t.Errorf("a closed port: %v", err)
	}
}
