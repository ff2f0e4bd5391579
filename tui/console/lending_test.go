package console

import (
	"strings"
	"testing"
)

// TestZoomRaw: a program has the whole screen and what it sends as it is, once that was
// confirmed; the prefix brings the console back.
func TestZoomRaw(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("x")
		h.typing("cat")
		h.keys("enter")
		h.after("Z")
		h.see("Zoom raw", "reach your clipboard")
		h.keys("esc")
		if h.m.Lends() {
			t.Fatal("lent without a yes")
		}
		h.after("Z")
		h.typing("yes")
		h.keys("enter")
		if !h.m.Lends() || h.m.areaOf(h.m.current()).Dy() != 24 {
			t.Fatal("the screen is not lent, or not all of it")
		}
		h.miss("agents", "not E2EE")
		var sent strings.Builder
		h.m.Lent(func(b []byte) { sent.Write(b) })
		h.m.current().pane.Send([]byte("\x1b]52;c;AA\x07hello"))
		h.settle()
		if got := sent.String(); got != "\x1b]52;c;AA\x07hello" {
			t.Errorf("sent %q", got)
		}
		h.keys(DefaultPrefix)
		if h.m.Lends() || h.m.areaOf(h.m.current()).Dy() != 22 {
			t.Error("the console did not come back")
		}
		h.see("hello", "agents")
		h.m.current().pane.Send([]byte("more"))
		h.settle()
		if strings.Contains(sent.String(), "more") {
			t.Error("it still has the terminal")
		}
		h.after("Z")
		h.typing("yes")
		h.keys("enter")
		h.m.current().pane.Close()
		h.settle()
		if h.m.Lends() {
			t.Error("an ended program has the screen")
		}
	})
}
