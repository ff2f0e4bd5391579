package canvas

import (
	"image/color"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

func TestParseColour(t *testing.T) {
	for s, want := range map[string]color.Color{
		"black": ansi.Black, "bright-white": ansi.BrightWhite, "0": ansi.IndexedColor(0), "255": ansi.IndexedColor(255),
		"#ff8000": color.RGBA{0xff, 0x80, 0, 0xff}, "": nil, "256": nil, "-1": nil, "#fff": nil, "#gggggg": nil, "+1": nil, "#+1+1+1": nil, "Red": nil,
	} {
		got, err := ParseColour(s)
		if got != want || (err == nil) != (want != nil) {
			t.Errorf("%q is %v, %v; want %v", s, got, err, want)
		}
	}
}

func TestTheme(t *testing.T) {
	light, dark := NewStyles(false), NewStyles(true)
	for _, tc := range []struct {
		theme Theme
		dark  bool
		want  *Styles
	}{
		{Theme{}, true, dark}, {Theme{}, false, light}, {Theme{Ground: Light}, true, light}, {Theme{Ground: Dark}, false, dark},
	} {
		if got := tc.theme.Styles(tc.dark); *got != *tc.want {
			t.Errorf("%+v on dark=%v", tc.theme, tc.dark)
		}
	}
	own := Theme{Own: map[string]color.Color{"deny": ansi.BrightRed, "no such": ansi.Blue}}.Styles(true)
	if own.Deny.Fg != ansi.BrightRed || own.Deny.Attrs != dark.Deny.Attrs || own.Allow != dark.Allow {
		t.Errorf("own colours gave %+v", own)
	}
	for _, name := range StyleNames() {
		one := Theme{Own: map[string]color.Color{name: ansi.IndexedColor(42)}}.Styles(true)
		if *one == *dark {
			t.Errorf("%s changes nothing", name)
		}
	}
}
