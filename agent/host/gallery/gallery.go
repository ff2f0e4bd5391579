// Package gallery is from where others look at a terminal: members whom policy lets
// observe or join a shell. They get what it has shown and then its output, in the
// messages of internal/watching; whoever has joined types, too.
//
// Invariants:
//   - who is slow is left behind, and begins again with what is shown then: neither the
//     program nor its operator waits for anybody here;
//   - nothing that an observer sends reaches the program;
//   - watchers are bounded in number, and in the bytes that are kept for them;
//   - each change of who is here is told, in order, and the last word is the newest.
//
// It judges nobody: the keeper has. It must not import agent/host or agent/ledger.
package gallery

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/seat"
	"github.com/tucdesk/tucdesk/internal/watching"
)

const (
	// maxBehind bounds the output that waits for one watcher, beside a Screen.
	maxBehind = 256 << 10
	// lastWords is what a watcher gets to read why it ends.
	lastWords = 2 * time.Second
)

// Errors of Add.
var (
	ErrFull = errors.New("gallery: as many watch this shell as may: 8; somebody must leave first")
	ErrOver = errors.New("gallery: the shell has just ended")
)

// A Seat is a terminal that can be heard: a seat.Seat.
type Seat interface {
	Hear(seat.Hearer)
	Leave(seat.Hearer)
}

// A Change is something that has happened here.
type Change struct {
	Who   watching.Watcher
	Left  bool
	Why   string // somebody has left
	Watch []watching.Watcher
}

// A Gallery is safe for concurrent use.
type Gallery struct {
	seat Seat
	keys io.Writer    // the program's input
	told func(Change) // may block, and then those who come and go do

	telling sync.Mutex // one change after the other

	mu   sync.Mutex
	all  []*watcher
	last uint64
	over bool
}

// New makes the gallery of a terminal. keys takes what is typed here.
func New(s Seat, keys io.Writer, told func(Change)) *Gallery {
	return &Gallery{seat: s, keys: keys, told: told}
}

// Add lets somebody in, who is at the other end of conn, and gives back when everybody
// who must know has been told. It owns conn, also when it fails.
func (g *Gallery) Add(who string, types bool, conn net.Conn) error {
	w := &watcher{conn: conn, more: make(chan struct{}, 1), room: maxBehind}
	g.mu.Lock()
	full, over := len(g.all) >= watching.Most, g.over
	if !full && !over {
		g.last++
		w.Watcher = watching.Watcher{N: g.last, Who: who, Types: types, Since: time.Now().Unix()}
		g.all = append(g.all, w)
	}
	g.mu.Unlock()
	if full || over {
		conn.Close()
		if full {
			return ErrFull
		}
		return ErrOver
	}
	g.tell(Change{Who: w.Watcher})
	g.seat.Hear(w)
	go g.write(w)
	go g.read(w)
	return nil
}

// Dismiss ends a watcher, who reads why.
func (g *Gallery) Dismiss(n uint64, why string) {
	g.mu.Lock()
	i := slices.IndexFunc(g.all, func(w *watcher) bool { return w.N == n })
	var w *watcher
	if i >= 0 {
		w = g.all[i]
	}
	g.mu.Unlock()
	if w != nil {
		w.end(why)
	}
}

// Close ends all watchers, and lets nobody in any more.
func (g *Gallery) Close(why string) {
	g.mu.Lock()
	g.over = true
	all := slices.Clone(g.all)
	g.mu.Unlock()
	for _, w := range all {
		w.end(why)
	}
}

// tell tells of a change, with who is here now.
func (g *Gallery) tell(c Change) {
	g.telling.Lock()
	defer g.telling.Unlock()
	g.mu.Lock()
	for _, w := range g.all {
		c.Watch = append(c.Watch, w.Watcher)
	}
	g.mu.Unlock()
	g.told(c)
}

// gone is called once for each watcher.
func (g *Gallery) gone(w *watcher) {
	g.seat.Leave(w)
	w.conn.Close()
	g.mu.Lock()
	i := slices.Index(g.all, w)
	if i >= 0 {
		g.all = slices.Delete(g.all, i, i+1)
	}
	g.mu.Unlock()
	if i >= 0 {
		g.tell(Change{Who: w.Watcher, Left: true, Why: w.why()})
	}
}

// read takes what a watcher sends, until the other end is closed.
func (g *Gallery) read(w *watcher) {
	b := make([]byte, 4<<10)
	for {
		n, err := w.conn.Read(b)
		if n > 0 && w.Types && g.keys != nil && !w.ended() {
			_, err = g.keys.Write(b[:n]) // of a program that has ended
		}
		if err != nil {
			w.end("") // there is nobody to read it
			return
		}
	}
}

// write sends what a watcher is to see, until its end.
func (g *Gallery) write(w *watcher) {
	defer g.gone(w)
	for range w.more {
		b, behind, over := w.take()
		if behind {
			g.seat.Hear(w)
			continue
		}
		if over {
			w.conn.SetWriteDeadline(time.Now().Add(lastWords))
		}
		if _, err := w.conn.Write(b); err != nil || over {
			return
		}
	}
}

// A watcher is a seat.Hearer.
type watcher struct {
	watching.Watcher
	conn net.Conn
	more chan struct{} // there is something for take

	mu     sync.Mutex
	buf    []byte // whole messages
	room   int    // how much more output may wait
	behind bool   // output was left out
	over   bool
	reason string
}

// Begin implements seat.Hearer.
func (w *watcher) Begin(p seat.Past) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	m := watching.Message{Type: watching.Screen, Bytes: p.Kept, Lost: p.Lost, Cols: max(p.Cols, 1), Rows: max(p.Rows, 1)}
	w.buf, w.room, w.behind = m.Append(w.buf[:0]), maxBehind, false
	w.signal()
}

// Output implements seat.Hearer.
func (w *watcher) Output(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.behind || w.over {
		return
	}
	if w.room -= len(b); w.room < 0 {
		w.buf, w.behind = nil, true
	}
	for len(b) > 0 && !w.behind {
		n := min(len(b), watching.MaxOutput)
		w.buf = watching.Message{Type: watching.Output, Bytes: b[:n]}.Append(w.buf)
		b = b[n:]
	}
	w.signal()
}

// Resized implements seat.Hearer.
func (w *watcher) Resized(cols, rows uint16) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.behind || w.over {
		return
	}
	w.room -= 16
	w.buf = watching.Message{Type: watching.Size, Cols: max(cols, 1), Rows: max(rows, 1)}.Append(w.buf)
	w.signal()
}

// end ends a watcher, once.
func (w *watcher) end(why string) {
	w.mu.Lock()
	first := !w.over
	if first {
		w.over, w.reason, w.behind = true, why, false
		w.buf = watching.Message{Type: watching.End, Reason: strings.ToValidUTF8(why[:min(len(why), watching.MaxReason)], "")}.Append(w.buf)
		w.signal()
	}
	w.mu.Unlock()
	if first {
		// A writer that is stuck is freed.
		w.conn.SetWriteDeadline(time.Now().Add(lastWords))
	}
}

// take gives what is to be sent, and whether that is the end.
func (w *watcher) take() (b []byte, behind, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, w.buf, w.room = w.buf, nil, maxBehind
	return b, w.behind, w.over
}

func (w *watcher) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

func (w *watcher) why() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

// signal wants mu held.
func (w *watcher) signal() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}
