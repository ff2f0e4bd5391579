package command

import "testing"

func TestUnread(t *testing.T) {
	for _, c := range []struct {
		want string
		argv []string
	}{
		{"", nil},
		{"", []string{"systemctl", "restart", "nginx"}},
		{"", []string{"/usr/bin/systemctl", "restart", "nginx"}},
		{"", []string{"sh", "-c", "rm -rf /var/cache/app"}},
		{"", []string{"bash", "-xec", "true"}},
		{"", []string{"python3", "-c", "print(1)"}},
		{"sh", []string{"sh", "/tmp/fix.sh"}},
		{"bash", []string{"sudo", "-n", "bash"}},
		{"python3", []string{"env", "X=1", "python3", "fix.py"}},
		{"python3", []string{"sh", "-c", "true && python3 fix.py"}},
		{"/home/deploy/fix", []string{"/home/deploy/fix"}},
		{"./fix", []string{"./fix"}},
		{"/usr/local/bin/fix", []string{"/usr/local/bin/fix"}},
		{"/usr/../tmp/fix", []string{"/usr/../tmp/fix"}},
	} {
		if got := Unread(c.argv); got != c.want {
			t.Errorf("%q: %q, want %q", c.argv, got, c.want)
		}
	}
	for _, c := range []struct {
		want    string
		argv    []string
		covered []string
	}{
		{"", []string{"sh", "/tmp/fix.sh"}, []string{"/tmp/fix.sh"}},
		{"", []string{"sudo", "sh", "-x", "fix.sh", "now"}, []string{"fix.sh"}},
		{"", []string{"./fix"}, []string{"./fix"}},
		{"sh", []string{"sh", "/tmp/fix.sh", "/tmp/other"}, []string{"/tmp/other"}},
		{"python3", []string{"python3", "-W", "x", "fix.py"}, []string{"fix.py"}}, // not sure that it is the script
		{"sh", []string{"sh"}, []string{"sh"}},
		{"./b", []string{"env", "./b"}, []string{"env"}},
	} {
		if got := Unread(c.argv, c.covered...); got != c.want {
			t.Errorf("%q with %q: %q, want %q", c.argv, c.covered, got, c.want)
		}
	}
}
