package sessions

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/vt"
)

// A leaver can be left.
type leaver struct {
	backend.Terminal
	times int
}

func (l *leaver) Detach() (backend.SessionID, error) {
	l.times++
	return "5e5510", nil
}

// What is typed arrives as it is, but for ~ & and ~ ~ at the beginning of a line, however
// it is cut into reads.
func TestDoor(t *testing.T) {
	for typed, want := range map[string]struct {
		out  string
		left bool
	}{
		"ls\r":           {"ls\r", false},
		"~&":             {"", true},
		"ls\r~&rest":     {"ls\r", true},
		"a~&\r":          {"a~&\r", false},
		"~~&\r":          {"~&\r", false},
		"~user/x\r":      {"~user/x\r", false},
		"~\r~&":          {"~\r", true},
		"\n~~\n~~~&\n":   {"\n~\n~~&\n", false},
		"echo ~\r~":      {"echo ~\r~", false},
		"\x1b[A\r~&":     {"\x1b[A\r", true},
		"caf\u00e9 ~&\r": {"caf\u00e9 ~&\r", false},
	} {
		for _, size := range []int{2, 3, 64} {
			l := &leaver{}
			d := NewDoor(strings.NewReader(typed), l)
			var out bytes.Buffer
			if _, err := io.CopyBuffer(struct{ io.Writer }{&out}, struct{ io.Reader }{d}, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if out.String() != want.out || (l.times > 0) != want.left {
				t.Errorf("%q by %d: %q, left %d times", typed, size, out.String(), l.times)
			}
			var told bytes.Buffer
			if d.Tell(&told, nil) != want.left || strings.Contains(told.String(), "5e5510") != want.left {
				t.Errorf("%q: told %q", typed, told.String())
			}
		}
	}
	var told bytes.Buffer
	if NewDoor(nil, &leaver{}).Tell(&told, backend.ErrTaken) || !strings.HasPrefix(told.String(), plain) {
		t.Errorf("one that was taken: %q", told.String())
	}
}

// What a past is drawn as shows the same as the past did, and asks the terminal nothing.
func TestRepaint(t *testing.T) {
	words := []string{
		"plain ", "w\u00efde \u4e16\u754c", "\r\n", "\x1b[1;31m", "\x1b[0m", "\x1b[48;5;200;4m", "\x1b[38;2;1;2;3m", "\x1b[7m", "\x1b[3;5H", "\x1b[K", "\x1b[?1049h",
		"\x1b[?1049l", "\x1b[?2004h", "\x1b[?1h", "\x1b[?25l", "\x1b[6n", "\x1b[c", "\x1b]0;title\x07", "\x1b]52;c;c2VjcmV0\x07", "tab\t", "\x1b[2J\x1b[H",
	}
	rapid.Check(t, func(t *rapid.T) {
		cols, rows := rapid.IntRange(4, 30).Draw(t, "cols"), rapid.IntRange(2, 8).Draw(t, "rows")
		past := strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, 30).Draw(t, "past"), "")
		want := vt.New(cols, rows, vt.Options{Scrollback: 100})
		want.Write([]byte(past))
		drawn := repaint(&backend.Past{Output: []byte(past), Cols: uint16(cols), Rows: uint16(rows)}, cols, rows)
		got := vt.New(cols, rows, vt.Options{Scrollback: 100})
		got.Write(drawn)
		if len(got.Replies()) > 0 || bytes.Contains(drawn, []byte("\x1b]")) {
			t.Fatalf("it asks or sets something: %q", drawn)
		}
		if got.Modes() != want.Modes() {
			t.Fatalf("modes %+v, want %+v", got.Modes(), want.Modes())
		}
		// Where nothing had left the screen, and nothing stands below the cursor's last
		// row, the rows are in the same place. Else the text is the same, from its end.
		all := func(e *vt.Terminal) string {
			var text []string
			for y := -e.ScrollbackLen(); y < rows; y++ {
				if e.Modes().Alternate && y < 0 {
					continue
				}
				line, _ := e.Text(nil, y)
				text = append(text, strings.TrimRight(string(line), " "))
			}
			return strings.Trim(strings.Join(text, "\n"), "\n")
		}
		if all(got) != all(want) {
			t.Fatalf("past %q drawn %q\n%s\nwant\n%s", past, drawn, all(got), all(want))
		}
		c, d := got.Cursor(), want.Cursor()
		if c.X != d.X || c.Visible != d.Visible {
			t.Fatalf("cursor %+v, want %+v", c, d)
		}
	})
}

func TestRepaintSaysWhatIsLost(t *testing.T) {
	if got := string(repaint(&backend.Past{Lost: 17, Cols: 80, Rows: 24}, 80, 24)); !strings.HasPrefix(got, "tucdesk: 17 bytes of output before this are lost\r\n") {
		t.Errorf("%q", got)
	}
}

func TestChoose(t *testing.T) {
	away := time.Unix(5, 0)
	can := []backend.Session{{ID: "aa11"}, {ID: "aa22", Away: away}, {ID: "bb33"}}
	others := []backend.Session{{ID: "cc44"}}
	for prefix, want := range map[string]string{
		"aa1": "aa11", "aa22": "aa22", "b": "bb33", "": "aa22",
		"aa": "error: 2 sessions begin", "cc": "error: backend: denied", "dd": "error: backend: not found",
	} {
		s, err := choose(can, others, prefix)
		if text, bad := strings.CutPrefix(want, "error: "); bad != (err != nil) || !bad && string(s.ID) != want || bad && !strings.HasPrefix(err.Error(), text) {
			t.Errorf("%q: %q, %v", prefix, s.ID, err)
		}
	}
	if _, err := choose(can[:1], nil, ""); err == nil {
		t.Error("one that somebody is at was taken without being named")
	}
	if _, err := choose(append(can, backend.Session{ID: "ee", Away: away}), nil, ""); err == nil || errors.Is(err, backend.ErrNotFound) {
		t.Errorf("two wait: %v", err)
	}
}
