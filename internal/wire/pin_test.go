package wire

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// A pinned client takes the server with that key, and no other; one without pins
// asks the system's authorities, which do not know this server.
func TestPinned(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"url":"https://x","rendezvous":"","relays":[],"keys":[]}`))
	}))
	defer srv.Close()
	right := envelope.Hash(sha256.Sum256(srv.Certificate().RawSubjectPublicKeyInfo))
	for name, c := range map[string]struct {
		pins []envelope.Hash
		want error
	}{
		"the pin":     {[]envelope.Hash{envelope.Sum([]byte("old")), right}, nil},
		"another pin": {[]envelope.Hash{envelope.Sum([]byte("old"))}, ErrPin},
		"no pin":      {nil, ErrUnavailable},
	} {
		client, err := NewClient(Options{URL: srv.URL, Identity: key.IdentityFromSeed([32]byte{1}), HTTP: Pinned(c.pins)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Server(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
