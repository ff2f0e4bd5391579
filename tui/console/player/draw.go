package player

import (
	"errors"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/pane"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// Draw implements dialog.Dialog: the screen as it was, below it a line that says what is
// seen, and the seek bar.
func (p *Player) Draw(c *canvas.Canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	c.Blank(area, c.Styles.Plain)
	if area.Dy() < 3 || area.Dx() < 8 {
		return nil
	}
	film := uv.Rect(area.Min.X, area.Min.Y, area.Dx(), area.Dy()-2)
	if !p.loaded {
		inside := uv.Rect(film.Min.X+2, film.Min.Y+1, max(1, film.Dx()-4), max(0, film.Dy()-1))
		c.Rows(inside, canvas.Layout(p.waits(c.Styles), inside.Dx()), 0)
		return nil
	}
	p.drawFilm(c, film)
	c.Blank(uv.Rect(area.Min.X, area.Max.Y-2, area.Dx(), 1), c.Styles.Status)
	if p.typing {
		used := c.Spans(area.Min.X, area.Max.Y-2, area.Dx(), canvas.Lit(c.Styles.Bold, "Search what was shown: "))
		p.drawBar(c, area)
		return p.query.Draw(c, area.Min.X+used, area.Max.Y-2, max(1, area.Dx()-used))
	}
	c.Spans(area.Min.X, area.Max.Y-2, area.Dx(), p.says(c.Styles)...)
	p.drawBar(c, area)
	return nil
}

// waits is what is shown before there is something to play.
func (p *Player) waits(st *canvas.Styles) []canvas.Para {
	if p.err == nil {
		return []canvas.Para{{Text: sanitize.Literal("Fetching the recording, and checking every signature of it ..."), Style: st.Bold},
			{Text: sanitize.Literal("A long one takes a while. esc gives up."), Style: st.Faint}}
	}
	next := "Try again later: esc goes back."
	switch {
	case errors.Is(p.err, backend.ErrDenied):
		next = "Recordings are for auditors. Ask one of your team to play it."
	case errors.Is(p.err, backend.ErrNotFound):
		next = "The session was not recorded: the policy of then did not ask for it, or its recording is not uploaded yet."
	}
	return []canvas.Para{
		{Text: sanitize.Literal("✗ There is nothing to play."), Style: st.Deny}, {},
		{Label: "Cause", Text: phrase.Error(p.err), Style: st.Plain},
		{Label: "Next", Text: sanitize.Literal(next), Style: st.Plain},
	}
}

// drawFilm shows the screen as it was; where there is less room, the part with the
// cursor. What was concealed is shown.
func (p *Player) drawFilm(c *canvas.Canvas, area uv.Rectangle) {
	cols, rows := p.emu.Size()
	at := p.emu.Cursor()
	x := max(0, min(at.X-area.Dx()+1, cols-area.Dx()))
	y := max(0, min(at.Y-area.Dy()+1, rows-area.Dy()))
	shown := uv.Rect(area.Min.X, area.Min.Y, min(cols, area.Dx()), min(rows, area.Dy()))
	p.line = pane.DrawRows(c, shown, p.emu, x, y, p.line)
	for row := shown.Min.Y; row < shown.Max.Y; row++ {
		for col := shown.Min.X; col < shown.Max.X; col++ {
			if cell := c.CellAt(col, row); cell != nil {
				cell.Style.Attrs &^= uv.AttrConceal
			}
		}
	}
	if at.Visible && at.X-x < shown.Dx() && at.Y-y < shown.Dy() {
		c.Restyle(uv.Rect(shown.Min.X+at.X-x, shown.Min.Y+at.Y-y, 1, 1), uv.AttrReverse)
	}
	// What is beyond the recorded screen is not part of it.
	for row := area.Min.Y; row < area.Max.Y && shown.Max.X < area.Max.X; row++ {
		c.Put(shown.Max.X, row, 1, c.Styles.Faint, "│")
	}
	if shown.Max.Y < area.Max.Y {
		c.Put(area.Min.X, shown.Max.Y, shown.Dx(), c.Styles.Faint, strings.Repeat("─", shown.Dx()))
	}
}

// says is the line above the seek bar: the marker that was passed last, or what was done.
func (p *Player) says(st *canvas.Styles) []canvas.Span {
	spans := []canvas.Span{canvas.Lit(st.Status, " "), {Style: st.Status, Text: phrase.Brief(p.info.Title)}}
	add := func(text sanitize.Text) {
		spans = append(spans, canvas.Lit(st.Status, " · "), canvas.Span{Style: st.Status, Text: text})
	}
	for _, c := range p.info.Checks {
		if !c.Holds {
			add(phrase.Brief("NOT PROVED: " + c.What))
		}
	}
	if p.cut {
		add(sanitize.Literal("CUT: it is longer than the player keeps"))
	}
	if p.searching {
		add(sanitize.Literal("searching ..."))
	}
	if p.note != "" {
		add(sanitize.Clean(p.note))
	}
	for i := len(p.markers) - 1; i >= 0; i-- {
		if p.markers[i].at <= p.at {
			spans = append(spans, canvas.Lit(st.Status, " · ◆ "), canvas.Span{Style: st.Status, Text: p.markers[i].text})
			break
		}
	}
	return spans
}

// drawBar is the seek bar: state, time, where it is, markers, length, speed.
func (p *Player) drawBar(c *canvas.Canvas, area uv.Rectangle) {
	y := area.Max.Y - 1
	state := "‖ "
	switch {
	case p.playing:
		state = "▶ "
	case p.at >= p.info.Length:
		state = "■ "
	}
	left := state + phrase.Duration(p.at) + " "
	right := fmt.Sprintf(" %s  %gx", phrase.Duration(p.info.Length), speeds[p.speed])
	if area.Dx() >= 60 {
		if p.idle {
			right += "  pauses skipped"
		} else {
			right += "  pauses kept"
		}
	}
	lw := c.Spans(area.Min.X, y, area.Dx(), canvas.Span{Style: c.Styles.Bold, Text: sanitize.Clean(left)})
	text := sanitize.Clean(right)
	cells := area.Dx() - lw - canvas.Width(text)
	if cells < 4 {
		return
	}
	c.Spans(area.Max.X-canvas.Width(text), y, canvas.Width(text), canvas.Span{Style: c.Styles.Faint, Text: text})
	place := func(t time.Duration) int {
		if p.info.Length <= 0 {
			return 0
		}
		return min(int(float64(cells-1)*float64(t)/float64(p.info.Length)), cells-1)
	}
	for x := range cells {
		glyph, style := "─", c.Styles.Faint
		if x < place(p.at) {
			glyph, style = "━", c.Styles.Plain
		}
		c.Put(area.Min.X+lw+x, y, 1, style, glyph)
	}
	for _, m := range p.markers {
		c.Put(area.Min.X+lw+place(m.at), y, 1, c.Styles.Warn, "◆")
	}
	c.Put(area.Min.X+lw+place(p.at), y, 1, c.Styles.Bold, "●")
}
