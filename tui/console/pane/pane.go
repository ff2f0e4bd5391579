// Package pane shows one terminal: it feeds a backend.Terminal's output to an
// emulator, draws the emulator's cells, and turns keys and pastes into input.
//
// Invariants:
//
//   - Nothing that a target sends can stop or harm the console. Of the screen
//     only cells are handed on, and internal/vt vouches for their text; titles,
//     clipboard and other requests end here. Links and announcements are handed on
//     as clean text, to be looked at first. Should the emulator panic
//     in spite of its promise, the pane starts with an empty one and says so.
//   - No output travels in messages. One goroutine reads and parses in small
//     slices under the lock, sets a dirty bit, and calls wake.
//   - All is bounded: scrollback, queued input, replies to queries, resets.
//   - What is typed may be shown before it is echoed (package predict), underlined,
//     and never as part of the emulator's screen.
//   - Not reading is flow control. A pane that is not shown reads for a small
//     part of the time only.
//
// The package imports backend, internal/vt and charm libraries; never a network.
package pane

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/tui/console/links"
	"github.com/tucdesk/tucdesk/tui/console/pane/predict"
)

const (
	// sliceSize is how much is parsed under the lock at once, in bytes: a
	// key press waits for no more than that.
	sliceSize = 1024
	// readSize is how much is read at once, in bytes.
	readSize = 32 << 10
	// scrollbackLines is how many lines are kept, in about 5 MB at most.
	scrollbackLines = 10_000
	// A pane that is not shown parses for hiddenBudget of each hiddenPeriod.
	hiddenBudget = 3 * time.Millisecond
	hiddenPeriod = 16 * time.Millisecond
	// maxNotes is how many announcements wait to be taken.
	maxNotes = 4
)

// A Pane is one terminal on the screen. Its methods are safe for concurrent
// use.
type Pane struct {
	term  backend.Terminal
	wake  func()
	input *inputQueue
	shown atomic.Bool
	tee   atomic.Pointer[func([]byte)] // nil: output is shown by the emulator only
	done  chan struct{}                // closed once the program's end is known

	mu      sync.Mutex
	emu     *vt.Terminal
	guesses predict.Engine
	timer   *time.Timer // for guesses that are not answered; nil before the first
	line    []vt.Cell   // for Draw
	resets  int
	cols    int
	rows    int
	back    int // lines scrolled back
	dirty   bool
	bells   int
	notes   []sanitize.Text
	ended   bool
	exit    backend.Exit
	exitErr error
}

// A Status is what the pane's frame has to say.
type Status struct {
	Ended   bool
	Exit    backend.Exit
	Err     error // why the end is not known
	Resets  int   // how often the emulator broke and began anew
	Lost    bool  // input was refused: the program reads too slowly
	Back    int   // lines scrolled back
	History int   // lines that can be scrolled back
}

// New shows term in a pane of cols by rows cells. It calls wake, which must
// not block, whenever there is something new to draw. Close ends the pane and
// the terminal.
func New(term backend.Terminal, cols, rows int, wake func()) *Pane {
	p := &Pane{
		term:  term,
		wake:  wake,
		input: newInputQueue(),
		done:  make(chan struct{}),
		cols:  clampSize(cols),
		rows:  clampSize(rows),
	}
	p.shown.Store(true)
	p.newEmulator()
	p.remember()
	backend.Go(p.readOutput)
	backend.Go(p.writeInput)
	return p
}

// remember shows what the terminal had shown before it was opened. What it asked for
// then is not answered.
func (p *Pane) remember() {
	r, ok := backend.TerminalAs[backend.ReturnedTerminal](p.term)
	if !ok || r.Past() == nil {
		return
	}
	past := r.Past()
	p.guard(func(*vt.Terminal) {
		p.emu.Resize(clampSize(int(past.Cols)), clampSize(int(past.Rows)))
		if past.Lost > 0 {
			fmt.Fprintf(p.emu, "tucdesk: %d bytes of output before this are lost\r\n", past.Lost)
		}
		_, _ = p.emu.Write(past.Output)
		p.emu.Resize(p.cols, p.rows)
		_, _ = p.emu.Replies(), p.emu.Bells()
	})
}

// Leaves reports whether Leave may be asked for.
func (p *Pane) Leaves() bool {
	_, ok := backend.TerminalAs[backend.Detacher](p.term)
	return ok
}

// Leave leaves the terminal, which goes on.
func (p *Pane) Leave() error {
	d, ok := backend.TerminalAs[backend.Detacher](p.term)
	if !ok {
		return nil
	}
	_, err := d.Detach()
	return err
}

func clampSize(n int) int { return max(1, min(n, vt.MaxSize)) }

// newEmulator replaces the emulator. The caller holds mu, or nobody else has
// the pane yet.
func (p *Pane) newEmulator() {
	p.back = 0
	p.guesses.Reset()
	p.emu = vt.New(p.cols, p.rows, vt.Options{Scrollback: scrollbackLines})
}

// guard runs f on the emulator under the lock, and starts anew where it
// panics.
func (p *Pane) guard(f func(*vt.Terminal)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		if recover() == nil {
			return
		}
		p.resets++
		p.dirty = true
		p.newEmulator()
	}()
	f(p.emu)
}

func (p *Pane) readOutput() {
	buf := make([]byte, readSize)
	var spent time.Duration
	for {
		n, err := p.term.Read(buf)
		if tee := p.tee.Load(); tee != nil && n > 0 {
			(*tee)(buf[:n])
		}
		start := time.Now()
		p.parse(buf[:n])
		if p.shown.Load() {
			spent = 0
		} else if spent += time.Since(start); spent > hiddenBudget {
			spent = 0
			time.Sleep(hiddenPeriod - hiddenBudget)
		}
		if err != nil {
			break
		}
	}
	exit, err := p.term.Wait()
	p.mu.Lock()
	p.ended, p.exit, p.exitErr, p.dirty = true, exit, err, true
	p.guesses.Reset()
	p.mu.Unlock()
	p.input.close()
	close(p.done)
	p.wake()
}

func (p *Pane) parse(b []byte) {
	for len(b) > 0 {
		n := min(len(b), sliceSize)
		p.guard(func(emu *vt.Terminal) {
			scrolled := emu.Scrolled()
			emu.Write(b[:n])
			p.guesses.Heard(emu, time.Now())
			if p.back > 0 { // the view stays where somebody reads
				p.back += emu.Scrolled() - scrolled
			}
			p.bells += emu.Bells()
			if p.notes = append(p.notes, emu.Notes()...); len(p.notes) > maxNotes {
				p.notes = p.notes[:maxNotes]
			}
			if r := emu.Replies(); len(r) > 0 {
				p.input.reply(r)
			}
			p.dirty = true
		})
		b = b[n:]
		p.wake()
	}
}

func (p *Pane) writeInput() {
	for {
		b, ok := p.input.next()
		if !ok {
			return
		}
		if _, err := p.term.Write(b); err != nil {
			p.input.close()
			return
		}
	}
}

// Show says whether the pane is on the screen now.
func (p *Pane) Show(shown bool) {
	if p.shown.Swap(shown) != shown && shown {
		p.mu.Lock()
		p.dirty = true
		p.mu.Unlock()
	}
}

// Resize sets the size in cells. A size that is not positive is ignored: a
// terminal that is being closed may report one.
func (p *Pane) Resize(cols, rows int) {
	if cols <= 0 || rows <= 0 {
		return
	}
	cols, rows = clampSize(cols), clampSize(rows)
	changed := false
	p.guard(func(emu *vt.Terminal) {
		if changed = cols != p.cols || rows != p.rows; !changed {
			return
		}
		// First, so that a panic leaves an emulator of the new size.
		p.cols, p.rows, p.dirty = cols, rows, true
		p.guesses.Reset()
		emu.Resize(cols, rows)
	})
	if changed {
		// After the program's end there is nobody to tell.
		_ = p.term.Resize(uint16(cols), uint16(rows))
	}
}

// Tee has what the program sends go to write too, as it is; nil ends that.
func (p *Pane) Tee(write func([]byte)) {
	if write == nil {
		p.tee.Store(nil)
		return
	}
	p.tee.Store(&write)
}

// Touch says that something beside the screen has changed, and wakes whoever draws.
func (p *Pane) Touch() {
	p.mu.Lock()
	p.dirty = true
	p.mu.Unlock()
	p.wake()
}

// TakeDirty says whether something changed since the last call.
func (p *Pane) TakeDirty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.dirty
	p.dirty = false
	return d
}

// TakeBell says whether the program rang the bell since the last call.
func (p *Pane) TakeBell() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	rang := p.bells > 0
	p.bells = 0
	return rang
}

// TakeNotes gives what the program has announced since the last call.
func (p *Pane) TakeNotes() []sanitize.Text {
	p.mu.Lock()
	defer p.mu.Unlock()
	notes := p.notes
	p.notes = nil
	return notes
}

// Links gives the web addresses on the screen, those that the program has marked
// (OSC 8) and those that stand there, each once.
func (p *Pane) Links() (found []links.Link) {
	p.guard(func(emu *vt.Terminal) {
		var lines []string
		var line []byte
		for y := -p.back; y < p.rows-p.back; y++ {
			var wrapped bool
			if line, wrapped = emu.Text(line, y); !wrapped {
				lines, line = append(lines, string(line)), nil
			}
			for _, cell := range emu.Line(nil, y) {
				if cell.Style.Link != 0 {
					found = links.Add(found, emu.Link(cell.Style.Link))
				}
			}
		}
		for _, l := range links.Find(append(lines, string(line))) {
			found = links.Add(found, l.URL)
		}
	})
	return found
}

// Status returns what the pane's frame has to say.
func (p *Pane) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Status{
		Ended: p.ended, Exit: p.exit, Err: p.exitErr,
		Resets: p.resets, Lost: p.input.refused(),
		Back: p.back, History: p.emu.ScrollbackLen(),
	}
}

// Link says how the connection to the target stands.
func (p *Pane) Link() backend.Link {
	if l, ok := backend.TerminalAs[backend.LinkTerminal](p.term); ok {
		return l.Link()
	}
	return backend.Link{}
}

// Assurance returns what is known to protect the terminal.
func (p *Pane) Assurance() backend.Assurance { return p.term.Assurance() }

// Scroll moves the view by n lines, back into history where n is positive.
func (p *Pane) Scroll(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.back = max(0, min(p.back+n, p.emu.ScrollbackLen()))
	p.dirty = true
}

// Predict says when what is typed is shown before the program echoes it.
func (p *Pane) Predict(when predict.When) {
	p.guard(func(*vt.Terminal) { p.guesses = predict.Engine{When: when} })
}

// A Line is a line that the terminal has shown.
type Line struct {
	Text    string
	Wrapped bool // it goes on in the next one
}

// Lines returns what can be scrolled back, and the screen, from the oldest; and
// the line at the top of the view.
func (p *Pane) Lines() (lines []Line, top int) {
	p.guard(func(emu *vt.Terminal) {
		n := emu.ScrollbackLen()
		var buf []byte
		for y := -n; y < p.rows; y++ {
			var wrapped bool
			buf, wrapped = emu.Text(buf[:0], y)
			lines = append(lines, Line{string(buf), wrapped})
		}
		top = n - p.back
	})
	return lines, top
}

// Send queues input as it is.
func (p *Pane) Send(b []byte) {
	rtt := p.term.Assurance().RTT
	seen := false
	p.guard(func(emu *vt.Terminal) {
		p.back = 0
		p.guesses.Rate(rtt)
		p.guesses.Typed(emu, b, time.Now())
		_, _, seen = p.guesses.Shown(func(int, int, string) {})
		p.dirty = p.dirty || seen
		p.watchGuesses()
	})
	p.input.add(b)
	if seen {
		p.wake()
	}
}

// watchGuesses sets the timer for the oldest guess. The caller holds mu.
func (p *Pane) watchGuesses() {
	due, waits := p.guesses.Due()
	if !waits || p.ended {
		return
	}
	in := max(0, time.Until(due))
	if p.timer != nil {
		p.timer.Reset(in)
		return
	}
	p.timer = time.AfterFunc(in, func() {
		p.guard(func(emu *vt.Terminal) {
			p.guesses.Expire(emu, time.Now())
			p.dirty = true
			p.watchGuesses()
		})
		p.wake()
	})
}

// Key queues a key press in the encoding that the program asked for.
func (p *Pane) Key(k uv.Key) {
	p.mu.Lock()
	modes := p.emu.Modes()
	p.mu.Unlock()
	if b := encodeKey(k, modes); len(b) > 0 {
		p.Send(b)
	}
}

// Sequence queues a key that came as an escape sequence: in the encoding that the
// program asked for, or as it came where that is not known.
func (p *Pane) Sequence(k uv.Key, came []byte) {
	p.mu.Lock()
	modes := p.emu.Modes()
	p.mu.Unlock()
	b := encodeKey(k, modes)
	if len(b) == 0 || modes.Keyboard != 0 {
		b = came // the outer terminal was asked for the same keyboard
	}
	p.Send(b)
}

// Bracketed says whether the program can tell a paste from typing.
func (p *Pane) Bracketed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.emu.Modes().BracketedPaste
}

// Paste queues pasted text: bracketed where the program asked for it.
func (p *Pane) Paste(text string) {
	p.mu.Lock()
	p.guesses.Unknown()
	p.mu.Unlock()
	p.Send(encodePaste(text, p.Bracketed()))
}

// Close ends the terminal and the pane's goroutines. The screen stays.
func (p *Pane) Close() error {
	p.input.close()
	p.mu.Lock()
	p.guesses = predict.Engine{When: predict.Never}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	if err := p.term.Close(); err != nil {
		return fmt.Errorf("pane: %w", err)
	}
	return nil
}

// Done is closed once the program's end is known.
func (p *Pane) Done() <-chan struct{} { return p.done }
