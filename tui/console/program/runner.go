package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"runtime"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/cancelreader"
)

// A Model is what a program shows. Its methods are called by one goroutine.
type Model interface {
	// Init gives what to do first.
	Init() tea.Cmd
	// Update takes a message. It must not block. Of commands that come as a
	// tea.BatchMsg each runs; there are no sequences.
	Update(tea.Msg) tea.Cmd
	// Dirty says whether the last frame that Draw made is old.
	Dirty() bool
	// Draw makes a frame on a blank screen, and says where the cursor is; nil
	// hides it.
	Draw(uv.Screen) *tea.Cursor
	// Prefix is the only key that is not the focused terminal's, in Bubble
	// Tea's spelling. Empty says that keys are the model's.
	Prefix() string
}

// A WokenMsg follows Wake.
type WokenMsg struct{}

// A PanicError is a panic of the model, of one of its commands, or of what Broke was told.
type PanicError struct {
	Value any      // may hold anything that was typed or shown
	Stack []string // function, file and line of each call; no arguments, which may hold contents
}

// Error implements error. It holds no contents.
func (e *PanicError) Error() string { return "the console broke: " + e.Kind() }

// Kind says what kind of panic it was. Texts of the runtime name types and numbers; of
// others the type alone is said.
func (e *PanicError) Kind() string {
	if err, ok := e.Value.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a panic with a %T", e.Value)
}

// maxStack is how many calls of a stack are kept.
const maxStack = 64

// broke makes an error of what was recovered, with the stack of the panic. It is called
// by the deferred function that has recovered it.
func broke(v any) *PanicError {
	e := &PanicError{Value: v}
	pcs := make([]uintptr, maxStack)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		e.Stack = append(e.Stack, fmt.Sprintf("%s (%s:%d)", f.Function, path.Base(strings.ReplaceAll(f.File, `\`, "/")), f.Line))
	}
	return e
}

// ErrStopped says that a signal or the context ended the program.
var ErrStopped = errors.New("program: stopped")

const (
	// frameGap is the least time between two frames while output flows: 120
	// a second. A change after a pause is painted at once.
	frameGap = time.Second / 120
	// echoes is how many frames after something was typed are painted without
	// waiting for the gap: one of them is the echo.
	echoes = 3
	// leaveWait bounds what a terminal may take to end.
	leaveWait = 200 * time.Millisecond
	// brokenWait bounds what the loop may take to end once something beside it broke.
	brokenWait = 5 * time.Second
	// maxPending bounds what commands and others have sent and the model has
	// not taken yet.
	maxPending = 64
	readSize   = 32 << 10
)

// Options say what a Runner runs on.
type Options struct {
	Model   Model
	Title   string
	In, Out *os.File
	Environ []string
	Remote  bool // the terminal is at the far end of a slow line
	// Colours is how many there are, instead of what the terminal says; Unknown is that.
	Colours colorprofile.Profile
}

// A Runner runs one model once.
type Runner struct {
	o       Options
	msgs    chan tea.Msg
	wakes   chan struct{}
	input   chan []byte
	signals chan os.Signal
	broken  chan *PanicError
	ended   chan struct{} // closed when Run returns

	screen   *screen
	out      *outbox
	router   router
	console  uv.Console
	answers  bool // the terminal has answered a question
	painted  time.Time
	woken    time.Time
	echoes   int  // frames that need not wait
	raw      bool // bytes besides a frame wait to be written
	size     bool // the model knows a size
	quitting bool
	lent     chan struct{} // closed when the screen is taken back; nil: it is not lent
}

// New makes a runner. It does not touch the terminal.
func New(o Options) *Runner {
	return &Runner{
		o:       o,
		msgs:    make(chan tea.Msg, maxPending),
		wakes:   make(chan struct{}, 1),
		input:   make(chan []byte),
		signals: make(chan os.Signal, 8),
		broken:  make(chan *PanicError, 1),
		ended:   make(chan struct{}),
		console: uv.NewConsole(o.In, o.Out, o.Environ),
	}
}

// Wake has the model take a WokenMsg soon. It never blocks, and is safe for
// concurrent use; many calls may become one message.
func (r *Runner) Wake() {
	select {
	case r.wakes <- struct{}{}:
	default:
	}
}

// Run shows the model until it quits (tea.Quit), until a signal asks for the end or
// ctx is done (ErrStopped), or until it panics (*PanicError). The terminal is
// restored then, whatever happened.
func (r *Runner) Run(ctx context.Context) (err error) {
	defer close(r.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if _, err := r.console.MakeRaw(); err != nil {
		return fmt.Errorf("program: the terminal can't be set up: %w", err)
	}
	in, err := cancelreader.NewReader(r.o.In)
	if err != nil {
		return errors.Join(fmt.Errorf("program: %w", err), r.console.Restore())
	}
	r.out = newOutbox(r.o.Out)
	r.screen = newScreen(r.o.Out, r.o.Environ, r.o.Colours)
	notify(r.signals)
	// What is typed is read until the end, also where ctx ended before: answers that are
	// under way are not for the shell.
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	readEnded := make(chan struct{})
	go func() {
		defer r.caught()
		defer close(readEnded)
		r.read(reading, in)
	}()
	defer func() {
		signal.Stop(r.signals)
		err = errors.Join(err, r.leave())
		cancel()
		stopReading()
		if in.Cancel() {
			<-readEnded
		}
		_ = in.Close()
		r.out.close()
		err = errors.Join(err, r.console.Restore())
	}()
	defer func() {
		if v := recover(); v != nil {
			err = broke(v)
		}
	}()
	r.screen.enter(r.o.Title)
	r.measure(ctx)
	r.start(ctx, r.o.Model.Init())
	return r.loop(ctx)
}

// read passes on what is typed. Its end is the terminal's.
func (r *Runner) read(ctx context.Context, in cancelreader.CancelReader) {
	defer close(r.input)
	buf := make([]byte, readSize)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			select {
			case r.input <- append([]byte(nil), buf[:n]...):
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *Runner) loop(ctx context.Context) error {
	wait := waitPartial
	if r.o.Remote {
		wait = waitRemote
	}
	partial, frame := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer partial.Stop()
	defer frame.Stop()
	for !r.quitting {
		if err := r.out.failed(); err != nil {
			return errors.Join(ErrStopped, err)
		}
		// A frame that is due waits for the terminal, nothing else does. What
		// wakes the model is taken no faster than it can be shown.
		var (
			idle  <-chan struct{}
			wakes = r.wakes
		)
		away := r.lends()
		if !away && (r.raw || r.size && r.o.Model.Dirty()) {
			if left := frameGap - time.Since(r.painted); left <= 0 || r.echoes > 0 {
				idle = r.out.idle
			} else {
				frame.Reset(left)
			}
		}
		if left := frameGap - time.Since(r.woken); left > 0 && r.echoes == 0 {
			wakes = nil
			if idle == nil {
				frame.Reset(left)
			}
		}
		select {
		case <-ctx.Done():
			return ErrStopped
		case p := <-r.broken:
			return p
		case s := <-r.signals:
			if err := r.signal(ctx, s); err != nil {
				return err
			}
			continue
		default:
		}
		select {
		case <-ctx.Done():
			return ErrStopped
		case p := <-r.broken:
			return p
		case s := <-r.signals:
			if err := r.signal(ctx, s); err != nil {
				return err
			}
		case b, ok := <-r.input:
			if !ok {
				return fmt.Errorf("%w: the terminal is gone", ErrStopped)
			}
			r.router.feed(b)
			r.route(ctx, false)
			if !r.router.empty() {
				partial.Reset(wait)
			}
		case <-partial.C:
			r.route(ctx, true)
		case msg := <-r.msgs:
			r.take(ctx, msg)
		case <-wakes:
			r.woken = time.Now()
			r.take(ctx, WokenMsg{})
		case <-frame.C:
		case <-idle:
			r.paint()
		}
	}
	return nil
}

// paint shows a frame. It has taken the outbox's token.
func (r *Runner) paint() {
	if r.echoes > 0 {
		r.echoes--
	}
	r.raw = false
	drawn := false
	defer func() {
		if !drawn { // it panics, and the terminal is to be restored
			r.out.idle <- struct{}{}
		}
	}()
	r.screen.want(r.o.Model)
	b := r.screen.paint(r.o.Model.Draw)
	drawn = true
	r.painted = time.Now()
	r.out.send(b)
}

// route has the model take what was typed.
func (r *Runner) route(ctx context.Context, expired bool) {
	for !r.quitting {
		msg, ok := r.router.next(r.o.Model.Prefix(), expired)
		if !ok {
			return
		}
		switch msg.(type) {
		case attributesMsg:
			r.answers = true
			continue
		case answerMsg:
			continue
		case InputMsg, tea.KeyPressMsg, tea.PasteMsg:
			r.echoes = echoes
		}
		r.take(ctx, msg)
	}
}

// take has the model take a message, or does what it asks of the runner.
func (r *Runner) take(ctx context.Context, msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
	case tea.QuitMsg:
		r.quitting = true
	case tea.BatchMsg:
		for _, cmd := range msg {
			r.start(ctx, cmd)
		}
	case tea.RawMsg:
		r.screen.WriteString(fmt.Sprint(msg.Msg))
		r.raw = true
	default:
		r.start(ctx, r.o.Model.Update(msg))
	}
}

// start runs a command. What it gives comes back as a message.
func (r *Runner) start(ctx context.Context, cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		defer r.caught()
		msg := cmd()
		if msg == nil {
			return
		}
		select {
		case r.msgs <- msg:
		case <-ctx.Done():
		}
	}()
}

// caught is deferred by what runs beside the loop.
func (r *Runner) caught() {
	if v := recover(); v != nil {
		r.Broke(v)
	}
}

// Broke ends the program because of a panic with v somewhere beside its loop: Run
// restores the terminal and returns a *PanicError. It is called on the goroutine that
// panics, by what has recovered it. Where the loop does not end, because what it waits for
// is what broke, the terminal is restored from here, and the process ends.
func (r *Runner) Broke(v any) {
	p := broke(v)
	select {
	case r.broken <- p:
	default: // one is enough
	}
	select {
	case <-r.ended:
	case <-time.After(brokenWait):
		_, _ = r.o.Out.WriteString(Restore)
		_ = r.console.Restore()
		panic(p) // which says no more than its kind
	}
}

// measure asks for the terminal's size. One that is not positive is the report of
// a terminal that is going away.
func (r *Runner) measure(ctx context.Context) {
	cols, rows, err := r.console.GetSize()
	if err != nil || cols <= 0 || rows <= 0 {
		return
	}
	r.size = true
	r.screen.resize(cols, rows)
	r.take(ctx, tea.WindowSizeMsg{Width: cols, Height: rows})
}

// leave gives the terminal back. It waits for answers that are under way, so that
// they are not read by the shell.
func (r *Runner) leave() error {
	if r.lent != nil {
		r.takeBack()
	}
	if !r.out.await(leaveWait) {
		return errors.New("program: the terminal does not read: it was not restored; reset does that")
	}
	b := r.screen.leave()
	if r.answers {
		b = append(b, ansi.RequestPrimaryDeviceAttributes...)
	}
	r.out.send(b)
	limit := time.After(leaveWait)
	for wait := r.answers; wait; {
		select {
		case b, ok := <-r.input:
			if !ok {
				wait = false
				break
			}
			r.router.feed(b)
			for {
				msg, ok := r.router.next("", false)
				if _, is := msg.(attributesMsg); is {
					wait = false
				}
				if !ok {
					break
				}
			}
		case <-limit:
			wait = false
		}
	}
	if !r.out.await(leaveWait) {
		return errors.New("program: the terminal does not read: it may not be restored; reset does that")
	}
	return nil
}
