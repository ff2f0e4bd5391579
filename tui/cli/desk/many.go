package desk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/fleet"
	"github.com/tucdesk/tucdesk/tui/cli/teletype"
)

// How a command runs on many targets from within the console.
const (
	parallel = 8
	openIn   = 30 * time.Second
	output   = 256 << 10 // bytes kept of each stream of each target
)

// errNotConfirmed is what a plan ends with that nobody wants.
var errNotConfirmed = errors.New("nothing was run")

// Several gives what runs one command on many targets of a backend, as tucdesk exec --tag
// does: it writes the plan and what came of it to out, a line after the other, and asks with
// answer. nil where the backend can't say beforehand what may run.
func Several(b backend.Backend) func(ctx context.Context, ids []backend.TargetID, argv []string, answer func() (string, error), out io.Writer) (int, error) {
	evaluator, ok := backend.As[backend.BatchEvaluator](b)
	if !ok {
		return nil
	}
	asker, _ := backend.As[fleet.Asker](b)
	from := struct {
		backend.Backend
		backend.BatchEvaluator
	}{b, evaluator}
	return func(ctx context.Context, ids []backend.TargetID, argv []string, answer func() (string, error), out io.Writer) (int, error) {
		req := backend.OpenRequest{Kind: backend.KindExec, Argv: argv}
		if asker != nil {
			req.Stdin = "none" // what is approved is all there is
		}
		plan, err := fleet.PlanWhere(ctx, from, func(t backend.Target) bool { return slices.Contains(ids, t.ID) }, req)
		if err != nil {
			return fleet.ExitNotAll, err
		}
		return carryOut(ctx, b, asker, plan, answer, struct{ io.Writer }{out}) // nothing that could be painted over
	}
}

// many is Several as a terminal.
func many(b backend.Backend) func(context.Context, []backend.TargetID, []string) (backend.Terminal, error) {
	run := Several(b)
	if run == nil {
		return nil
	}
	return func(ctx context.Context, ids []backend.TargetID, argv []string) (backend.Terminal, error) {
		return teletype.Start(ctx, func(ctx context.Context, in io.Reader, out io.Writer) (int, error) {
			typed := bufio.NewReader(in)
			return run(ctx, ids, argv, func() (string, error) { return line(typed) }, out)
		}), nil
	}
}

// carryOut shows a plan, asks, has it approved where that is needed, runs it, and shows
// what came of it.
func carryOut(ctx context.Context, b fleet.Opener, asker fleet.Asker, plan fleet.Plan, answer func() (string, error), out io.Writer) (int, error) {
	fmt.Fprintf(out, "The plan for %s\n\n", sanitize.Argv(plan[0].Request.Argv))
	if err := plan.Show(out); err != nil {
		return fleet.ExitNotAll, err
	}
	fmt.Fprintln(out)
	plan, left, err := plan.Runnable(true)
	if blocked := (*fleet.BlockedError)(nil); errors.As(err, &blocked) {
		return fleet.ExitNotAll, fmt.Errorf("nothing was run: none of them may run it, or can: %s is %s", blocked.Names[0], sanitize.Clean(blocked.Why))
	}
	if err != nil {
		return fleet.ExitNotAll, clean(err)
	}
	if len(left) > 0 {
		fmt.Fprintf(out, "Left out, as they are denied or offline: %s.\n", targets(len(left)))
	}
	reason := ""
	if held := plan.With(backend.Hold); len(held) > 0 {
		if asker == nil {
			return fleet.ExitNotAll, errors.New("some are held for approval, and this backend can't ask for many at once: mark fewer")
		}
		fmt.Fprintf(out, "%d of them need an approval, which is asked for once.\nWhy do you need it? ", len(held))
		if reason, err = answer(); err != nil || reason == "" {
			return fleet.ExitNotAll, errNotConfirmed
		}
	}
	fmt.Fprintf(out, "Run this on %s? Type yes: ", targets(len(plan)))
	if said, err := answer(); err != nil || said != "yes" {
		return fleet.ExitNotAll, errNotConfirmed
	}
	for i := range plan {
		plan[i].Request.Confirmed, plan[i].Request.Reason = true, reason
	}
	if err := plan.Approve(ctx, asker, false, out); err != nil {
		return fleet.ExitNotAll, clean(err)
	}
	progress := fleet.NewProgress(out, plan)
	results, err := fleet.Run{Opener: b, Parallel: parallel, Open: openIn, Output: output, Changed: progress.Changed}.Do(ctx, plan)
	if err != nil {
		return fleet.ExitNotAll, clean(err)
	}
	progress.End()
	fmt.Fprintln(out)
	if err := fleet.Show(out, results); err != nil {
		return fleet.ExitNotAll, err
	}
	fmt.Fprintf(out, "\n%s\n", fleet.Count(results))
	return fleet.ExitCode(results), nil
}

// targets counts targets in words.
func targets(n int) string {
	if n == 1 {
		return "1 target"
	}
	return fmt.Sprintf("%d targets", n)
}

// clean is an error whose words may be a network's.
func clean(err error) error { return errors.New(sanitize.Clean(err.Error()).String()) }

func line(in *bufio.Reader) (string, error) {
	s, err := in.ReadString('\n')
	return strings.TrimSpace(s), err
}
