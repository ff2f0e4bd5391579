package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/cli/errands"
)

// errands gives what makes the commands that copy and forward.
func (a *app) errands() *errands.CLI {
	return &errands.CLI{
		In: a.stdin, Out: a.stdout, Err: a.stderr, Complete: a.completeTarget,
		Asking: func(cmd *cobra.Command) errands.Opener {
			var f requestFlags
			f.register(cmd)
			return func(ctx context.Context, req backend.OpenRequest) (backend.Terminal, func(), error) {
				b, err := a.controlBy(f.path)
				if err != nil {
					return nil, nil, err
				}
				req.As, req.Reason, req.Confirmed = f.as, f.reason, f.yes
				t, err := a.openAnyhow(ctx, b, req, f)
				if err != nil {
					b.Close()
					return nil, nil, err
				}
				return t, func() { b.Close() }, nil
			}
		},
	}
}
