package history

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func (h *History) add(text string, wrapped bool) { h.Add([]byte(text), len(text), wrapped) }

// text is the lines that are kept, each with \ where it goes on.
func (h *History) text() string {
	var lines []string
	for n := h.First(); n < h.End(); n++ {
		r := h.Read(n)
		line := ""
		for r.Next() {
			if r.Text == nil {
				line += "_"
			}
			line += string(r.Text)
		}
		if r.Wrapped {
			line += `\`
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " ")
}

func TestLinesAreDropped(t *testing.T) {
	var h History
	h.add("none", false)
	if h.Len() != 0 || h.First() != 1 || h.End() != 1 {
		t.Fatalf("%d lines from %d to %d", h.Len(), h.First(), h.End())
	}
	h.SetLimit(3)
	for i := range 5 {
		h.add(fmt.Sprint(i), false)
	}
	if got := h.text(); got != "2 3 4" || h.First() != 3 || h.End() != 6 {
		t.Errorf("%q from %d to %d", got, h.First(), h.End())
	}
	h.SetLimit(2)
	if got := h.text(); got != "3 4" {
		t.Errorf("%q", got)
	}
	h.Truncate(5)
	if got := h.text(); got != "3" || h.End() != 5 {
		t.Errorf("%q to %d", got, h.End())
	}
	h.Clear()
	if h.Len() != 0 || h.First() != 5 || h.Limit() != 2 {
		t.Errorf("%d lines from %d", h.Len(), h.First())
	}
	h.SetLimit(-1)
	if h.Limit() != 0 {
		t.Errorf("the limit is %d", h.Limit())
	}
}

// TestQueue compares with a slice of strings, over many blocks.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h History
		limit := rapid.IntRange(1, 5000).Draw(t, "limit")
		h.SetLimit(limit)
		var want []string
		number := 0
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			for range rapid.IntRange(0, 1500).Draw(t, "more") {
				line := fmt.Sprint("line ", number)
				number++
				h.add(line, false)
				want = append(want, line)
			}
			want = want[max(0, len(want)-limit):]
			if cut := rapid.IntRange(0, 20).Draw(t, "cut"); cut < len(want) {
				h.Truncate(h.End() - cut)
				want = want[:len(want)-cut]
			}
			if h.Len() != len(want) || h.text() != strings.Join(want, " ") {
				t.Fatalf("%d lines are kept, not %d", h.Len(), len(want))
			}
		}
	})
}

func TestBytesAreBounded(t *testing.T) {
	var h History
	h.SetLimit(1000)
	for range 5000 {
		h.add(strings.Repeat("x", 2000), false)
	}
	if h.size > 1000*Budget || h.Len() < 200 {
		t.Errorf("%d lines take %d bytes", h.Len(), h.size)
	}
}

func TestReflow(t *testing.T) {
	for _, c := range []struct {
		lines   string // separated by spaces, with \ where they go on
		columns int
		want    string
		at      Place
		to      Place
	}{
		{"abc def", 5, "abc def", Place{1, 2}, Place{1, 2}},
		{"abcdef gh", 3, `abc\ def gh`, Place{0, 4}, Place{1, 1}},
		{`abc\ def gh`, 10, "abcdef gh", Place{1, 1}, Place{0, 4}},
		{`abc\ def gh`, 4, `abcd\ ef gh`, Place{2, 0}, Place{2, 0}},
		{`abc\ de\ f`, 2, `ab\ cd\ ef`, Place{2, 0}, Place{2, 1}},
		{"abcdef", 3, `abc\ def`, Place{0, 8}, Place{1, 3}},
		{"ab", 1, `a\ b`, Place{0, 2}, Place{1, 1}},
		{`abc\`, 2, `ab\ c\`, Place{0, 3}, Place{1, 1}},
		{`a b\ c d`, 9, "a bc d", Place{3, 0}, Place{2, 0}},
	} {
		var h History
		h.SetLimit(10)
		for _, line := range strings.Fields(c.lines) {
			text, wrapped := strings.CutSuffix(line, `\`)
			h.add(text, wrapped)
		}
		at := c.at
		h.Reflow(c.columns, &at)
		if got := h.text(); got != c.want || at != c.to {
			t.Errorf("%q in %d columns is %q, %v went to %v, not %v", c.lines, c.columns, got, c.at, at, c.to)
		}
	}
}

// TestReflowOfCells has every kind of cell.
func TestReflowOfCells(t *testing.T) {
	var data []byte
	data = append(data, 'a')
	data = AppendRune(data, 'ż', 1)
	data = AppendStyle(data, []byte("red"))
	data = AppendRune(data, '漢', 2)
	data = AppendCluster(data, "e\u0301", 1)
	data = AppendCluster(data, []byte("👩\u200d💻"), 2)
	data = AppendStyle(data, nil)
	data = AppendBlanks(data, 3)
	data = append(data, 'z')
	show := func(h *History) (lines []string) {
		for n := h.First(); n < h.End(); n++ {
			line := ""
			for r := h.Read(n); r.Next(); {
				line += fmt.Sprintf("[%s %d %s]", r.Text, r.Width, r.Style)
			}
			lines = append(lines, line)
		}
		return lines
	}
	var h History
	h.SetLimit(20)
	h.Add(data, 11, false)
	want := fmt.Sprint(show(&h))
	h.Reflow(3)
	if got := fmt.Sprint(show(&h)); got != "[[a 1 ][ż 1 ] [漢 2 red][e\u0301 1 red] [👩\u200d💻 2 red][ 1 ] [ 1 ][ 1 ][z 1 ]]" {
		t.Errorf("in three columns it is %s", got)
	}
	h.Reflow(11)
	if got := fmt.Sprint(show(&h)); got != want {
		t.Errorf("it was %s and is %s", want, got)
	}
	h.Reflow(1)
	if n := h.Len(); n != 9 {
		t.Errorf("in one column it takes %d lines", n)
	}
	h.EndWrap()
}
