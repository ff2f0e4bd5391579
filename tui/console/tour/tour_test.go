package tour

import (
	"strings"
	"testing"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

func screen(t *Tour, cols, rows int) string {
	buf := uv.NewScreenBuffer(cols, rows)
	t.Draw(canvas.New(buf, canvas.NewStyles(true)), uv.Rect(0, 1, cols, rows-2), time.Time{})
	return buf.String()
}

func press(t *testing.T, on *Tour, key string) dialog.Outcome {
	t.Helper()
	k, err := keymap.Press(key)
	if err != nil {
		t.Fatal(err)
	}
	return on.Key(k, time.Time{})
}

// TestSteps: there are four to six, each is whole on a small screen with the console in
// sight above it, and the last one ends the tour.
func TestSteps(t *testing.T) {
	on := New(nil, "ctrl+]")
	if n := len(on.steps); n < 4 || n > 6 {
		t.Fatalf("%d steps", n)
	}
	for i, s := range on.steps {
		for _, size := range [][2]int{{40, 12}, {80, 24}, {200, 50}} {
			got := screen(on, size[0], size[1])
			lines := strings.Split(got, "\n")
			if strings.TrimSpace(strings.Join(lines[:4], "")) != "" {
				t.Errorf("step %d at %v hides what it speaks of:\n%s", i, size, got)
			}
			if words := strings.Fields(s.text); !strings.Contains(got, words[len(words)-1]) {
				t.Errorf("step %d at %v is cut:\n%s", i, size, got)
			}
		}
		out := press(t, on, "enter")
		if last := i == len(on.steps)-1; out.Close != last {
			t.Errorf("enter at step %d: %+v", i, out)
		} else if _, ended := out.Do.(DoEnd); ended != last {
			t.Errorf("enter at step %d gives %+v", i, out.Do)
		}
	}
}

// TestKeys: back and forth, and one key ends it anywhere. No other key does anything.
func TestKeys(t *testing.T) {
	on := New(nil, "ctrl+a")
	press(t, on, "right")
	press(t, on, "left")
	press(t, on, "left")
	if on.at != 0 {
		t.Errorf("at %d", on.at)
	}
	for _, key := range []string{"x", "down", "ctrl+p", "1"} {
		if out := press(t, on, key); out != (dialog.Outcome{}) || on.at != 0 {
			t.Errorf("%s gives %+v", key, out)
		}
	}
	on.Paste("x")
	if out := press(t, on, "esc"); !out.Close || out.Do != (DoEnd{}) {
		t.Errorf("esc gives %+v", out)
	}
	if got := screen(on, 80, 24); strings.TrimSpace(got) != "" {
		t.Errorf("after its end:\n%s", got)
	}
}

// TestOwnKeys: keys are named as this person has bound them.
func TestOwnKeys(t *testing.T) {
	keys, err := keymap.New("ctrl+a", []keymap.Change{{Place: "targets", Action: "exec", Keys: []string{"f7"}}})
	if err != nil {
		t.Fatal(err)
	}
	on := New(keys, "ctrl+a")
	press(t, on, "enter")
	if got := screen(on, 80, 24); !strings.Contains(got, "f7 runs") {
		t.Errorf("got\n%s", got)
	}
	press(t, on, "enter")
	if got := screen(on, 80, 24); !strings.Contains(got, "but ctrl+a") {
		t.Errorf("got\n%s", got)
	}
	for _, size := range [][2]int{{1, 1}, {3, 2}, {10, 4}} {
		screen(on, size[0], size[1])
	}
}
