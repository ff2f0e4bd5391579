package console

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/program"
)

// typed is a backend that keeps what is typed into its terminals.
type typed struct {
	backend.Backend
	mu sync.Mutex
	bytes.Buffer
}

func (b *typed) Unwrap() backend.Backend { return b.Backend }

func (b *typed) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	t, err := b.Backend.Open(ctx, req)
	return typedTerminal{t, b}, err
}

type typedTerminal struct {
	backend.Terminal
	to *typed
}

func (t typedTerminal) Write(b []byte) (int, error) {
	t.to.mu.Lock()
	t.to.Write(b)
	t.to.mu.Unlock()
	return t.Terminal.Write(b)
}

// TestModes: the terminal reports what the focused program asks for, while it has the
// keys, and nobody else.
func TestModes(t *testing.T) {
	spy := &typed{Backend: alice()}
	inBubble(t, func() backend.Backend { return spy }, 80, 24, func(h *harness) {
		h.keys("x")
		h.typing("cat")
		h.keys("enter")
		h.m.current().pane.Send([]byte("\x1b[?1002h\x1b[?1006h\x1b[?1004h\x1b[>1u"))
		h.settle()
		if want := (program.Modes{Mouse: program.MouseDrag, Focus: true}); h.m.Modes() != want {
			t.Fatalf("%+v, want %+v: the terminal knows no other keyboard", h.m.Modes(), want)
		}
		h.send(program.KeyboardMsg{})
		h.m.current().pane.Send([]byte("\x1b[>1u"))
		h.settle()
		if h.m.Modes().Keyboard != 1 {
			t.Errorf("%+v", h.m.Modes())
		}
		h.send(tea.MouseClickMsg{X: 4, Y: 3, Button: tea.MouseLeft}) // below the tab bar
		h.send(tea.MouseClickMsg{X: 4, Y: 0, Button: tea.MouseLeft}) // on it
		h.settle()
		h.send(tea.BlurMsg{})
		h.settle()
		if got := spy.String(); !strings.HasSuffix(got, "\x1b[>1u\x1b[<0;5;3M\x1b[O") {
			t.Errorf("typed %q", got)
		}
		h.keys(DefaultPrefix, "?")
		if h.m.Modes() != (program.Modes{}) {
			t.Errorf("behind a dialog: %+v", h.m.Modes())
		}
		h.keys("esc", DefaultPrefix, "a")
		if h.m.Modes() != (program.Modes{}) {
			t.Errorf("on the list: %+v", h.m.Modes())
		}
		h.keys("3")
		h.m.opts.NoMouse = true
		if h.m.Modes().Mouse != program.MouseNone {
			t.Error("the mouse was to be left alone")
		}
	})
}
