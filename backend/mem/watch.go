package mem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

const (
	// maxShown bounds what is kept of a shell's output for who watches it, and what
	// waits for one of them, in bytes.
	maxShown = 64 << 10
	// maxWatchers bounds who watches one shell at a time.
	maxWatchers = 8
)

var (
	_ backend.Overseer        = (*Backend)(nil)
	_ backend.WatchedTerminal = (*terminal)(nil)
)

// errNoShell is all that anybody hears who names a shell that is not there for them.
var errNoShell = backend.Verdict{Reason: "no shell that you may watch runs here by this name"}

// may reports whether the script lets a member watch shells on the target.
func (t *Target) may(member string, k backend.Kind) bool {
	if k == backend.KindJoin {
		return slices.Contains(t.Join, member)
	}
	return slices.Contains(t.Observe, member)
}

// A stage is a shell as others see it.
type stage struct {
	backend.Session
	owner *terminal

	mu       sync.Mutex
	shown    []byte // the newest output
	watchers []*watcher
	last     uint64
	over     bool
	told     chan []backend.Onlooker // the newest word; closed at the end
}

// perform makes the stage of a shell that begins.
func (w *World) perform(member string, t *terminal, req backend.OpenRequest, now time.Time) *stage {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stages++
	s := &stage{
		Session: backend.Session{
			ID: backend.SessionID(fmt.Sprintf("%032x", w.stages)), Owner: member, Target: req.Target, Kind: req.Kind, As: req.As,
			Device: "a window", Began: now, EndsBy: now.Add(12 * time.Hour),
		},
		owner: t, told: make(chan []backend.Onlooker, 1),
	}
	s.told <- nil
	w.shells = append(w.shells, s)
	return s
}

// close ends a stage, and those who watch it.
func (w *World) close(s *stage) {
	w.mu.Lock()
	w.shells = slices.DeleteFunc(w.shells, func(other *stage) bool { return other == s })
	w.mu.Unlock()
	s.mu.Lock()
	s.over = true
	all := slices.Clone(s.watchers)
	s.mu.Unlock()
	for _, one := range all {
		one.end("the shell has ended")
	}
	s.mu.Lock()
	close(s.told)
	s.mu.Unlock()
}

// Watchable implements backend.Overseer.
func (b *Backend) Watchable(ctx context.Context) ([]backend.Session, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	w := b.world
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []backend.Session{}
	for _, s := range slices.Backward(w.shells) {
		one, t := s.Session, w.byID[s.Target]
		one.Observe, one.Join = t.may(b.member, backend.KindObserve), t.may(b.member, backend.KindJoin)
		if one.Owner != b.member && (one.Observe || one.Join) {
			out = append(out, one)
		}
	}
	return out, nil
}

// watch opens a shell to look at. Policy has allowed it for the target.
func (b *Backend) watch(req backend.OpenRequest) (backend.Terminal, error) {
	b.world.mu.Lock()
	at := slices.IndexFunc(b.world.shells, func(s *stage) bool { return s.ID == req.Session && s.Target == req.Target && s.Owner != b.member })
	var s *stage
	if at >= 0 {
		s = b.world.shells[at]
	}
	b.world.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("mem: %w", errNoShell.Err())
	}
	if req.Owner != "" && req.Owner != s.Owner {
		return nil, fmt.Errorf("mem: this shell is %s's, not %s's: %w", s.Owner, req.Owner, backend.ErrDenied)
	}
	w := &watcher{b: b, stage: s, types: req.Kind == backend.KindJoin}
	w.some = sync.NewCond(&w.mu)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("mem: %w", backend.ErrClosed)
	}
	if err := s.add(b.member, w, time.Now()); err != nil {
		return nil, err
	}
	if b.watching == nil {
		b.watching = make(map[*watcher]struct{})
	}
	b.watching[w] = struct{}{}
	return w, nil
}

func (s *stage) add(member string, w *watcher, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return fmt.Errorf("mem: %w", errNoShell.Err())
	case len(s.watchers) >= maxWatchers:
		return fmt.Errorf("mem: as many watch this shell as may: %w", backend.ErrUnavailable)
	}
	s.last++
	w.who = backend.Onlooker{N: s.last, Who: member, Types: w.types, Since: now}
	w.unread = slices.Clone(s.shown)
	s.watchers = append(s.watchers, w)
	s.tell()
	return nil
}

// tell wants mu held.
func (s *stage) tell() {
	if s.over {
		return
	}
	all := make([]backend.Onlooker, len(s.watchers))
	for i, w := range s.watchers {
		all[i] = w.who
	}
	select { // the newest is what counts
	case <-s.told:
	default:
	}
	s.told <- all
}

// Write takes output of the shell. It never fails, and waits for nobody.
func (s *stage) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = newest(append(s.shown, p...))
	for _, w := range s.watchers {
		w.hear(p)
	}
	return len(p), nil
}

func newest(b []byte) []byte { return b[max(0, len(b)-maxShown):] }

// Watchers implements backend.WatchedTerminal.
func (t *terminal) Watchers() <-chan []backend.Onlooker {
	if t.stage == nil {
		return nil
	}
	return t.stage.told
}

// Dismiss implements backend.WatchedTerminal.
func (t *terminal) Dismiss(n uint64) {
	if t.stage == nil {
		return
	}
	t.stage.mu.Lock()
	at := slices.IndexFunc(t.stage.watchers, func(w *watcher) bool { return w.who.N == n })
	var w *watcher
	if at >= 0 {
		w = t.stage.watchers[at]
	}
	t.stage.mu.Unlock()
	if w != nil {
		w.end("the shell's owner has ended it")
	}
}

// A watcher is the terminal of who watches.
type watcher struct {
	b     *Backend // of who watches
	stage *stage
	types bool
	who   backend.Onlooker

	mu     sync.Mutex
	some   *sync.Cond
	unread []byte // the oldest is left out where there is too much
	over   bool
	reason string // of the end
}

func (w *watcher) hear(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unread = newest(append(w.unread, p...))
	w.some.Broadcast()
}

// end ends the watching, once.
func (w *watcher) end(why string) {
	w.mu.Lock()
	first := !w.over
	if first {
		w.over, w.reason = true, why
	}
	w.some.Broadcast()
	w.mu.Unlock()
	if first {
		w.b.mu.Lock()
		delete(w.b.watching, w)
		w.b.mu.Unlock()
		s := w.stage
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watchers = slices.DeleteFunc(s.watchers, func(other *watcher) bool { return other == w })
		s.tell()
	}
}

func (w *watcher) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.unread) == 0 && !w.over {
		w.some.Wait()
	}
	if n := copy(p, w.unread); n > 0 || len(p) == 0 {
		w.unread = w.unread[n:]
		return n, nil
	}
	return 0, w.eof()
}

// Write types, for who has joined. Whoever observes types nothing.
func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	over := w.over
	w.mu.Unlock()
	switch {
	case over:
		return 0, fmt.Errorf("mem: %w", backend.ErrClosed)
	case !w.types:
		return len(p), nil
	}
	return w.stage.owner.Write(p)
}

// Resize changes nothing: the size is the owner's.
func (w *watcher) Resize(cols, rows uint16) error {
	if cols == 0 || rows == 0 {
		return errors.New("mem: a terminal has at least one column and one row")
	}
	return nil
}

func (w *watcher) Wait() (backend.Exit, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.over {
		w.some.Wait()
	}
	return backend.Exit{Reason: w.reason}, nil
}

func (w *watcher) Assurance() backend.Assurance { return w.stage.owner.assurance }

// Link implements backend.LinkTerminal.
func (w *watcher) Link() backend.Link { return w.b.world.linkNow() }

func (w *watcher) Close() error {
	w.mu.Lock()
	w.unread = nil
	w.mu.Unlock()
	w.end(closed)
	return nil
}

// closed is the end of who has closed their terminal.
const closed = "closed"

// eof wants mu held.
func (w *watcher) eof() error {
	if w.reason == closed {
		return fmt.Errorf("mem: %w", backend.ErrClosed)
	}
	return io.EOF
}
