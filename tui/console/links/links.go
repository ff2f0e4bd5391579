// Package links finds web addresses in what a terminal shows, and says what they really
// lead to before anybody follows one.
//
// Invariants: only http and https; an address is printable ASCII, so that no letter
// looks like another and a name of other alphabets shows as xn--; one with a user in it
// is refused, because what stands before @ only looks like a host.
package links

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/palette"
)

// Limits of what is looked at.
const (
	maxURL   = 2048 // bytes
	MaxLinks = 100
)

// ErrNoLink means an address that is not followed.
var ErrNoLink = errors.New("links: only plain http and https addresses are opened")

// A Link is an address that was checked. Use Parse.
type Link struct {
	URL  string
	Host string // where it leads, with its port
}

// Parse checks an address.
func Parse(s string) (Link, error) {
	if len(s) > maxURL || strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) {
		return Link{}, ErrNoLink
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Opaque != "" {
		return Link{}, ErrNoLink
	}
	if u.User != nil || strings.ContainsAny(u.Host, "%\\") {
		return Link{}, fmt.Errorf("%w: there is a user, or an escape, in its host", ErrNoLink)
	}
	return Link{s, strings.ToLower(u.Host)}, nil
}

var address = regexp.MustCompile(`https?://[!-~]+`)

// Find gives the addresses in lines of text that can be opened, each once, the last
// first: that is what one has just seen.
func Find(lines []string) []Link {
	var out []Link
	for _, line := range lines {
		for _, s := range address.FindAllString(line, MaxLinks) {
			out = add(out, trim(s))
		}
	}
	slices.Reverse(out)
	return out[:min(len(out), MaxLinks)]
}

// Add adds an address, if it can be opened and is not there yet.
func Add(to []Link, s string) []Link {
	if len(to) >= MaxLinks {
		return to
	}
	return add(to, s)
}

func add(to []Link, s string) []Link {
	l, err := Parse(s)
	if err != nil || slices.Contains(to, l) {
		return to
	}
	return append(to, l)
}

// trim takes away what ends a sentence, and a bracket that was opened before.
func trim(s string) string {
	for s != "" {
		last := s[len(s)-1]
		opened := map[byte]string{')': "(", ']': "[", '}': "{", '>': "<"}[last]
		switch {
		case strings.IndexByte(`.,;:!?'"`+"`", last) >= 0:
		case opened != "" && strings.Count(s, opened) < strings.Count(s, string(last)):
		default:
			return s
		}
		s = s[:len(s)-1]
	}
	return s
}

// What is done with a link.
type (
	DoOpen struct{ URL string }
	DoCopy struct{ URL string }
)

// Choose chooses one of the links that a terminal shows. able says whether one can be
// opened here.
func Choose(found []Link, able bool) dialog.Dialog {
	if len(found) == 0 {
		return &dialog.Notice{Title: sanitize.Literal("Links"), Body: func(st *canvas.Styles) []canvas.Para {
			return []canvas.Para{{Text: sanitize.Literal("There is no http or https address on this terminal's screen."), Style: st.Plain}}
		}}
	}
	var entries []palette.Entry
	for _, l := range found {
		entries = append(entries, palette.Entry{
			Name: []sanitize.Text{sanitize.Clean(l.URL)}, Place: []sanitize.Text{sanitize.Clean(l.Host)}, Do: dialog.DoDialog{Next: ask(l, able)},
		})
	}
	return palette.Choose("Links on this screen", entries)
}

// ask shows where a link leads, and has it opened or copied.
func ask(l Link, able bool) dialog.Dialog {
	p := &dialog.Prompt{
		Title: sanitize.Literal("Open this address?"),
		Body: func(st *canvas.Styles) []canvas.Para {
			paras := []canvas.Para{
				{Label: "Leads to", Text: sanitize.Clean(l.Host), Style: st.Bold},
				{Label: "Address", Text: sanitize.Clean(l.URL), Style: st.Plain},
				{},
			}
			if strings.Contains(l.Host, "xn--") {
				paras = append(paras, canvas.Para{Text: sanitize.Literal("Its name is in letters of another alphabet, which may look like others."), Style: st.Warn})
			}
			if strings.HasPrefix(l.URL, "http:") {
				paras = append(paras, canvas.Para{Text: sanitize.Literal("It is not encrypted: who is in between can read it and change the answer."), Style: st.Warn})
			}
			return append(paras, canvas.Para{Text: sanitize.Literal("A program on the machine chose it. Your browser opens it, not the machine."), Style: st.Faint})
		},
		Label: "open, or copy",
		Submit: func(s string) (any, error) {
			switch strings.TrimSpace(s) {
			case "copy":
				return DoCopy{l.URL}, nil
			case "open":
				if able {
					return DoOpen{l.URL}, nil
				}
				return nil, errors.New("there is no browser here; copy gives the address to your terminal")
			}
			return nil, errors.New("type open or copy; esc goes back")
		},
	}
	return p
}
