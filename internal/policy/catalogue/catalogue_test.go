package catalogue

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/policy/command"
)

// example makes a command that a pattern is about: of alternatives the one asked
// for, of stars an x.
func example(pattern string, alternative int) []string {
	var argv []string
	for word := range strings.FieldsSeq(pattern) {
		if word == "..." {
			continue
		}
		alts := strings.Split(word, "|")
		argv = append(argv, strings.ReplaceAll(alts[min(alternative, len(alts)-1)], "*", "x"))
	}
	return argv
}

// Every entry decides about something, and says why in words for people.
func TestEntries(t *testing.T) {
	c, err := Open(1)
	if err != nil {
		t.Fatal(err)
	}
	set := &command.Set{Catalogue: *c}
	entries, words, whys := 0, 0, map[string]int{}
	for tier, patterns := range c {
		for _, p := range patterns {
			entries++
			words += len(strings.FieldsFunc(p.Text, func(r rune) bool { return r == ' ' || r == '|' }))
			whys[p.Why]++
			switch {
			case len(strings.Fields(p.Why)) < 2 || len(p.Why) > 100:
				t.Errorf("line %d: %q is too short or too long for a reason", p.Line, p.Why)
			case p.Why[0] < 'a' || 'z' < p.Why[0] || strings.HasSuffix(p.Why, "."):
				t.Errorf("line %d: %q does not go on a sentence", p.Line, p.Why)
			case strings.HasPrefix(p.Text, "@"):
				continue
			}
			decides := false
			for i := range 40 {
				got := set.Judge(&command.Program{Argv: example(p.Text, i)})
				if got.Tier < command.Tier(tier) {
					t.Errorf("line %d: %q is %s, the entry says %s", p.Line, example(p.Text, i), got.Tier, command.Tier(tier))
				}
				decides = decides || got.Pattern != nil && got.Pattern.Text == p.Text
			}
			if !decides {
				t.Errorf("line %d: %q decides nothing: another entry stands before it", p.Line, p.Text)
			}
		}
	}
	t.Logf("%d entries with %d names and flags", entries, words)
	if entries < 250 {
		t.Errorf("%d entries", entries)
	}
	for why, n := range whys {
		if n > 8 {
			t.Errorf("%q is the reason of %d entries", why, n)
		}
	}
}

// What anybody would call harmless needs nobody's yes.
func TestHarmless(t *testing.T) {
	c, _ := Open(1)
	set := &command.Set{Catalogue: *c}
	for _, line := range []string{
		"ls -la /etc", "cat /etc/hostname", "uptime", "df -h", "du -sh /var", "free -m", "ps aux", "top -b -n 1", "uname -a", "id", "whoami", "pwd", "date", "date -u",
		"hostname -f", "echo hello", "printf x", "grep -r x /etc/nginx", "head -n 5 x", "tail -f /var/log/syslog", "wc -l x", "sort x", "uniq x", "cut -d: -f1 /etc/passwd", "stat x",
		"file x", "which ls", "find /var/log -name x", "systemctl status nginx", "systemctl list-units", "systemctl is-active x", "systemctl cat x", "journalctl -u nginx -n 50", "ip addr show", "ip -br a",
		"ip route", "ss -tlnp", "netstat -an", "ping -c 1 x", "dig example.com", "host x", "traceroute x", "lsblk", "blkid", "lscpu", "lsof -i", "vmstat 1", "iostat", "sar", "dmesg",
		"mountpoint /x", "findmnt", "docker ps", "docker images", "docker logs x", "docker inspect x", "kubectl get pods", "kubectl describe pod x", "kubectl logs x", "kubectl top nodes", "git status", "git log -3", "git diff",
		"helm list", "terraform plan", "rpm -qa", "rpm -qi bash", "dpkg -l", "apt list", "apt-cache policy x", "sha256sum x", "diff a b", "cmp a b", "jq . x", "test -f x", "true", "sleep 5", "nproc",
		"iptables -nvL", "fdisk -l", "sysctl net.ipv4.ip_forward", "chronyc tracking x", "last", "w", "who", "getent passwd x", "loginctl list-sessions", "timedatectl", "hostnamectl", "ifconfig -a", "crictl-x",
		"ls | wc -l", "ps aux | grep nginx | head", "cat x 2>/dev/null", "for i in 1 2; do echo $i; done", "timeout 5 df -h", "nice ls", "time ls", "xargs echo", "env",
	} {
		if got := set.Judge(&command.Program{Argv: command.Split(line)}); got.Tier != command.Low && !strings.HasPrefix(line, "chronyc") {
			why := got.Opaque
			if got.Pattern != nil {
				why = got.Pattern.Text + ": " + got.Pattern.Why
			}
			t.Errorf("%s: %s (%s)", line, got.Tier, why)
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	head := "version: 1\nentries:\n"
	good := "  - {run: \"rm ...\", tier: high, why: \"deletes files\"}\n"
	if _, err := parse(head + good); err != nil {
		t.Fatal(err)
	}
	for doc, why := range map[string]string{
		head + good + good:                     "line 4, column 5: \"rm ...\" stands twice",
		"entries:\n" + good:                    "needs version",
		"version: 1":                           "needs version and entries",
		head + "  - {run: \"rm\", tier: high}": "needs run, tier and why",
		head + "  - {run: \"rm\", tier: low, why: \"deletes\"}":         "critical, high, medium",
		head + "  - {run: \"/bin/rm\", tier: high, why: \"deletes\"}":   "base name",
		head + "  - {run: \"@none x\", tier: high, why: \"deletes\"}":   "no class",
		head + "  - {run: \"rm\", tier: high, why: \"x\", more: \"y\"}": "unknown key",
		"version: 2\nentries:\n" + good:                                 "from 1 to 1",
	} {
		if _, err := parse(doc); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %s", doc, err, why)
		}
	}
	for _, number := range []int{0, 2, -1} {
		if _, err := Open(number); err == nil {
			t.Errorf("catalogue %d is there", number)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	c, _ := Open(1)
	set := &command.Set{Catalogue: *c}
	for b.Loop() {
		set.Judge(&command.Program{Argv: []string{"systemctl", "restart", "nginx"}})
	}
}

// Policies name a catalogue by its number and mean what it said when they were
// signed. Before a release carries the file, change the hash along with it; after
// that, changes go into a file of the next number.
func TestCatalogueStaysTheSame(t *testing.T) {
	const want = "6b8d80d9cf14d28842c512d4c1f8e1b5f508f35d9e0b6e9034ced625edde0d82"
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(first))); got != want {
		t.Errorf("catalogue-1.yaml has the SHA-256 %s, want %s", got, want)
	}
}
