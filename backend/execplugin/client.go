package execplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/execplugin/protocol"
)

// Times and numbers of the console's side, SPEC.md "Limits".
const (
	helloLimit  = 10 * time.Second // from the start to the plugin's hello
	answerLimit = 60 * time.Second // of a request that waits for no person
	pingEvery   = 15 * time.Second
	silentLimit = 45 * time.Second // without any frame: it hangs
	maxTerms    = 1000             // that are open
	maxTargets  = 1_000_000
)

// answers are the frames that a plugin may send.
var answers = map[string]bool{
	"hello": true, "page": true, "opened": true, "out": true, "err": true, "more": true, "exit": true, "assurance": true,
	"verdicts": true, "asked": true, "done": true, "changed": true, "error": true, "pong": true,
}

// An EndedError says why a plugin is not there any more. It wraps backend.ErrUnavailable
// and backend.ErrGone: a plugin is not started a second time.
type EndedError struct {
	Path string // the program
	Why  string // in words
	Said string // the last that it wrote to standard error, cleaned; empty: nothing
}

func (e *EndedError) Error() string {
	s := fmt.Sprintf("the plugin %s ended: %s", protocol.Clean(e.Path), e.Why)
	if e.Said != "" {
		s += "; it said last: " + e.Said
	}
	return s + "; start tucdesk again to start it anew"
}

// Unwrap implements errors.
func (e *EndedError) Unwrap() []error { return []error{backend.ErrUnavailable, backend.ErrGone} }

// A peer is the other end: a program, or a test.
type peer interface {
	io.Reader
	io.WriteCloser
	// end ends it, after it was given time where it may end by itself, and says how it
	// ended and what it said. Afterwards nothing is left of it.
	end(wait bool) (how, said string)
}

// client is the console's end of one plugin.
type client struct {
	path string
	peer peer
	link *protocol.Link
	can  []string
	gone chan struct{} // closed when nothing of it is left

	heard atomic.Int64 // when a frame came last, in nanoseconds of Unix

	mu     sync.Mutex
	closed bool
	last   uint32
	calls  map[uint32]*call
	terms  map[uint32]*terminal
}

// A call waits for answers of the plugin.
type call struct {
	answers chan protocol.Frame // holds one
	term    *terminal           // of an open, set before its answer comes
	changes *atomic.Uint32      // of a watch
	tty     bool
}

// connect greets a plugin, and gives the backend that it is.
func connect(ctx context.Context, path string, p peer, u *url.URL, dir string) (backend.Backend, error) {
	c := &client{
		path: path, peer: p, link: protocol.NewLink(p, p), gone: make(chan struct{}),
		calls: make(map[uint32]*call), terms: make(map[uint32]*terminal),
	}
	c.heard.Store(time.Now().UnixNano())
	greeted := &call{answers: make(chan protocol.Frame, 1)}
	c.calls[0] = greeted
	body := map[string]any{"url": u.String(), protocol.GreaseWord(): 1}
	if dir != "" {
		body["dir"] = dir
	}
	c.link.Send("hello", 0, body)
	backend.Go(c.run)
	backend.Go(c.reap)
	ctx, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	f, err := c.await(ctx, greeted, "hello")
	if errors.Is(err, context.DeadlineExceeded) {
		err = &EndedError{Path: path, Why: fmt.Sprintf("it did not say hello within %s", helloLimit)}
	}
	var hello protocol.HelloAnswer
	if err == nil {
		hello, err = protocol.Parse[protocol.HelloAnswer](f)
	}
	if err != nil {
		_ = c.Close() // the first error says more
		return nil, err
	}
	c.mu.Lock()
	delete(c.calls, 0)
	c.can = hello.Capabilities
	c.mu.Unlock()
	backend.Go(c.ping)
	return c.able(), nil
}

// able gives the client with the capabilities that the plugin has declared, and no others.
func (c *client) able() (b backend.Backend) {
	b = c
	if c.has(protocol.CanEvaluate) {
		b = evaluator{b, c}
	}
	if c.has(protocol.CanApprove) {
		b = approver{b, c}
	}
	if c.has(protocol.CanAsk) {
		b = asker{b, c}
	}
	if c.has(protocol.CanWatch) {
		b = watcher{b, c}
	}
	return b
}

func (c *client) has(capability string) bool { return slices.Contains(c.can, capability) }

// run takes what the plugin says, until its end.
func (c *client) run() {
	err := c.link.Version()
	if err == nil {
		err = c.take()
	}
	if why := c.link.Why(); why != nil && (protocol.Left(err) || !protocol.Left(why)) { // it was ended
		err = why
	}
	byItself := protocol.Left(err)
	how, said := c.peer.end(byItself)
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
		err = fmt.Errorf("execplugin: %w", backend.ErrClosed)
	case byItself:
		err = &EndedError{c.path, how, said}
	default:
		err = &EndedError{c.path, protocol.Clean(err.Error()).String(), said}
	}
	c.link.Fail(err)
	c.link.Settle(err) // with how it ended
	c.mu.Lock()
	terms := c.terms
	c.terms = nil
	c.mu.Unlock()
	for _, t := range terms {
		t.end(protocol.Exit{}, err)
	}
	<-c.link.Written
	close(c.gone)
}

// take takes frames. Its error is what ended the plugin.
func (c *client) take() error {
	for {
		f, err := c.link.Read(answers)
		if err != nil {
			return err
		}
		c.heard.Store(time.Now().UnixNano())
		if err := c.one(f); err != nil {
			return err
		}
	}
}

// one takes a frame. It never waits.
func (c *client) one(f protocol.Frame) error {
	c.mu.Lock()
	waiting, term := c.calls[f.ID], c.terms[f.ID]
	c.mu.Unlock()
	switch f.Word {
	case "pong":
		return nil
	case "out", "err", "more", "exit", "assurance":
		if term == nil {
			return nil // it was closed here, or never opened
		}
		return term.take(f)
	case "changed":
		if waiting == nil || waiting.changes == nil {
			return nil
		}
		b, err := protocol.Parse[protocol.Changed](f)
		if err != nil {
			return err
		}
		waiting.change(b)
		return nil
	case "opened":
		if waiting == nil {
			c.link.Send("close", f.ID, protocol.Empty{}) // nobody waits for it any more
			return nil
		}
		b, err := protocol.Parse[protocol.Opened](f)
		if err != nil {
			return err
		}
		waiting.term = newTerminal(c, f.ID, waiting.tty, b)
		c.mu.Lock()
		c.terms[f.ID] = waiting.term
		c.mu.Unlock()
	}
	if waiting == nil {
		return nil // canceled
	}
	if waiting.changes != nil {
		select {
		case <-waiting.answers: // a change that nobody has taken: this is the end
		default:
		}
	}
	select {
	case waiting.answers <- f:
		return nil
	default:
		return fmt.Errorf("execplugin: it sent a second answer, %q, before it was asked for", f.Word)
	}
}

// change notes what has changed, and wakes whoever watches.
func (w *call) change(b protocol.Changed) {
	var bits uint32
	if b.Targets {
		bits |= 1
	}
	if b.Approvals {
		bits |= 2
	}
	w.changes.Or(bits)
	select {
	case w.answers <- protocol.Frame{Word: "changed"}:
	default: // it is awake already
	}
}

// ping sees to it that a plugin which hangs is noticed.
func (c *client) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.link.Done:
			return
		case <-tick.C:
		}
		if silent := time.Since(time.Unix(0, c.heard.Load())); silent > silentLimit {
			c.link.Fail(fmt.Errorf("it said nothing for %s", silent.Round(time.Second)))
			return
		}
		c.link.Send("ping", 0, protocol.Empty{})
	}
}

// reap sees to it that nothing is left of a plugin whose link has ended: after a moment to
// end by itself, where the user has closed it or it ends already.
func (c *client) reap() {
	<-c.link.Done
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	c.peer.end(closed || protocol.Left(c.link.Why()))
}

// begin sends a request.
func (c *client) begin(ctx context.Context, word string, body any, w *call) (uint32, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("execplugin: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, fmt.Errorf("execplugin: %w", backend.ErrClosed)
	case c.terms == nil:
		return 0, c.link.Why()
	case word == "open" && len(c.terms) >= maxTerms:
		return 0, fmt.Errorf("execplugin: %w: %d terminals are open already; close some", backend.ErrUnavailable, maxTerms)
	case c.last == 1<<32-1:
		return 0, fmt.Errorf("execplugin: %w: it has answered too many requests; open the backend again", backend.ErrUnavailable)
	}
	c.last++
	w.answers = make(chan protocol.Frame, 1)
	c.calls[c.last] = w
	c.link.Send(word, c.last, body)
	return c.last, nil
}

// over forgets a call; one that was not answered is canceled.
func (c *client) over(id uint32, answered bool) {
	c.mu.Lock()
	w := c.calls[id]
	delete(c.calls, id)
	term := c.terms[id]
	c.mu.Unlock()
	if answered {
		return
	}
	c.link.Send("cancel", id, protocol.Empty{})
	if w != nil && term != nil { // it opened while nobody waited any more
		_ = term.Close()
	}
}

// await waits for an answer.
func (c *client) await(ctx context.Context, w *call, want string) (protocol.Frame, error) {
	var f protocol.Frame
	select {
	case f = <-w.answers:
	case <-ctx.Done():
		return protocol.Frame{}, fmt.Errorf("execplugin: %w", ctx.Err())
	case <-c.link.Done:
		select {
		case f = <-w.answers: // it had come
		default:
			select {
			case <-c.gone: // it is known how it ended
				return protocol.Frame{}, c.link.Why()
			case <-ctx.Done():
				return protocol.Frame{}, fmt.Errorf("execplugin: %w", ctx.Err())
			}
		}
	}
	switch f.Word {
	case want:
		return f, nil
	case "error":
		b, err := protocol.Parse[protocol.Error](f)
		if err != nil {
			return protocol.Frame{}, err
		}
		return protocol.Frame{}, b.Err()
	}
	return protocol.Frame{}, fmt.Errorf("execplugin: the plugin answers %q where %q is due", f.Word, want)
}

// ask sends a request and waits for its one answer. A limit of 0 is none.
func (c *client) ask(ctx context.Context, limit time.Duration, word string, body any, want string) (protocol.Frame, error) {
	w := new(call)
	id, err := c.begin(ctx, word, body, w)
	if err != nil {
		return protocol.Frame{}, err
	}
	return c.finish(ctx, limit, id, w, want)
}

// finish waits for the answer of a request that was sent.
func (c *client) finish(ctx context.Context, limit time.Duration, id uint32, w *call, want string) (protocol.Frame, error) {
	inner, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		inner, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	f, err := c.await(inner, w, want)
	unanswered := errors.Is(err, inner.Err()) && inner.Err() != nil
	c.over(id, !unanswered)
	if unanswered && ctx.Err() == nil {
		return f, fmt.Errorf("execplugin: %w: the plugin did not answer within %s", backend.ErrUnavailable, limit)
	}
	return f, err
}

// pages asks for a list, page by page.
func (c *client) pages(ctx context.Context, word string, each func(protocol.Page) error) error {
	w := new(call)
	id, err := c.begin(ctx, word, protocol.Empty{}, w)
	if err != nil {
		return err
	}
	answered := false
	defer func() { c.over(id, answered) }()
	for {
		inner, cancel := context.WithTimeout(ctx, answerLimit)
		f, err := c.await(inner, w, "page")
		late := inner.Err() != nil && ctx.Err() == nil
		cancel()
		var page protocol.Page
		if err == nil {
			page, err = protocol.Parse[protocol.Page](f)
		}
		switch {
		case err != nil && late:
			return fmt.Errorf("execplugin: %w: the plugin did not answer within %s", backend.ErrUnavailable, answerLimit)
		case err != nil:
			answered = ctx.Err() == nil
			return err
		}
		answered = !page.More
		if err := each(page); err != nil || !page.More {
			return err
		}
		c.link.Send("next", id, protocol.Empty{})
	}
}

// errEnough ends pages whose reader has stopped.
var errEnough = errors.New("execplugin: enough")

// Targets implements backend.Backend.
func (c *client) Targets(ctx context.Context) iter.Seq2[backend.Target, error] {
	return func(yield func(backend.Target, error) bool) {
		var last backend.TargetID
		n := 0
		err := c.pages(ctx, "targets", func(p protocol.Page) error {
			if p.More && len(p.Targets) == 0 {
				return errors.New("execplugin: the plugin sends an empty page, and says that more come")
			}
			for _, b := range p.Targets {
				t, err := b.Target(c.path)
				switch n++; {
				case err != nil:
					return err
				case n > maxTargets:
					return fmt.Errorf("execplugin: the plugin lists more than %d targets", maxTargets)
				case t.ID <= last:
					return fmt.Errorf("execplugin: the plugin lists target %s after %s; IDs must ascend", protocol.Clean(b.ID), protocol.Clean(string(last)))
				}
				last = t.ID
				if !yield(t, nil) {
					return errEnough
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(backend.Target{}, err)
		}
	}
}

// Open implements backend.Backend.
func (c *client) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	body, err := protocol.OfRequest(req)
	if err != nil {
		return nil, err
	}
	w := &call{tty: body.TTY}
	id, err := c.begin(ctx, "open", body, w)
	if err != nil {
		return nil, err
	}
	if _, err := c.finish(ctx, answerLimit, id, w, "opened"); err != nil {
		return nil, err
	}
	return w.term.able(), nil
}

func (c *client) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("execplugin: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("execplugin: %w", backend.ErrClosed)
	}
	return nil
}

// forget drops a terminal that has ended.
func (c *client) forget(t *terminal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.terms, t.id)
}

// Close implements backend.Backend. It waits until nothing of the plugin is left.
func (c *client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.link.Fail(fmt.Errorf("execplugin: %w", backend.ErrClosed)) // its input is closed then
	<-c.gone
	return nil
}
