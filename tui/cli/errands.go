package cli

import (
	"context"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/cli/errands"
)

// errands gives what makes the commands that copy and forward.
func (a *app) errands() *errands.CLI {
	errs, ok := a.stderr.(*os.File)
	return &errands.CLI{
		In: a.stdin, Out: a.stdout, Err: a.stderr, Watched: ok && term.IsTerminal(int(errs.Fd())),
		Complete: func(prefix string) []string {
			names, _ := a.completeTarget(nil, nil, prefix)
			return slices.Clone(names)
		},
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
