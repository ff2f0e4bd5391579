package openssh

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                        nil,
		"  # Host x":              nil,
		"Host web-1 web-2\r":      {"Host", "web-1", "web-2"},
		"\tHost=web-1":            {"Host", "web-1"},
		"Host = web-1 # and more": {"Host", "web-1"},
		`Host "web-1" "a b" a#b`:  {"Host", "web-1", "a b", "a#b"},
		`Host ""`:                 {"Host", ""},
		"SetEnv=A=b c=d":          {"SetEnv", "A=b", "c=d"},
	} {
		if got := split(line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func FuzzReadHosts(f *testing.F) {
	f.Add("Host web-1 *.example !x\nInclude nothing-*\n Port 22")
	f.Add("Host=\"a b\" -x $(id) \x1b[2J\nhost \"")
	f.Add("Include config")
	f.Fuzz(func(t *testing.T, text string) {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(home, ".ssh", "config")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(text, "/~[*?") { // no other folder is read
			return
		}
		hosts, err := readHosts(file, home)
		if err != nil {
			return
		}
		for _, name := range hosts.names() {
			if !strings.Contains(text, name) && !strings.Contains(text, `"`) || name[0] == '-' ||
				strings.ContainsAny(name, "*?! \t\n'\"`$;&|<>(){}\\/@%\x00\x1b") {
				t.Errorf("host %q", name)
			}
		}
	})
}

// TestJudge: an exit code counts only where ssh says that it is the program's.
func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		log  string
		exit backend.Exit
		want string // in the error; empty: none
	}{
		{"", backend.Exit{Code: 0}, ""},
		{"", backend.Exit{Code: 7}, ""},
		{"debug1: x\r\ndebug1: Exit status 255\r\n", backend.Exit{Code: 255}, ""},
		{"", backend.Exit{Code: 255, Reason: "closed"}, ""},
		{"", backend.Exit{Code: 255}, "connection was lost"},
		{"debug1: Exit status -1\r\n", backend.Exit{Code: 255}, "connection was lost"},
		{"banner: debug1: Exit status 255\r\n", backend.Exit{Code: 255}, "banner"},
		{"debug1: client_input_channel_req: channel 0 rtype exit-signal reply 0\r\n", backend.Exit{Code: 255}, "ended by a signal"},
		{"evil \x1b]52;c;eA==\x07" + strings.Repeat("x", 2*maxSaid), backend.Exit{Code: 255}, "try `ssh web-1`"},
		{"evil \x1b]52;c;eA==\x07", backend.Exit{Code: 255}, "evil"},
		{"", backend.Exit{Code: 137, Signal: "KILL"}, "ssh was ended by signal KILL"},
	} {
		said, err := newSaid(t.TempDir(), "web-1", "ssh web-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(said.file, []byte(tc.log), 0o600); err != nil {
			t.Fatal(err)
		}
		exit, err := said.judge(tc.exit)
		if exit != tc.exit || (err == nil) != (tc.want == "") {
			t.Errorf("%.60q: %+v, %v", tc.log, exit, err)
		}
		if err != nil && (!strings.Contains(err.Error(), tc.want) || strings.ContainsAny(err.Error(), "\x1b\x07") || len(err.Error()) > 2000) {
			t.Errorf("%.60q: %.200q, want %q", tc.log, err, tc.want)
		}
	}
}
