package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/fleet"
)

// maxInput bounds an input that is bound by its hash; agents take no more.
const maxInput = 1 << 20

// runFlags say how a command of exec runs.
type runFlags struct {
	cwd, input string
	env, files []string
	unbound    bool
	timeout    time.Duration
}

func (f *runFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cwd, "cwd", "", "folder on the machine to run in (default: the user's home)")
	cmd.Flags().StringArrayVar(&f.env, "env", nil, "variable as NAME=value; approvers see it; what could change more than looks needs an approval")
	cmd.Flags().StringVar(&f.input, "stdin-file", "", "send exactly this file as standard input; its SHA-256 is part of the request, so that held commands can have it")
	cmd.Flags().StringArrayVar(&f.files, "bind-file", nil, "word of the command that names a file, such as a script: if it is held, what is in the file is approved, too; may be repeated")
	cmd.Flags().BoolVar(&f.unbound, "unbound", false, "if it is held, have the words approved alone, and not what is in the program's file")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "end the command after this time")
}

// fill puts the flags into a request, and gives the input that is bound to it.
func (f *runFlags) fill(req *backend.OpenRequest) ([]byte, error) {
	if f.unbound && len(f.files) > 0 {
		return nil, errors.New("--unbound and --bind-file are opposites: leave one out")
	}
	req.Cwd, req.Files, req.Unbound = f.cwd, f.files, f.unbound
	for _, kv := range f.env {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--env %s: write it as NAME=value", sanitize.Clean(kv))
		}
		req.Env = append(req.Env, [2]string{k, v})
	}
	if f.timeout < 0 {
		return nil, errors.New("--timeout is a time to come, such as 30s")
	}
	if f.input == "" {
		return nil, nil
	}
	if req.TTY {
		return nil, errors.New("a terminal's input can't be a file: leave --tty or --stdin-file out")
	}
	b, err := readFile(f.input, maxInput)
	if err != nil {
		return nil, fmt.Errorf("--stdin-file: %w; what is larger is copied to the machine and named there", err)
	}
	sum := sha256.Sum256(b)
	req.Stdin = "sha256:" + hex.EncodeToString(sum[:])
	return b, nil
}

// fanFlags say on which machines a command runs, and how.
type fanFlags struct {
	tags     []string
	parallel int
	stop     string
	output   int
	skip     bool
	dry      bool
	asJSON   bool
}

func (f *fanFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.tags, "tag", nil, "run on every machine with this tag, as key=value, instead of one TARGET; may be repeated")
	cmd.Flags().IntVar(&f.parallel, "parallel", 8, "with --tag: machines at a time")
	cmd.Flags().StringVar(&f.stop, "stop-after-failures", "", "with --tag: begin on no further machine after so many failures, as 3 or 20%")
	cmd.Flags().IntVar(&f.output, "max-output", 1<<20, "bytes of output: with --tag, what is kept of each stream of each machine; else the command is ended when it has printed more")
	cmd.Flags().BoolVar(&f.skip, "skip", false, "with --tag: leave out machines that policy denies or that are offline")
	cmd.Flags().BoolVar(&f.dry, "plan", false, "with --tag: show the plan and run nothing")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "with --tag: print the results as JSON")
}

// runFleet runs one command on many machines.
func (a *app) runFleet(ctx context.Context, req backend.OpenRequest, f requestFlags, run runFlags, fan fanFlags) error {
	want, err := fleet.ParseTags(fan.tags)
	if err != nil {
		return err
	}
	stop, err := fleet.ParseLimit(fan.stop)
	if err != nil {
		return err
	}
	input, err := run.fill(&req)
	if err != nil {
		return err
	}
	if req.Stdin == "" {
		req.Stdin = "none" // one standard input can't be everybody's
	}
	b, err := a.controlBy(f.path)
	if err != nil {
		return err
	}
	defer b.Close()
	plan, err := fleet.PlanOf(ctx, b, want, req)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "plan: %s\n", sanitize.Argv(req.Argv))
	if err := plan.Show(a.stderr); err != nil {
		return err
	}
	if fan.dry {
		if fan.asJSON {
			return writeJSON(a.stdout, plan.JSON())
		}
		return nil
	}
	plan, left, err := plan.Runnable(fan.skip)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		fmt.Fprintf(a.stderr, "tucdesk: %d machine(s) are left out\n", len(left))
	}
	if err := plan.Confirm(a.person(), f.yes, fmt.Sprintf("one command on %d machines", len(plan))); err != nil {
		return err
	}
	if err := plan.Approve(ctx, b, f.noWait, a.stderr); err != nil {
		return err
	}
	progress := fleet.NewProgress(a.stderr, plan)
	results, err := fleet.Run{
		Opener: b, Parallel: fan.parallel, Stop: stop, Timeout: run.timeout, Open: openIn, Output: fan.output, Input: input,
		Changed: progress.Changed,
	}.Do(ctx, plan)
	if err != nil {
		return err
	}
	progress.End()
	if fan.asJSON {
		err = writeJSON(a.stdout, fleet.JSON(results))
	} else {
		err = fleet.Show(a.stdout, results)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "tucdesk: %s\n", fleet.Count(results))
	if code := fleet.ExitCode(results); code != 0 {
		return &exitError{code}
	}
	return nil
}
