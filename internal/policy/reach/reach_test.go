package reach

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseCopy(t *testing.T) {
	for _, good := range [][]string{{"from", "/"}, {"to", "/etc/hosts"}, {"from", "-r", "~"}, {"to", "~/a b/c"}, {"to", "/-r"}, {"from", "/a\x1b[31m"}} {
		c, err := ParseCopy(good)
		if err != nil || !slices.Equal(c.Argv(), good) {
			t.Errorf("%q: %+v, %v", good, c, err)
		}
	}
	for _, bad := range [][]string{
		nil, {"from"}, {"/etc/hosts"}, {"get", "/etc/hosts"}, {"from", "etc/hosts"}, {"from", ""}, {"from", "/etc/"}, {"from", "//etc"},
		{"from", "/etc/../root"}, {"from", "/./etc"}, {"from", "~root/x"}, {"from", "~/"}, {"from", "-r"}, {"from", "-r", "-r", "/x"},
		{"from", "/x", "/y"}, {"from", "/x\x00"}, {"from", "/\xff"}, {"from", "/" + strings.Repeat("x", MaxPath)}, {"from", "~/.."}, {"from", "/.."},
	} {
		if c, err := ParseCopy(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, c)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, test := range []struct {
		pattern, words string
		covers, meets  bool
	}{
		{"/var/log/*", "from /var/log/syslog", true, true},
		{"/var/log/*", "from /var/log/a/b", true, true},
		{"/var/log/*", "from -r /var/log", true, true},
		{"/var/log/", "from -r /var/log", true, true},
		{"/var/log/*", "from -r /var", false, true},
		{"/var/log/*", "from /var", false, false},
		{"/var/log/*", "from /var/logs", false, false},
		{"/var/log/*", "from -r /", false, true},
		{"*", "from -r /", true, true},
		{"*", "to ~/x", true, true},
		{"/etc/hosts", "to /etc/hosts", true, true},
		{"/etc/hosts", "to -r /etc/hosts", true, true},
		{"/etc/hosts", "from -r /etc", false, true},
		{"/etc", "from /etc/shadow", false, true}, // who denies a directory denies what is in it
		{"/home/*/.ssh/*", "from -r /home/bob", false, true},
		{"/home/*/.ssh/*", "from /home/bob/.ssh/id", true, true},
		{"/home/*/.ssh/*", "from /home/bob/notes", false, false},
		{"~/*", "from /home/bob/x", false, false},
		{"~/in/*", "to ~/in/x", true, true},
	} {
		p, err := ParsePaths(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCopy(strings.Fields(test.words))
		if err != nil {
			t.Fatal(err)
		}
		if covers, meets := p.Covers(c), p.Meets(c); covers != test.covers || meets != test.meets {
			t.Errorf("%s and %s: covers %t, meets %t", test.pattern, test.words, covers, meets)
		}
	}
	for _, bad := range []string{"", "var/log", "/a/../b", "/a//b", "/a?", "./x", "/a/[bc]"} {
		if p, err := ParsePaths(bad); err == nil {
			t.Errorf("%q was read as %q", bad, p)
		}
	}
}

func TestParseDest(t *testing.T) {
	for in, want := range map[string]string{
		"db.internal:5432": "db.internal:5432", "DB.Internal.:5432": "db.internal:5432", "10.0.0.1:1": "10.0.0.1:1",
		"[::1]:80": "[::1]:80", "[0:0:0:0:0:0:0:1]:80": "[::1]:80", "[::ffff:127.0.0.1]:80": "127.0.0.1:80", "127.1:80": "127.1:80",
	} {
		d, err := ParseDest(in)
		if err != nil || d.String() != want {
			t.Errorf("%s: %v, %v", in, d, err)
		}
	}
	for _, bad := range []string{"", ":80", "x", "x:", "x:0", "x:65536", "x:080", "x:+80", "x:-1", "::1:80", "[x]:80", "[fe80::1%eth0]:80", "a b:80", "x\x1b:80", "é:80", "-o:80", "a..b:80", "*:80"} {
		if d, err := ParseDest(bad); err == nil {
			t.Errorf("%q was read as %v", bad, d)
		}
	}
	if _, err := ParseArgv([]string{"DB:1"}); err == nil {
		t.Error("a second spelling was taken")
	}
}

func TestDests(t *testing.T) {
	for _, test := range []struct {
		pattern, dest string
		covers, meets bool
	}{
		{"db.internal:5432", "db.internal:5432", true, true},
		{"db.internal:5432", "db.internal:5433", false, false},
		{"*.internal:5000-6000", "db.internal:5432", true, true},
		{"*.internal:*", "evil.example:80", false, false},
		{"10.0.0.0/8:443", "10.1.2.3:443", true, true},
		{"10.0.0.0/8:443", "11.1.2.3:443", false, false},
		{"*.1:443", "10.0.0.1:443", false, false}, // a glob of names is of names only
		{"*:*", "10.0.0.1:80", true, true},
		{"*:*", "db:80", true, true},
		{"*:*", "127.0.0.1:80", false, true},
		{"*:*", "localhost:80", false, true},
		{"*:*", "x.localhost:80", false, true},
		{"*:*", "169.254.169.254:80", false, true},
		{"*:*", "[::1]:80", false, true},
		{"*:*", "[fe80::1]:80", false, true},
		{"*:*", "100.100.100.200:80", false, true},
		{"*:*", "[64:ff9b::7f00:1]:80", false, true},
		{"0.0.0.0/0:*", "127.0.0.1:80", false, true},
		{"local*:80", "localhost:80", false, true},
		{"localhost:80", "localhost:80", true, true},
		{"127.0.0.1:80", "127.0.0.1:80", true, true},
		{"127.0.0.0/8:80", "127.0.0.5:80", true, true},
		{"[::1]:80", "[::1]:80", true, true},
		{"169.254.169.254:80", "169.254.169.254:80", true, true},
	} {
		p, err := ParseDests(test.pattern)
		if err != nil {
			t.Fatal(test.pattern, err)
		}
		d, err := ParseDest(test.dest)
		if err != nil {
			t.Fatal(test.dest, err)
		}
		if covers, meets := p.Covers(d), p.Meets(d); covers != test.covers || meets != test.meets {
			t.Errorf("%s and %s: covers %t, meets %t", test.pattern, test.dest, covers, meets)
		}
	}
	for _, bad := range []string{"", "*", "x:", "10.0.0.1/8:80", "x:9-8", "x:0", "x:1-", "a?:80", "x:8*"} {
		if p, err := ParseDests(bad); err == nil {
			t.Errorf("%q was read as %v", bad, p)
		}
	}
}

func TestMayBeAt(t *testing.T) {
	for _, test := range []struct {
		dest, at string
		want     bool
	}{
		{"db:1", "10.0.0.1", true},
		{"db:1", "127.0.0.1", false}, // whoever answers for db must not lead it here
		{"db:1", "169.254.169.254", false},
		{"db:1", "::ffff:169.254.169.254", false},
		{"localhost:1", "127.0.0.1", true},
		{"localhost:1", "::1", true},
		{"localhost:1", "10.0.0.1", true},
		{"localhost:1", "169.254.169.254", false},
		{"169.254.169.254:1", "169.254.169.254", true},
		{"10.0.0.1:1", "10.0.0.2", false},
	} {
		d, err := ParseDest(test.dest)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.MayBeAt(netip.MustParseAddr(test.at)); got != test.want {
			t.Errorf("%s at %s: %t", test.dest, test.at, got)
		}
	}
}

// What is read has one spelling.
func FuzzDest(f *testing.F) {
	for _, s := range []string{"db.internal:5432", "[::1]:80", "10.0.0.1:443", "127.1:1", "[::ffff:1.2.3.4]:5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDest(s)
		if err != nil {
			return
		}
		again, err := ParseDest(d.String())
		if err != nil || again != d {
			t.Fatalf("%q is %q, and that is %q, %v", s, d, again, err)
		}
		if _, err := ParseArgv([]string{d.String()}); err != nil {
			t.Fatal(err)
		}
		if p, err := ParseDests(d.String()); err != nil || !p.Covers(d) {
			t.Fatalf("%q does not name itself: %v", d, err)
		}
	})
}

func FuzzCopy(f *testing.F) {
	for _, s := range []string{"from /etc/hosts", "to -r ~/x", "from -r /"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCopy(strings.Split(s, " "))
		if err != nil {
			return
		}
		if !slices.Equal(c.Argv(), strings.Split(s, " ")) || strings.Contains(c.Path+"/", "/../") {
			t.Fatalf("%q is %+v", s, c)
		}
	})
}
