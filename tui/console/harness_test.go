package console

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/program"
)

var update = flag.Bool("update", false, "write the golden frames anew")

// A harness runs a model without a terminal, in a synctest bubble: commands
// run in goroutines, and time stands still until the test sleeps.
type harness struct {
	t *testing.T
	m *model

	mu    sync.Mutex
	queue []tea.Msg
	quit  bool
	rang  int    // bells, and whatever else is written beside frames
	raw   string // the last of it
}

// inBubble starts the console over b at a size, runs f, and ends it.
func inBubble(t *testing.T, b func() backend.Backend, cols, rows int, f func(*harness)) {
	t.Helper()
	inBubbleWith(t, b, cols, rows, Options{}, f)
}

// inBubbleWith is inBubble with options beside those that all have.
func inBubbleWith(t *testing.T, b func() backend.Backend, cols, rows int, o Options, f func(*harness)) {
	t.Helper()
	o.Prefix, o.Who = DefaultPrefix, "alice @ mem"
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		be := b()
		h := &harness{t: t, m: newModel(ctx, be, o)}
		h.m.wake = h.wake
		defer func() { // also where the test fails
			cancel()
			h.m.closeTabs()
			if err := be.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			time.Sleep(2 * tickEvery) // the last tick is delivered to nobody
		}()
		h.send(tea.WindowSizeMsg{Width: cols, Height: rows})
		h.start(h.m.Init())
		h.settle()
		f(h)
	})
}

func (h *harness) post(msg tea.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue = append(h.queue, msg)
}

// wake asks for a program.WokenMsg, where none waits.
func (h *harness) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.queue, tea.Msg(program.WokenMsg{})) {
		h.queue = append(h.queue, program.WokenMsg{})
	}
}

func (h *harness) start(cmd tea.Cmd) {
	if cmd != nil {
		go func() { h.post(cmd()) }()
	}
}

func (h *harness) next() (tea.Msg, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 {
		return nil, false
	}
	msg := h.queue[0]
	h.queue = h.queue[1:]
	return msg, true
}

// settle delivers messages until nothing moves but time.
func (h *harness) settle() {
	for {
		synctest.Wait()
		msg, ok := h.next()
		if !ok {
			return
		}
		h.send(msg)
	}
}

func (h *harness) send(msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
	case tea.BatchMsg:
		for _, cmd := range msg {
			h.start(cmd)
		}
	case tea.QuitMsg:
		h.quit = true
	case tea.RawMsg:
		h.rang++
		h.raw = fmt.Sprint(msg.Msg)
	default:
		h.start(h.m.Update(msg))
		// What was read is what was drawn.
		h.m.Draw(uv.NewScreenBuffer(h.m.cols, h.m.rows))
	}
}

// sleep lets time pass, tick by tick.
func (h *harness) sleep(d time.Duration) {
	for range d / (100 * time.Millisecond) {
		time.Sleep(100 * time.Millisecond)
		h.settle()
	}
}

var keyCodes = map[string]rune{
	"enter": tea.KeyEnter, "esc": tea.KeyEscape, "down": tea.KeyDown, "up": tea.KeyUp, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp,
	"tab": tea.KeyTab, "space": tea.KeySpace, "backspace": tea.KeyBackspace, "end": tea.KeyEnd, "home": tea.KeyHome, "left": tea.KeyLeft, "right": tea.KeyRight, "delete": tea.KeyDelete,
}

func keyPress(name string) tea.KeyPressMsg {
	if c, ok := keyCodes[name]; ok {
		return tea.KeyPressMsg{Code: c}
	}
	if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: []rune(rest)[0], Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// keys presses named keys.
func (h *harness) keys(names ...string) {
	for _, n := range names {
		h.send(keyPress(n))
		h.settle()
	}
}

// typing presses a key for each rune.
func (h *harness) typing(s string) {
	for _, r := range s {
		h.keys(string(r))
	}
}

// screen is the frame as text.
func (h *harness) screen() string {
	c := uv.NewScreenBuffer(h.m.cols, h.m.rows)
	h.m.Draw(c)
	lines := make([]string, h.m.rows)
	for y := range lines {
		lines[y] = strings.TrimRight(c.Line(y).String(), " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// see fails where the frame lacks something.
func (h *harness) see(want ...string) {
	h.t.Helper()
	s := h.screen()
	for _, w := range want {
		if !strings.Contains(s, w) {
			h.t.Fatalf("the screen lacks %q:\n%s", w, s)
		}
	}
}

func (h *harness) miss(unwanted ...string) {
	h.t.Helper()
	s := h.screen()
	for _, w := range unwanted {
		if strings.Contains(s, w) {
			h.t.Fatalf("the screen shows %q:\n%s", w, s)
		}
	}
}

// golden compares the frame with testdata.
func (h *harness) golden(name string) {
	h.t.Helper()
	compare(h.t, filepath.Join("testdata", "frames", fmt.Sprintf("%s-%dx%d.txt", name, h.m.cols, h.m.rows)), h.painted())
}

// compare fails where got is not what the file at path holds.
func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with go test -run %s -update", err, t.Name())
	}
	if string(want) != got {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}
