package membership

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const text = "tdc1.example-of-a-profile-that-is-long-enough-to-need-a-larger-code-0123456789"

// What the terminal shows is the code, module for module, with its quiet border.
func TestDraw(t *testing.T) {
	c, err := encode(text)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(c.draw(false), "\n"), "\n")
	if len(lines) != (c.width()+1)/2 {
		t.Fatalf("%d lines for %d modules", len(lines), c.width())
	}
	black := map[rune][2]bool{'█': {false, false}, '▀': {false, true}, '▄': {true, false}, ' ': {true, true}}
	for row, line := range lines {
		if n := len([]rune(line)); n != c.width() {
			t.Fatalf("line %d has %d cells, want %d", row, n, c.width())
		}
		for col, r := range []rune(line) {
			for half, b := range black[r] {
				x, y := col-quiet, 2*row+half-quiet
				if y < c.Size+quiet && b != c.Black(x, y) {
					t.Fatalf("module %d,%d is drawn as black: %v", x, y, b)
				}
			}
		}
	}
	// Colours change nothing of it, and end with each line.
	coloured := c.draw(true)
	if strings.ReplaceAll(strings.ReplaceAll(coloured, "\x1b[97;40m", ""), "\x1b[0m", "") != c.draw(false) {
		t.Error("with colours it is another one")
	}
}

func TestPNG(t *testing.T) {
	c, err := encode(text)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "profile.png")
	if err := c.writePNG(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if img, err := png.Decode(bytes.NewReader(b)); err != nil || img.Bounds().Dx() < c.width() {
		t.Errorf("%v", err)
	}
	if err := c.writePNG(path); !os.IsExist(err) {
		t.Errorf("a file was written over: %v", err)
	}
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, b) {
		t.Error("a file was written over")
	}
}

func TestTooLong(t *testing.T) {
	if _, err := encode(strings.Repeat("x", 4000)); err == nil || !strings.Contains(err.Error(), "carry the text instead") {
		t.Errorf("%v", err)
	}
}
