//go:build unix

package openssh_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/backendtest"
	"github.com/tucdesk/tucdesk/backend/openssh"
	"github.com/tucdesk/tucdesk/internal/skiptest"
	"github.com/tucdesk/tucdesk/internal/sshdtest"
)

// program finds a program, or says what to install.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, find := range []string{name, "/usr/sbin/" + name} {
		if at, err := exec.LookPath(find); err == nil {
			return at
		}
	}
	skiptest.Missing(t, "no %s: apt-get install %s", name, pkg)
	return ""
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve runs OpenSSH's own server on a loopback port and returns a configuration
// in which "web-1" is it. "stranger" is it too, with an empty known_hosts; "impostor"
// with another key in there; "locked" without a key of the user's; "nobody" has no
// server.
func serve(t *testing.T) string {
	t.Helper()
	sshd := program(t, "sshd", "openssh-server")
	program(t, "ssh", "openssh-client")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	sshdtest.Keys(t, dir, "host", "key", "other")
	write(t, at("sshd_config"), "HostKey "+at("host")+"\nAuthorizedKeysFile "+at("key.pub")+"\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nUsePAM no\n")
	port := sshdtest.Listen(t, func() *exec.Cmd { return exec.Command(sshd, "-i", "-f", at("sshd_config")) })
	known := func(key string) string {
		pub, err := os.ReadFile(at(key + ".pub"))
		if err != nil {
			t.Fatal(err)
		}
		return "[127.0.0.1]:" + port + " " + string(pub)
	}
	write(t, at("known"), known("host"))
	write(t, at("wrong"), known("other"))
	write(t, at("none"), "")
	write(t, at("included"), "Host impostor\n UserKnownHostsFile "+at("wrong")+"\n IdentityFile "+at("key")+
		"\nHost locked\n UserKnownHostsFile "+at("known")+"\n IdentityFile "+at("other")+"\n")
	write(t, at("config"), "Include "+at("includ*")+"\nHost=web-1 *.example !x # not these\n UserKnownHostsFile "+at("known")+
		"\n IdentityFile "+at("key")+"\nhost stranger\n UserKnownHostsFile "+at("none")+"\n IdentityFile "+at("key")+
		"\nHost nobody\n Port 1\n"+
		"Host -oProxyCommand=x \"a b\" $(id)\n"+
		"Host *\n HostName 127.0.0.1\n Port "+port+"\n IdentitiesOnly yes\n IdentityAgent none\n GlobalKnownHostsFile none\n StrictHostKeyChecking ask\n LocalForward 127.0.0.1:1 127.0.0.1:1\n ExitOnForwardFailure yes\n")
	return at("config")
}

func open(t *testing.T, config string) backend.Backend {
	t.Helper()
	b, err := openssh.New(config, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	config := serve(t)
	dir := t.TempDir()
	const noPolicy = "plain ssh hosts have no policy to evaluate and nobody to ask"
	backendtest.Run(t, backendtest.Harness{
		New: func(t backendtest.T) backend.Backend {
			b, err := openssh.New(config, dir)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		Target: "web-1",
		Cat:    []string{"cat"},
		Exit:   func(code int) []string { return []string{"sh", "-c", fmt.Sprintf("exit %d", code)} },
		Size:   []string{"sh", "-c", "while read line; do stty size; done"},
		Skip: map[string]string{
			"SignalEnds":             "the ssh program passes no signals on, so that the terminal is no Signaler",
			"DeniedStaysDenied":      noPolicy,
			"HeldThenApprovedOpens":  noPolicy,
			"HeldThenDeniedNever":    noPolicy,
			"NobodyApprovesTheirOwn": noPolicy,
			"DecidedOnce":            noPolicy,
			"ZeroVerdictDenies":      noPolicy,
			"BatchAgrees":            noPolicy,
			"WatchedByOthers":        "sshd knows nobody who watches",
		},
	})
	// Whatever ssh said of itself is gone with its terminal.
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestTargets(t *testing.T) {
	b := open(t, serve(t))
	details := make(map[backend.TargetID]map[string]string)
	for target, err := range b.Targets(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		details[target.ID] = target.Detail
	}
	if got := fmt.Sprint(slices.Sorted(maps.Keys(details))); got != "[impostor locked nobody stranger web-1]" {
		t.Errorf("targets: %s", got)
	}
	if d := details["nobody"]; d["address"] != "127.0.0.1" || d["port"] != "1" || d["host keys"] != "ask" || d["error"] != "" {
		t.Errorf("details: %v", d)
	}
	for _, name := range []string{"-oProxyCommand=x", "a b", "$(id)", "*", "*.example", "x.example"} {
		if _, err := b.Open(t.Context(), backend.OpenRequest{Target: backend.TargetID(name), Kind: backend.KindShell}); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("Open(%q): %v", name, err)
		}
	}
}

// TestNothingAsks covers what ssh would ask a person about, with a PTY and without:
// the terminal ends, and says why and what to do.
func TestNothingAsks(t *testing.T) {
	config := serve(t)
	b := open(t, config)
	for host, want := range map[backend.TargetID]string{
		"stranger": "run `ssh -F " + config + " stranger` once",
		"impostor": "before you change known_hosts",
		"locked":   "ssh-add",
		"nobody":   "onnection refused",
	} {
		for _, tty := range []bool{true, false} {
			term, err := b.Open(t.Context(), backend.OpenRequest{Target: host, Kind: backend.KindExec, Argv: []string{"echo", "it-ran"}, TTY: tty})
			if err != nil {
				t.Fatal(err)
			}
			out, _ := io.ReadAll(term)
			exit, err := term.Wait()
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(string(out), "it-ran") || strings.Contains(string(out), want) != tty {
				t.Errorf("%s: output %q, %+v, %v; want an error with %q", host, out, exit, err, want)
			}
			t.Log(err)
		}
	}
}

func TestCommands(t *testing.T) {
	b := open(t, serve(t))
	run := func(req backend.OpenRequest) (string, backend.Exit, error) {
		req.Target = "web-1"
		term, err := b.Open(t.Context(), req)
		if err != nil {
			return "", backend.Exit{}, err
		}
		defer term.Close()
		if term.Assurance() != (backend.Assurance{}) {
			t.Errorf("Assurance = %+v", term.Assurance())
		}
		out, _ := io.ReadAll(term)
		exit, err := term.Wait()
		return string(out), exit, err
	}
	words := []string{"printf", "%s|", "a b", "", "it's", "$HOME `id` \\ \" *", "-n", "ü\n"}
	if out, _, err := run(backend.OpenRequest{Kind: backend.KindExec, Argv: words}); err != nil || out != strings.Join(words[2:], "|")+"|" {
		t.Errorf("words arrive as %q, %v", out, err)
	}
	if _, _, err := run(backend.OpenRequest{Kind: backend.KindExec, Argv: []string{"sh", "-c", "kill -KILL $$"}}); err == nil || !strings.Contains(err.Error(), "signal") {
		t.Errorf("a program that a signal ended: %v", err)
	}
	for _, as := range []string{"-oProxyCommand=x", "a b", "$(id)", "a\x1b[2J"} {
		if _, _, err := run(backend.OpenRequest{Kind: backend.KindShell, As: as}); err == nil {
			t.Errorf("as %q", as)
		}
	}
	for _, req := range []backend.OpenRequest{
		{}, {Kind: backend.KindExec}, {Kind: backend.KindShell, Argv: []string{"x"}},
		{Kind: backend.KindExec, Argv: []string{"a\x00b"}}, {Kind: backend.KindExec, Argv: []string{"env"}, Cwd: "/"},
	} {
		if _, _, err := run(req); err == nil {
			t.Errorf("opened %+v", req)
		}
	}
}

func TestConfigurationsThatCanNotBeRead(t *testing.T) {
	program(t, "ssh", "openssh-client")
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	write(t, loop, "Include "+loop+"\n")
	large := filepath.Join(dir, "large")
	write(t, large, strings.Repeat("#\n", 1<<20))
	for file, want := range map[string]string{
		filepath.Join(dir, "missing"): "write a line `Host NAME`", loop: "include itself", large: "larger than",
	} {
		var last error
		for _, err := range open(t, file).Targets(t.Context()) {
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), want) {
			t.Errorf("%s: %v", file, last)
		}
	}
}
