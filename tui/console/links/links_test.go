package links

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for s, host := range map[string]string{
		"https://example.com":                              "example.com",
		"HTTPS://Example.COM:8443/a?b#c":                   "example.com:8443",
		"http://[::1]:80/":                                 "[::1]:80",
		"https://xn--pypal-4ve.com/":                       "xn--pypal-4ve.com",
		"https://example.com/@user":                        "example.com",
		"https://bank.example@evil.example/":               "",
		"https://a:b@evil.example/":                        "",
		"https://":                                         "",
		"https:///path":                                    "",
		"https:evil.example":                               "",
		"javascript:alert(1)":                              "",
		"file:///etc/passwd":                               "",
		"ftp://example.com":                                "",
		"ssh://example.com":                                "",
		"https://exa\u043cple.com":                         "",
		"https://example.com/\x1b]52;c;AA\x07":             "",
		"https://example.com/a b":                          "",
		"https://bank.example\\@evil.example/":             "",
		"https://bank.example%2f.evil.example/":            "",
		"https://e.example/" + strings.Repeat("a", maxURL): "",
	} {
		l, err := Parse(s)
		if (err == nil) != (host != "") || l.Host != host {
			t.Errorf("%q leads to %q, %v; want %q", s, l.Host, err, host)
		}
	}
}

func TestFind(t *testing.T) {
	got := Find([]string{
		"see https://a.example/x, (http://b.example/y) or <https://c.example>.",
		"https://d.example/wiki/A_(b) and https://a.example/x again",
		"'https://e.example/'; javascript:x https://u@evil.example/",
	})
	var urls []string
	for _, l := range got {
		urls = append(urls, l.URL)
	}
	want := []string{"https://e.example/", "https://d.example/wiki/A_(b)", "https://c.example", "http://b.example/y", "https://a.example/x"}
	if !slices.Equal(urls, want) {
		t.Errorf("found %q, want %q", urls, want)
	}
	if n := len(Find([]string{strings.Repeat("https://a.example/"+strings.Repeat("x", 9)+" ", 9999)})); n != 1 {
		t.Errorf("%d of one", n)
	}
}

func FuzzFind(f *testing.F) {
	f.Add("https://a.example/x, (http://b.example)")
	f.Add("https://[::1]]]]")
	f.Fuzz(func(t *testing.T, s string) {
		for _, l := range Find([]string{s}) {
			if again, err := Parse(l.URL); err != nil || again != l || strings.ContainsAny(l.URL, "\x1b\x07 ") {
				t.Errorf("%q gives %q, %v", s, l.URL, err)
			}
		}
	})
}
