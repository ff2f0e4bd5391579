package toasts

import (
	"strings"
	"testing"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

func TestLog(t *testing.T) {
	var l Log
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if l.Shown(now) != nil || l.Over(now) {
		t.Error("something is shown before anything was said")
	}
	l.Say(now, canvas.Lit(uv.Style{}, "one "), canvas.Lit(uv.Style{}, "line"))
	if got := l.Shown(now.Add(showFor - 1)); len(got) != 2 {
		t.Errorf("shown %v", got)
	}
	if l.Shown(now.Add(showFor)) != nil || !l.Over(now.Add(showFor)) || l.Over(now.Add(showFor)) {
		t.Error("it does not end, or more than once")
	}
	for range 2 * maxLog {
		l.Say(now, canvas.Lit(uv.Style{}, "more"))
	}
	if len(l.said) != maxLog {
		t.Errorf("%d lines are kept", len(l.said))
	}
}

func TestAnnouncementsAreLimited(t *testing.T) {
	var l Log
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	taken := 0
	for i := range 1000 {
		if l.Announce(now.Add(time.Duration(i)*time.Millisecond), 1, canvas.Lit(uv.Style{}, "buy")) {
			taken++
		}
	}
	if taken != 1 || !l.Announce(now, 2, canvas.Span{Text: sanitize.Clean("other\x1b[2J")}) {
		t.Errorf("%d of one terminal were taken, or none of another", taken)
	}
	st := canvas.NewStyles(true)
	c := uv.NewScreenBuffer(80, 20)
	l.Dialog().Draw(canvas.New(c, st), c.Bounds(), now)
	text := ""
	for y := range 20 {
		text += c.Line(y).String()
	}
	if !strings.Contains(text, "buy") || !strings.Contains(text, "announced more") || strings.Contains(text, "\x1b") {
		t.Errorf("the log reads %q", text)
	}
}
