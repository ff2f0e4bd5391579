package runbooks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/runbook"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/fleet"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

// A stage is one step of a runbook as it is about to run.
type stage struct {
	step *runbook.Step
	run  runbook.Command
	at   int // from 1
	plan fleet.Plan
	stop fleet.Limit
}

// plan makes the stages of a runbook with values: what runs where, and what policy
// answers. It fails where a step names no machine, and none was named for it.
func (c *CLI) plan(ctx context.Context, from fleet.Chooser, book roster.Runbook, f runFlags) ([]stage, [][2]string, error) {
	given, err := parseParams(f.params)
	if err != nil {
		return nil, nil, err
	}
	args, err := book.Values(given)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; `tucdesk runbook show %s` shows what it takes", err, book.Name)
	}
	tags, err := fleet.ParseTags(f.tags)
	if err != nil {
		return nil, nil, err
	}
	var stages []stage
	for i := range book.Steps {
		inst := runbook.Instance{Name: book.Name, Version: book.Version, Step: uint64(i + 1), Args: args}
		step, run, err := book.Match(inst)
		if err != nil {
			return nil, nil, err
		}
		if !step.Targets.Named() && len(tags) == 0 && len(f.targets) == 0 {
			return nil, nil, fmt.Errorf("step %d (%s) names no machines: name them with --tag or --target", i+1, step.Name)
		}
		req := backend.OpenRequest{
			Kind: backend.KindExec, Argv: run.Argv, As: run.As, Cwd: run.Cwd, Stdin: "none", Reason: f.reason, Lasts: f.lasts,
			Runbook: &backend.RunbookStep{Name: inst.Name, Version: inst.Version, Step: i + 1, Args: args},
		}
		plan, err := fleet.PlanWhere(ctx, from, func(t backend.Target) bool {
			return step.Targets.On(t.Name, t.Tags) && tags.On(t) && (len(f.targets) == 0 || slices.Contains(f.targets, t.Name))
		}, req)
		if err == nil && len(plan) == 0 {
			err = fmt.Errorf("%w: %w", backend.ErrNotFound, errNoMachines)
		}
		stop, lerr := fleet.ParseLimit(step.StopAfter)
		if err == nil {
			err = lerr
		}
		if err != nil {
			return nil, nil, fmt.Errorf("step %d (%s): %w", i+1, step.Name, err)
		}
		stages = append(stages, stage{step: step, run: run, at: i + 1, plan: plan, stop: stop})
	}
	return stages, args, nil
}

// carryOut runs a runbook.
func (c *CLI) carryOut(ctx context.Context, name string, f runFlags) error {
	b, r, err := c.team(ctx, f.path)
	if err != nil {
		return err
	}
	defer b.Close()
	book, err := named(r, name)
	if err != nil {
		return err
	}
	stages, args, err := c.plan(ctx, b, book, f)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Err, "plan: %s v%d, %d step(s)", sanitize.Clean(book.Name), book.Version, len(stages))
	for _, a := range args {
		fmt.Fprintf(c.Err, ", %s=%s", a[0], sanitize.Clean(a[1]))
	}
	fmt.Fprintln(c.Err)
	for _, s := range stages {
		fmt.Fprintf(c.Err, "%s: %s\n", s.head(len(stages)), sanitize.Argv(s.run.Argv))
		if err := s.plan.Show(c.Err); err != nil {
			return err
		}
	}
	if f.dry {
		if f.asJSON {
			return output.JSON(c.Out, report(book, args, stages, nil))
		}
		return nil
	}
	if stages, err = c.runnable(stages, f.skip); err != nil {
		return err
	}
	all := together(stages)
	if err := all.Confirm(c.Person(), f.yes, fmt.Sprintf("%s v%d: %d step(s) on %d machine(s)", book.Name, book.Version, len(stages), machines(all))); err != nil {
		return err
	}
	if err := all.Approve(ctx, b, f.noWait, c.Err); err != nil {
		return err
	}
	apart(all, stages)
	results, err := c.steps(ctx, b, stages, f)
	c.takeBack(ctx, b, stages, results)
	if err != nil {
		return err
	}
	if f.asJSON {
		if err := output.JSON(c.Out, report(book, args, stages, results)); err != nil {
			return err
		}
	}
	flat := slices.Concat(results...)
	fmt.Fprintf(c.Err, "tucdesk: %s\n", fleet.Count(flat))
	if code := fleet.ExitCode(flat); code != 0 {
		return c.Exit(code)
	}
	return nil
}

// head names a stage.
func (s *stage) head(of int) sanitize.Text {
	return sanitize.Clean(fmt.Sprintf("step %d of %d, %s", s.at, of, s.step.Name))
}

// runnable leaves out machines on which some step can't run, of all steps.
func (c *CLI) runnable(stages []stage, skip bool) ([]stage, error) {
	out := map[string]bool{}
	for _, s := range stages {
		_, left, err := s.plan.Runnable(skip)
		if err != nil {
			return nil, fmt.Errorf("step %d (%s): %w", s.at, s.step.Name, err)
		}
		for _, m := range left {
			out[m.Name] = true
		}
	}
	if len(out) == 0 {
		return stages, nil
	}
	fmt.Fprintf(c.Err, "tucdesk: %d machine(s) are left out, of every step\n", len(out))
	stages = slices.Clone(stages)
	for i := range stages {
		stages[i].plan = stages[i].plan.Without(out)
		if len(stages[i].plan) == 0 {
			return nil, fmt.Errorf("step %d (%s): %w: no machine is left", stages[i].at, stages[i].step.Name, backend.ErrUnavailable)
		}
	}
	return stages, nil
}

// together is one plan of all stages; apart hands back what has become of it.
func together(stages []stage) (all fleet.Plan) {
	for _, s := range stages {
		all = append(all, s.plan...)
	}
	return all
}

func apart(all fleet.Plan, stages []stage) {
	for i := range stages {
		n := len(stages[i].plan)
		stages[i].plan, all = all[:n:n], all[n:]
	}
}

func machines(p fleet.Plan) int {
	names := map[string]bool{}
	for _, m := range p {
		names[m.Name] = true
	}
	return len(names)
}

// steps runs the stages one after another, and gives the results of each. A machine on
// which one failed takes no part in those after it.
func (c *CLI) steps(ctx context.Context, b *control.Backend, stages []stage, f runFlags) ([][]fleet.Result, error) {
	results := make([][]fleet.Result, len(stages))
	failed := map[string]bool{}
	stopped := false
	for i, s := range stages {
		plan := s.plan.Without(failed)
		if stopped || ctx.Err() != nil {
			plan = nil
		}
		if len(plan) > 0 {
			fmt.Fprintf(c.Err, "tucdesk: %s\n", s.head(len(stages)))
		}
		progress := fleet.NewProgress(c.Err, plan)
		ran, err := fleet.Run{
			Opener: b, Parallel: s.step.Parallel, Stop: s.stop, Timeout: s.step.Timeout, Open: c.OpenIn, Output: f.output, Changed: progress.Changed,
		}.Do(ctx, plan)
		if err != nil {
			return results, err
		}
		progress.End()
		if len(ran) > 0 && !f.asJSON {
			fmt.Fprintf(c.Out, "-- %s\n", s.head(len(stages)))
			if err := fleet.Show(c.Out, ran); err != nil {
				return results, err
			}
		}
		bad := 0
		for _, r := range ran {
			if r.Failed() {
				bad++
			}
			if r.Phase != fleet.Done || r.Failed() {
				failed[r.Name] = true
			}
		}
		results[i] = inOrder(s.plan, ran)
		if !stopped && s.stop.Reached(bad, len(plan)) {
			stopped = true
			if i+1 < len(stages) {
				fmt.Fprintf(c.Err, "tucdesk: %s had %d failure(s): no further step is begun\n", s.head(len(stages)), bad)
			}
		}
	}
	return results, nil
}

// inOrder gives the results of a plan, of which some ran; the others were not begun.
func inOrder(p fleet.Plan, ran []fleet.Result) []fleet.Result {
	out := make([]fleet.Result, len(p))
	for i, m := range p {
		out[i] = fleet.Result{Name: m.Name, Phase: fleet.Skipped}
		if at := slices.IndexFunc(ran, func(r fleet.Result) bool { return r.Name == m.Name }); at >= 0 {
			out[i] = ran[at]
		}
	}
	return out
}

// undoIn bounds the taking back of approvals that were not used.
const undoIn = 10 * time.Second

// takeBack withdraws what was approved and did not run. What can't be withdrawn expires.
func (c *CLI) takeBack(ctx context.Context, b fleet.Asker, stages []stage, results [][]fleet.Result) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoIn)
	defer cancel()
	for i, s := range stages {
		for n, m := range s.plan {
			begun := n < len(results[i]) && results[i][n].Phase != fleet.Skipped
			if m.Request.Approval == "" || begun {
				continue
			}
			if err := b.Cancel(ctx, m.Request.Approval); err != nil {
				fmt.Fprintf(c.Err, "tucdesk: an approval that was not used could not be taken back: %s\n", sanitize.Clean(err.Error()))
				return
			}
		}
	}
}

type jsonStage struct {
	Step    int      `json:"step"`
	Name    string   `json:"name"`
	Argv    []string `json:"argv"`
	As      string   `json:"as,omitempty"`
	Cwd     string   `json:"cwd,omitempty"`
	Plan    any      `json:"plan,omitempty"`
	Results any      `json:"results,omitempty"`
}

type jsonRun struct {
	Runbook string            `json:"runbook"`
	Version uint64            `json:"version"`
	Params  map[string]string `json:"params"`
	Steps   []jsonStage       `json:"steps"`
}

// report is a plan as scripts see it, or with results what came of it.
func report(book roster.Runbook, args [][2]string, stages []stage, results [][]fleet.Result) jsonRun {
	out := jsonRun{Runbook: book.Name, Version: book.Version, Params: map[string]string{}}
	for _, a := range args {
		out.Params[a[0]] = a[1]
	}
	for i, s := range stages {
		j := jsonStage{Step: s.at, Name: s.step.Name, Argv: s.run.Argv, As: s.run.As, Cwd: s.run.Cwd}
		if results == nil {
			j.Plan = s.plan.JSON()
		} else {
			j.Results = fleet.JSON(results[i])
		}
		out.Steps = append(out.Steps, j)
	}
	return out
}
