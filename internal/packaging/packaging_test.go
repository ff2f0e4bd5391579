package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const root = "../.."

// daemons are the programs that packages configure, with their folders.
var daemons = map[string]string{"apid": "apid", "rendezvousd": "rendezvousd", "relayd": "relayd", "agent": "agent"}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// build makes a daemon and gives its path.
func build(t *testing.T, dir, daemon string) string {
	t.Helper()
	bin := filepath.Join(dir, "tucdesk-"+daemon)
	cmd := exec.Command("go", "build", "-o", bin, "./"+daemons[daemon])
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// What an administrator finds in /etc is accepted once the keys are made and the
// agent has a team, and still with the lines that are commented out.
func TestExamplesAreAccepted(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	apid := build(t, dir, "apid")
	out, err := exec.Command(apid, "keys", "init", keys).CombinedOutput()
	if err != nil {
		t.Fatalf("keys init: %v\n%s", err, out)
	}
	meet := regexp.MustCompile(`(?m)^rendezvous +(\S+)$`).FindSubmatch(out)
	if meet == nil {
		t.Fatalf("keys init names no rendezvous key:\n%s", out)
	}
	cert := certificate(t, dir)
	for daemon := range daemons {
		t.Run(daemon, func(t *testing.T) {
			bin := apid
			if daemon != "apid" {
				bin = build(t, dir, daemon)
			}
			text := read(t, "config/"+daemon+".yaml")
			local := strings.NewReplacer("/etc/tucdesk/keys", keys, "/var/lib/tucdesk-"+daemon, dir).Replace(text)
			if daemon == "agent" {
				if out, err := checkConfig(t, bin, local); err == nil || !strings.Contains(out, "team") {
					t.Errorf("without a team: %v\n%s", err, out)
				}
				local += "team_id: acme\nteam_fp: " + strings.Repeat("0123456789abcdef", 4) + "\n"
				local = with(t, local, "_url")
			}
			check(t, bin, local)
			if strings.Contains(local, "# tls_cert:") {
				tls := with(t, local, "tls")
				tls = regexp.MustCompile(`(?m)^tls_cert: .*$`).ReplaceAllString(tls, "tls_cert: "+cert[0])
				tls = regexp.MustCompile(`(?m)^tls_key: .*$`).ReplaceAllString(tls, "tls_key: "+cert[1])
				check(t, bin, tls)
				acme := with(t, local, "acme_")
				if daemon == "relayd" { // it has an address of its own for TLS
					acme = with(t, acme, "listen_tls")
				}
				check(t, bin, acme)
			}
			if daemon == "apid" {
				check(t, bin, strings.Replace(with(t, local, "rendezvous_key"), "tdp1...", string(meet[1]), 1))
			}

			if out, err := checkConfig(t, bin, local+"no_such_key: 1\n"); err == nil || !strings.Contains(out, "no_such_key") {
				t.Errorf("an unknown key: %v\n%s", err, out)
			}
		})
	}
}

// with puts in the settings that are commented out and whose names hold part.
func with(t *testing.T, text, part string) string {
	t.Helper()
	out := regexp.MustCompile(`(?m)^# ([a-z_]*`+part+`[a-z_]*: )`).ReplaceAllString(text, "$1")
	if out == text {
		t.Fatalf("nothing called %s is commented out", part)
	}
	return out
}

func check(t *testing.T, bin, text string) {
	t.Helper()
	if out, err := checkConfig(t, bin, text); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
}

func checkConfig(t *testing.T, bin, text string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--config", file, "--check-config")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// unit reads a unit into its settings; a setting may stand several times.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	text := strings.ReplaceAll(read(t, "systemd/"+name), "\\\n", " ")
	settings := map[string][]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "[") {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%s: %q is no setting", name, line)
		}
		settings[k] = append(settings[k], v)
	}
	return settings
}

// The three servers differ in what they are given, not in how they are locked up.
func TestServersAreLockedUpAlike(t *testing.T) {
	own := []string{"Description", "Documentation", "User", "Group", "ExecStart", "ExecPaths", "LoadCredential", "SetCredential", "LimitNOFILE", "StateDirectory", "StateDirectoryMode", "RestrictAddressFamilies"}
	first := unit(t, "tucdesk-apid.service")
	for _, name := range []string{"rendezvousd", "relayd"} {
		u := unit(t, "tucdesk-"+name+".service")
		for _, k := range keysOf(first, u) {
			if !slices.Contains(own, k) && !slices.Equal(first[k], u[k]) {
				t.Errorf("%s of %s is %q, and of apid %q", k, name, u[k], first[k])
			}
		}
	}
	for _, name := range []string{"apid", "rendezvousd", "relayd"} {
		u := unit(t, "tucdesk-"+name+".service")
		want := "AF_INET AF_INET6"
		if name == "apid" {
			want += " AF_UNIX" // for a database on the same machine
		}
		if got := strings.Join(u["RestrictAddressFamilies"], ","); got != want {
			t.Errorf("%s speaks %q, want %q", name, got, want)
		}
		if u["ProcSubset"] != nil {
			t.Errorf("%s: ProcSubset hides the kernel's listen backlog", name)
		}
		if users := read(t, "sysusers.d/tucdesk-server.conf"); !strings.Contains(users, "\nu "+u["User"][0]+" ") {
			t.Errorf("%s runs as %s, whom nobody makes", name, u["User"][0])
		}
	}
}

// Whatever is inherited by login shells stays as the system has it.
func TestAgentTakesNothingFromShells(t *testing.T) {
	allowed := []string{
		"Description", "Documentation", "Wants", "After", "StartLimitIntervalSec", "WantedBy",
		"Type", "ExecStart", "StateDirectory", "StateDirectoryMode", "Restart", "RestartSec", "RestartPreventExitStatus",
		"TimeoutStopSec", "KillMode", "Delegate", "OOMPolicy", "TasksMax", "IgnoreSIGPIPE",
	}
	for _, k := range keysOf(unit(t, "tucdesk-agent.service")) {
		if !slices.Contains(allowed, k) {
			t.Errorf("%s: a login shell would inherit it, or this list lacks it", k)
		}
	}
}

func keysOf(units ...map[string][]string) []string {
	var keys []string
	for _, u := range units {
		for k := range u {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Everything that the packages are said to hold exists, and everything that
// lies here for them is in one.
func TestReleaseNamesAllFiles(t *testing.T) {
	config := read(t, filepath.Join(root, ".goreleaser.yaml"))
	var any map[string]any
	if err := yaml.Unmarshal([]byte(config), &any); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`internal/packaging/[a-zA-Z0-9./_-]+`).FindAllString(config, -1) {
		if strings.HasPrefix(m, "internal/packaging/generated") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, m)); err != nil {
			t.Errorf("the release names %s: %v", m, err)
		}
	}
	for _, dir := range []string{"config", "debian", "lintian", "rpm", "systemd", "sysusers.d"} {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, e := range entries {
			if name := fmt.Sprintf("internal/packaging/%s/%s", dir, e.Name()); !strings.Contains(config, name) {
				t.Errorf("%s is in no package", name)
			}
		}
	}
}

// Example settings and units agree on where things are.
func TestUnitsReadTheirSettings(t *testing.T) {
	for daemon := range daemons {
		u := unit(t, "tucdesk-"+daemon+".service")
		start := u["ExecStart"][0]
		if !strings.HasPrefix(start, "/usr/sbin/tucdesk-"+daemon+" --config /etc/tucdesk/"+daemon+".yaml") {
			t.Errorf("%s starts with %q", daemon, start)
		}
		text := read(t, "config/"+daemon+".yaml")
		for _, dir := range u["StateDirectory"] {
			if !strings.Contains(text, "/var/lib/"+dir) {
				t.Errorf("%s: its settings do not use /var/lib/%s", daemon, dir)
			}
		}
		for _, c := range u["LoadCredential"] {
			name, path, _ := strings.Cut(c, ":")
			if path != "/etc/tucdesk/keys/"+name {
				t.Errorf("%s: %s comes from %s", daemon, name, path)
			}
		}
	}
}
