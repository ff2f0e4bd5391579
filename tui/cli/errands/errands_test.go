package errands

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.txt")
	os.WriteFile(file, nil, 0o600)
	t.Chdir(dir)
	for _, test := range []struct {
		src, dst string
		words    string // "": an error, of which local is a part
		local    string
	}{
		{"web-1:/var/log/syslog", ".", "from /var/log/syslog", "syslog"},
		{"web-1:/var/log/syslog", "new", "from /var/log/syslog", "new"},
		{"web-1:/var//log/../log/syslog/", "new/", "from /var/log/syslog", "new/syslog"},
		{"web-1:notes", dir, "from ~/notes", dir + "/notes"},
		{"web-1:~/notes", "x", "from ~/notes", "x"},
		{"web-1:", ".", "from ~", "web-1"},
		{"web-1:/", ".", "from /", "web-1"},
		{"web-1:../../etc/x", "x", "from ~/etc/x", "x"},
		{"a.txt", "web-1:/srv/b", "to /srv/b", file},
		{"a.txt", "web-1:/srv/", "to /srv/a.txt", file},
		{"a.txt", "web-1:", "to ~/a.txt", file},
		{"a.txt", "web-1:in/", "to ~/in/a.txt", file},
		{".", "web-1:/srv/", "to /srv/" + filepath.Base(dir), dir},
		{"a.txt", "b.txt", "", "MACHINE:PATH"},
		{"web-1:/a", "web-2:/a", "", "on this device"},
		{"./web-1:/a", "b", "", "MACHINE:PATH"},
		{"missing", "web-1:/a", "", "no such file"},
		{"a.txt", "web-1:/x\x00", "", "without NUL"},
	} {
		w, err := plan(test.src, test.dst, false)
		switch {
		case test.words == "" && (err == nil || !strings.Contains(err.Error(), test.local)):
			t.Errorf("%s %s: %v", test.src, test.dst, err)
		case test.words != "" && (err != nil || strings.Join(w.copy.Argv(), " ") != test.words || w.local != test.local):
			t.Errorf("%s %s: %+v, %v", test.src, test.dst, w, err)
		}
	}
}

func TestParseForward(t *testing.T) {
	for in, want := range map[string]string{
		"8080:db.internal:5432":  "127.0.0.1:8080 db.internal:5432",
		"0:localhost:9090":       "127.0.0.1:0 localhost:9090",
		"0.0.0.0:8080:db:1":      "0.0.0.0:8080 db:1",
		"[::1]:8080:[fd00::1]:1": "[::1]:8080 [fd00::1]:1",
		"8080:[::1]:1":           "127.0.0.1:8080 [::1]:1",
		"8080":                   "", "8080:db": "", "x:db:1": "", "8080:db:0": "", "8080:a b:1": "", "8080:::1:1": "", "70000:db:1": "", "[::1:8080:db:1": "", "1:2:3:4:5": "", "[a]b:1:c:2": "",
	} {
		listen, d, err := parseForward(in)
		if got := listen + " " + d.String(); want == "" && err == nil || want != "" && (err != nil || got != want) {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "10k": 10 << 10, "3MB": 3 << 20, "10G": 10 << 30, "1T": 1 << 40, "2T": 0, "": 0, "G": 0, "-1": 0, "0": 0, "1.5G": 0, "1KK": 0} {
		if n, err := parseSize(in); n != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", in, n, err)
		}
	}
}
