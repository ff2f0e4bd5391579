package copymode

import (
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/pane"
)

var shown = []pane.Line{
	{Text: "$ cat notes"}, {Text: "the first part, ", Wrapped: true}, {Text: "and its rest"}, {Text: "漢字 a+b"}, {}, {Text: "$ CAT more"},
}

func press(v *View, keys ...string) (out dialog.Outcome) {
	for _, k := range keys {
		msg := tea.KeyPressMsg{Code: []rune(k)[0], Text: k}
		switch k {
		case "esc":
			msg = tea.KeyPressMsg{Code: tea.KeyEscape}
		case "enter":
			msg = tea.KeyPressMsg{Code: tea.KeyEnter}
		}
		out = v.Key(msg, time.Time{})
	}
	return out
}

func typed(s string) (keys []string) {
	for _, r := range s {
		keys = append(keys, string(r))
	}
	return keys
}

func TestSelects(t *testing.T) {
	for _, tc := range []struct{ keys, want string }{
		{"gvly", "$ "},
		{"gjvjj$y", "the first part, and its rest\n漢字 a+b"},
		{"gjjj$vhhy", "a+b"},
		{"gjjjvy", "漢"},
		{"gVjy", "$ cat notes\nthe first p"},
		{"gV$y", "$ cat notes"},
		{"gjjjjvjy", "\n$"},
	} {
		v := New(shown, 0, 5)
		out := press(v, typed(tc.keys)...)
		got, _ := out.Do.(DoCopy)
		if !out.Close || got.Text != tc.want {
			t.Errorf("%s copies %q, want %q", tc.keys, got.Text, tc.want)
		}
	}
}

func TestNothingSelected(t *testing.T) {
	v := New(shown, 0, 99)
	if out := press(v, "y"); out.Close || out.Do != nil {
		t.Errorf("%+v", out)
	}
	if out := press(v, "v", "esc"); out.Close {
		t.Error("esc drops the selection first")
	}
	if out := press(v, "esc"); !out.Close || out.Do != nil {
		t.Errorf("%+v", out)
	}
	if out := press(New(nil, 0, 0), "v", "y", "j", "G", "h", "$", "n"); out.Do != nil {
		t.Errorf("%+v", out)
	}
}

func TestTooMuch(t *testing.T) {
	v := New([]pane.Line{{Text: strings.Repeat("x", MaxCopy+1)}}, 0, 0)
	if out := press(v, "V", "y"); out.Do != nil || !strings.Contains(v.said, "select less") {
		t.Errorf("%+v, %q", out, v.said)
	}
}

func TestControlsAreLeftOut(t *testing.T) {
	v := New([]pane.Line{{Text: "a\x1b]52;c;AA\x07b\u009b"}}, 0, 0)
	if got := press(v, "V", "y").Do.(DoCopy).Text; got != "a]52;c;AAb" {
		t.Errorf("%q", got)
	}
}

func TestSearch(t *testing.T) {
	for _, tc := range []struct {
		pattern, keys string
		want          place
	}{
		{"cat", "", place{0, 2}}, // from the top of line 5, back
		{"cat", "n", place{5, 2}},
		{"CAT", "", place{5, 2}},
		{"cat", "N", place{5, 2}},
		{"a+b", "", place{0, 0}}, // a pattern, which is not found
		{`a\+b`, "", place{3, 3}},
		{"(", "", place{0, 0}},
		{"字", "", place{3, 1}},
		{"f.*t p", "", place{1, 4}},
		{"zzz", "", place{0, 0}},
	} {
		v := New(shown, 0, 5)
		press(v, "G")
		if tc.want == (place{}) {
			press(v, "g")
		}
		press(v, append(append([]string{"/"}, typed(tc.pattern)...), "enter")...)
		press(v, typed(tc.keys)...)
		if v.cursor != tc.want {
			t.Errorf("/%s %s is at %v, want %v (%s)", tc.pattern, tc.keys, v.cursor, tc.want, v.said)
		}
	}
}

func TestDraws(t *testing.T) {
	for _, size := range [][2]int{{40, 12}, {80, 24}, {5, 2}, {1, 1}} {
		scr := uv.NewScreenBuffer(size[0], size[1])
		v := New(shown, 0, 5)
		press(v, "G", "v", "k")
		press(v, "/", "a", "enter")
		cursor := v.Draw(canvas.New(scr, canvas.NewStyles(true)), scr.Bounds(), time.Time{})
		if cursor == nil || cursor.X >= size[0] || cursor.Y >= size[1] {
			t.Errorf("cursor %v at %v", cursor, size)
		}
		if size[0] >= 40 && !strings.Contains(scr.String(), "漢字 a+b") {
			t.Errorf("drawn:\n%s", scr.String())
		}
	}
}
