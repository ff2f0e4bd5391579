// Package toasts is what the console says in passing, and the log of it: a line that
// is shown for a few seconds, and can be read again later.
//
// Invariants: texts are clean when they come; the log is bounded; what programs in
// terminals announce can't crowd out the rest, because its rate is limited.
package toasts

import (
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
)

const (
	showFor = 6 * time.Second
	maxLog  = 200
	// A program may announce something every announceGap, and after that not until
	// somebody has had the time to read it.
	announceGap = 3 * time.Second
)

// A Said is one line of the log.
type Said struct {
	At   time.Time
	Line []canvas.Span
}

// A Log is what was said. The zero value is empty.
type Log struct {
	said      []Said // the newest last
	until     time.Time
	announced map[int]time.Time
	missed    int // announcements that came too fast
}

// Say shows a line and keeps it.
func (l *Log) Say(now time.Time, line ...canvas.Span) {
	if len(l.said) >= maxLog {
		l.said = append(l.said[:0], l.said[1:]...)
	}
	l.said = append(l.said, Said{now, line})
	l.until = now.Add(showFor)
}

// Announce is Say for a program in a terminal, which the line names. It says whether
// the line was taken.
func (l *Log) Announce(now time.Time, terminal int, line ...canvas.Span) bool {
	if l.announced == nil {
		l.announced = make(map[int]time.Time)
	}
	if last, ok := l.announced[terminal]; ok && now.Sub(last) < announceGap {
		l.missed++
		return false
	}
	l.announced[terminal] = now
	l.Say(now, line...)
	return true
}

// Restyle is for a terminal that says late what its background is: what was said until
// then changes from one set of styles to another, in the dialog too.
func (l *Log) Restyle(from, to *canvas.Styles) {
	for _, s := range l.said {
		for i := range s.Line {
			s.Line[i].Style = from.As(s.Line[i].Style, to)
		}
	}
}

// Forget is for a terminal that is closed.
func (l *Log) Forget(terminal int) { delete(l.announced, terminal) }

// Shown is the line that is to be seen now, nil for none.
func (l *Log) Shown(now time.Time) []canvas.Span {
	if len(l.said) == 0 || !now.Before(l.until) {
		return nil
	}
	return l.said[len(l.said)-1].Line
}

// Draw shows that line at the right end of row y.
func (l *Log) Draw(c *canvas.Canvas, cols, y int, now time.Time) {
	line := l.Shown(now)
	if line == nil || y < 0 {
		return
	}
	w := 0
	for _, s := range line {
		w += canvas.Width(s.Text)
	}
	w = min(w+2, cols)
	c.Blank(uv.Rect(cols-w, y, w, 1), c.Styles.Plain)
	c.Spans(cols-w+1, y, w-1, line...)
}

// Over says, once, that a line has been shown for long enough.
func (l *Log) Over(now time.Time) bool {
	if l.until.IsZero() || now.Before(l.until) {
		return false
	}
	l.until = time.Time{}
	return true
}

// Dialog shows the log, the newest first.
func (l *Log) Dialog() dialog.Dialog {
	said, missed := append([]Said(nil), l.said...), l.missed
	return &dialog.Notice{Title: sanitize.Literal("Messages"), Body: func(st *canvas.Styles) []canvas.Para {
		var paras []canvas.Para
		for i := len(said) - 1; i >= 0; i-- {
			p := canvas.Para{Label: said[i].At.Format(time.TimeOnly)}
			for _, s := range said[i].Line {
				p.Style = s.Style
				p.Text = sanitize.Join(p.Text, s.Text)
			}
			paras = append(paras, p)
		}
		if len(said) == 0 {
			paras = append(paras, canvas.Para{Text: sanitize.Literal("Nothing was said yet."), Style: st.Faint})
		}
		if missed > 0 {
			paras = append(paras, canvas.Para{}, canvas.Para{Text: sanitize.Literal("Some programs announced more, and faster than anybody could read. It is left out."), Style: st.Faint})
		}
		return paras
	}}
}
