// Package returning knows the member's shells that run and that no tab has: those that
// were left, or whose client is gone. They stand in the palette, to be come back to.
//
// It must not import a backend's package.
package returning

import (
	"context"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/palette"
)

// maxShells bounds the entries.
const maxShells = 50

// Shells are safe for concurrent use. The zero value knows none.
type Shells struct {
	mu  sync.Mutex
	all []backend.Session
}

// Ask asks a backend, if it knows of such. What was known stands when it can't tell.
func (s *Shells) Ask(ctx context.Context, b backend.Backend) {
	from, ok := backend.As[backend.Sessioner](b)
	if !ok {
		return
	}
	all, err := from.Sessions(ctx)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = all
}

// Entries gives an entry of the palette for each shell that nobody is at, the newest
// first. name gives a target's name.
func (s *Shells) Entries(now time.Time, name func(backend.TargetID) sanitize.Text) (out []palette.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if !one.Returns || one.Away.IsZero() || now.After(one.Until) || len(out) == maxShells {
			continue
		}
		left := sanitize.Clean(one.Until.Sub(now).Round(time.Second).String())
		out = append(out, palette.Entry{
			Name:  []sanitize.Text{sanitize.Literal("come back to "), name(one.Target), sanitize.Literal(", "), left, sanitize.Literal(" left")},
			Words: "attach session shell detached " + string(one.ID),
			Place: []sanitize.Text{sanitize.Clean("since " + one.Began.Local().Format(time.TimeOnly))},
			Do:    dialog.DoOpen{Req: backend.OpenRequest{Target: one.Target, Kind: one.Kind, As: one.As, Session: one.ID}},
		})
	}
	return out
}
