package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/review"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/token"
)

const (
	lookIn    = 20 * time.Second // bounds a look
	maxLooks  = 8                // at a time
	maxLooked = 64 << 10         // bytes of its answer
)

// bind makes what a held command would run a part of it, as its machine says, so that
// nothing else can run. Where a machine can't say, who approves reads that it is not
// covered; unless the request names files, which then must be.
func (b *Backend) bind(ctx context.Context, plans ...*plan) error {
	var g errgroup.Group
	g.SetLimit(maxLooks)
	for _, p := range plans {
		if p.req.Kind != backend.KindExec || p.req.Unbound || p.verdict.Effect != policy.Hold {
			continue
		}
		words, err := review.Words(p.req)
		if err != nil {
			return err
		}
		g.Go(func() error {
			bound, err := b.look(ctx, p, words)
			if err != nil && len(p.req.Files) > 0 {
				return fmt.Errorf("%s can't say what would run, so that it could be approved: %w", p.req.Target, err)
			}
			if err != nil {
				b.logger.Warn("the approval will cover the words alone", "target", p.req.Target, "error", err)
				return nil
			}
			p.command.Bound = bound
			return nil
		})
	}
	return g.Wait()
}

// look asks a machine which files words of a command name, and what is in them, in a
// session of its own in which nothing runs.
func (b *Backend) look(ctx context.Context, p *plan, words []token.Bound) ([]token.Bound, error) {
	ctx, cancel := context.WithTimeout(ctx, lookIn)
	defer cancel()
	q := *p
	q.session, q.look = token.NewID(), words
	q.req = backend.OpenRequest{Target: p.req.Target, Kind: backend.Kind(policy.Look), Argv: p.req.Argv, Cwd: p.req.Cwd, As: p.req.As}
	q.command = token.Command{V: token.Version, Argv: p.command.Argv, Cwd: p.command.Cwd, Env: [][2]string{}, Stdin: token.StdinNone, Salt: token.NewID()}
	var err error
	if q.verdict, err = b.judge(q.roster, q.me, q.agent, q.req); err != nil || q.verdict.Effect != policy.Allow {
		return nil, errors.Join(err, shown(q.verdict).Err())
	}
	t, err := b.open(ctx, &q, nil)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	said, err := io.ReadAll(io.LimitReader(t, maxLooked))
	if err != nil {
		return nil, err
	}
	return review.Looked(said, words, p.command)
}
