package glob

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func oracle(pattern, s string) bool {
	return regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$").MatchString(s)
}

// Two globs meet exactly if some text matches both.
func TestGlobsAgreeWithRegexp(t *testing.T) {
	texts := rapid.StringMatching(`[ab]{0,6}`)
	globs := rapid.StringMatching(`[ab*]{0,5}`)
	rapid.Check(t, func(t *rapid.T) {
		g, h, s := globs.Draw(t, "g"), globs.Draw(t, "h"), texts.Draw(t, "s")
		if New(g).Match(s) != oracle(g, s) {
			t.Fatalf("glob %q on %q", g, s)
		}
		if New(g).MatchFold(strings.ToUpper(s)) != oracle(g, s) {
			t.Fatalf("glob %q on %q, folded", g, strings.ToUpper(s))
		}
		if oracle(g, s) && oracle(h, s) && !New(g).Meets(New(h)) {
			t.Fatalf("%q and %q meet at %q", g, h, s)
		}
		if New(g).Meets(New(h)) != New(h).Meets(New(g)) {
			t.Fatalf("%q and %q: not symmetric", g, h)
		}
	})
}

func TestLiterals(t *testing.T) {
	if star := Literal("a*"); !star.IsLiteral() || !star.Match("a*") || star.Match("ab") || star.String() != "a*" {
		t.Error("a literal star is a wildcard")
	}
	if (Glob{}).Match("") || (Glob{}).Meets(New("*")) || New("*").Meets(Glob{}) {
		t.Error("the zero Glob matches something")
	}
	if !Any([]Glob{New("a"), New("b*")}, "bc") || Any(nil, "") || Lower("AbÄ") != "abÄ" {
		t.Error("Any or Lower is wrong")
	}
}

func TestBeginsAndIn(t *testing.T) {
	for _, tt := range []struct {
		glob, dir, want string
		absolute        bool
	}{
		{"/etc/*", "/srv", "/etc/*", true},
		{"*.conf", "/srv", "/srv/*.conf", false},
		{"x*", "/", "/x*", false},
		{"x", "/srv/", "/srv/x", false},
	} {
		g := New(tt.glob)
		if got := g.In(tt.dir).String(); got != tt.want || g.Begins("/") != tt.absolute {
			t.Errorf("%s in %s: %s, absolute %v", tt.glob, tt.dir, got, g.Begins("/"))
		}
	}
	if (Glob{}).Begins("") || (Glob{}).In("/").Match("/") {
		t.Error("the zero glob begins with something")
	}
}
