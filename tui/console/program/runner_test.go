package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/creack/pty"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// echo is a model that shows what was typed, and does what some keys say.
type echo struct {
	mu     sync.Mutex
	typed  string
	sizes  []string
	prefix string
	dirty  bool
	bad    bool // Draw panics
	woken  int

	lends bool
	write chan func([]byte) // what Lent was given; nil: nobody asks
}

// Lends implements Lender.
func (e *echo) Lends() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lends
}

// Lent implements Lender.
func (e *echo) Lent(write func([]byte)) { e.write <- write }

// lend gives the screen away, or takes it back.
func (e *echo) lend(away bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lends = away
}

func (e *echo) Dirty() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dirty
}

func (e *echo) Prefix() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.prefix
}

func (e *echo) Init() tea.Cmd { return func() tea.Msg { return initMsg{} } }

type initMsg struct{}

func (e *echo) Update(msg tea.Msg) tea.Cmd {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dirty = true
	switch msg := msg.(type) {
	case initMsg:
		e.typed += "<init>"
	case tea.WindowSizeMsg:
		e.sizes = append(e.sizes, fmt.Sprintf("%dx%d", msg.Width, msg.Height))
	case WokenMsg:
		e.woken++
	case InputMsg:
		e.typed += string(msg.Bytes)
	case tea.PasteMsg:
		e.typed += msg.Content
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q":
			return tea.Quit
		case "d":
			e.bad = true
		case "p":
			panic("in Update")
		case "c":
			return func() tea.Msg { panic("in a command") }
		case "b":
			return tea.Batch(func() tea.Msg { return tea.RawMsg{Msg: "\a"} }, nil)
		}
		e.typed += msg.String()
	}
	return nil
}

func (e *echo) Draw(on uv.Screen) *tea.Cursor {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dirty = false
	if e.bad {
		panic("in Draw")
	}
	for i, c := range e.typed {
		on.SetCell(i, 0, &uv.Cell{Content: string(c), Width: 1})
	}
	return tea.NewCursor(len(e.typed), 0)
}

// A world is a model on a real PTY, seen through our emulator.
type world struct {
	t      *testing.T
	m      *echo
	tty    *os.File
	master *os.File
	before *term.State
	done   chan error
	cancel context.CancelFunc
	runner *Runner

	mu  sync.Mutex
	emu *vt.Terminal
	raw bytes.Buffer
}

func start(t *testing.T, m *echo) *world {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Cols: 60, Rows: 10}); err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(tty.Fd())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, m: m, tty: tty, master: master, before: before, done: make(chan error, 1), emu: vt.New(60, 10, vt.Options{})}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.raw.Write(buf[:n])
			w.emu.Write(buf[:n])
			answer := w.emu.Replies()
			w.mu.Unlock()
			if len(answer) > 0 {
				_, _ = master.Write(answer)
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	w.runner = New(Options{Model: m, Title: "test", In: tty, Out: tty, Environ: []string{"TERM=xterm-256color"}})
	go func() { w.done <- w.runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		tty.Close()
		master.Close()
	})
	return w
}

func (w *world) typing(s string) {
	w.t.Helper()
	if _, err := w.master.WriteString(s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) line() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, c := range w.emu.Line(nil, 0) {
		b.WriteString(c.Text)
	}
	return strings.TrimRight(b.String(), " ")
}

func (w *world) see(want string) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); w.line() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("the screen shows %q, want %q", w.line(), want)
		}
	}
}

// ended waits for the end, and checks that the terminal is as it was.
func (w *world) ended() error {
	w.t.Helper()
	var err error
	select {
	case err = <-w.done:
	case <-time.After(30 * time.Second):
		w.t.Fatal("it does not end")
	}
	after, e := term.GetState(w.tty.Fd())
	if e != nil {
		w.t.Fatal(e)
	}
	if fmt.Sprint(*after) != fmt.Sprint(*w.before) {
		w.t.Errorf("the terminal's state: %v, was %v", *after, *w.before)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		m := w.emu.Modes()
		raw := w.raw.String()
		w.mu.Unlock()
		if m == (vt.Modes{}) && strings.HasSuffix(strings.TrimSuffix(raw, ansi.RequestPrimaryDeviceAttributes), Restore) {
			return err
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("modes after the end: %+v, written last %q", m, raw[max(0, len(raw)-300):])
		}
	}
}

func TestRun(t *testing.T) {
	w := start(t, &echo{prefix: "ctrl+]"})
	w.see("<init>")
	w.typing("hello\x1b[200~, world\x1b[201~")
	w.see("<init>hello, world")
	w.m.mu.Lock()
	w.m.prefix = ""
	w.m.mu.Unlock()
	w.typing("\x1b[A")
	w.see("<init>hello, worldup")
	w.typing("q")
	if err := w.ended(); err != nil {
		t.Error(err)
	}
	if s := strings.Join(w.m.sizes, " "); s != "60x10" {
		t.Errorf("sizes: %s", s)
	}
}

func TestWake(t *testing.T) {
	w := start(t, &echo{})
	w.see("<init>")
	for range 1000 {
		w.runner.Wake()
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		w.m.mu.Lock()
		n := w.m.woken
		w.m.mu.Unlock()
		if n > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing woke it")
		}
	}
	w.typing("q")
	if err := w.ended(); err != nil {
		t.Error(err)
	}
}

// TestEnds: whatever ends it, the terminal is restored, and what ended it is said.
func TestEnds(t *testing.T) {
	var broke *PanicError
	for _, tc := range []struct {
		name string
		end  func(*world)
		is   func(error) bool
	}{
		{"quit", func(w *world) { w.typing("q") }, func(err error) bool { return err == nil }},
		{"panic in Update", func(w *world) { w.typing("p") }, func(err error) bool { return errors.As(err, &broke) && broke.Value == "in Update" }},
		{"panic in Draw", func(w *world) { w.typing("d") }, func(err error) bool {
			return errors.As(err, &broke) && broke.Value == "in Draw" && strings.Contains(strings.Join(broke.Stack, "\n"), "(*echo).Draw (runner_test.go:") &&
				!strings.Contains(err.Error(), "in Draw")
		}},
		{"panic in a command", func(w *world) { w.typing("c") }, func(err error) bool { return errors.As(err, &broke) && broke.Value == "in a command" }},
		{"context", func(w *world) { w.cancel() }, func(err error) bool { return errors.Is(err, ErrStopped) }},
		{"signal", func(w *world) { w.runner.signals <- os.Interrupt }, func(err error) bool { return errors.Is(err, ErrStopped) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, &echo{})
			w.see("<init>")
			tc.end(w)
			if err := w.ended(); !tc.is(err) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// TestStalledTerminal: a terminal that nobody reads keeps nobody from ending the
// program.
func TestStalledTerminal(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	if err := pty.Setsize(master, &pty.Winsize{Cols: 400, Rows: 200}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := &full{}
	r := New(Options{Model: m, In: tty, Out: tty, Environ: []string{"TERM=xterm"}})
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for last, same := int64(-1), 0; same < 50; {
		time.Sleep(10 * time.Millisecond)
		n := m.drawn.Load()
		if n == last && n > 0 {
			same++
		} else {
			last, same = n, 0
		}
	}
	cancel()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "does not read") {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for the terminal")
	}
}

// full is a model that always has a whole new screen.
type full struct{ drawn atomic.Int64 }

func (f *full) Init() tea.Cmd          { return nil }
func (f *full) Update(tea.Msg) tea.Cmd { return nil }
func (f *full) Dirty() bool            { return true }
func (f *full) Prefix() string         { return "" }
func (f *full) Draw(on uv.Screen) *tea.Cursor {
	n := f.drawn.Add(1)
	for y := range on.Bounds().Dy() {
		for x := range on.Bounds().Dx() {
			on.SetCell(x, y, &uv.Cell{Content: string(rune('a' + (int64(x+y)+n)%26)), Width: 1})
		}
	}
	return nil
}

// TestLend: a program has the terminal as it is, and whatever it has done to it, the
// model's screen is whole afterwards, also where the end comes meanwhile.
func TestLend(t *testing.T) {
	for _, ends := range []bool{false, true} {
		w := start(t, &echo{prefix: "ctrl+]", write: make(chan func([]byte), 1)})
		w.see("<init>")
		w.m.lend(true)
		w.runner.Wake()
		write := <-w.m.write
		write([]byte("\x1b[H\x1b[2Kraw"))
		w.see("raw")
		w.typing("x") // changes the model, and paints nothing
		write([]byte("!\x1b[?1049l\x1b[?1003h\x1b[?1006h\x1b[?1004h\x1b[?6h\x1b[3;5r\x1b[?1h\x1b(0\x1b[?7l\x1b[4h\x1b[31m\x1b]0;unfinished"))
		if ends {
			w.cancel()
			if err := w.ended(); !errors.Is(err, ErrStopped) {
				t.Error(err)
			}
			write([]byte("after the end"))
			continue
		}
		w.m.lend(false)
		w.runner.Wake()
		w.see("<init>x")
		write([]byte("\x1b[H\x1b[2Ktoo late"))
		w.typing("y")
		w.see("<init>xy")
		w.mu.Lock()
		modes := w.emu.Modes()
		w.mu.Unlock()
		if want := (vt.Modes{Alternate: true, BracketedPaste: true}); modes != want {
			t.Errorf("modes %+v, want %+v", modes, want)
		}
		w.m.lend(true) // once more
		w.runner.Wake()
		(<-w.m.write)([]byte("\x1b[H\x1b[2Kagain"))
		w.see("again")
		w.cancel()
		if err := w.ended(); !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
	}
}
