package console

import (
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// styles are named by what they mean. Colours are the terminal's own sixteen,
// which its user chose to be readable; each style that says something goes
// with a word or a glyph that says it too.
type styles struct {
	plain, faint, bold, selected  uv.Style
	allow, confirm, hold, deny    uv.Style
	bar, active, status, warn, ok uv.Style
}

func newStyles(dark bool) *styles {
	// Bright yellow and green vanish on white.
	yellow, green, blue := ansi.BrightYellow, ansi.BrightGreen, ansi.BrightCyan
	if !dark {
		yellow, green, blue = ansi.Magenta, ansi.Green, ansi.Blue
	}
	return &styles{
		faint:    uv.Style{Attrs: uv.AttrFaint},
		bold:     uv.Style{Attrs: uv.AttrBold},
		selected: uv.Style{Attrs: uv.AttrReverse},
		allow:    uv.Style{Fg: green},
		confirm:  uv.Style{Fg: blue},
		hold:     uv.Style{Fg: yellow},
		deny:     uv.Style{Fg: ansi.Red, Attrs: uv.AttrBold},
		bar:      uv.Style{Attrs: uv.AttrFaint},
		active:   uv.Style{Attrs: uv.AttrBold | uv.AttrReverse},
		status:   uv.Style{Attrs: uv.AttrReverse},
		warn:     uv.Style{Fg: yellow, Attrs: uv.AttrBold},
		ok:       uv.Style{Fg: green, Attrs: uv.AttrBold},
	}
}

// A span is a piece of a line in one style.
type span struct {
	style uv.Style
	text  sanitize.Text
}

// lit is a span of the program's own words.
func lit(style uv.Style, s string) span { return span{style, sanitize.Literal(s)} }

// width is the number of cells that t takes.
func width(t sanitize.Text) int { return ansi.StringWidth(t.String()) }

// A canvas is the cells of one frame.
type canvas struct {
	uv.ScreenBuffer
	st *styles
}

func newCanvas(cols, rows int, st *styles) *canvas {
	return &canvas{ScreenBuffer: uv.NewScreenBuffer(cols, rows), st: st}
}

// line draws spans from x,y on, no further than cells cells, and returns how
// many it took. What does not fit ends in an ellipsis.
func (c *canvas) line(x, y, cells int, spans ...span) int {
	used := 0
	for i, s := range spans {
		room := cells - used
		if room <= 0 {
			break
		}
		more := 0 // what follows needs at least one cell
		for _, next := range spans[i+1:] {
			more += width(next.text)
		}
		w := width(s.text)
		if w > room || (w == room && more > 0) {
			used += c.put(x+used, y, room-1, s.style, s.text.String())
			used += c.put(x+used, y, 1, s.style, "…")
			break
		}
		used += c.put(x+used, y, room, s.style, s.text.String())
	}
	return used
}

// put draws clean text into at most cells cells, and cuts the rest.
func (c *canvas) put(x, y, cells int, style uv.Style, s string) int {
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

// fill sets an area to blanks of a style.
func (c *canvas) fill(area uv.Rectangle, style uv.Style) {
	blank := uv.Cell{Content: " ", Width: 1, Style: style}
	c.FillArea(&blank, area)
}

// restyle adds attributes to the cells of a row that are there already.
func (c *canvas) restyle(area uv.Rectangle, attrs uint8) {
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			if cell := c.CellAt(x, y); cell != nil {
				cell.Style.Attrs |= attrs
				cell.Style.Attrs &^= uv.AttrFaint
			}
		}
	}
}

// box clears an area, frames it, writes a title, and returns what is inside.
func (c *canvas) box(area uv.Rectangle, title sanitize.Text) uv.Rectangle {
	c.fill(area, c.st.plain)
	right, bottom := area.Max.X-1, area.Max.Y-1
	for x := area.Min.X + 1; x < right; x++ {
		c.put(x, area.Min.Y, 1, c.st.plain, "─")
		c.put(x, bottom, 1, c.st.plain, "─")
	}
	for y := area.Min.Y + 1; y < bottom; y++ {
		c.put(area.Min.X, y, 1, c.st.plain, "│")
		c.put(right, y, 1, c.st.plain, "│")
	}
	c.put(area.Min.X, area.Min.Y, 1, c.st.plain, "┌")
	c.put(right, area.Min.Y, 1, c.st.plain, "┐")
	c.put(area.Min.X, bottom, 1, c.st.plain, "└")
	c.put(right, bottom, 1, c.st.plain, "┘")
	c.line(area.Min.X+2, area.Min.Y, area.Dx()-4, lit(c.st.plain, " "), span{c.st.bold, title}, lit(c.st.plain, " "))
	return uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, area.Dy()-2)
}

// A para is a paragraph: a label of the program's own, and text.
type para struct {
	label string
	text  sanitize.Text
	style uv.Style
}

// labelCommand is the label of an argument list, which keeps every blank where
// it is cut into lines: what is shown is what would run.
const labelCommand = "Command"

// A row is one line of a paragraph after wrapping.
type row struct {
	label string
	text  string // a piece of a sanitize.Text
	style uv.Style
}

// labelWidth is the column of labels, where any paragraph has one.
const labelWidth = 10

// layout wraps paragraphs to cells.
func layout(paras []para, cells int) []row {
	var rows []row
	for _, p := range paras {
		indent := 0
		if p.label != "" {
			indent = labelWidth
		}
		label := p.label
		for _, piece := range wrap(p.text.String(), max(1, cells-indent), p.label != labelCommand) {
			rows = append(rows, row{label, piece, p.style})
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

// rows draws rows into area, from first on.
func (c *canvas) rows(area uv.Rectangle, rows []row, first int) {
	for y := 0; y < area.Dy() && first+y < len(rows); y++ {
		r := rows[first+y]
		x := 0
		if r.label != "" {
			c.put(area.Min.X, area.Min.Y+y, labelWidth-1, c.st.faint, r.label)
			x = labelWidth
		}
		c.put(area.Min.X+x, area.Min.Y+y, area.Dx()-x, r.style, r.text)
	}
}
