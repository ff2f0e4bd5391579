package execplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/execplugin/protocol"
)

// requests are the frames that the console may send.
var requests = map[string]bool{
	"targets": true, "next": true, "open": true, "in": true, "eof": true, "resize": true, "signal": true, "close": true, "more": true,
	"evaluate": true, "ask": true, "await": true, "pending": true, "decide": true, "watch": true, "cancel": true, "ping": true,
}

const (
	// maxCalls bounds the requests that a plugin works on.
	maxCalls = 2000
	// assuredEvery is how often a terminal's assurance is looked at.
	assuredEvery = 5 * time.Second
)

// Serve is the main of a plugin in Go: os.Exit(execplugin.Serve(acme.Driver())). It gives
// the exit code. What is written to os.Stdout meanwhile goes to standard error.
func Serve(d backend.Driver) int {
	if len(os.Args) != 2 || os.Args[1] != argument {
		fmt.Fprintf(os.Stderr, "This is a backend of TucDesk: %s.\nPut it on PATH as %s, and run: tucdesk --backend %s:\n", d.Doc, prefix+d.Scheme, d.Scheme)
		return 2
	}
	out := os.Stdout
	os.Stdout = os.Stderr
	if err := ServeOn(context.Background(), os.Stdin, out, d); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// ServeOn serves one console on a connection, until in ends or ctx is done. It closes
// out, and returns when all that it has started has ended.
func ServeOn(ctx context.Context, in io.Reader, out io.WriteCloser, d backend.Driver) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{ctx: ctx, link: protocol.NewLink(in, out), calls: make(map[uint32]*work), terms: make(map[uint32]*served)}
	err := s.serve(d)
	if protocol.Left(err) {
		err = nil
	}
	ended := err
	if ended == nil {
		ended = io.EOF
	}
	s.link.Fail(ended)
	cancel()
	s.mu.Lock()
	s.ended = true
	terms := slices.Collect(maps.Values(s.terms))
	s.mu.Unlock()
	for _, t := range terms {
		t.close()
	}
	if s.backend != nil {
		err = errors.Join(err, s.backend.Close())
	}
	s.all.Wait()
	<-s.link.Written
	return err
}

// A server is a plugin's end.
type server struct {
	ctx     context.Context
	link    *protocol.Link
	backend backend.Backend
	all     sync.WaitGroup

	mu    sync.Mutex
	calls map[uint32]*work
	terms map[uint32]*served
	ended bool // no terminal is added any more
}

// A work is a request that is worked on.
type work struct {
	cancel context.CancelFunc
	next   chan struct{} // a page may be sent
}

func (s *server) serve(d backend.Driver) error {
	if err := s.link.Version(); err != nil {
		return err
	}
	f, err := s.link.Read(map[string]bool{"hello": true})
	if err != nil {
		return err
	}
	if err := s.hello(f, d); err != nil {
		s.link.Send("error", 0, protocol.OfError(err))
		return err
	}
	s.all.Go(s.assure)
	for {
		f, err := s.link.Read(requests)
		if err == nil {
			err = s.one(f)
		}
		if err != nil {
			return err
		}
	}
}

// hello opens the backend, and says what it can do.
func (s *server) hello(f protocol.Frame, d backend.Driver) error {
	b, err := protocol.Parse[protocol.Hello](f)
	if err != nil {
		return err
	}
	u, err := url.Parse(b.URL)
	if err != nil {
		return errors.New("execplugin: the console sends no URL")
	}
	ctx, cancel := context.WithTimeout(s.ctx, helloLimit)
	defer cancel()
	env := backend.Env{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Dir: b.Dir}
	if s.backend, err = d.Open(ctx, u, env); err != nil {
		return err
	}
	a := protocol.HelloAnswer{Doc: d.Doc, Capabilities: []string{protocol.CanEOF, protocol.CanSignal}}
	if _, ok := backend.As[backend.Evaluator](s.backend); ok {
		a.Capabilities = append(a.Capabilities, protocol.CanEvaluate)
	}
	if _, ok := backend.As[backend.Approver](s.backend); ok {
		a.Capabilities = append(a.Capabilities, protocol.CanApprove)
	}
	if _, ok := backend.As[backend.Asker](s.backend); ok {
		a.Capabilities = append(a.Capabilities, protocol.CanAsk)
	}
	if _, ok := backend.As[backend.Watcher](s.backend); ok {
		a.Capabilities = append(a.Capabilities, protocol.CanWatch)
	}
	s.link.Send("hello", 0, a)
	return nil
}

// one takes a frame. It never waits for the backend.
func (s *server) one(f protocol.Frame) error {
	s.mu.Lock()
	working, term := s.calls[f.ID], s.terms[f.ID]
	s.mu.Unlock()
	switch f.Word {
	case "ping":
		s.link.Send("pong", f.ID, protocol.Empty{})
	case "cancel":
		if working != nil {
			working.cancel()
		}
	case "next":
		if working != nil {
			select {
			case working.next <- struct{}{}:
			default:
			}
		}
	case "in", "eof", "resize", "signal", "close", "more":
		if term != nil {
			return term.take(f)
		}
	default:
		if working != nil || term != nil {
			return fmt.Errorf("execplugin: the console uses the ID %d twice", f.ID)
		}
		return s.begin(f)
	}
	return nil
}

// begin works on a request, in a goroutine of its own.
func (s *server) begin(f protocol.Frame) error {
	ctx, cancel := context.WithCancel(s.ctx)
	w := &work{cancel, make(chan struct{}, 1)}
	s.mu.Lock()
	full := len(s.calls) >= maxCalls
	if !full {
		s.calls[f.ID] = w
	}
	s.mu.Unlock()
	if full {
		cancel()
		s.link.Send("error", f.ID, protocol.OfError(fmt.Errorf("%w: %d requests are worked on already", backend.ErrUnavailable, maxCalls)))
		return nil
	}
	s.all.Go(func() {
		defer cancel()
		word, body, err := s.work(ctx, f, w)
		s.mu.Lock()
		delete(s.calls, f.ID)
		s.mu.Unlock()
		switch {
		case err != nil:
			s.link.Send("error", f.ID, protocol.OfError(err))
		case word != "":
			s.link.Send(word, f.ID, body)
		}
	})
	return nil
}

// work answers a request. A word that is empty was answered already.
func (s *server) work(ctx context.Context, f protocol.Frame, w *work) (word string, body any, err error) {
	switch f.Word {
	case "targets":
		return s.targets(ctx, f.ID, w)
	case "open":
		return "", nil, s.open(ctx, f)
	case "pending":
		return s.pending(ctx, f.ID, w)
	case "evaluate":
		return s.evaluate(ctx, f)
	case "ask":
		b, c, err := request[protocol.Request, backend.Asker](f, s.backend)
		if err != nil {
			return "", nil, err
		}
		id, err := c.Ask(ctx, b.OpenRequest())
		return "asked", protocol.ApprovalID{Approval: string(id)}, err
	case "await":
		b, c, err := request[protocol.ApprovalID, backend.Asker](f, s.backend)
		if err != nil {
			return "", nil, err
		}
		return "done", protocol.Empty{}, c.Await(ctx, backend.ApprovalID(b.Approval))
	case "decide":
		b, c, err := request[protocol.Decide, backend.Approver](f, s.backend)
		if err != nil {
			return "", nil, err
		}
		return "done", protocol.Empty{}, c.Decide(ctx, backend.ApprovalID(b.Approval), backend.Decision{Approve: b.Approve, Reason: b.Reason})
	}
	c, err := capability[backend.Watcher](s.backend) // "watch"
	if err != nil {
		return "", nil, err
	}
	err = c.Watch(ctx, func(c backend.Change) { s.link.Send("changed", f.ID, protocol.Changed(c)) })
	if err == nil {
		err = errors.New("execplugin: the watch has ended")
	}
	return "", nil, err
}

// request reads a request, and finds the capability that answers it.
func request[B, C any](f protocol.Frame, of backend.Backend) (body B, c C, err error) {
	if body, err = protocol.Parse[B](f); err == nil {
		c, err = capability[C](of)
	}
	return body, c, err
}

// capability finds what was declared.
func capability[C any](b backend.Backend) (C, error) {
	c, ok := backend.As[C](b)
	if !ok {
		return c, fmt.Errorf("execplugin: this was not declared: %w", errors.ErrUnsupported)
	}
	return c, nil
}

// A page is a pageBody whose items are written already.
type page struct {
	Targets   []json.RawMessage `json:"targets,omitempty"`
	Approvals []json.RawMessage `json:"approvals,omitempty"`
	More      bool              `json:"more,omitempty"`
}

// add writes one item, and says how long it is.
func add(to *[]json.RawMessage, item any) (int, error) {
	b, err := json.Marshal(item)
	if err != nil || len(b) > protocol.MaxItem {
		return 0, fmt.Errorf("execplugin: one item of the list has %d bytes; %d are allowed", len(b), protocol.MaxItem)
	}
	*to = append(*to, b)
	return len(b), nil
}

// turn sends a full page, and waits until the next one is asked for.
func (s *server) turn(ctx context.Context, id uint32, w *work, p page) error {
	p.More = true
	s.link.Send("page", id, p)
	select {
	case <-w.next:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *server) targets(ctx context.Context, id uint32, w *work) (string, any, error) {
	var p page
	bytes := 0
	for t, err := range s.backend.Targets(ctx) {
		if err != nil {
			return "", nil, err
		}
		if bytes >= protocol.FullPage {
			if err := s.turn(ctx, id, w, p); err != nil {
				return "", nil, err
			}
			p, bytes = page{}, 0
		}
		body, err := protocol.OfTarget(t)
		if err != nil {
			return "", nil, err
		}
		n, err := add(&p.Targets, body)
		if err != nil {
			return "", nil, err
		}
		bytes += n
	}
	return "page", p, nil
}

func (s *server) pending(ctx context.Context, id uint32, w *work) (string, any, error) {
	c, err := capability[backend.Approver](s.backend)
	if err != nil {
		return "", nil, err
	}
	var p page
	bytes := 0
	for a, err := range c.Pending(ctx) {
		if err != nil {
			return "", nil, err
		}
		if bytes >= protocol.FullPage {
			if err := s.turn(ctx, id, w, p); err != nil {
				return "", nil, err
			}
			p, bytes = page{}, 0
		}
		n, err := add(&p.Approvals, protocol.OfApproval(a))
		if err != nil {
			return "", nil, err
		}
		bytes += n
	}
	return "page", p, nil
}

func (s *server) evaluate(ctx context.Context, f protocol.Frame) (string, any, error) {
	b, err := protocol.Parse[protocol.Evaluate](f)
	if err != nil {
		return "", nil, err
	}
	c, err := capability[backend.Evaluator](s.backend)
	if err != nil {
		return "", nil, err
	}
	// One by one: a batch does not tell an unknown target from a denied one.
	out := protocol.Verdicts{Verdicts: make([]protocol.Verdict, len(b.Requests))}
	for i, r := range b.Requests {
		v, err := c.Evaluate(ctx, r.OpenRequest())
		switch {
		case errors.Is(err, backend.ErrNotFound):
			v = backend.Verdict{Reason: "no such target"}
			out.Verdicts[i].Unknown = true
		case err != nil:
			return "", nil, err
		}
		unknown := out.Verdicts[i].Unknown
		out.Verdicts[i] = *protocol.OfVerdict(v)
		out.Verdicts[i].Unknown = unknown
	}
	if protocol.Length(out) > protocol.MaxBody {
		return "", nil, errors.New("execplugin: the verdicts are longer than a frame")
	}
	return "verdicts", out, nil
}

// assure tells what has changed of how terminals are protected.
func (s *server) assure() {
	tick := time.NewTicker(assuredEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.link.Done:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		terms := slices.Collect(maps.Values(s.terms))
		s.mu.Unlock()
		for _, t := range terms {
			t.assure()
		}
	}
}
