// Package inquiry asks a backend what a screen shows: whole lists, bounded, and
// verdicts in one batch where the backend can.
//
// It imports the seam of backends only.
package inquiry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// ErrTooMany means a list that is longer than it may be.
var ErrTooMany = errors.New("the backend lists more than can be held here")

// All gives a whole list of at most so many, or what came before its error.
func All[T any](list iter.Seq2[T, error], most int) (out []T, err error) {
	for one, err := range list {
		if err != nil {
			return out, err
		}
		if len(out) >= most {
			return out, ErrTooMany
		}
		out = append(out, one)
	}
	return out, nil
}

// Policy says whether a backend has verdicts at all.
func Policy(b backend.Backend) bool {
	_, single := backend.As[backend.Evaluator](b)
	_, batch := backend.As[backend.BatchEvaluator](b)
	return single || batch
}

// Verdicts gives one for each request; nil where the backend has no policy. An unknown
// target is denied.
func Verdicts(ctx context.Context, b backend.Backend, reqs []backend.OpenRequest) ([]backend.Verdict, error) {
	if batch, ok := backend.As[backend.BatchEvaluator](b); ok {
		verdicts, err := batch.EvaluateBatch(ctx, reqs)
		if err == nil && len(verdicts) != len(reqs) {
			err = fmt.Errorf("inquiry: %d verdicts for %d requests", len(verdicts), len(reqs))
		}
		return verdicts, err
	}
	one, ok := backend.As[backend.Evaluator](b)
	if !ok {
		return nil, nil
	}
	verdicts := make([]backend.Verdict, 0, len(reqs))
	for _, req := range reqs {
		v, err := one.Evaluate(ctx, req)
		if errors.Is(err, backend.ErrNotFound) {
			v = backend.Verdict{Reason: "no such target"}
		} else if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

// Attend tells others that this member reads a request to decide it, where the backend
// can, until stop is called. stop waits until that is told, too, or can't be.
func Attend(ctx context.Context, b backend.Backend, id backend.ApprovalID) (stop func()) {
	at, ok := backend.As[backend.Attender](b)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	backend.Go(func() {
		defer close(done)
		_ = at.Attend(ctx, id) // a courtesy
	})
	return func() {
		cancel()
		<-done
	}
}

// awaitAgain is how long Await waits after a failure that passes.
const awaitAgain = 3 * time.Second

// Await waits for a decision, and through failures that pass.
func Await(ctx context.Context, asker backend.Asker, id backend.ApprovalID) error {
	for {
		err := asker.Await(ctx, id)
		if !errors.Is(err, backend.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(awaitAgain):
		}
	}
}
