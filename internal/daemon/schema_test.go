package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestConfigSchema(t *testing.T) {
	r := runTest(t, []string{"config", "schema"}, nil)
	if r.code != exitOK {
		t.Fatal(r.stderr)
	}
	var s struct {
		AdditionalProperties *bool
		Properties           map[string]struct {
			Type, Description, Pattern string
			Default                    any
			Minimum                    *int
			AdditionalProperties       *bool
			Properties                 map[string]struct{ Type, Description string }
		}
	}
	if err := json.Unmarshal([]byte(r.out), &s); err != nil {
		t.Fatal(err)
	}
	if s.AdditionalProperties == nil || *s.AdditionalProperties {
		t.Error("the schema lets unknown keys pass")
	}
	for key, want := range map[string]string{
		"listen": "string", "max": "integer", "small": "integer", "wait": "string", "strict": "boolean",
		"origins": "array", "store": "object", "cert": "string", "log_level": "string", "stop_timeout": "string",
	} {
		if got := s.Properties[key].Type; got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if p := s.Properties["store"]; p.Properties["path"].Description != "where rows are kept" || p.AdditionalProperties == nil {
		t.Errorf("nested: %+v", p)
	}
	if p := s.Properties["listen"]; p.Default != "127.0.0.1:1" || p.Description != "address to listen on" {
		t.Errorf("listen: %+v", p)
	}
	if s.Properties["small"].Minimum == nil {
		t.Error("an unsigned number without a minimum")
	}
}

// The example is a file that changes nothing.
func TestConfigExample(t *testing.T) {
	r := runTest(t, []string{"config", "example"}, nil)
	if r.code != exitOK {
		t.Fatal(r.stderr)
	}
	for _, want := range []string{"# how long\nwait: 1s\n", "\nstore:\n\n  # where rows are kept\n  path: \"\"\n", "origins: [\"a\"]"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	file := filepath.Join(t.TempDir(), "example.yaml")
	if err := os.WriteFile(file, []byte(r.out), 0o600); err != nil {
		t.Fatal(err)
	}
	got := runTest(t, []string{"--config", file}, nil)
	if got.code != exitOK {
		t.Fatal(got.stderr)
	}
	if !reflect.DeepEqual(got.cfg, defaults()) {
		t.Errorf("%+v, want the defaults", got.cfg)
	}
}

// A value that a service refuses is shown where it was given.
func TestSettingError(t *testing.T) {
	cfg, err := newConfig(Command{Name: "x", Config: defaults()})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.parse("x.yaml", []byte("listen: a\nstore:\n  path: b\nmax: 1\n")); err != nil {
		t.Fatal(err)
	}
	if err := cfg.readEnv("X_", []string{"X_MAX=3"}); err != nil {
		t.Fatal(err)
	}
	cause := os.ErrNotExist
	for key, want := range map[string]string{
		"listen":     "daemon: x.yaml:1:1: listen: file does not exist",
		"store.path": "daemon: x.yaml:3:3: store.path: file does not exist",
		"max":        "daemon: X_MAX: max: file does not exist",
		"wait":       "wait: file does not exist", // a default stands nowhere
	} {
		got := cfg.place(&SettingError{Key: key, Err: cause})
		if got.Error() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := cfg.place(cause); got != cause {
		t.Errorf("another error became %v", got)
	}
}
