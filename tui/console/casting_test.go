package console

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// printing opens a terminal whose program prints text.
func (h *harness) printing(text string) {
	h.start(h.m.open(backend.OpenRequest{Target: "cache-1", Kind: backend.KindExec, Argv: []string{"echo", text}, TTY: true}, sanitize.Literal("printer")))
	h.settle()
}

// TestBroadcast types in one terminal for three, and not for the fourth.
func TestBroadcast(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("enter")
		h.after("|")
		h.after("-")
		h.keys(DefaultPrefix, "a", "enter")
		alone := h.m.current()
		h.keys("3")
		h.keys(DefaultPrefix, "1", "3")
		h.after("B")
		h.see("BROADCAST")
		h.typing("echo all")
		h.keys("enter")
		for i, tb := range h.m.tabs {
			lines, _ := tb.pane.Lines()
			var text strings.Builder
			for _, l := range lines {
				text.WriteString(l.Text + "\n")
			}
			if got := strings.Contains(text.String(), "\nall\n"); got != (tb != alone) {
				t.Errorf("terminal %d shows %q", i, text.String())
			}
		}
		h.sleep(7 * time.Second)
		h.see("BROADCAST to 3", "»")
		h.send(tea.PasteMsg{Content: "one"})
		h.settle()
		h.see("Paste this?", "3 terminals", "It goes to all of them")
		h.typing("yes")
		h.keys("enter")
		h.after("b") // this one leaves
		h.typing("two")
		lines, _ := h.m.current().pane.Lines()
		other, _ := h.m.tabs[1].pane.Lines()
		if text := lines[len(lines)-1].Text; strings.Contains(text, "two") && strings.Contains(other[len(other)-1].Text, "two") {
			t.Error("a terminal that left still types for others")
		}
		h.after("B")
		h.sleep(7 * time.Second)
		h.miss("BROADCAST")
	})
}

// TestAnnouncements: what programs announce is clean, rare, and can be switched off.
func TestAnnouncements(t *testing.T) {
	const text = "\x1b]9;build done\x1b[31m\u202e\x07\x1b]777;notify;Title;Body\x07\x1b]9;4;1;50\x07"
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.printing(text)
		h.see("announced by printer: build done")
		h.keys(DefaultPrefix, "m")
		h.miss("Title", "4;1;50", "\u202e")
		h.see("announced more")
	})
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.m.opts.Silent = true
		h.printing(text)
		h.miss("announced")
	})
}

// TestLinks: a link is shown with its true host before it is opened.
func TestLinks(t *testing.T) {
	const text = "\x1b]8;;https://evil.example/x\x07https://bank.example/login\x1b]8;;\x07 and \x1b]8;;file:///etc/passwd\x07this\x1b]8;;\x07"
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.printing(text)
		h.keys("u")
		h.see("Links on this screen", "2 of 2", "https://evil.example/x")
		h.miss("passwd")
		h.typing("evil")
		h.keys("enter")
		h.see("Leads to", "evil.example")
		h.typing("open")
		h.keys("enter")
		h.see("there is no browser here")
		h.keys("ctrl+u")
		h.typing("copy")
		h.keys("enter")
		if !strings.HasPrefix(h.raw, "\x1b]52;c;") {
			t.Errorf("written %q", h.raw)
		}
		var opened string
		h.m.opts.OpenURL = func(url string) error { opened = url; return errors.New("no display") }
		h.keys("u", "enter")
		h.typing("open")
		h.keys("enter")
		h.see("not opened: ", "no display")
		if opened != "https://evil.example/x" {
			t.Errorf("opened %q", opened)
		}
	})
}

// TestBroadcastFrame: a terminal that has the screen to itself is framed while what is
// typed in it goes to others too, and the frame says to how many; its program has what is
// inside. One beside it that is not in the broadcast says so.
func TestBroadcastFrame(t *testing.T) {
	inBubble(t, alice, 80, 24, func(h *harness) {
		h.keys("enter", DefaultPrefix, "b", DefaultPrefix, "a", "down", "down", "down", "down", "enter", DefaultPrefix, "b")
		h.see("┌─ BROADCAST to 2 · ctrl+] B ends it ─", "└──")
		if a := h.m.areaOf(h.m.current()); a.Dx() != 78 || a.Dy() != 20 {
			t.Errorf("inside are %v", a)
		}
		c := uv.NewScreenBuffer(80, 24)
		h.m.Draw(c)
		if cell := c.CellAt(0, 10); cell.Content != "│" || cell.Style.Fg != h.m.st.Deny.Fg {
			t.Errorf("the frame is %q in %v", cell.Content, cell.Style.Fg)
		}
		h.typing("echo both")
		h.keys(DefaultPrefix, "3")
		h.see("echo both", "[3 cache-1 »]")
		h.keys(DefaultPrefix, "4")
		h.keys(DefaultPrefix, "b")
		h.see("not in the broadcast")
		h.miss("┌─ BROADCAST")
		h.keys(DefaultPrefix, "B")
		h.miss("not in the broadcast", "┌─")
		if a := h.m.areaOf(h.m.current()); a.Dx() != 80 || a.Dy() != 22 {
			t.Errorf("without a frame are %v", a)
		}
		h.keys(DefaultPrefix, "b")
		for _, size := range [][2]int{{9, 9}, {3, 3}, {40, 12}} {
			h.m.resize(size[0], size[1])
			h.screen()
		}
	})
}

// left is a backend with shells that nobody is at.
type left struct{ backend.Backend }

func (l left) Unwrap() backend.Backend { return l.Backend }

func (l left) Sessions(context.Context) ([]backend.Session, error) {
	now := time.Now()
	return []backend.Session{{ID: "s", Target: "web-1", Kind: backend.KindShell, Returns: true, Began: now, Away: now, Until: now.Add(time.Hour)}}, nil
}

// TestAttachKey: where there is a shell to come back to, the footer names its key first.
func TestAttachKey(t *testing.T) {
	inBubble(t, func() backend.Backend { return left{alice()} }, 40, 12, func(h *harness) {
		h.see("A attach (1)  ? keys")
		h.keys("A")
		h.see("Come back to a shell", "come back to web-1")
	})
	inBubble(t, alice, 40, 12, func(h *harness) {
		h.miss("attach")
		h.keys("A")
		h.see("no shell of yours runs")
	})
}
