package main

import (
	"image"
	"image/color"
	"strings"
)

// arms are the characters that draw lines, each with the sides of its cell that its lines
// reach: a font's own would leave gaps between cells.
var arms = map[rune]string{
	'─': "lr", '│': "ud", '┌': "rd", '┐': "ld", '└': "ru", '┘': "lu", '├': "udr", '┤': "udl", '┬': "lrd", '┴': "lru", '┼': "lrud",
	'╭': "rd", '╮': "ld", '╰': "ru", '╯': "lu",
}

// strokes are the marks that the font lacks, as lines between points of a cell.
var strokes = map[rune][][4]int{
	'✓': {{1, 10, 4, 14}, {4, 14, 9, 5}},
	'✗': {{1, 5, 8, 14}, {8, 5, 1, 14}},
	'⟨': {{6, 3, 3, 10}, {3, 10, 6, 17}},
	'⟩': {{3, 3, 6, 10}, {6, 10, 3, 17}},
}

// shape draws what is drawn better without a font: lines, blocks, dots and marks. It says
// whether r was one.
func (c canvas) shape(x, y int, r rune, ink color.RGBA) bool {
	const midX, midY = cellW / 2, cellH / 2
	switch {
	case arms[r] != "":
		for _, side := range arms[r] {
			at := map[rune]image.Rectangle{
				'l': image.Rect(0, midY, midX+1, midY+1), 'r': image.Rect(midX, midY, cellW, midY+1),
				'u': image.Rect(midX, 0, midX+1, midY+1), 'd': image.Rect(midX, midY, midX+1, cellH),
			}[side]
			c.fill(at.Add(image.Pt(x, y)), ink)
		}
	case strokes[r] != nil:
		for _, s := range strokes[r] {
			c.line(x+s[0], y+s[1], x+s[2], y+s[3], ink)
		}
	case r == '━': // the player's bar
		c.fill(image.Rect(x, y+midY-1, x+cellW, y+midY+2), ink)
	case r == '‖': // the player's pause
		c.fill(image.Rect(x+midX-3, y+midY-5, x+midX-1, y+midY+5), ink)
		c.fill(image.Rect(x+midX+1, y+midY-5, x+midX+3, y+midY+5), ink)
	case r == '◆':
		for i := range 5 {
			c.fill(image.Rect(x+midX-i, y+midY-5+i, x+midX+i+1, y+midY-4+i), ink)
			c.fill(image.Rect(x+midX-i, y+midY+4-i, x+midX+i+1, y+midY+5-i), ink)
		}
	case r == '●':
		c.disc(x+midX, y+midY, 4, 0, ink)
	case r == '○':
		c.disc(x+midX, y+midY, 4, 3, ink)
	case r == '·':
		c.fill(image.Rect(x+midX-1, y+midY-1, x+midX+1, y+midY+1), ink)
	case strings.ContainsRune("▸▾▶", r):
		for i := range 5 {
			at := image.Rect(x+3+i, y+midY-4+i, x+4+i, y+midY+5-i)
			if r == '▾' {
				at = image.Rect(x+1+i, y+midY-2+i, x+10-i, y+midY-1+i)
			}
			c.fill(at, ink)
		}
	case r >= '▁' && r <= '█': // from an eighth to the whole
		c.fill(image.Rect(x, y+cellH-cellH*int(r-'▁'+1)/8, x+cellW, y+cellH), ink)
	case r == '░' || r == '▒' || r == '▓':
		for j := range cellH {
			for i := range cellW {
				c.dot(x+i, y+j, 2*int(r-'░'+1), ink)
			}
		}
	default:
		return false
	}
	return true
}

// disc draws a disc, or where hole is not 0 a ring, about a pixel.
func (c canvas) disc(x, y, radius, hole int, ink color.RGBA) {
	const fine = 4 // points of a pixel to each side
	for j := -radius - 1; j <= radius; j++ {
		for i := -radius - 1; i <= radius; i++ {
			n := 0
			for p := range fine * fine {
				dx, dy := i*2*fine+2*(p%fine)+1, j*2*fine+2*(p/fine)+1
				if d := dx*dx + dy*dy; d <= 4*fine*fine*radius*radius && d >= 4*fine*fine*hole*hole {
					n++
				}
			}
			c.dot(x+i, y+j, n*8/(fine*fine), ink)
		}
	}
}

// line draws a line of two pixels.
func (c canvas) line(x, y, toX, toY int, ink color.RGBA) {
	steps := 4 * max(abs(toX-x), abs(toY-y))
	for i := range steps + 1 {
		px, py := x+(toX-x)*i/steps, y+(toY-y)*i/steps
		c.fill(image.Rect(px, py, px+2, py+2), ink)
	}
}

func abs(n int) int { return max(n, -n) }
