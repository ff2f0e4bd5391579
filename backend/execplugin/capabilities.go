package execplugin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/execplugin/protocol"
)

// These are a client with one capability each, in a chain that backend.As walks.
type (
	evaluator struct {
		backend.Backend
		c *client
	}
	approver struct {
		backend.Backend
		c *client
	}
	asker struct {
		backend.Backend
		c *client
	}
	watcher struct {
		backend.Backend
		c *client
	}
)

// Unwrap implements backend.Unwrapper.
func (e evaluator) Unwrap() backend.Backend { return e.Backend }

// Unwrap implements backend.Unwrapper.
func (a approver) Unwrap() backend.Backend { return a.Backend }

// Unwrap implements backend.Unwrapper.
func (a asker) Unwrap() backend.Backend { return a.Backend }

// Unwrap implements backend.Unwrapper.
func (w watcher) Unwrap() backend.Backend { return w.Backend }

// Evaluate implements backend.Evaluator.
func (e evaluator) Evaluate(ctx context.Context, req backend.OpenRequest) (backend.Verdict, error) {
	body, err := protocol.OfRequest(req)
	if err != nil {
		return backend.Verdict{}, err
	}
	got, err := e.batch(ctx, []protocol.Request{body})
	if err != nil {
		return backend.Verdict{}, err
	}
	if got[0].Unknown {
		return backend.Verdict{}, fmt.Errorf("execplugin: %w: target %s", backend.ErrNotFound, protocol.Clean(body.Target))
	}
	return got[0].Verdict(), nil
}

// EvaluateBatch implements backend.BatchEvaluator.
func (e evaluator) EvaluateBatch(ctx context.Context, reqs []backend.OpenRequest) ([]backend.Verdict, error) {
	out := make([]backend.Verdict, len(reqs))
	var (
		batch []protocol.Request
		at    []int // where they stand in reqs
		bytes int
	)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		got, err := e.batch(ctx, batch)
		for i, v := range got {
			out[at[i]] = v.Verdict()
		}
		batch, at, bytes = nil, nil, 0
		return err
	}
	for i, req := range reqs {
		body, err := protocol.OfRequest(req)
		if err != nil {
			out[i] = backend.Verdict{Reason: strings.TrimPrefix(err.Error(), "execplugin: ")}
			continue
		}
		batch, at, bytes = append(batch, body), append(at, i), bytes+protocol.Length(body)
		if bytes >= protocol.FullPage {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return out, e.c.usable(ctx)
}

// batch asks for the verdicts of requests that fit into one frame.
func (e evaluator) batch(ctx context.Context, reqs []protocol.Request) ([]protocol.Verdict, error) {
	f, err := e.c.ask(ctx, answerLimit, "evaluate", protocol.Evaluate{Requests: reqs}, "verdicts")
	if err != nil {
		return nil, err
	}
	got, err := protocol.Parse[protocol.Verdicts](f)
	if err == nil && len(got.Verdicts) != len(reqs) {
		err = fmt.Errorf("execplugin: the plugin gives %d verdicts for %d requests", len(got.Verdicts), len(reqs))
	}
	return got.Verdicts, err
}

// Pending implements backend.Approver.
func (a approver) Pending(ctx context.Context) iter.Seq2[backend.Approval, error] {
	return func(yield func(backend.Approval, error) bool) {
		err := a.c.pages(ctx, "pending", func(p protocol.Page) error {
			if p.More && len(p.Approvals) == 0 {
				return errors.New("execplugin: the plugin sends an empty page, and says that more come")
			}
			for _, b := range p.Approvals {
				got, err := b.Approval()
				if err != nil {
					return err
				}
				if !yield(got, nil) {
					return errEnough
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(backend.Approval{}, err)
		}
	}
}

// Decide implements backend.Approver.
func (a approver) Decide(ctx context.Context, id backend.ApprovalID, d backend.Decision) error {
	_, err := a.c.ask(ctx, answerLimit, "decide", protocol.Decide{Approval: string(id), Approve: d.Approve, Reason: protocol.Brief(d.Reason)}, "done")
	return err
}

// Ask implements backend.Asker.
func (a asker) Ask(ctx context.Context, req backend.OpenRequest) (backend.ApprovalID, error) {
	body, err := protocol.OfRequest(req)
	if err != nil {
		return "", err
	}
	f, err := a.c.ask(ctx, answerLimit, "ask", body, "asked")
	if err != nil {
		return "", err
	}
	got, err := protocol.Parse[protocol.ApprovalID](f)
	if err == nil && (got.Approval == "" || len(got.Approval) > protocol.MaxID) {
		err = fmt.Errorf("execplugin: the plugin names an approval with %d bytes; 1 to %d are allowed", len(got.Approval), protocol.MaxID)
	}
	return backend.ApprovalID(got.Approval), err
}

// Await implements backend.Asker. People take the time that they take.
func (a asker) Await(ctx context.Context, id backend.ApprovalID) error {
	_, err := a.c.ask(ctx, 0, "await", protocol.ApprovalID{Approval: string(id)}, "done")
	return err
}

// Watch implements backend.Watcher.
func (w watcher) Watch(ctx context.Context, changed func(backend.Change)) error {
	call := &call{changes: new(atomic.Uint32)}
	id, err := w.c.begin(ctx, "watch", protocol.Empty{}, call)
	if err != nil {
		return err
	}
	for {
		if _, err := w.c.await(ctx, call, "changed"); err != nil {
			w.c.over(id, ctx.Err() == nil)
			return err
		}
		bits := call.changes.Swap(0)
		changed(backend.Change{Targets: bits&1 != 0, Approvals: bits&2 != 0})
	}
}
