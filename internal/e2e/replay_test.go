package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// capture puts a proxy before the HTTP clients that are made in this process from
// here on, and keeps what they offer to the rendezvous.
func capture(t *testing.T) func() []wire.Offer {
	t.Helper()
	var (
		mu     sync.Mutex
		offers []wire.Offer
	)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			if r.In.URL.Path != "/v1/offers" {
				return
			}
			body, err := io.ReadAll(r.In.Body)
			var offer wire.Offer
			if err = errors.Join(err, json.Unmarshal(body, &offer)); err != nil {
				t.Errorf("an offer that can't be read: %v", err)
			}
			r.Out.Body = io.NopCloser(bytes.NewReader(body))
			mu.Lock()
			defer mu.Unlock()
			offers = append(offers, offer)
		},
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
	})
	t.Cleanup(proxy.Close)
	through, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	common := http.DefaultTransport.(*http.Transport)
	before := common.Proxy
	common.Proxy = http.ProxyURL(through)
	t.Cleanup(func() { common.Proxy = before })
	return func() []wire.Offer {
		mu.Lock()
		defer mu.Unlock()
		return offers
	}
}

// TestReplayAtKilledAgent: what has been used stays used when the agent's process
// is killed without warning. An offer whose command was approved and has run is
// captured, and made again by the same operator, who is signed in and may make
// offers: to the agent as it was, and to the one that comes up after kill -9.
func TestReplayAtKilledAgent(t *testing.T) {
	d := startProcesses(t)
	offers := capture(t)
	alice := d.open(t, "alice")
	defer alice.Close()
	victim := filepath.Join(t.TempDir(), "victim")
	fill := func() {
		if err := os.Mkdir(victim, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	req := backend.OpenRequest{
		Target: "web-1", Kind: backend.KindExec, Argv: []string{"rm", "-rf", victim}, Reason: "used once",
	}
	id, err := alice.Ask(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	d.must(t, "bob", "approvals", "approve", string(id), "--yes")
	if err := alice.Await(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	req.Approval = id
	terminal, err := alice.Open(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := terminal.Wait(); err != nil || exit.Code != 0 {
		t.Fatalf("the approved command: %+v, %v", exit, err)
	}
	terminal.Close()
	if _, err := os.Stat(victim); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the approved command did nothing: %v", err)
	}
	caught := offers() // once more when the rendezvous asked for another nonce
	if len(caught) == 0 {
		t.Fatal("no offer was captured")
	}
	used := caught[len(caught)-1]
	fill()

	// The agent says so to nobody while the session is not over yet, and then
	// that it was used.
	replay := func(when string) {
		t.Helper()
		await(t, when+": refused as used", func() bool {
			answer, err := alice.Client().Offer(t.Context(), alice.Home().Profile.Rendezvous, used)
			if err == nil {
				t.Fatalf("%s: the agent answered a used offer with %d bytes", when, len(answer.HS2))
			}
			return strings.Contains(err.Error(), "used before")
		})
		if _, err := os.Stat(victim); err != nil {
			t.Errorf("%s: the command ran again: %v", when, err)
		}
	}
	replay("before the kill")
	old := d.kill9(t, "agent web-1")
	await(t, "the agent's restart", func() bool { return d.pidOf(t, "agent web-1") != old })
	d.eventually(t, "alice", "exec", "web-1", "--", "true")
	replay("after kill -9")

	// Both refusals are in the log, with who tried; and the log verifies.
	await(t, "the agent's two refusals in the log", func() bool {
		log := d.must(t, "dora", "audit", "tail", "-n", "0", "--json")
		return countRefusals(t, log, fmt.Sprint(used.SessionID)) == 2
	})
	file := filepath.Join(t.TempDir(), "log.tdx")
	d.must(t, "dora", "audit", "export", "-o", file)
	if out := d.must(t, "dora", "audit", "verify", file, "--team-fp", d.TeamFP.String()); !strings.HasPrefix(out, "ok: ") {
		t.Errorf("the log: %s", out)
	}
}

// countRefusals counts a session's refusals in the lines of `audit tail --json`.
func countRefusals(t *testing.T, log, session string) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(log) {
		if strings.Contains(line, session) && strings.Contains(line, "refus") {
			n++
		}
	}
	return n
}
