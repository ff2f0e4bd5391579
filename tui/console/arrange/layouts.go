package arrange

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/kept"
	"github.com/tucdesk/tucdesk/tui/console/layout"
	"github.com/tucdesk/tucdesk/tui/console/palette"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// What is done with layouts.
type (
	DoLayout       struct{ Layout kept.Layout } // ask what policy says of its targets
	DoRestore      struct{ Layout kept.Layout } // open it: what was asked is not denied
	DoKeepLayout   struct{ Layout kept.Layout }
	DoForgetLayout struct{ Name string }
)

// Layouts chooses a layout to open again, or keeps the one that is on the screen now;
// nil where there are no terminals.
func Layouts(known []kept.Layout, now []*layout.Plan) dialog.Dialog {
	var entries []palette.Entry
	for _, l := range known {
		entries = append(entries, entry([]sanitize.Text{phrase.Brief(l.Name)}, strings.Join(l.Targets(), " "), DoLayout{l}))
	}
	if len(now) > 0 {
		entries = append(entries, entry(lit("keep the terminals that are open now, under a name"), "", dialog.DoDialog{Next: keepLayout(known, now)}))
	}
	for _, l := range known {
		entries = append(entries, entry(append(lit("forget "), phrase.Brief(l.Name)), "", DoForgetLayout{l.Name}))
	}
	if entries == nil {
		return &dialog.Notice{Title: sanitize.Literal("Layouts"), Body: func(st *canvas.Styles) []canvas.Para {
			return []canvas.Para{{Text: sanitize.Literal("There are none yet. Open terminals, put them side by side, and come here again to keep that under a name."), Style: st.Plain}}
		}}
	}
	return palette.Choose("Layouts", entries)
}

func keepLayout(known []kept.Layout, now []*layout.Plan) dialog.Dialog {
	l := kept.Layout{Tabs: now}
	return &dialog.Prompt{
		Title: sanitize.Literal("Keep this layout"),
		Body: func(st *canvas.Styles) []canvas.Para {
			return []canvas.Para{
				{Label: "Terminals", Text: phrase.Clean(strings.Join(l.Targets(), " ")), Style: st.Plain},
				{Text: sanitize.Literal("Each is opened as a login shell again; commands are not kept."), Style: st.Faint},
			}
		},
		Label: "Name",
		Submit: func(s string) (any, error) {
			l.Name = strings.TrimSpace(s)
			switch {
			case l.Name == "":
				return nil, errors.New("a name is needed")
			case len(known) >= kept.MaxNames && !slices.ContainsFunc(known, func(k kept.Layout) bool { return k.Name == l.Name }):
				return nil, errors.New("too many layouts: forget one first")
			}
			if err := sanitize.Name(l.Name); err != nil {
				return nil, err
			}
			return DoKeepLayout{l}, nil
		},
	}
}

// Restore shows what policy says of each target of a layout, before any is opened.
// verdicts has one for each of the layout's targets; nil where there is no policy.
func Restore(l kept.Layout, verdicts []backend.Verdict) dialog.Dialog {
	targets := l.Targets()
	body := func(st *canvas.Styles) []canvas.Para {
		paras := []canvas.Para{{Label: "Layout", Text: phrase.Clean(l.Name), Style: st.Bold}, {}}
		denied := 0
		for i, target := range targets {
			word, style := "no policy", st.Faint
			if verdicts != nil {
				word, style = phrase.Verdict(st, verdicts[i].Effect)
				if verdicts[i].Effect == backend.Deny {
					denied++
				}
			}
			paras = append(paras, canvas.Para{Label: word, Text: phrase.Brief(target), Style: style})
		}
		if denied > 0 {
			paras = append(paras, canvas.Para{}, canvas.Para{Text: sanitize.Clean(fmt.Sprintf("%d of them are denied, and are left out.", denied)), Style: st.Warn})
		}
		return paras
	}
	return &dialog.Prompt{
		Title: sanitize.Literal("Open these again?"), Body: body, Label: "Open them?",
		Submit: func(string) (any, error) {
			allowed := make(map[string]bool)
			for i, target := range targets {
				allowed[target] = verdicts == nil || verdicts[i].Effect != backend.Deny
			}
			out := kept.Layout{Name: l.Name}
			for _, p := range l.Tabs {
				if p = prune(p, allowed); p != nil {
					out.Tabs = append(out.Tabs, p)
				}
			}
			if out.Tabs == nil {
				return nil, errors.New("all of them are denied")
			}
			return DoRestore{out}, nil
		},
	}
}

// prune is a plan without what is not allowed; nil where nothing is left.
func prune(p *layout.Plan, allowed map[string]bool) *layout.Plan {
	if p.First == nil {
		if !allowed[p.Target] {
			return nil
		}
		return p
	}
	first, second := prune(p.First, allowed), prune(p.Second, allowed)
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return &layout.Plan{Below: p.Below, Share: p.Share, First: first, Second: second}
}
