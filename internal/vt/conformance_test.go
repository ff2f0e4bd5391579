package vt

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the conformance cases show; then read the difference")

// notation makes a Go string of one that may also hold \e.
var notation = strings.NewReplacer(`\\`, `\\`, `\e`, `\x1b`)

// A step is one thing that happens to a terminal: bytes, or a size.
type step struct {
	bytes      []byte
	cols, rows int // where bytes is nil
}

// A conformanceCase is one block of a file in testdata/conformance:
//
//	== name
//	# why
//	size 20x5        columns and rows; this is the default
//	tmux no: why     tmux shows something else, and why we don't
//	in "a\e[1mb"     a Go string, with \e for ESC; many lines are joined
//	times 9 "ab"     the same, so often
//	resize 10x5
//
// and then what describe returns.
type conformanceCase struct {
	file, name string
	head       []string // the lines until the steps' end
	cols, rows int
	tmux       string // why it is not compared with tmux
	steps      []step
	want       string
}

func (c *conformanceCase) parse(lines []string) error {
	c.cols, c.rows = 20, 5
	for i, line := range lines {
		word, rest, _ := strings.Cut(line, " ")
		var err error
		times := 1
		switch word {
		case "#", "":
		case "size":
			_, err = fmt.Sscanf(rest, "%dx%d", &c.cols, &c.rows)
		case "tmux":
			c.tmux = rest
		case "resize":
			var s step
			_, err = fmt.Sscanf(rest, "%dx%d", &s.cols, &s.rows)
			c.steps = append(c.steps, s)
		case "times":
			var n string
			if n, rest, _ = strings.Cut(rest, " "); err == nil {
				times, err = strconv.Atoi(n)
			}
			fallthrough
		case "in":
			var s string
			if err == nil {
				s, err = strconv.Unquote(notation.Replace(rest))
			}
			s = strings.Repeat(s, times)
			if n := len(c.steps); n > 0 && c.steps[n-1].bytes != nil {
				c.steps[n-1].bytes = append(c.steps[n-1].bytes, s...)
			} else {
				c.steps = append(c.steps, step{bytes: []byte(s)})
			}
		default:
			c.want = strings.Join(lines[i:], "\n") + "\n"
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %q: %q: %w", c.file, c.name, line, err)
		}
		c.head = append(c.head, line)
	}
	return nil
}

func conformanceCases(t testing.TB) []*conformanceCase {
	t.Helper()
	files, err := filepath.Glob("testdata/conformance/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conformance files: %v", err)
	}
	var cases []*conformanceCase
	seen := map[string]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split("\n"+string(raw), "\n== ")[1:] {
			lines := strings.Split(strings.TrimRight(block, "\n"), "\n")
			c := &conformanceCase{file: file, name: lines[0]}
			if err := c.parse(lines[1:]); err != nil {
				t.Fatal(err)
			}
			if seen[c.name] {
				t.Fatalf("%s: two cases are called %q", file, c.name)
			}
			seen[c.name] = true
			cases = append(cases, c)
		}
	}
	return cases
}

// run takes the steps with writes cut as cut says.
func (c *conformanceCase) run(cut func(b []byte, write func([]byte))) *Terminal {
	t := New(c.cols, c.rows, Options{Scrollback: 100})
	for _, s := range c.steps {
		if s.bytes == nil {
			t.Resize(s.cols, s.rows)
			continue
		}
		cut(s.bytes, func(b []byte) { t.Write(b) })
	}
	return t
}

func whole(b []byte, write func([]byte)) { write(b) }

func TestConformance(t *testing.T) {
	cases := conformanceCases(t)
	if *update {
		rewrite(t, cases)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			term := c.run(whole)
			check(t, term)
			want := describe(term)
			if want != c.want {
				t.Fatalf("%s: got\n%swant\n%s", c.file, want, c.want)
			}
			bytewise := c.run(func(b []byte, write func([]byte)) {
				for i := range b {
					write(b[i : i+1])
				}
			})
			if got := describe(bytewise); got != want {
				t.Fatalf("byte by byte it shows\n%swant\n%s", got, want)
			}
			longest := 0
			for _, s := range c.steps {
				longest = max(longest, len(s.bytes))
			}
			for at := 1; at < min(longest, 300); at++ {
				split := c.run(func(b []byte, write func([]byte)) {
					at := min(at, len(b))
					write(b[:at])
					write(b[at:])
				})
				if got := describe(split); got != want {
					t.Fatalf("split at %d it shows\n%swant\n%s", at, got, want)
				}
			}
		})
	}
	if len(cases) < 120 {
		t.Errorf("there are %d cases", len(cases))
	}
}

// rewrite writes the files again, with what is shown now.
func rewrite(t *testing.T, cases []*conformanceCase) {
	files := map[string]*strings.Builder{}
	for _, c := range cases {
		b := files[c.file]
		if b == nil {
			b = new(strings.Builder)
			files[c.file] = b
		} else {
			b.WriteString("\n")
		}
		c.want = describe(c.run(whole))
		head := strings.TrimRight(strings.Join(c.head, "\n"), "\n")
		fmt.Fprintf(b, "== %s\n%s\n%s", c.name, head, c.want)
	}
	for file, b := range files {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// describe returns all that a terminal shows, a line for each:
//
//	^text        of the scrollback; \ at the end where it goes on
//	|text        of the screen; rows that are empty at the end are left out
//	cursor x,y   and pending, hidden, its shape
//	style y x-x bold fg=1 …
//	title, mode, bell, reply
//
// It takes the bells and replies.
func describe(t *Terminal) string {
	var b strings.Builder
	describeText(&b, t, -t.ScrollbackLen(), 0, "^")
	describeText(&b, t, 0, t.rows, "|")
	c := t.Cursor()
	fmt.Fprintf(&b, "cursor %d,%d", c.X, c.Y)
	for _, w := range []struct {
		on   bool
		word string
	}{{t.pending, "pending"}, {!c.Visible, "hidden"}, {c.Shape == CursorUnderline, "underline"}, {c.Shape == CursorBar, "bar"}, {c.Blink, "blink"}} {
		if w.on {
			b.WriteString(" " + w.word)
		}
	}
	b.WriteString("\n")
	describeStyles(&b, t)
	if s := t.Title().String(); s != "" {
		fmt.Fprintf(&b, "title %s\n", s)
	}
	if m := t.Modes(); m != (Modes{}) {
		text := strings.NewReplacer("{", "", "}", "").Replace(fmt.Sprintf("%+v", m))
		var on []string
		for _, w := range strings.Fields(text) {
			if name, value, _ := strings.Cut(w, ":"); value == "true" {
				on = append(on, name)
			} else if value != "false" && value != "0" {
				on = append(on, w)
			}
		}
		fmt.Fprintf(&b, "mode %s\n", strings.Join(on, " "))
	}
	if n := t.Bells(); n > 0 {
		fmt.Fprintf(&b, "bell %d\n", n)
	}
	if r := t.Replies(); len(r) > 300 {
		fmt.Fprintf(&b, "reply of %d bytes\n", len(r))
	} else if len(r) > 0 {
		fmt.Fprintf(&b, "reply %q\n", strings.ReplaceAll(string(r), "\x1b", "␛"))
	}
	return b.String()
}

func describeText(b *strings.Builder, t *Terminal, from, to int, mark string) {
	empty := ""
	for y := from; y < to; y++ {
		text, wrapped := t.Text(nil, y)
		line := mark + string(text)
		if wrapped {
			line += `\`
		}
		if line == mark && mark == "|" {
			empty += line + "\n"
			continue
		}
		b.WriteString(empty + line + "\n")
		empty = ""
	}
}

func describeStyles(b *strings.Builder, t *Terminal) {
	for y := range t.rows {
		line := t.Line(nil, y)
		for x := 0; x < len(line); {
			end := x + 1
			for end < len(line) && line[end].Style == line[x].Style {
				end++
			}
			if s := line[x].Style; s != (Style{}) {
				fmt.Fprintf(b, "style %d %d-%d%s\n", y, x, end-1, describeStyle(t, s))
			}
			x = end
		}
	}
}

func describeStyle(t *Terminal, s Style) string {
	var b strings.Builder
	for i, name := range []string{"bold", "faint", "italic", "blink", "reverse", "conceal", "strike"} {
		if s.Attrs>>i&1 != 0 {
			b.WriteString(" " + name)
		}
	}
	if s.Underline != UnderlineNone {
		b.WriteString(" " + []string{"", "underline", "double", "curly", "dotted", "dashed"}[s.Underline])
	}
	for _, c := range []struct {
		name  string
		color Color
	}{{"fg", s.Fg}, {"bg", s.Bg}, {"line", s.UnderlineColor}} {
		if i, ok := c.color.Index(); ok {
			fmt.Fprintf(&b, " %s=%d", c.name, i)
		}
		if red, green, blue, ok := c.color.RGB(); ok {
			fmt.Fprintf(&b, " %s=#%02x%02x%02x", c.name, red, green, blue)
		}
	}
	if s.Link != 0 {
		fmt.Fprintf(&b, " link=%s", t.Link(s.Link))
	}
	return b.String()
}

// check fails where an invariant does not hold.
func check(t testing.TB, term *Terminal) {
	t.Helper()
	if term.x < 0 || term.x >= term.cols || term.y < 0 || term.y >= term.rows {
		t.Fatalf("the cursor is at %d,%d of %dx%d", term.x, term.y, term.cols, term.rows)
	}
	if term.top >= term.bottom && term.rows > 1 || term.bottom >= term.rows || term.left > term.right || term.right >= term.cols {
		t.Fatalf("margins %d-%d, %d-%d of %dx%d", term.top, term.bottom, term.left, term.right, term.cols, term.rows)
	}
	for _, s := range []*screen{term.main, term.alt} {
		if s == nil {
			continue
		}
		if len(s.lines) != term.rows {
			t.Fatalf("a screen has %d rows of %d", len(s.lines), term.rows)
		}
		for y := range s.lines {
			checkLine(t, term, s.row(y), y)
		}
	}
	if term.history.Len() > term.history.Limit() {
		t.Fatalf("%d lines of history, of %d", term.history.Len(), term.history.Limit())
	}
	for y := -term.ScrollbackLen(); y < term.rows; y++ {
		columns := 0
		for _, c := range term.Line(nil, y) {
			columns += c.Width
			if c.Width == 0 && c.Text != "" || c.Width > 0 && !harmlessText(c.Text) {
				t.Fatalf("row %d shows %q", y, c.Text)
			}
		}
		if columns > MaxSize || y >= 0 && columns > term.cols {
			t.Fatalf("row %d takes %d columns of %d", y, columns, term.cols)
		}
		term.Text(nil, y)
	}
}

func harmlessText(s string) bool {
	for _, r := range s {
		if !harmless(r) {
			return false
		}
	}
	return s != "" && len(s) <= maxCluster
}

func checkLine(t testing.TB, term *Terminal, l *line, y int) {
	t.Helper()
	if len(l.cells) != term.cols || l.end > term.cols {
		t.Fatalf("row %d: %d cells, end %d, of %d", y, len(l.cells), l.end, term.cols)
	}
	for x, c := range l.cells {
		switch {
		case x >= l.end && c != 0:
			t.Fatalf("row %d: a cell at %d after the end %d", y, x, l.end)
		case c.kind() == wide && (x+1 == term.cols || !l.cells[x+1].isTail()):
			t.Fatalf("row %d: half of a wide cell at %d", y, x)
		case c.isTail() && (x == 0 || l.cells[x-1].kind() != wide):
			t.Fatalf("row %d: a tail alone at %d", y, x)
		case c.isTail() && c&(contentMask|clusterFlag) != 0:
			t.Fatalf("row %d: a tail with content at %d", y, x)
		case c.styleID() >= len(term.styles.values):
			t.Fatalf("row %d: style %d", y, c.styleID())
		case c&clusterFlag != 0 && term.clusters.values[c.content()] == "":
			t.Fatalf("row %d: no cluster %d at %d", y, c.content(), x)
		}
	}
}
