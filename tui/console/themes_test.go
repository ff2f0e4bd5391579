package console

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

// styled is the frame with its styles as a terminal of a profile gets them. An ESC
// is written as ␛, so that the golden file can be read.
func (h *harness) styled(p colorprofile.Profile) string {
	c := uv.NewScreenBuffer(h.m.cols, h.m.rows)
	h.m.Draw(c)
	var b strings.Builder
	for y := range h.m.rows {
		line := c.Line(y)
		for x := range line {
			line[x].Style = uv.ConvertStyle(line[x].Style, p)
		}
		b.WriteString(strings.TrimRight(line.Render(), " ") + "\n")
	}
	return strings.ReplaceAll(b.String(), "\x1b", "␛")
}

// coloured says whether a styled frame sets a colour.
func coloured(frame string) bool {
	for _, sgr := range strings.Split(frame, "␛[")[1:] {
		params, _, _ := strings.Cut(sgr, "m")
		for p := range strings.SplitSeq(params, ";") {
			if len(p) >= 2 && strings.ContainsRune("3491", rune(p[0])) && p != "39" && p != "49" {
				return true
			}
		}
	}
	return false
}

// TestThemes draws views dark, light and without colours, and compares with testdata.
// The letters are the same in all: nothing is said by colour alone.
func TestThemes(t *testing.T) {
	for _, view := range []struct {
		name    string
		backend func() backend.Backend
		keys    []string
	}{
		{"agents", seen("alice"), nil},
		{"approvals", seen("bob"), []string{"v", "down"}},
		{"request", seen("bob"), []string{"v", "down", "enter"}},
		{"palette", seen("alice"), []string{"ctrl+p", "down"}},
		{"audit", seen("dora"), []string{"t", "up", "up"}},
		{"details", alice, []string{"down", "i"}},
		{"live", running("carol", "web-1", "cache-1"), []string{"o", "down"}},
		{"observed", running("bob", "web-1"), []string{"o", "enter"}},
		{"tour", alice, []string{"T"}},
		{"help", alice, []string{"?"}},
		{"ask", alice, []string{"down", "enter"}},
		{"denied", alice, []string{"down", "down", "down", "enter"}},
		{"zoom-raw", alice, []string{"enter", DefaultPrefix, "Z"}},
		{"broadcast", alice, []string{"enter", DefaultPrefix, "|", DefaultPrefix, "B"}},
		{"audit-entry", seen("dora"), []string{"t", "up", "up", "enter"}},
		{"player", seen("dora"), []string{"t", "g", "down", "p", "space", "m", "m"}},
	} {
		for _, size := range [][2]int{{40, 12}, {80, 24}, {200, 50}} {
			t.Run(fmt.Sprintf("%s/%dx%d", view.name, size[0], size[1]), func(t *testing.T) {
				inBubble(t, view.backend, size[0], size[1], func(h *harness) {
					h.keys(view.keys...)
					letters := h.screen()
					for _, theme := range []struct {
						name    string
						dark    bool
						profile colorprofile.Profile
					}{
						{"dark", true, colorprofile.ANSI}, {"light", false, colorprofile.ANSI}, {"nocolor", true, colorprofile.ASCII},
					} {
						h.m.st = canvas.NewStyles(theme.dark)
						if h.screen() != letters {
							t.Errorf("%s: the letters differ", theme.name)
						}
						got := h.styled(theme.profile)
						if theme.name == "nocolor" && coloured(got) {
							t.Error("a colour in spite of NO_COLOR")
						}
						if theme.name != "nocolor" && view.name == "agents" && !coloured(got) {
							t.Errorf("%s: no colour", theme.name)
						}
						path := filepath.Join("testdata", "themes", fmt.Sprintf("%s-%s-%dx%d.txt", view.name, theme.name, size[0], size[1]))
						compare(t, path, got)
					}
				})
			})
		}
	}
}

// TestNoColourIsASCII: what NO_COLOR makes of a terminal is what TestThemes draws.
func TestNoColourIsASCII(t *testing.T) {
	if p := colorprofile.Env([]string{"TERM=xterm-256color", "NO_COLOR=1"}); p != colorprofile.ASCII {
		t.Errorf("NO_COLOR gives %v", p)
	}
}
