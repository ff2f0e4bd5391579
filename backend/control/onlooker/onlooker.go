// Package onlooker is the operator's side of watching a shell: the terminal of who looks
// on, and who looks on at a terminal. internal/watching has what is said.
//
// What a shell shows reaches who watches through an emulator of ours, which has the
// shell's size: bytes that ask something of a terminal, or set its title or clipboard, end
// there. A terminal that is smaller shows the part in which the cursor is.
//
// It must not import control.
package onlooker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/internal/vt/redraw"
	"github.com/tucdesk/tucdesk/internal/watching"
)

// maxUnread bounds the output that waits for who reads it plainly, in bytes.
const maxUnread = 256 << 10

// A Terminal is the terminal of who watches. It takes over the one of the channel, which
// carries the messages.
type Terminal struct {
	backend.Terminal // of the channel
	types            bool
	drawn            bool // on a terminal; else the output as it comes

	mu         sync.Mutex
	some       *sync.Cond
	screen     *vt.Terminal // nil before the first Screen
	painter    redraw.Painter
	cols, rows int
	dirty      bool
	unread     []byte
	seen       uint64 // bytes of output, where they are not drawn
	ended      error  // io.EOF: it was said why, here or by the session's exit
	told       bool   // by the shell's side: reason
	reason     string
}

// Whose answers an error where the machine says that a shell is another member's than who
// asked for it was told. That was apid's word, which could lead anybody to type in front
// of somebody else.
func Whose(req backend.OpenRequest, owner string) error {
	if req.Owner == "" || req.Owner == owner || !req.Kind.Watches() {
		return nil
	}
	return fmt.Errorf("%w: the machine says that this shell is %s's, and apid has said that it is %s's: do not look or type there, and tell an admin",
		backend.ErrDenied, cmp.Or(owner, "nobody"), req.Owner)
}

// New gives the terminal of who watches, by the request that opened it.
func New(t backend.Terminal, req backend.OpenRequest) *Terminal {
	w := &Terminal{
		Terminal: t, types: req.Kind == backend.KindJoin, drawn: req.TTY, cols: max(int(req.Cols), 1), rows: max(int(req.Rows), 1),
	}
	w.some = sync.NewCond(&w.mu)
	w.painter.Keys = w.types
	backend.Go(w.follow)
	return w
}

// follow takes messages until the end.
func (w *Terminal) follow() {
	for {
		m, err := watching.Read(w.Terminal)
		w.mu.Lock()
		switch {
		case err == nil && m.Type == watching.End:
			w.ended, w.told, w.reason = io.EOF, true, m.Reason
		case err != nil:
			if w.ended = err; errors.Is(err, watching.ErrProtocol) {
				w.ended = fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
			}
		default:
			w.take(m)
		}
		over, exits := w.ended != nil, w.ended == io.EOF && !w.told // then it ends by itself
		w.some.Broadcast()
		w.mu.Unlock()
		if over && !exits {
			w.Terminal.Close()
		}
		if over {
			return
		}
	}
}

// take wants mu held. Where output is not drawn, who does not read makes the machine wait,
// which leaves out what there is too much of.
func (w *Terminal) take(m watching.Message) {
	if w.drawn {
		if m.Type == watching.Screen || w.screen == nil {
			w.screen = vt.New(max(int(m.Cols), 1), max(int(m.Rows), 1), vt.Options{})
		}
		if m.Type == watching.Size {
			w.screen.Resize(int(m.Cols), int(m.Rows))
		}
		_, _ = w.screen.Write(m.Bytes)
		_ = w.screen.Replies() // the machine's terminal has answered
		w.dirty = true
		return
	}
	if b := m.Bytes; m.Type == watching.Screen {
		if m.Lost > w.seen {
			w.unread = fmt.Appendf(w.unread, "\r\ntucdesk: %d bytes of output are left out here\r\n", m.Lost-w.seen)
			w.seen = m.Lost
		}
		m.Bytes = b[min(w.seen-m.Lost, uint64(len(b))):]
	}
	w.unread = append(w.unread, m.Bytes...)
	w.seen += uint64(len(m.Bytes))
	for len(w.unread) > maxUnread && w.ended == nil {
		w.some.Broadcast()
		w.some.Wait()
	}
}

// Read gives what shows the shell. It is io.EOF after the machine has said why it ends.
func (w *Terminal) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.unread) == 0 && !w.dirty && w.ended == nil {
		w.some.Wait()
	}
	if len(w.unread) == 0 && w.dirty {
		w.unread = w.painter.Paint(nil, w.screen, w.cols, w.rows)
		w.dirty = false
	}
	n := copy(p, w.unread)
	w.unread = w.unread[n:]
	if n == 0 && w.ended != nil {
		return 0, w.ended
	}
	w.some.Broadcast()
	return n, nil
}

// Write types, for who has joined. Whoever observes types nothing.
func (w *Terminal) Write(p []byte) (int, error) {
	if !w.types {
		return len(p), nil
	}
	return w.Terminal.Write(p)
}

// Resize says how large the window is on which the shell is drawn. The shell's own size is
// its owner's.
func (w *Terminal) Resize(cols, rows uint16) error {
	if cols == 0 || rows == 0 {
		return errors.New("control: a terminal has at least one column and one row")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cols, w.rows, w.dirty = int(cols), int(rows), w.screen != nil
	w.some.Broadcast()
	return nil
}

// Wait gives why the watching ended: as the shell's side has said it, or the session's.
func (w *Terminal) Wait() (backend.Exit, error) {
	exit, err := w.Terminal.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told {
		return backend.Exit{Reason: w.reason}, nil
	}
	return exit, err
}

// Close ends the watching.
func (w *Terminal) Close() error {
	w.mu.Lock()
	if w.ended == nil {
		w.ended = backend.ErrClosed
	}
	w.some.Broadcast()
	w.mu.Unlock()
	return w.Terminal.Close()
}

// Link implements backend.LinkTerminal.
func (w *Terminal) Link() backend.Link {
	if l, ok := backend.TerminalAs[backend.LinkTerminal](w.Terminal); ok {
		return l.Link()
	}
	return backend.Link{}
}

// An Audience is who looks on at a terminal of this device. A nil one is nobody.
type Audience struct {
	out chan []backend.Onlooker // closed at the end

	mu sync.Mutex
	ch *channel.Channel // nil while nothing can be said
}

// Follow asks a shell's machine who looks on, until the session ends.
func Follow(mux *channel.Mux) *Audience {
	a := &Audience{out: make(chan []backend.Onlooker, 1)}
	backend.Go(func() {
		defer close(a.out)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stop := make(chan struct{})
		defer close(stop)
		backend.Go(func() {
			select {
			case <-mux.Done():
				cancel()
			case <-stop:
			}
		})
		ch, err := mux.Open(ctx, channel.OpenMessage{Kind: watching.Kind})
		if err != nil {
			return
		}
		defer ch.Close()
		if answer, err := ch.AwaitAnswer(ctx); err != nil || !answer.Allowed() {
			return
		}
		a.mu.Lock()
		a.ch = ch
		a.mu.Unlock()
		for {
			r, err := watching.ReadRoll(ch)
			if err != nil {
				return
			}
			all := make([]backend.Onlooker, len(r.Watchers))
			for i, w := range r.Watchers {
				all[i] = backend.Onlooker{N: w.N, Who: w.Who, Types: w.Types, Since: time.Unix(w.Since, 0)}
			}
			select { // the newest is what counts
			case <-a.out:
			default:
			}
			a.out <- all
		}
	})
	return a
}

// Watchers gives who looks on, at each change. It ends with the session.
func (a *Audience) Watchers() <-chan []backend.Onlooker {
	if a == nil {
		return nil
	}
	return a.out
}

// Dismiss ends somebody's looking.
func (a *Audience) Dismiss(n uint64) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ch != nil {
		var b bytes.Buffer
		if watching.WriteDismissal(&b, watching.Dismissal{N: n}) == nil {
			a.ch.Write(b.Bytes())
		}
	}
}
