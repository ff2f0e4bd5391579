// Package catalogue is what TucDesk ships about common commands: how much each can
// do, and why, in words for whoever has to decide about it.
//
// Purpose: a policy that says `catalogue: 1` gets tiers for the commands that its
// own patterns do not speak of. Nobody has to list by hand what deletes, stops,
// opens or hands on.
//
// Invariants: a catalogue is data (catalogue-1.yaml) and is read strictly. It is
// named by its number in the signed policy, so that everybody who evaluates that
// policy asks the same one; a number that this version does not know is an error.
//
// It is pure. Of this module it may import only the packages command and
// document beside it.
package catalogue

import (
	_ "embed"
	"fmt"
	"slices"
	"sync"

	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/policy/document"
)

// Newest is the number of the newest catalogue; they begin with 1.
const Newest = 1

//go:embed catalogue-1.yaml
var first string

// A Catalogue is patterns by tier. The Why of each says what such a command does.
// It is read only.
type Catalogue [command.Tiers][]command.Pattern

// Open returns the catalogue of a number. It reads each once.
func Open(number int) (*Catalogue, error) {
	if number != 1 {
		return nil, fmt.Errorf("catalogue: there is no catalogue %d in this version; it has 1 to %d", number, Newest)
	}
	return opened(), nil
}

// opened reads the file. A mistake in it is a bug of ours.
var opened = sync.OnceValue(func() *Catalogue {
	c, err := parse(first)
	if err != nil {
		panic("catalogue: internal error: " + err.Error())
	}
	return c
})

// parse reads a catalogue. Every entry needs its three keys, and no pattern
// stands twice.
func parse(doc string) (*Catalogue, error) {
	var (
		r    document.Reader
		c    Catalogue
		seen = map[string]bool{}
	)
	root := r.Read([]byte(doc))
	if r.Err() != nil {
		return nil, r.Err()
	}
	keys := r.Mapping(root, "the catalogue",
		document.Key("version", func(n ast.Node) { r.Number(n, "version", 1, 1) }),
		document.Key("entries", func(n ast.Node) {
			r.List(n, "entries", func(n ast.Node) {
				p, tier := entry(&r, n)
				if seen[p.Text] {
					r.Fail(n, "%q stands twice", p.Text)
				}
				seen[p.Text] = true
				c[tier] = append(c[tier], p)
			})
		}),
	)
	if !keys["version"] || !keys["entries"] {
		r.Fail(root, "a catalogue needs version and entries")
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	return &c, nil
}

func entry(r *document.Reader, n ast.Node) (p command.Pattern, tier command.Tier) {
	var why string
	keys := r.Mapping(n, "an entry",
		document.Key("run", func(v ast.Node) {
			var err error
			if p, err = command.ParsePattern(r.Text(v, "run")); err != nil {
				r.Fail(v, "pattern %q: %v", p.Text, err)
			}
		}),
		document.Key("tier", func(v ast.Node) {
			word := r.OneOf(v, "tier", "critical", "high", "medium")
			tier = command.Tier(max(slices.Index(command.TierNames(), word), 0))
		}),
		document.Key("why", func(v ast.Node) { why = r.Text(v, "why") }),
	)
	if len(keys) != 3 {
		r.Fail(n, "an entry needs run, tier and why")
	}
	p.Line, p.Why = document.LineOf(n), why
	return p, tier
}
