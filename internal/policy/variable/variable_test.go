package variable

import (
	"slices"
	"strings"
	"testing"
)

func TestVariables(t *testing.T) {
	for _, tc := range []struct {
		name            string
		loads, starts   string
		risky, harmless bool
	}{
		{name: "LD_PRELOAD", loads: "LD_*", risky: true},
		{name: "BASH_FUNC_ls%%", loads: "BASH_FUNC_*", risky: true},
		{name: "PATH", starts: "PATH", risky: true},
		{name: "LD_", loads: "LD_*", risky: true},
		{name: "LD"},
		{name: "MYPATH"},
		{name: "PATHS"},
		{name: "HOME"},
		{name: "GIT_CONFIG_COUNT", starts: "GIT_CONFIG*", risky: true},
		{name: "GIT_DIR", risky: true},
		{name: "LC_ALL", harmless: true},
		{name: "LC", harmless: false},
		{name: "TERM", harmless: true},
		{name: "term"},
		{name: ""},
	} {
		if Loads(tc.name) != tc.loads || Starts(tc.name) != tc.starts || IsRisky(tc.name) != tc.risky || IsHarmless(tc.name) != tc.harmless {
			t.Errorf("%q: loads %q, starts %q, risky %v, harmless %v", tc.name, Loads(tc.name), Starts(tc.name), IsRisky(tc.name), IsHarmless(tc.name))
		}
	}
}

// What is harmless must be in no list of what is not.
func TestListsAreApart(t *testing.T) {
	for _, name := range harmless {
		if name = strings.TrimSuffix(name, "*"); IsRisky(name) {
			t.Errorf("%s is harmless and risky", name)
		}
	}
	for _, list := range [][]string{loads, starts, leads, harmless} {
		if sorted := slices.Sorted(slices.Values(list)); len(slices.Compact(sorted)) != len(list) {
			t.Errorf("%v: a name stands twice", list)
		}
	}
}
