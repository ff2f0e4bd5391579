package palette

import (
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

func entries(names ...string) (out []Entry) {
	for _, n := range names {
		out = append(out, Entry{Name: []sanitize.Text{sanitize.Clean(n)}, Do: n})
	}
	return out
}

func press(v *View, code rune) any {
	return v.Key(tea.KeyPressMsg{Code: code}, time.Time{}).Do
}

func TestWhatIsFoundFirst(t *testing.T) {
	all := entries("next tab", "quit", "the queue of approvals", "approve it", "close the tab", "tabulate")
	for _, tc := range []struct {
		typed string
		want  any // what enter runs
		rows  int
	}{
		{"", "next tab", 6},
		{"tab", "next tab", 3},
		{"TAB close", "close the tab", 1}, // in any order, in any case
		{"appr", "the queue of approvals", 2},
		{"approve", "approve it", 1},
		{"clstb", "close the tab", 1}, // letters in this order, where no word has them
		{"qut", "quit", 1},
		{"zzz", nil, 0},
		{"\x1b[2J", nil, 0},
		{"   ", "next tab", 6},
	} {
		v := New(all)
		v.Paste(tc.typed)
		if got := press(v, tea.KeyEnter); got != tc.want || len(v.rows) != tc.rows {
			t.Errorf("%q runs %v of %d, want %v of %d", tc.typed, got, len(v.rows), tc.want, tc.rows)
		}
	}
}

func TestTheCursorStaysInTheList(t *testing.T) {
	v := New(entries("a", "b", "c", "d", "e", "f", "g", "h"))
	c := canvas.New(uv.NewScreenBuffer(40, 6), canvas.NewStyles(true)) // two entries fit
	for _, code := range []rune{tea.KeyUp, tea.KeyPgUp, tea.KeyDown, tea.KeyPgDown, tea.KeyPgDown, tea.KeyPgDown, tea.KeyPgDown, tea.KeyDown} {
		press(v, code)
		v.Draw(c, uv.Rect(0, 0, 40, 6), time.Time{})
		if v.cursor < v.top || v.cursor >= v.top+v.height || v.cursor >= len(v.rows) {
			t.Fatalf("cursor %d is not on the screen: from %d, %d rows", v.cursor, v.top, v.height)
		}
	}
	if got := press(v, tea.KeyEnter); got != "h" {
		t.Errorf("the last is %v", got)
	}
	// What is typed begins at the top again.
	v.Paste("c")
	if got := press(v, tea.KeyEnter); got != "c" {
		t.Errorf("c runs %v", got)
	}
}

func TestNothingToChoose(t *testing.T) {
	v := New(nil)
	for _, code := range []rune{tea.KeyDown, tea.KeyUp, tea.KeyEnter} {
		if out := v.Key(tea.KeyPressMsg{Code: code}, time.Time{}); out.Do != nil || out.Close {
			t.Errorf("%c does %+v", code, out)
		}
	}
	if !v.Key(tea.KeyPressMsg{Code: tea.KeyEscape}, time.Time{}).Close {
		t.Error("esc does not close it")
	}
}
