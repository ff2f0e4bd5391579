package main

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/font/gofont/gomono"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// TestPicture: the same cells give the same bytes, of the size of the screen; what is
// written can be seen, in its colour, and a small picture is a small file.
func TestPicture(t *testing.T) {
	draw := func(text string) []byte {
		emu := vt.New(20, 3, vt.Options{})
		emu.Write([]byte(text))
		b, err := picture(emu, "title")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const text = "\x1b[31m█\x1b[m plain \x1b[1mbold\x1b[7m ┌─┐ ✓✗●○▸▾"
	b := draw(text)
	if !bytes.Equal(b, draw(text)) {
		t.Error("the same cells give different bytes")
	}
	if bytes.Equal(b, draw("")) || len(b) > 8<<10 {
		t.Errorf("%d bytes", len(b))
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if got := img.Bounds().Size(); got.X != 20*cellW+2*pad || got.Y != 3*cellH+2*pad+bar {
		t.Errorf("size %v", got)
	}
	if r, g, bl, _ := img.At(pad+cellW/2, pad+bar+cellH/2).RGBA(); r>>8 != 0xff || g>>8 != 0x6b || bl>>8 != 0x6b {
		t.Errorf("red is %x %x %x", r>>8, g>>8, bl>>8)
	}
}

// TestEveryRune: whatever the console itself writes has a letter or a shape.
func TestEveryRune(t *testing.T) {
	files, err := filepath.Glob("../console/testdata/frames/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d frames, %v", len(files), err)
	}
	use, err := face(gomono.TTF)
	if err != nil {
		t.Fatal(err)
	}
	c := canvas{RGBA: image.NewRGBA(image.Rect(0, 0, cellW, cellH)), plain: use, bold: use}
	for _, f := range files {
		if strings.Contains(f, "hostile") || strings.Contains(f, "terminal") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range string(text) {
			if r == '\n' || c.shape(0, 0, r, foreground) {
				continue
			}
			if _, ok := use.GlyphAdvance(r); !ok {
				t.Errorf("%s: %q has no letter and no shape", f, r)
			}
		}
	}
}
