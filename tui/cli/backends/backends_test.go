package backends

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
)

var errExit = errors.New("exit")

// run runs a command with mem: and none: built in, and gives its output.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	none := backend.Driver{Scheme: "none", Doc: "nothing", Open: func(context.Context, *url.URL, backend.Env) (backend.Backend, error) {
		w, err := mem.NewWorld(nil)
		return w.Backend("x"), err
	}}
	r := new(backend.Registry)
	if err := errors.Join(r.Register(mem.Driver()), r.Register(none)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := &CLI{Out: &out, Err: &out, Registry: r, Exit: func(int) error { return errExit }}
	cmd := c.Command()
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestBackendCommands(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"acme", "mem"} {
		if err := os.WriteFile(filepath.Join(dir, "tucdesk-backend-"+name), []byte("#!/bin/sh\nprintf 'no \\033[2J key\\n' >&2\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	file := filepath.Join(dir, "tucdesk-backend-")
	mems := []string{"--target", "web-1", "--exit", "exit %d", "--size", "size"}
	for name, tc := range map[string]struct {
		args []string
		err  string // "" none; else a part of it, or of the exit
		want []string
	}{
		"list":              {[]string{"list"}, "", []string{"mem     built in", "acme    program", "not used, since mem: is built in"}},
		"test":              {append([]string{"test", "mem:alice"}, mems...), "", []string{"OpenEcho   ", "not tried: nothing says which request is held", " 0 failed, "}},
		"something fails":   {[]string{"test", "mem:alice", "--target", "web-1"}, "exit", []string{"FAILED", "want code 7", " 2 failed, "}},
		"no such target":    {[]string{"test", "mem:alice", "--target", "nowhere"}, "not listed", nil},
		"no target":         {[]string{"test", "none"}, "lists no target", nil},
		"no such backend":   {[]string{"test", "nosuch"}, "tucdesk backend list", nil},
		"no such file":      {[]string{"test", "./nosuch"}, "no such", nil},
		"a built-in's name": {[]string{"test", file + "mem"}, "has mem: itself", nil},
		"a program dies":    {[]string{"test", "acme"}, "no ⟨ESC⟩[2J key", nil},
		"its file":          {[]string{"test", file + "acme"}, "no ⟨ESC⟩[2J key", nil},
		"its URL":           {[]string{"test", "acme:prod"}, "no ⟨ESC⟩[2J key", nil},
		"no words":          {[]string{"test", "mem:alice", "--cat", "a | b"}, "--cat: ", nil},
		"no code":           {[]string{"test", "mem:alice", "--exit", "exit"}, "has no %d", nil},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := run(t, tc.args...)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, want %q", err, tc.err)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if strings.ContainsRune(out, 0x1b) {
				t.Errorf("an escape is printed: %q", out)
			}
		})
	}
	var rows []row
	if out, err := run(t, "list", "--json"); err != nil || json.Unmarshal([]byte(out), &rows) != nil || len(rows) < 4 || rows[2].Path != file+"acme" || !rows[3].Hidden {
		t.Errorf("list: %v, %+v", err, rows)
	}
	var r report
	out, err := run(t, append([]string{"test", "mem:alice", "--json", "--denied", "vault"}, mems...)...)
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || r.Counts["ok"] < 20 || r.Counts["failed"] != 0 || len(r.Cases) < 25 || r.Target != "web-1" {
		t.Errorf("test: %v, %+v", err, r)
	}
}
