package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/apid/api/keys"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// keysInit runs `keys init` and gives the folder and what it printed.
func keysInit(t *testing.T) (dir, printed string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	var out bytes.Buffer
	for range 2 { // the second time it makes nothing new
		cmd := keys.Command()
		out.Reset()
		cmd.SetOut(&out)
		cmd.SetArgs([]string{"init", dir})
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if printed != "" && printed != out.String() {
			t.Error("keys init made new keys over old ones")
		}
		printed = out.String()
	}
	return dir, printed
}

func TestCommandRuns(t *testing.T) {
	dir, printed := keysInit(t)
	if strings.Contains(printed, "tds1") || !strings.Contains(printed, "rendezvous") {
		t.Errorf("printed:\n%s", printed)
	}
	for _, file := range []string{"grant.key", "token.key", "log.key", "rendezvous.key", keys.RelayFile} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	set := settings{
		Listen: "127.0.0.1:0", URL: "http://127.0.0.1:8443", RendezvousURL: "http://127.0.0.1:8444",
		Database: filepath.Join(t.TempDir(), "apid.db"), KeysDir: dir, RelayFile: filepath.Join(dir, keys.RelayFile), Founding: "first",
	}
	svc, err := set.service(daemon.NewEnv(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(set.Database); !errors.Is(err, os.ErrNotExist) {
		t.Error("checking a configuration made the database")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready := false
	if err := svc.Run(ctx, func() { ready = true; cancel() }); err != nil || !ready {
		t.Errorf("ready %v, %v", ready, err)
	}
}

func TestRunServesAndStops(t *testing.T) {
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error)
	go func() { done <- s.Server.Run(ctx, func() { close(ready) }) }()
	<-ready
	resp, err := s.http.Get("http://" + s.Addr() + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%d, %v", resp.StatusCode, err)
	}
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	for _, rt := range s.routes() {
		if doc.Paths[rt.Path][strings.ToLower(rt.Method)] == nil {
			t.Errorf("%s is not in the OpenAPI document", rt.Label())
		}
	}
	s.http.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConfigRefuses(t *testing.T) {
	id := newIdentity(t)
	base := func() Config {
		return Config{
			URL: "https://api.example.com", Listen: "127.0.0.1:0", Keys: keys.Set{Grant: keys.Ring{newIdentity(t)}, Token: keys.Ring{newIdentity(t)}, Log: keys.Ring{newIdentity(t)}},
			RelaySecret: cred.NewSecret(), RendezvousURL: "https://rendezvous.example.com",
		}
	}
	good := base()
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	if good.Founding != FoundingClosed {
		t.Errorf("founding is %q where nothing is said", good.Founding)
	}
	for name, edit := range map[string]func(*Config){
		"no url":              func(c *Config) { c.URL = "" },
		"plain http":          func(c *Config) { c.URL = "http://api.example.com" },
		"plain listener":      func(c *Config) { c.Listen = "0.0.0.0:443" },
		"plain on every host": func(c *Config) { c.Listen = ":443" },
		"no grant key":        func(c *Config) { c.Keys.Grant = nil },
		"no token key":        func(c *Config) { c.Keys.Token = nil },
		"no log key":          func(c *Config) { c.Keys.Log = keys.Ring{key.Identity{}} },
		"one key twice":       func(c *Config) { c.Keys.Grant, c.Keys.Log = append(c.Keys.Grant, id), append(c.Keys.Log, id) },
		"rendezvous' own key": func(c *Config) { c.Keys.Rendezvous = c.Keys.Token.Publics() },
		"unknown founding":    func(c *Config) { c.Founding = "everybody" },
		"no rendezvous":       func(c *Config) { c.RendezvousURL = "" },
		"plain rendezvous":    func(c *Config) { c.RendezvousURL = "http://rendezvous.example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			c := base()
			edit(&c)
			if err := c.check(); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := New(base()); err == nil {
		t.Error("a server without a store")
	}
}
