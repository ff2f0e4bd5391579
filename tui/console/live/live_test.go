package live

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

// overseer is a backend with a list of its own.
type overseer struct {
	backend.Backend
	all []backend.Session
	err error
}

func (o *overseer) Watchable(context.Context) ([]backend.Session, error) { return o.all, o.err }

func draw(v *View, cols, rows int) string {
	b := uv.NewScreenBuffer(cols, rows)
	v.Draw(canvas.New(b, canvas.NewStyles(true)), uv.Rect(0, 0, cols, rows), time.Unix(100, 0))
	return b.String()
}

func key(v *View, s string) any {
	k := tea.KeyPressMsg{Code: []rune(s)[0], Text: s}
	switch s {
	case "enter":
		k = tea.KeyPressMsg{Code: tea.KeyEnter}
	case "esc":
		k = tea.KeyPressMsg{Code: tea.KeyEscape}
	case "down":
		k = tea.KeyPressMsg{Code: tea.KeyDown}
	}
	return v.Key(k, time.Now()).Do
}

// A long and hostile list is cut, drawn clean, and narrowed; a choice names the session.
func TestView(t *testing.T) {
	o := &overseer{}
	v := Of(t.Context(), o, func(id backend.TargetID) sanitize.Text { return sanitize.Clean(string(id)) }).(*View)
	defer v.End()
	if !strings.Contains(draw(v, 60, 8), "Asking") {
		t.Error("nothing is said while it is asked")
	}
	o.err = errors.New("away\x1b[2J")
	v.Receive(v.ask()(), time.Now())
	if got := draw(v, 60, 8); !strings.Contains(got, "can't be listed") || strings.Contains(got, "\x1b[2J") {
		t.Errorf("an error: %q", got)
	}
	o.err = nil
	for range maxKept + 5 {
		o.all = append(o.all, backend.Session{ID: "aa", Target: "web-1", Owner: "alice\x1b]0;x\x07@example.com", Observe: true, Began: time.Unix(40, 0)})
	}
	o.all[1] = backend.Session{ID: "bb", Target: "db-1", Owner: "bob@example.com", As: "root", Join: true, Away: time.Unix(50, 0)}
	v.Receive(v.ask()(), time.Now())
	got := draw(v, 120, 8)
	if len(v.all) != maxKept || strings.ContainsAny(got, "\x1b\x07") && strings.Contains(got, "]0;") || !strings.Contains(got, "1000 of 1000") || !strings.Contains(got, "as root, nobody at it, bb") {
		t.Errorf("%d kept: %q", len(v.all), got)
	}
	key(v, "down")
	if do := key(v, "enter"); do != nil || !strings.Contains(draw(v, 120, 8), "does not let you observe") {
		t.Errorf("an observer of what may only be joined: %v", do)
	}
	w, ok := key(v, "t").(Watch)
	if req := w.Request(); !ok || req.Kind != backend.KindJoin || req.Session != "bb" || req.As != "root" || req.Target != "db-1" {
		t.Errorf("chosen: %+v", w)
	}
	if got := w.Title(sanitize.Literal("db-1")).String(); got != "db-1 of bob" {
		t.Errorf("titled %q", got)
	}
	key(v, "/")
	for _, r := range "!join web" {
		key(v, string(r))
	}
	key(v, "enter")
	if do, ok := key(v, "enter").(Watch); !ok || do.Session.ID != "aa" || do.Join || len(v.shown) != maxKept-1 {
		t.Errorf("filtered: %+v of %d", do, len(v.shown))
	}
	for _, size := range [][2]int{{1, 1}, {4, 3}, {40, 12}} {
		draw(v, size[0], size[1])
	}
	// A session that ends takes the cursor no further than to its neighbour.
	o.all = nil
	v.Receive(v.ask()(), time.Now())
	if key(v, "enter") != nil || key(v, "t") != nil {
		t.Error("something is chosen of nothing")
	}
}
