// Package tabbar is the console's first line: places with the number that leads to each,
// as many as fit around the one that is shown.
package tabbar

import (
	"fmt"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

// Draw shows labels in the first line of cols cells, active being the place that is
// shown, and right at its end where there is room.
func Draw(c *canvas.Canvas, cols int, labels []sanitize.Text, active int, right canvas.Span) {
	shown := make([][]canvas.Span, len(labels))
	widths := make([]int, len(labels))
	for i, label := range labels {
		style, open, shut := c.Styles.Plain, " ", " "
		if i == active {
			style, open, shut = c.Styles.Active, "[", "]"
		}
		if i < 9 {
			open += fmt.Sprintf("%d ", i+1)
		}
		shown[i] = []canvas.Span{canvas.Lit(style, open), {Style: style, Text: label}, canvas.Lit(style, shut)}
		for _, s := range shown[i] {
			widths[i] += canvas.Width(s.Text)
		}
	}
	// From the right end of the active label to the left, as many as fit.
	first, used := active, widths[active]
	for first > 0 && used+widths[first-1] < cols-2 {
		first--
		used += widths[first]
	}
	x := 0
	if first > 0 {
		x += c.Spans(0, 0, 1, canvas.Lit(c.Styles.Faint, "<"))
	}
	for _, spans := range shown[first:] {
		x += c.Spans(x, 0, cols-x, spans...)
	}
	if w := canvas.Width(right.Text); w > 0 && x+w+2 < cols {
		c.Spans(cols-w, 0, w, right)
	}
}
