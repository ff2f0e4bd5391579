// Package arrange is the dialogs that choose how the list of targets is shown: sorted,
// grouped, in which columns, or by the name of a view. What was chosen goes back to
// the model, which acts on it.
//
// It must not import a backend's own packages.
package arrange

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/kept"
	"github.com/tucdesk/tucdesk/tui/console/palette"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// What these dialogs decide.
type (
	Do       struct{ To agents.Arrangement } // show the list so
	DoKeep   struct{ View agents.Saved }     // keep it under a name
	DoForget struct{ Name string }           // forget that name
)

// maxTags bounds the keys of tags that are to choose from.
const maxTags = 200

func tags(ix *agents.Index) []string {
	keys := ix.TagKeys()
	return keys[:min(len(keys), maxTags)]
}

func entry(name []sanitize.Text, place string, do any) palette.Entry {
	return palette.Entry{Name: name, Place: []sanitize.Text{sanitize.Clean(place)}, Do: do}
}

func lit(s string) []sanitize.Text { return []sanitize.Text{sanitize.Literal(s)} }

func tag(before, key string) []sanitize.Text {
	return []sanitize.Text{sanitize.Literal(before), phrase.Brief(key)}
}

// Sort chooses what the list is sorted by.
func Sort(ix *agents.Index, now agents.Arrangement) dialog.Dialog {
	by := func(s string) Do {
		to := now
		to.Sort = s
		return Do{to}
	}
	entries := []palette.Entry{
		entry(lit("the best match first, else as the list comes"), "", by("")),
		entry(lit("by name"), "", by(agents.SortName)),
		entry(lit("by name, backwards"), "", by("-"+agents.SortName)),
		entry(lit("by state"), "", by(agents.SortState)),
	}
	for _, key := range tags(ix) {
		entries = append(entries, entry(tag("by the tag ", key), "", by(key)), entry(append(tag("by the tag ", key), sanitize.Literal(", backwards")), "", by("-"+key)))
	}
	return palette.Choose("Sort targets", entries)
}

// Group chooses the tag that the list is grouped by.
func Group(ix *agents.Index, now agents.Arrangement) dialog.Dialog {
	by := func(s string) Do {
		to := now
		to.Group = s
		return Do{to}
	}
	entries := []palette.Entry{entry(lit("no groups"), "", by(""))}
	for _, key := range tags(ix) {
		entries = append(entries, entry(tag("by the tag ", key), "", by(key)))
	}
	return palette.Choose("Group targets", entries)
}

// Columns asks for the tags that get a column.
func Columns(ix *agents.Index, now agents.Arrangement) dialog.Dialog {
	known := tags(ix)
	return &dialog.Prompt{
		Title: sanitize.Literal("Columns"),
		Body: func(st *canvas.Styles) []canvas.Para {
			return []canvas.Para{
				{Label: "Tags", Text: phrase.Clean(strings.Join(known, " ")), Style: st.Plain},
				{Label: "Now", Text: phrase.Clean(strings.Join(now.Columns, " ")), Style: st.Plain},
				{Text: sanitize.Literal("A column for each, in this order. Nothing shows all tags as text."), Style: st.Faint},
			}
		},
		Label: "Keys of tags",
		Submit: func(s string) (any, error) {
			to := now
			to.Columns = strings.Fields(s)
			for _, key := range to.Columns {
				if !slices.Contains(known, key) {
					return nil, fmt.Errorf("no target has a tag %q", key)
				}
			}
			return Do{to}, nil
		},
	}
}

// Views chooses among views by their names: those of the settings, then those that
// were kept, which can be forgotten again; or keeps what is shown.
func Views(fixed, known []agents.Saved, now agents.Arrangement) dialog.Dialog {
	entries := []palette.Entry{entry(lit("all targets, as they come"), "", Do{})}
	for _, v := range slices.Concat(fixed, known) {
		entries = append(entries, entry([]sanitize.Text{phrase.Brief(v.Name)}, describe(v.Arrangement), Do{v.Arrangement}))
	}
	entries = append(entries, entry(lit("keep what is shown now, under a name"), "", dialog.DoDialog{Next: keep(fixed, known, now)}))
	for _, v := range known {
		entries = append(entries, entry(append(lit("forget "), phrase.Brief(v.Name)), "", DoForget{v.Name}))
	}
	return palette.Choose("Views", entries)
}

// describe says in few words how a view is arranged.
func describe(a agents.Arrangement) string {
	var parts []string
	if a.Filter != "" {
		parts = append(parts, "/"+a.Filter)
	}
	if a.Group != "" {
		parts = append(parts, "by "+a.Group)
	}
	if a.Sort != "" {
		parts = append(parts, "sorted by "+a.Sort)
	}
	return strings.Join(parts, ", ")
}

func keep(fixed, known []agents.Saved, now agents.Arrangement) dialog.Dialog {
	return &dialog.Prompt{
		Title: sanitize.Literal("Keep this view"),
		Body: func(st *canvas.Styles) []canvas.Para {
			return []canvas.Para{{Label: "Shows", Text: phrase.Clean(describe(now)), Style: st.Plain}}
		},
		Label: "Name",
		Submit: func(s string) (any, error) {
			s = strings.TrimSpace(s)
			same := func(v agents.Saved) bool { return v.Name == s }
			switch {
			case s == "":
				return nil, errors.New("a name is needed")
			case slices.ContainsFunc(fixed, same):
				return nil, errors.New("the settings have a view of this name")
			case len(known) >= kept.MaxNames && !slices.ContainsFunc(known, same):
				return nil, errors.New("too many views: forget one first")
			}
			if err := sanitize.Name(s); err != nil {
				return nil, err
			}
			return DoKeep{agents.Saved{Name: s, Arrangement: now}}, nil
		},
	}
}
