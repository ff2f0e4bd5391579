// Package onlookers knows who looks on at a terminal of this member: who observes it, and
// who has joined it and types, too. It says so in the console's own chrome, where neither
// the target nor who watches can draw.
//
// Invariants: names are cleaned before they are drawn; what has changed is told once, in
// order; a terminal that nobody can watch says nothing.
//
// It must not import a backend's package.
package onlookers

import (
	"strings"
	"sync"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/palette"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// maxNews bounds the changes that wait to be taken.
const maxNews = 16

// A Change is somebody who came to watch, or left.
type Change struct {
	Who  backend.Onlooker
	Left bool
}

// Words say what somebody does now with a terminal, which what names.
func (c Change) Words(what string) string {
	switch {
	case c.Left:
		return c.Who.Who + " does not watch " + what + " any more"
	case c.Who.Types:
		return c.Who.Who + " has joined " + what + ", and types"
	}
	return c.Who.Who + " watches " + what
}

// Changes says who came, and then who left, between two words of who watches.
func Changes(before, now []backend.Onlooker) (out []Change) {
	known := make(map[uint64]bool, len(before))
	for _, o := range before {
		known[o.N] = true
	}
	for _, o := range now {
		if !known[o.N] {
			out = append(out, Change{Who: o})
		}
		delete(known, o.N)
	}
	for _, o := range before {
		if known[o.N] {
			out = append(out, Change{Who: o, Left: true})
		}
	}
	return out
}

// A List is who looks on at one terminal. Its methods are safe for concurrent use; a nil
// one is nobody, for ever.
type List struct {
	terminal backend.WatchedTerminal

	mu   sync.Mutex
	now  []backend.Onlooker
	news []Change
}

// Follow makes the list of a terminal, nil where nobody can watch it. It calls changed,
// which must not block, when there is something new to draw.
func Follow(term backend.Terminal, changed func()) *List {
	w, ok := backend.TerminalAs[backend.WatchedTerminal](term)
	if !ok || w.Watchers() == nil {
		return nil
	}
	l := &List{terminal: w}
	backend.Go(func() {
		for all := range w.Watchers() {
			l.take(all)
			changed()
		}
		l.take(nil)
	})
	return l
}

func (l *List) take(all []backend.Onlooker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.news = append(l.news, Changes(l.now, all)...)
	l.news = l.news[max(0, len(l.news)-maxNews):]
	l.now = all
}

// News gives what has changed since the last call, as it is said: what names the
// terminal.
func (l *List) News(what sanitize.Text) (out []sanitize.Text) {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.news {
		c.Who.Who = phrase.Brief(c.Who.Who).String()
		out = append(out, sanitize.Clean(c.Words(what.String())))
	}
	l.news = nil
	return out
}

// Now gives who looks on.
func (l *List) Now() []backend.Onlooker {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Status says it in the line below the terminal; nil where nobody looks on. Who types is
// in capitals, for whom colours say nothing.
func (l *List) Status(style uv.Style) []canvas.Span {
	var sees, types []string
	for _, o := range l.Now() {
		if name := short(o.Who); o.Types {
			types = append(types, name)
		} else {
			sees = append(sees, name)
		}
	}
	var parts []string
	if len(types) > 0 {
		parts = append(parts, "TYPED IN BY "+strings.Join(types, ", "))
	}
	if len(sees) > 0 {
		parts = append(parts, "WATCHED by "+strings.Join(sees, ", "))
	}
	if parts == nil {
		return nil
	}
	loud := style
	loud.Attrs |= uv.AttrBold
	return []canvas.Span{{Style: loud, Text: sanitize.Clean(strings.Join(parts, ", "))}, canvas.Lit(style, " · ")}
}

// short is a name as there is room for: an address without its domain.
func short(who string) string {
	name, _, _ := strings.Cut(phrase.Brief(who).String(), "@")
	return name
}

// Details says it in full.
func (l *List) Details(st *canvas.Styles) (paras []canvas.Para) {
	for _, o := range l.Now() {
		what, style := ", sees what it shows", st.Hold
		if o.Types {
			what, style = ", sees what it shows and types", st.Deny
		}
		paras = append(paras, canvas.Para{Label: "Watched", Text: sanitize.Join(phrase.Clean(o.Who), sanitize.Clean(what+", since "+o.Since.Local().Format(time.TimeOnly))), Style: style})
	}
	return paras
}

// A Dismissal is the wish that somebody must go.
type Dismissal struct {
	from *List
	n    uint64
}

// Do ends the watching.
func (d Dismissal) Do() { d.from.terminal.Dismiss(d.n) }

// Dialog is where one of them is chosen, to end the watching.
func (l *List) Dialog(what sanitize.Text) dialog.Dialog {
	if all := l.Entries(what); len(all) > 0 {
		return palette.Choose("Who watches: enter ends it", all)
	}
	return &dialog.Notice{Title: sanitize.Literal("Nobody watches"), Body: func(st *canvas.Styles) []canvas.Para {
		return []canvas.Para{{Text: sanitize.Literal("Nobody else looks at this terminal now. Who comes to observe or join is said at once, and stands in the line below it."), Style: st.Plain}}
	}}
}

// Entries gives an entry of the palette for each of them, which ends the watching. what
// names the terminal.
func (l *List) Entries(what sanitize.Text) (out []palette.Entry) {
	for _, o := range l.Now() {
		does := " watches "
		if o.Types {
			does = " types in "
		}
		out = append(out, palette.Entry{
			Name:  []sanitize.Text{sanitize.Literal("end it: "), phrase.Brief(o.Who), sanitize.Literal(does), what},
			Words: "dismiss watcher observer watch join",
			Place: []sanitize.Text{sanitize.Clean("since " + o.Since.Local().Format(time.TimeOnly))},
			Do:    Dismissal{l, o.N},
		})
	}
	return out
}
