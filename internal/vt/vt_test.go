package vt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/internal/vt/history"
)

// killers are streams that broke other emulators, or would take much.
var killers = map[string]string{
	"margins below":      "\x1b[1;60r\x1b[S",
	"margins crossed":    "\x1b[?69h\x1b[70;10s\x1b[20;3r\x1b[5S\x1b[5T",
	"huge counts":        "\x1b[99999999@\x1b[99999999L\x1b[99999999b\x1b[99999999;99999999H\x1b[99999999S\x1b[99999999X\x1b[99999999P\x1b[99999999M\x1b[99999999I\x1b[99999999Z",
	"one line":           strings.Repeat("x", 1<<16),
	"endless marks":      "a" + strings.Repeat("\u0301", 1<<12),
	"endless joiners":    strings.Repeat("👩\u200d", 1<<10),
	"endless flags":      strings.Repeat("🇵", 1<<10),
	"endless title":      "\x1b]0;" + strings.Repeat("x", 1<<16),
	"endless DCS":        "\x1bPq" + strings.Repeat("x", 1<<16),
	"endless parameters": "\x1b[" + strings.Repeat("9;", 1<<16) + "9m",
	"endless colons":     "\x1b[38" + strings.Repeat(":", 1<<16) + "m",
	"invalid UTF-8":      strings.Repeat("\xff\xc0\xed\xa0\x80\xf8\x88", 1<<12),
	"C1":                 "\u009b31mred\u009d52;c;ZXZpbA==\u009c\x9b31m\x9d0;x\x9c",
	"resets":             strings.Repeat("\x1bc\x1b[?1049h", 1<<12),
	"alignment":          strings.Repeat("\x1b#8", 1<<8),
	"wide at the edge":   "\x1b[?7l" + strings.Repeat("漢", 200) + "\x1b[?7h\x1b[?69h\x1b[5;6s" + strings.Repeat("漢", 50) + "\x1b[1;5H\x1b[P\x1b[@",
	"saved elsewhere":    "\x1b[99;99H\x1b7\x1b[?6h\x1b[5;6r\x1b8x",
	"colours of cells":   "\x1b[38:2:\x1b[38;2m\x1b[38;2;1m\x1b[48:5m\x1b[58:2::1m\x1b[38:2:::::m",
}

func TestKillers(t *testing.T) {
	for name, stream := range killers {
		t.Run(name, func(t *testing.T) {
			for _, size := range [][2]int{{80, 24}, {1, 1}, {2, 2}, {5, 1}, {1, 5}} {
				term := New(size[0], size[1], Options{Scrollback: 50})
				term.Write([]byte(stream))
				check(t, term)
				term.Resize(size[1], size[0])
				check(t, term)
				term.Write([]byte(stream))
				check(t, term)
			}
		})
	}
}

// TestOneLine prints 10 MB without an end of a line, and wraps them anew.
func TestOneLine(t *testing.T) {
	term := New(80, 24, Options{Scrollback: 1000})
	for range 160 {
		term.Write([]byte(killers["one line"]))
	}
	for _, cols := range []int{40, 200, 1, 80} {
		term.Resize(cols, 24)
		check(t, term)
	}
	if c := term.Cell(3, 3); c.Text != "x" {
		t.Errorf("it shows %q", c.Text)
	}
}

// TestResizeStorm resizes to random sizes while random pieces are printed.
func TestResizeStorm(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{
		"some words ", "漢字", "e\u0301", "\r\n", "\x1b[31m", "\x1b[m", "\x1b[?1049h", "\x1b[?1049l", "\x1b7", "\x1b8",
		"\x1b[2;9r", "\x1b[?69h\x1b[3;9s", "\x1b[?69l", "\x1b[5L", "\x1b[3M", "\x1b[4P", "\x1b[4@", "\x1b[2J", "\x1b[H", "\x1b[9;9H", "\x1bM", "\t", "👩\u200d💻", "\x1b[44m\x1b[K",
	}
	term := New(80, 24, Options{Scrollback: 200})
	for range 1000 {
		for range rng.IntN(20) {
			term.Write([]byte(pieces[rng.IntN(len(pieces))]))
		}
		term.Resize(rng.IntN(60)-1, rng.IntN(30)-1)
		check(t, term)
	}
}

func FuzzWrite(f *testing.F) {
	for _, stream := range killers {
		f.Add([]byte(stream[:min(len(stream), 4096)]), uint8(80), uint8(24), uint16(7))
	}
	for _, c := range conformanceCases(f) {
		for _, s := range c.steps {
			f.Add(s.bytes[:min(len(s.bytes), 4096)], uint8(c.cols), uint8(c.rows), uint16(3))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, cols, rows uint8, cut uint16) {
		at := min(int(cut), len(stream))
		whole := New(80, 24, Options{Scrollback: 30})
		whole.Write(stream)
		check(t, whole)
		split := New(80, 24, Options{Scrollback: 30})
		split.Write(stream[:at])
		split.Write(stream[at:])
		if a, b := describe(whole), describe(split); a != b {
			t.Fatalf("whole it shows\n%sand cut at %d\n%s", a, at, b)
		}
		resized := New(int(cols), int(rows), Options{Scrollback: 30})
		resized.Write(stream[:at])
		resized.Resize(int(rows), int(cols))
		check(t, resized)
		resized.Write(stream[at:])
		check(t, resized)
		resized.Resize(80, 24)
		check(t, resized)
		resized.Damage(func(int) {})
		if len(resized.Replies()) > maxReplies {
			t.Fatal("too many replies")
		}
	})
}

// TestPackIsIdentity checks that a row is the same after it was packed.
func TestPackIsIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := New(rapid.IntRange(2, 40).Draw(t, "cols"), 2, Options{Scrollback: 10})
		for range rapid.IntRange(1, 12).Draw(t, "pieces") {
			term.Write([]byte(rapid.SampledFrom([]string{
				"word", " ", "漢", "e\u0301", "🐢", "❤\ufe0f", "\x1b[1;31m", "\x1b[48;2;1;2;3m", "\x1b[4:3;58:5:9m", "\x1b[m", "\x1b[3C",
				"\x1b]8;;http://x.example\a", "\x1b]8;;\a", "\x1b[K", "ż", "\x1b[38;5;200m",
			}).Draw(t, "piece")))
		}
		for y := range 2 {
			l := term.shown.row(y)
			want, text, wrapped := term.Line(nil, y), string(first(term.Text(nil, y))), l.wrapped
			term.push(l)
			if wrapped && l.cells[term.cols-1].isSpacer() {
				want = want[:term.cols-1]
			}
			if l.wrapped { // all of it counts then
				for len(want) < term.cols && !l.cells[len(want)].isSpacer() {
					want = append(want, Cell{Text: " ", Width: 1})
				}
			}
			if got := term.Line(nil, -1); !slices.Equal(got, want) {
				t.Fatalf("packed\n%v\nunpacked\n%v", want, got)
			}
			if got, w := term.Text(nil, -1); string(got) != text || w != wrapped {
				t.Fatalf("packed %q %v, unpacked %q %v", text, wrapped, got, w)
			}
		}
	})
}

func first(b []byte, _ bool) []byte { return b }

// TestReflowKeepsText checks that a resize there and back loses nothing.
func TestReflowKeepsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := New(20, 5, Options{Scrollback: 1000})
		lines := rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune("ab 漢ż🐢")), 0, 60, -1), 1, 20).Draw(t, "lines")
		term.Write([]byte(strings.Join(lines, "\r\n") + "|"))
		want := allText(term)
		x, y := term.Cursor().X, term.Cursor().Y
		for range 3 {
			term.Resize(rapid.IntRange(2, 50).Draw(t, "cols"), rapid.IntRange(1, 12).Draw(t, "rows"))
			if got := allText(term); got != want {
				t.Fatalf("it was\n%q\nand is\n%q", want, got)
			}
		}
		term.Resize(20, 5)
		if c := term.Cursor(); term.ScrollbackLen() > 0 && (c.X != x || c.Y != y) {
			t.Fatalf("the cursor was at %d,%d and is at %d,%d", x, y, c.X, c.Y)
		}
	})
}

// allText is the scrollback and the screen, with wrapped lines joined.
func allText(t *Terminal) string {
	var b []byte
	for y := -t.ScrollbackLen(); y < t.rows; y++ {
		var wrapped bool
		if b, wrapped = t.Text(b, y); !wrapped {
			b = append(bytes.TrimRight(b, " "), '\n')
		}
	}
	return strings.TrimRight(string(b), "\n")
}

func TestStylesAndClustersAreUsedAgain(t *testing.T) {
	term := New(80, 24, Options{Scrollback: 10})
	for i := range 100_000 {
		fmt.Fprintf(term, "\x1b[38;2;%d;%d;%dmx%c\u0301", i>>16, i>>8&255, i&255, 'a'+rune(i%26))
	}
	for i := range 20_000 {
		fmt.Fprintf(term, "%c\u0301", rune(0x4e00+i%0x5000))
	}
	check(t, term)
	if n := len(term.styles.values); n > 2*sweepMinimum {
		t.Errorf("%d styles are kept", n)
	}
	if n := len(term.clusters.values); n > 2*sweepMinimum {
		t.Errorf("%d clusters are kept", n)
	}
	term.Write([]byte("\x1b[H\x1b[2J\x1b[38;2;1;2;3mx\x1b[me\u0301"))
	if c := term.Cell(0, 0); c.Style.Fg != RGB(1, 2, 3) || c.Text != "x" {
		t.Errorf("a cell is %+v", c)
	}
	if c := term.Cell(1, 0); c.Text != "e\u0301" {
		t.Errorf("a cell is %+v", c)
	}
}

// TestMoreStylesThanNumbers fills a screen with more styles than there can be.
func TestMoreStylesThanNumbers(t *testing.T) {
	term := New(500, 200, Options{})
	var b bytes.Buffer
	for i := range 500 * 200 {
		fmt.Fprintf(&b, "\x1b[38;2;%d;%d;%dmx", i>>16, i>>8&255, i&255)
	}
	term.Write(b.Bytes())
	check(t, term)
	if c := term.Cell(0, 0); c.Style.Fg != RGB(0, 0, 0) {
		t.Errorf("the first cell is %+v", c)
	}
	if c := term.Cell(499, 199); c.Text != "x" || c.Style != (Style{}) {
		t.Errorf("the last cell is %+v", c)
	}
	if n := len(term.styles.values); n > maxStyles {
		t.Errorf("there are %d styles", n)
	}
}

func TestScrollbackIsBounded(t *testing.T) {
	for name, line := range map[string]string{
		"text":  strings.Repeat("the quick brown fox jumps over the lazy dog ", 4) + "\r\n",
		"a ps":  strings.Repeat("\x1b[32mroot\x1b[m 4711 \x1b[1;34m/usr/bin/name\x1b[m --flag ", 5) + "\r\n",
		"cells": strings.Repeat("\x1b[38;2;1;2;3mx\x1b[48;2;3;4;5my", 100) + "\r\n",
		"wide":  strings.Repeat("終", 100) + "\r\n",
		"empty": "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			const lines = 10_000
			before := heap()
			term := New(200, 50, Options{Scrollback: lines})
			screen := heap() - before
			chunk := []byte(strings.Repeat(line, 100))
			for range lines/100 + 10 {
				term.Write(chunk)
			}
			used := heap() - before - screen
			if n := term.ScrollbackLen(); n > lines || name != "cells" && n < lines {
				t.Errorf("%d lines are kept", n)
			}
			if used > lines*history.Budget+100<<10 {
				t.Errorf("they take %d bytes", used)
			}
			t.Logf("%d lines take %d bytes", term.ScrollbackLen(), used)
			runtime.KeepAlive(term)
		})
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestNoScrollback(t *testing.T) {
	term := New(5, 2, Options{})
	term.Write([]byte("a\r\nb\r\nc\r\nabcdefg"))
	term.Resize(3, 4)
	check(t, term)
	if n := term.ScrollbackLen(); n != 0 {
		t.Errorf("%d lines are kept", n)
	}
	if got := allText(term); got != "abcdefg" {
		t.Errorf("it shows %q", got)
	}
}

func TestDamage(t *testing.T) {
	term := New(10, 4, Options{})
	take := func() string {
		var rows []int
		term.Damage(func(y int) { rows = append(rows, y) })
		return fmt.Sprint(rows)
	}
	for _, c := range []struct{ in, want string }{
		{"", "[0 1 2 3]"},
		{"", "[]"},
		{"ab", "[0]"},
		{"\x1b[3Hx\x1b[1Hy", "[0 2]"},
		{"\x1b[31m\x1b[4H", "[]"},
		{"\x1b[2;3r\x1b[3H\n", "[1 2]"},
		{"\x1b[r\x1b[4H\n", "[0 1 2 3]"},
		{"\x1b[2H\x1b[K", "[1]"},
		{"\x1b[?1049h", "[0 1 2 3]"},
		{"e\u0301", "[1]"},
		{"\x1b[?5h", "[0 1 2 3]"},
	} {
		term.Write([]byte(c.in))
		if got := take(); got != c.want {
			t.Errorf("after %q rows %s changed, not %s", c.in, got, c.want)
		}
	}
}

func TestLinksAreForgotten(t *testing.T) {
	term := New(10, 2, Options{})
	term.Write([]byte("\x1b]8;;http://first.example\aa"))
	first := term.Cell(0, 0).Style.Link
	if got := term.Link(first); got != "http://first.example" {
		t.Fatalf("the link is %q", got)
	}
	for i := range maxLinks {
		fmt.Fprintf(term, "\x1b]8;;http://%d.example\a", i)
	}
	if got := term.Link(first); got != "" {
		t.Errorf("the first is still %q", got)
	}
	if got := term.Link(first + maxLinks); got != fmt.Sprintf("http://%d.example", maxLinks-1) {
		t.Errorf("the last is %q", got)
	}
	if term.Link(0) != "" || term.Link(first+maxLinks+1) != "" {
		t.Error("there are links that were never made")
	}
	term.Write([]byte("\x1b]8;;http://" + strings.Repeat("x", maxLink) + "\ab"))
	if c := term.Cell(1, 0); c.Style.Link != 0 {
		t.Error("a link that is too long was taken")
	}
}

func TestRuneText(t *testing.T) {
	for r := rune(0); r <= 0x10ffff; r++ {
		if got := runeText(r); got != string(r) {
			t.Fatalf("U+%04X is %q", r, got)
		}
	}
}

// TestPlainRunesAreWhatTheLibrarySays checks the ranges of plainWidth against
// the segmentation and widths that others go by.
func TestPlainRunesAreWhatTheLibrarySays(t *testing.T) {
	term := New(10, 1, Options{})
	for r := rune(0); r <= 0x10ffff; r++ {
		w := plainWidth(r)
		if w == 0 {
			continue
		}
		for _, before := range []string{"", "a", "漢", "한", "─"} {
			term.Write([]byte("\r\x1b[K" + before))
			x := term.x
			term.printCluster(r)
			if term.x != x+w {
				t.Fatalf("U+%04X after %q takes %d columns, not %d", r, before, term.x-x, w)
			}
		}
	}
}

func TestReadingTakesNoMemory(t *testing.T) {
	term := New(80, 24, Options{Scrollback: 100})
	for range 50 {
		term.Write([]byte("text \x1b[31mżółw 漢字\x1b[m ─┐ and more\r\n"))
	}
	var cells []Cell
	var text []byte
	read := func() {
		for y := -term.ScrollbackLen(); y < 24; y++ {
			cells = term.Line(cells[:0], y)
			text, _ = term.Text(text[:0], y)
		}
		term.Cell(3, 3)
		term.Cursor()
		term.Modes()
		term.Replies()
	}
	read()
	if n := testing.AllocsPerRun(10, read); n > 0 {
		t.Errorf("reading takes %v allocations", n)
	}
}

func TestSizesAreBounded(t *testing.T) {
	for _, size := range [][2]int{{0, 0}, {-1, 5}, {MaxSize + 1, 1}, {1, 1 << 30}} {
		term := New(size[0], size[1], Options{Scrollback: -1})
		term.Write([]byte("x漢\r\n\x1b[H"))
		check(t, term)
		term.Resize(size[1], size[0])
		check(t, term)
		cols, rows := term.Size()
		if cols < 1 || cols > MaxSize || rows < 1 || rows > MaxSize {
			t.Errorf("%v became %d by %d", size, cols, rows)
		}
	}
	if c := New(3, 3, Options{}).Cell(-1, 9); c != (Cell{Text: " ", Width: 1}) {
		t.Errorf("a cell beyond is %+v", c)
	}
}

func TestNotes(t *testing.T) {
	term := New(20, 5, Options{})
	fmt.Fprintf(term, "\x1b]9;a%s\x07\x1b]9;4;1;50\x07\x1b]9;\x07\x1b]777;notify;title;b\x1b\\\x1b]777;other;x\x07\x1b]9;12 done\x07", strings.Repeat("é", 300))
	fmt.Fprint(term, strings.Repeat("\x1b]9;more\x07", 100))
	notes := term.Notes()
	if len(notes) != maxNotes || len(notes[0].String()) > maxTitle || notes[1].String() != "title b" || notes[2].String() != "12 done" {
		t.Errorf("%d notes: %q", len(notes), notes)
	}
	if term.Notes() != nil {
		t.Error("told twice")
	}
}

// TestKeyboard follows the stack of flags: each screen has its own, it is bounded, and
// who was not offered the protocol is not told of it.
func TestKeyboard(t *testing.T) {
	term := New(20, 5, Options{})
	fmt.Fprint(term, "\x1b[?u\x1b[>5u")
	if term.Replies() != nil || term.Modes().Keyboard != 0 {
		t.Error("a program learned of what was not offered")
	}
	term.OfferKeyboard(true)
	for _, tc := range []struct {
		write string
		want  int
	}{
		{"\x1b[>5u", 5}, {"\x1b[=2;2u", 7}, {"\x1b[=1;3u", 6}, {"\x1b[=255u", 31}, {"\x1b[>1u", 1}, {"\x1b[?1049h", 0}, {"\x1b[=8u", 8},
		{"\x1b[?1049l", 1}, {"\x1b[<u", 31}, {"\x1b[<9u", 0}, {"\x1b[<u", 0}, {strings.Repeat("\x1b[>3u", 1000), 3}, {"\x1b[<15u", 3}, {"\x1b[<u", 0}, {"\x1b[>1u\x1bc", 0},
	} {
		fmt.Fprint(term, tc.write)
		if got := term.Modes().Keyboard; got != tc.want {
			t.Errorf("after %.20q: %d, want %d", tc.write, got, tc.want)
		}
	}
	fmt.Fprint(term, "\x1b[>9u")
	term.Resize(10, 4)
	fmt.Fprint(term, "\x1b[?u")
	if got := string(term.Replies()); got != "\x1b[?9u" {
		t.Errorf("told %q", got)
	}
}
