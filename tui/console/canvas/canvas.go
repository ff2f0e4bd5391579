// Package canvas is what the console draws with: cells of one frame, lines of
// styled text, paragraphs and the line that one types. Text comes in as
// sanitize.Text only, so that nothing from a network reaches a cell otherwise. It
// knows no backend.
package canvas

import (
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/ultraviolet/screen"
	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Styles are named by what they mean. Colours are the terminal's own sixteen,
// which its user chose to be readable; each style that says something goes
// with a word or a glyph that says it too.
type Styles struct {
	Plain, Faint, Bold, selected  uv.Style
	Allow, Confirm, Hold, Deny    uv.Style
	bar, Active, Status, Warn, Ok uv.Style
}

// NewStyles gives the styles for a dark or a light terminal.
func NewStyles(dark bool) *Styles {
	// Bright yellow and green vanish on white.
	yellow, green, blue := ansi.BrightYellow, ansi.BrightGreen, ansi.BrightCyan
	if !dark {
		yellow, green, blue = ansi.Magenta, ansi.Green, ansi.Blue
	}
	return &Styles{
		Faint:    uv.Style{Attrs: uv.AttrFaint},
		Bold:     uv.Style{Attrs: uv.AttrBold},
		selected: uv.Style{Attrs: uv.AttrReverse},
		Allow:    uv.Style{Fg: green},
		Confirm:  uv.Style{Fg: blue},
		Hold:     uv.Style{Fg: yellow},
		Deny:     uv.Style{Fg: ansi.Red, Attrs: uv.AttrBold},
		bar:      uv.Style{Attrs: uv.AttrFaint},
		Active:   uv.Style{Attrs: uv.AttrBold | uv.AttrReverse},
		Status:   uv.Style{Attrs: uv.AttrReverse},
		Warn:     uv.Style{Fg: yellow, Attrs: uv.AttrBold},
		Ok:       uv.Style{Fg: green, Attrs: uv.AttrBold},
	}
}

// A Span is a piece of a line in one style.
type Span struct {
	Style uv.Style
	Text  sanitize.Text
}

// Lit is a span of the program's own words.
func Lit(style uv.Style, s string) Span { return Span{style, sanitize.Literal(s)} }

// Width is the number of cells that t takes.
func Width(t sanitize.Text) int { return ansi.StringWidth(t.String()) }

// A Canvas draws on the cells of one frame.
type Canvas struct {
	uv.Screen
	Styles *Styles
}

// New makes a canvas of a screen.
func New(on uv.Screen, st *Styles) *Canvas { return &Canvas{Screen: on, Styles: st} }

// Spans draws spans from x,y on, no further than cells cells, and returns how
// many it took. What does not fit ends in an ellipsis.
func (c *Canvas) Spans(x, y, cells int, spans ...Span) int {
	used := 0
	for i, s := range spans {
		room := cells - used
		if room <= 0 {
			break
		}
		more := 0 // what follows needs at least one cell
		for _, next := range spans[i+1:] {
			more += Width(next.Text)
		}
		w := Width(s.Text)
		if w > room || (w == room && more > 0) {
			used += c.Put(x+used, y, room-1, s.Style, s.Text.String())
			used += c.Put(x+used, y, 1, s.Style, "…")
			break
		}
		used += c.Put(x+used, y, room, s.Style, s.Text.String())
	}
	return used
}

// Put draws clean text into at most cells cells, and cuts the rest.
func (c *Canvas) Put(x, y, cells int, style uv.Style, s string) int {
	used := 0
	for s != "" {
		cluster, w := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		s = s[len(cluster):]
		if w == 0 {
			continue
		}
		if used+w > cells {
			break
		}
		c.SetCell(x+used, y, &uv.Cell{Content: cluster, Width: w, Style: style})
		used += w
	}
	return used
}

// Blank sets an area to blanks of a style.
func (c *Canvas) Blank(area uv.Rectangle, style uv.Style) {
	blank := uv.Cell{Content: " ", Width: 1, Style: style}
	screen.FillArea(c, &blank, area)
}

// Restyle adds attributes to the cells of a row that are there already.
func (c *Canvas) Restyle(area uv.Rectangle, attrs uint8) {
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			if cell := c.CellAt(x, y); cell != nil {
				cell.Style.Attrs |= attrs
				cell.Style.Attrs &^= uv.AttrFaint
			}
		}
	}
}

// Box clears an area, frames it, writes a title, and returns what is inside.
func (c *Canvas) Box(area uv.Rectangle, title sanitize.Text) uv.Rectangle {
	c.Blank(area, c.Styles.Plain)
	c.Frame(area, c.Styles.Plain, Lit(c.Styles.Plain, " "), Span{c.Styles.Bold, title}, Lit(c.Styles.Plain, " "))
	return uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, area.Dy()-2)
}

// Frame draws a line around what is in an area, with a title in it.
func (c *Canvas) Frame(area uv.Rectangle, style uv.Style, title ...Span) {
	right, bottom := area.Max.X-1, area.Max.Y-1
	for x := area.Min.X + 1; x < right; x++ {
		c.Put(x, area.Min.Y, 1, style, "─")
		c.Put(x, bottom, 1, style, "─")
	}
	for y := area.Min.Y + 1; y < bottom; y++ {
		c.Put(area.Min.X, y, 1, style, "│")
		c.Put(right, y, 1, style, "│")
	}
	c.Put(area.Min.X, area.Min.Y, 1, style, "┌")
	c.Put(right, area.Min.Y, 1, style, "┐")
	c.Put(area.Min.X, bottom, 1, style, "└")
	c.Put(right, bottom, 1, style, "┘")
	c.Spans(area.Min.X+2, area.Min.Y, area.Dx()-4, title...)
}

// A Para is a paragraph: a label of the program's own, and text.
type Para struct {
	Label string
	Text  sanitize.Text
	Style uv.Style
}

// labelCommand is the label of an argument list, which keeps every blank where
// it is cut into lines: what is shown is what would run.
const LabelCommand = "Command"

// A Row is one line of a paragraph after wrapping.
type Row struct {
	label string
	text  string // a piece of a sanitize.Text
	style uv.Style
}

// labelWidth is the column of labels, where any paragraph has one.
const labelWidth = 10

// Layout wraps paragraphs to cells.
func Layout(paras []Para, cells int) []Row {
	var rows []Row
	for _, p := range paras {
		indent := 0
		if p.Label != "" {
			indent = labelWidth
		}
		label := p.Label
		for _, piece := range wrap(p.Text.String(), max(1, cells-indent), p.Label != LabelCommand) {
			rows = append(rows, Row{label, piece, p.Style})
			if label != "" {
				label = " "
			}
		}
	}
	return rows
}

// wrap cuts clean text to cells, in one pass: a hostile text may be long. With
// words it cuts at a blank where one is near, and drops that blank.
func wrap(s string, cells int, words bool) []string {
	var out []string
	for {
		n, used, blank := 0, 0, 0
		for n < len(s) {
			cluster, w := ansi.FirstGraphemeCluster(s[n:], ansi.GraphemeWidth)
			if used+w > cells && n > 0 {
				break
			}
			if cluster == " " {
				blank = n
			}
			n += len(cluster)
			used += w
		}
		switch {
		case n == len(s):
			return append(out, s)
		case words && blank > n/2:
			out = append(out, s[:blank])
			s = s[blank+1:]
		default:
			out = append(out, s[:n])
			s = s[n:]
		}
	}
}

// Rows draws rows into area, from first on.
func (c *Canvas) Rows(area uv.Rectangle, rows []Row, first int) {
	for y := 0; y < area.Dy() && first+y < len(rows); y++ {
		r := rows[first+y]
		x := 0
		if r.label != "" {
			c.Put(area.Min.X, area.Min.Y+y, labelWidth-1, c.Styles.Faint, r.label)
			x = labelWidth
		}
		c.Put(area.Min.X+x, area.Min.Y+y, area.Dx()-x, r.style, r.text)
	}
}
