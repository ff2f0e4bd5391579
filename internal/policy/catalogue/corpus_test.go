package catalogue

import (
	_ "embed"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/policy/command"
)

//go:embed testdata/corpus.txt
var corpus string

// Each line gets the tier that a careful reviewer would give it.
func TestCorpus(t *testing.T) {
	c, err := Open(Newest)
	if err != nil {
		t.Fatal(err)
	}
	set := &command.Set{Catalogue: *c}
	lines, seen := 0, map[string]bool{}
	for i, entry := range strings.Split(corpus, "\n") {
		if entry == "" || entry[0] == '#' {
			continue
		}
		want, rest, _ := strings.Cut(entry, " ")
		_, line, ok := strings.Cut(strings.TrimLeft(rest, " "), " ")
		line = strings.ReplaceAll(strings.TrimLeft(line, " "), "⏎", "\n")
		if !ok || line == "" || seen[line] {
			t.Fatalf("line %d: %q is not a tier, a word and a line of its own", i+1, entry)
		}
		seen[line] = true
		lines++
		got := set.Judge(&command.Program{Argv: command.Split(line)})
		if got.Tier.String() != want {
			why := got.Opaque
			if got.Pattern != nil {
				why = got.Pattern.Text
			}
			t.Errorf("line %d: %s: %s (%s), want %s", i+1, line, got.Tier, why, want)
		}
	}
	if lines < 300 {
		t.Errorf("the corpus has %d lines", lines)
	}
	t.Logf("%d lines", lines)
}
