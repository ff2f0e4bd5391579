package console

import (
	"fmt"
	"image/color"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"
)

// painted is the frame as letters and, cell by cell below them, as styles: a dot is plain,
// and what each other letter stands for is said at the end, on a dark terminal, a light
// one, and with NO_COLOR. The letters are the same in all three, or it fails: nothing is
// said by colour alone.
func (h *harness) painted() string {
	h.t.Helper()
	letters := h.screen()
	styles := make([][3]string, h.m.cols*h.m.rows)
	for i, white := range []bool{false, true} {
		h.ground(white)
		if h.screen() != letters {
			h.t.Errorf("light and dark differ in letters:\n%s", h.screen())
		}
		c := uv.NewScreenBuffer(h.m.cols, h.m.rows)
		h.m.Draw(c)
		for y := range h.m.rows {
			for x, cell := range c.Line(y) {
				of := &styles[y*h.m.cols+x]
				if cell.Width == 0 && x > 0 { // the second half of a wide one
					*of = styles[y*h.m.cols+x-1]
					continue
				}
				of[i] = sgr(cell.Style, colorprofile.ANSI)
				if !white {
					of[2] = sgr(cell.Style, colorprofile.ASCII)
				}
			}
		}
	}
	h.ground(false)
	const plain = "0"
	names := map[[3]string]byte{{plain, plain, plain}: '.'}
	var b, legend strings.Builder
	b.WriteString(letters)
	b.WriteString("styles\n")
	for y := range h.m.rows {
		var row []byte
		for _, s := range styles[y*h.m.cols : (y+1)*h.m.cols] {
			name, ok := names[s]
			if !ok {
				name = byte('a' + len(names) - 1)
				names[s] = name
				fmt.Fprintf(&legend, "%c: dark %s, light %s, without colours %s\n", name, s[0], s[1], s[2])
				if coloured(s[2]) {
					h.t.Errorf("a colour in spite of NO_COLOR: %s", s[2])
				}
			}
			row = append(row, name)
		}
		b.WriteString(strings.TrimRight(string(row), ".") + "\n")
	}
	b.WriteString(legend.String())
	return b.String()
}

// sgr is a style as a terminal of a profile gets it, the parameters alone.
func sgr(s uv.Style, p colorprofile.Profile) string {
	s = uv.ConvertStyle(s, p)
	if s.IsZero() {
		return "0"
	}
	return strings.TrimSuffix(strings.TrimPrefix(s.String(), "\x1b["), "m")
}

// ground has the terminal say what its background is.
func (h *harness) ground(white bool) {
	var c color.Color = color.Black
	if white {
		c = color.White
	}
	h.send(tea.BackgroundColorMsg{Color: c})
	h.settle()
}

// coloured says whether parameters of a style set a colour.
func coloured(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		if len(p) >= 2 && strings.ContainsRune("3491", rune(p[0])) && p != "39" && p != "49" {
			return true
		}
	}
	return false
}

// TestNoColourIsASCII: what NO_COLOR makes of a terminal is what painted draws.
func TestNoColourIsASCII(t *testing.T) {
	if p := colorprofile.Env([]string{"TERM=xterm-256color", "NO_COLOR=1"}); p != colorprofile.ASCII {
		t.Errorf("NO_COLOR gives %v", p)
	}
	if !coloured("1;93") || !coloured("38;5;1") || coloured("1;7") || coloured("0;39") {
		t.Error("coloured does not know a colour")
	}
}
