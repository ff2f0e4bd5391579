package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// part runs a daemon's program with arguments.
func part(t testing.TB, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return run(t, nil, "", append([]string{"part", name}, args...)...)
}

// settings are what each daemon needs beside its defaults, and a setting of each
// that leads beyond this machine without TLS.
func configs(t testing.TB) (good, plain map[string]map[string]string) {
	t.Helper()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	if _, errs, code := part(t, "apid", "keys", "init", keys); code != 0 {
		t.Fatal(errs)
	}
	good = map[string]map[string]string{
		"apid":        {"database": filepath.Join(dir, "apid.db"), "keys_dir": keys},
		"rendezvousd": {"key_file": filepath.Join(keys, "rendezvous.key")},
		"relayd":      {"secret_file": filepath.Join(keys, "relay.secret")},
		"agent": {"dir": filepath.Join(dir, "agent"), "team_id": "ops", "team_fp": strings.Repeat("ab", 32),
			"api_url": "https://tucdesk.example.com", "rendezvous_url": "https://rendezvous.example.com"},
	}
	plain = map[string]map[string]string{
		"apid":        {"url": "http://tucdesk.example.com", "listen": "0.0.0.0:8443", "rendezvous_url": "http://rendezvous.example.com", "admin_listen": "0.0.0.0:9477"},
		"rendezvousd": {"url": "http://tucdesk.example.com", "listen": "0.0.0.0:8444", "api_url": "http://tucdesk.example.com", "admin_listen": "0.0.0.0:9478"},
		"relayd":      {"admin_listen": "0.0.0.0:9479"},
		"agent":       {"api_url": "http://tucdesk.example.com", "rendezvous_url": "http://192.0.2.1", "admin_listen": "0.0.0.0:9465"},
	}
	return good, plain
}

// with sets keys in an example file.
func with(t testing.TB, example string, settings ...map[string]string) string {
	t.Helper()
	for _, set := range settings {
		for key, value := range set {
			line := regexp.MustCompile(`(?m)^` + key + `: .*$`)
			if !line.MatchString(example) {
				t.Fatalf("the example has no key %s", key)
			}
			example = line.ReplaceAllLiteralString(example, fmt.Sprintf("%s: %q", key, value))
		}
	}
	return example
}

// TestConfigFiles: what a daemon describes is what it takes, and nothing else.
func TestConfigFiles(t *testing.T) {
	good, plain := configs(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	check := func(t *testing.T, name, content string) (string, int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, code := part(t, name, "--config", file, "--check-config")
		return out + errs, code
	}
	for name := range good {
		t.Run(name, func(t *testing.T) {
			example, errs, code := part(t, name, "config", "example")
			if code != 0 {
				t.Fatal(errs)
			}
			schema, errs, code := part(t, name, "config", "schema")
			if code != 0 {
				t.Fatal(errs)
			}
			var described struct {
				AdditionalProperties bool
				Properties           map[string]struct{ Description, Type string }
			}
			if err := json.Unmarshal([]byte(schema), &described); err != nil {
				t.Fatal(err)
			}
			for key, p := range described.Properties {
				if p.Description == "" || p.Type == "" {
					t.Errorf("%s is not described", key)
				}
				if !strings.Contains(example, "# "+p.Description+"\n"+key+": ") {
					t.Errorf("%s is not in the example", key)
				}
			}
			content := with(t, example, good[name])
			if out, code := check(t, name, content); code != 0 || out != "configuration ok\n" {
				t.Fatalf("the example with what it needs: exit %d: %s", code, out)
			}
			lines := strings.Count(content, "\n")
			for label, c := range map[string]struct{ content, want string }{
				"unknown key": {content + "\n  \nlisten_on: x\n", fmt.Sprintf(`%s:%d:1: unknown`, regexp.QuoteMeta(file), lines+3)},
				"two times":   {content + "log_level: info\n", fmt.Sprintf(`%s:%d:1: .*(duplicate|already)`, regexp.QuoteMeta(file), lines+1)},
				"not YAML":    {content + "log_format: [\n", regexp.QuoteMeta(file) + `:\d+:\d+: `},
				"wrong type":  {strings.Replace(content, "stop_timeout: 15s", "stop_timeout: soon", 1), regexp.QuoteMeta(file) + `:\d+:\d+: `},
			} {
				if out, code := check(t, name, c.content); code != 2 || !regexp.MustCompile(c.want).MatchString(out) {
					t.Errorf("%s: exit %d: %s; want %s", label, code, out, c.want)
				}
			}
			for key, value := range plain[name] {
				out, code := check(t, name, with(t, content, map[string]string{key: value}))
				if code != 2 || !strings.Contains(out, "loopback") {
					t.Errorf("%s: %s: exit %d: %s", key, value, code, out)
				}
			}
		})
	}
}

// TestRefusedValues: a value that only its service can judge is refused with the
// place where it stands.
func TestRefusedValues(t *testing.T) {
	good, _ := configs(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	for _, tt := range []struct{ name, key, value string }{
		{"apid", "keys_dir", "/nowhere"},
		{"apid", "rendezvous_key", "tdp1x"},
		{"apid", "rendezvous_pins", "[abc]"},
		{"apid", "tls_cert", "/nowhere/cert.pem"},
		{"apid", "acme_domains", "[localhost]"},
		{"apid", "relay_secret_file", "/nowhere/relay.secret"},
		{"rendezvousd", "key_file", "/nowhere/rendezvous.key"},
		{"rendezvousd", "api_pins", "[abc]"},
		{"rendezvousd", "tls_key", "/nowhere/key.pem"},
		{"apid", "url", "http://tucdesk.example.com"},
		{"apid", "listen", "0.0.0.0:8443"},
		{"apid", "founding", "everybody"},
		{"rendezvousd", "url", "http://rendezvous.example.com"},
		{"rendezvousd", "listen", "0.0.0.0:8444"},
		{"relayd", "listen", ":3478"},
		{"relayd", "secret_file", "/nowhere/relay.secret"},
		{"relayd", "max_lifetime", "0s"},
		{"agent", "api_url", "http://tucdesk.example.com"},
		{"agent", "team_fp", "abc"},
		{"agent", "pins", "[abc]"},
		{"agent", "upload_hosts", "[https://s3.example.com]"},
	} {
		var b strings.Builder
		line := 1
		for key, value := range good[tt.name] {
			if key != tt.key {
				fmt.Fprintf(&b, "%s: %s\n", key, value)
				line++
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", tt.key, tt.value)
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errs, code := part(t, tt.name, "--config", file, "--check-config")
		at := fmt.Sprintf("%s:%d:1: ", file, line)
		other := tt.key == "tls_cert" || tt.key == "tls_key" // which of the two is wrong is told by the other
		if code != 2 || !strings.Contains(errs, at) && !other || !strings.Contains(errs, "tls_") && other {
			t.Errorf("%s: %s: %s: exit %d: %s", tt.name, tt.key, tt.value, code, errs)
		}
	}
}
