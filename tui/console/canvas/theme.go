package canvas

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// A Ground says what the terminal's background is.
type Ground uint8

// The grounds. The zero value is as the terminal answers, and dark until it has.
const (
	AsAnswered Ground = iota
	Dark
	Light
)

// A Theme is the colours that a person wants. The zero value follows the terminal.
type Theme struct {
	Ground Ground
	Depth  colorprofile.Profile // how many colours; Unknown: as the terminal says
	Own    map[string]color.Color
}

// Styles are the theme's styles on a terminal that says that it is dark, or not.
func (t Theme) Styles(dark bool) *Styles {
	if t.Ground != AsAnswered {
		dark = t.Ground == Dark
	}
	st := NewStyles(dark)
	for name, c := range t.Own {
		if style, ok := st.named()[name]; ok {
			style.Fg = c
		}
	}
	return st
}

// named are the styles whose colour is a person's to choose. What they say stands in
// words or glyphs too, so that no choice can hide it.
func (st *Styles) named() map[string]*uv.Style {
	return map[string]*uv.Style{
		"text": &st.Plain, "faint": &st.Faint, "bold": &st.Bold, "allow": &st.Allow, "confirm": &st.Confirm, "hold": &st.Hold, "deny": &st.Deny,
		"active": &st.Active, "status": &st.Status, "warning": &st.Warn, "ok": &st.Ok,
	}
}

// As is what a style of st, found by what it is named for, is among others; one that is
// none of st stays.
func (st *Styles) As(style uv.Style, others *Styles) uv.Style {
	mine, theirs := st.named(), others.named()
	for _, name := range StyleNames() {
		if mine[name].Equal(&style) {
			return *theirs[name]
		}
	}
	return style
}

// StyleNames are the names of Theme.Own, sorted.
func StyleNames() []string {
	var names []string
	for name := range new(Styles).named() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ColourNames are the terminal's own sixteen, the first eight and the bright ones.
var ColourNames = []string{
	"black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
	"bright-black", "bright-red", "bright-green", "bright-yellow", "bright-blue", "bright-magenta", "bright-cyan", "bright-white",
}

// ParseColour reads a name of the sixteen, a number from 0 to 255, or #rrggbb.
func ParseColour(s string) (color.Color, error) {
	if at := slices.Index(ColourNames, s); at >= 0 {
		return ansi.BasicColor(at), nil
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		return ansi.IndexedColor(n), nil
	}
	if hex, ok := strings.CutPrefix(s, "#"); ok && len(hex) == 6 {
		if n, err := strconv.ParseUint(hex, 16, 24); err == nil {
			return color.RGBA{R: uint8(n >> 16), G: uint8(n >> 8), B: uint8(n), A: 0xff}, nil
		}
	}
	return nil, fmt.Errorf("%q is no colour; write a name such as bright-red, a number from 0 to 255, or #ff5f5f", s)
}
