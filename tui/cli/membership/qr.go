package membership

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"rsc.io/qr"
)

// quiet is the white border that readers of QR codes want, in modules (ISO/IEC 18004).
const quiet = 4

// A code is a text as a QR code.
type code struct{ *qr.Code }

// encode makes the smallest code of a text: it is shown on a screen, whole, so little of it
// has to be mended.
func encode(text string) (code, error) {
	c, err := qr.Encode(text, qr.L)
	if err != nil {
		return code{}, fmt.Errorf("the profile does not fit into a QR code (%d characters); carry the text instead: %w", len(text), err)
	}
	return code{c}, nil
}

// width is how many columns a terminal needs.
func (c code) width() int { return c.Size + 2*quiet }

// draw gives the code for a terminal, two modules in each cell, one above the other. With
// colours it is black on white whatever the terminal's are; without, light cells are drawn,
// which is right on a dark terminal.
func (c code) draw(colours bool) string {
	white := func(x, y int) bool { return !c.Black(x, y) } // beyond its edge nothing is black
	cells := map[[2]bool]string{{true, true}: "█", {true, false}: "▀", {false, true}: "▄", {false, false}: " "}
	var b strings.Builder
	for y := -quiet; y < c.Size+quiet; y += 2 {
		if colours {
			b.WriteString("\x1b[97;40m")
		}
		for x := -quiet; x < c.Size+quiet; x++ {
			b.WriteString(cells[[2]bool{white(x, y), y+1 >= c.Size+quiet || white(x, y+1)}])
		}
		if colours {
			b.WriteString("\x1b[0m")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// writePNG writes the code as an image, into a file that is not there yet.
func (c code) writePNG(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(c.PNG())
	return errors.Join(err, f.Close())
}
