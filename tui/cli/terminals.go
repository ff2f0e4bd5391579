package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/errands"
	"github.com/tucdesk/tucdesk/tui/cli/fleet"
	"github.com/tucdesk/tucdesk/tui/cli/sessions"
	"github.com/tucdesk/tucdesk/tui/cli/starts"
)

// openIn bounds the opening of a terminal.
const openIn = 30 * time.Second

// requestFlags are the flags that exec and connect share.
type requestFlags struct {
	as, reason string
	yes        bool
	noWait     bool
	path       string
	lasts      time.Duration
}

func (f *requestFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.as, "as", "", "user on the target (default: the target's login user)")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the approvers and the audit log")
	cmd.Flags().DurationVar(&f.lasts, "for", 0, "how long it is needed at most, such as 30m, where an approval is asked for: then it ends (default: as long as policy lets)")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "confirm what policy wants confirmed, without a question")
	cmd.Flags().StringVar(&f.path, "path", "auto", "auto: by relay, then directly when that works; relay; direct")
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "fail when an approval is needed, instead of asking for it")
}

func (a *app) execCommand() *cobra.Command {
	var (
		f       requestFlags
		run     runFlags
		fan     fanFlags
		tty     bool
		noStdin bool
	)
	cmd := &cobra.Command{
		Use:   "exec TARGET|--tag KEY=VALUE -- COMMAND [ARGUMENT…]",
		Short: "Run one command on a machine, or on all machines with a tag",
		Long: "Run one command on a machine: its arguments go there as they are, through no shell.\n" +
			"Its output, exit code and signal come back. When policy holds the command, exec asks for\n" +
			"approval and waits; a held command gets no standard input but --stdin-file. What is in the program's\n" +
			"file, and in those that --bind-file names, is approved too: the machine runs these bytes or refuses.\n\n" +
			"With --tag the command runs on every machine with that tag. First the plan is shown: each machine and\n" +
			"what policy answers for it. Nothing runs unless it may run on all of them, or --skip leaves the others\n" +
			"out. What is held is approved once, for exactly these machines; the approval must be used within the\n" +
			"policy's time, so choose --parallel for it. Equal answers are printed once. Exit codes: 0 when the command ended with\n" +
			"0 everywhere, 123 when it ran everywhere and ended otherwise somewhere, 125 when it did not run on every\n" +
			"machine, 126 and 124 when the plan was denied or not approved in time.",
		Example: "  tucdesk exec web-1 -- uname -a\n  tucdesk exec web-1 --reason 'disk full' -- rm -r /var/cache/app\n" +
			"  tucdesk exec --tag env=prod --parallel 4 --stop-after-failures 10% -- systemctl reload nginx",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(fan.tags) > 0 && len(args) > 0 && cmd.ArgsLenAtDash() > 0:
				return errors.New("name one TARGET, or --tag, not both")
			case len(fan.tags) == 0 && len(args) < 2, len(args) == 0:
				return errors.New("name a target and a command: tucdesk exec TARGET -- COMMAND")
			case len(fan.tags) > 0 && tty:
				return errors.New("one terminal can't be on many machines: leave --tty or --tag out")
			case len(fan.tags) == 0 && (fan.asJSON || fan.dry):
				return errors.New("--json and --plan are about many machines: name them with --tag")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req := backend.OpenRequest{Kind: backend.KindExec, Argv: args, As: f.as, Reason: f.reason, Lasts: f.lasts, Confirmed: f.yes, TTY: tty}
			if len(fan.tags) > 0 {
				return a.runFleet(cmd.Context(), req, f, run, fan)
			}
			req.Target, req.Argv = backend.TargetID(args[0]), args[1:]
			most := 0
			if cmd.Flags().Changed("max-output") {
				if most = fan.output; most < 1 {
					return errors.New("--max-output is a number of bytes, at least 1")
				}
			}
			return a.runOne(cmd.Context(), req, f, run, noStdin, most)
		},
		ValidArgsFunction: a.completeTarget,
	}
	cmd.Flags().SetInterspersed(true)
	f.register(cmd)
	run.register(cmd)
	fan.register(cmd)
	cmd.RegisterFlagCompletionFunc("tag", a.completeTag)
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "give the command a terminal")
	cmd.Flags().BoolVarP(&noStdin, "no-stdin", "n", false, "do not read standard input")
	return cmd
}

// runOne runs a command on one machine.
func (a *app) runOne(ctx context.Context, req backend.OpenRequest, f requestFlags, run runFlags, noStdin bool, most int) error {
	bound, err := run.fill(&req)
	if err != nil {
		return err
	}
	if noStdin && req.Stdin == "" && !req.TTY {
		req.Stdin = "none"
	}
	return a.runTerminal(ctx, req, f, input{none: noStdin, bound: bound, most: most}, run.timeout)
}

// completeTag completes tags of the roster on disk.
func (a *app) completeTag(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	b, err := a.control()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer b.Close()
	tags := map[string]bool{}
	for _, m := range b.Home().Roster().Agents() {
		for k, v := range m.Tags {
			if tag := k + "=" + v; strings.HasPrefix(tag, prefix) {
				tags[tag] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(tags)), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) connectCommand() *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:   "connect TARGET",
		Short: "Open a login shell on a machine",
		Long: "Open a login shell on a machine, in this terminal. What the machine sends reaches your terminal\n" +
			"as it is; the console (`tucdesk` alone) shows it through an emulator instead.\n\n" +
			"Enter ~ & leaves the shell, which goes on for as long as policy says: `tucdesk attach` brings it back,\n" +
			"also from another device of yours, and also when this client was killed. Enter ~ ~ types a ~.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := backend.OpenRequest{
				Target: backend.TargetID(args[0]), Kind: backend.KindShell, As: f.as, Reason: f.reason, Lasts: f.lasts, Confirmed: f.yes, TTY: true,
			}
			return a.runTerminal(cmd.Context(), req, f, input{}, 0)
		},
		ValidArgsFunction: a.completeTarget,
	}
	f.register(cmd)
	return cmd
}

// An input is what a program reads: standard input, if it is neither of these.
type input struct {
	none  bool
	bound []byte // exactly this; nil: not bound
	most  int    // bytes that it may print; 0: any number
}

// runTerminal opens a terminal, asks and confirms where policy wants it, and
// carries bytes until the program ends.
func (a *app) runTerminal(ctx context.Context, req backend.OpenRequest, f requestFlags, in input, limit time.Duration) error {
	if req.TTY {
		if !a.isTerminal() {
			return errors.New("standard input and output are no terminal; use `tucdesk exec` for scripts")
		}
		cols, rows, err := term.GetSize(int(os.Stdout.Fd()))
		if err != nil {
			return err
		}
		req.Cols, req.Rows, req.Term = uint16(cols), uint16(rows), os.Getenv("TERM")
	}
	b, err := a.controlBy(f.path)
	if err != nil {
		return err
	}
	defer b.Close()
	t, err := a.openAnyhow(ctx, b, req, f)
	if err != nil {
		return err
	}
	return a.show(ctx, t, req, in, limit)
}

// show carries a terminal's bytes until its program ends, and takes over its exit code.
func (a *app) show(ctx context.Context, t backend.Terminal, req backend.OpenRequest, in input, limit time.Duration) error {
	defer t.Close()
	if limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, limit, fleet.ErrTimeout)
		defer stop()
		defer fleet.End(ctx, t)()
	}
	fed := *a
	if req.Kind.Watches() {
		return sessions.Look(a.stdout, a.stderr, a.stdin, t, req, func(keys io.Reader) (backend.Exit, error) {
			fed.stdin = keys
			return fed.carry(t, req.TTY, !req.TTY)
		})
	}
	if in.bound != nil {
		fed.stdin = bytes.NewReader(in.bound)
	}
	spent := fleet.Spending{Most: in.most, Over: func() { t.Close() }}
	fed.stdout, fed.stderr = spent.Writer(a.stdout), spent.Writer(a.stderr)
	door := sessions.NewDoor(fed.stdin, t)
	over := func() error { return nil }
	if req.TTY {
		screen := a.notices.Over(fed.stdout, screenSize, t.Resize)
		defer screen.Close()
		over = screen.Close
		if err := sessions.Repaint(screen, t, req.Cols, req.Rows); err != nil {
			return err
		}
		fed.stdin, fed.stdout, door.Dismiss = door, screen, sessions.TellWatchers(a.notices.Say, t)
	}
	told := sessions.TellLink(a.notices.Say, t, req.Target)
	exit, err := fed.carry(t, req.TTY, in.none)
	told()
	_ = over() // what a terminal that is gone was not told is said by nobody
	if door.Tell(a.stderr, err) {
		return nil
	}
	if errors.Is(context.Cause(ctx), fleet.ErrTimeout) {
		return fleet.ErrTimeout
	}
	if spent.IsOver() {
		return fleet.ErrOutput
	}
	if err != nil {
		return err
	}
	if exit.Reason != "" {
		fmt.Fprintf(a.stderr, "tucdesk: ended: %s\n", sanitize.Clean(exit.Reason))
	}
	if exit.Code != 0 {
		return &exitError{exit.Code}
	}
	return nil
}

// screenSize gives the size of this process's terminal.
func screenSize() (cols, rows int) {
	cols, rows, _ = term.GetSize(int(os.Stdout.Fd()))
	return cols, rows
}

// openAnyhow opens req; it takes the ways that policy leaves open: a
// confirmation by the person at this terminal, or an approval.
func (a *app) openAnyhow(ctx context.Context, b *control.Backend, req backend.OpenRequest, f requestFlags) (backend.Terminal, error) {
	open := func() (backend.Terminal, error) {
		ctx, cancel := context.WithTimeout(ctx, openIn)
		defer cancel()
		return b.Open(ctx, req)
	}
	t, err := open()
	if errors.Is(err, backend.ErrConfirm) {
		v, _ := backend.VerdictOf(err)
		if err := a.confirm(req, v); err != nil {
			return nil, err
		}
		req.Confirmed = true
		t, err = open()
	}
	if !errors.Is(err, backend.ErrHeld) || f.noWait {
		return t, err
	}
	v, _ := backend.VerdictOf(err)
	fmt.Fprintf(a.stderr, "tucdesk: %s\n", sanitize.Clean(v.Reason))
	id, err := b.Ask(ctx, req)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(a.stderr, "tucdesk: asked for approval %s (%s); waiting, Ctrl-C takes it back\n", id, sanitize.Clean(b.Whom(ctx, id, v.Approvers)))
	if err := b.Await(ctx, id); err != nil {
		if ctx.Err() != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if cerr := b.Cancel(ctx, id); cerr != nil {
				return nil, fmt.Errorf("interrupted, and the request could not be taken back: %w", cerr)
			}
			return nil, errors.New("interrupted; the request was taken back")
		}
		return nil, err
	}
	fmt.Fprintln(a.stderr, "tucdesk: approved")
	req.Approval = id
	return open()
}

// confirm asks the person at the terminal.
func (a *app) confirm(req backend.OpenRequest, v backend.Verdict) error {
	refused := func(why string) error {
		v.Reason += "; " + why
		return v.Err()
	}
	if !a.isTerminal() {
		return refused("confirm with --yes")
	}
	fmt.Fprintf(a.stderr, "tucdesk: %s\n  on %s: %s\n  run it? type yes: ", sanitize.Clean(v.Reason), sanitize.Clean(string(req.Target)), errands.What(req))
	var answer string
	if _, err := fmt.Fscanln(a.stdin, &answer); err != nil || answer != "yes" {
		return refused("not confirmed")
	}
	return nil
}

func (a *app) isTerminal() bool {
	in, ok := a.stdin.(*os.File)
	out, ok2 := a.stdout.(*os.File)
	return ok && ok2 && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// carry moves bytes between this process and a terminal until it ends.
func (a *app) carry(t backend.Terminal, tty, noStdin bool) (backend.Exit, error) {
	if tty {
		old, err := term.MakeRaw(int(os.Stdin.Fd()))
		if err != nil {
			return backend.Exit{}, err
		}
		defer term.Restore(int(os.Stdin.Fd()), old)
		stop := followSize(t)
		defer stop()
	}
	stopSignals := a.forwardSignals(t, tty)
	defer stopSignals()
	in := a.stdin
	if g, ok := backend.TerminalAs[backend.GatedTerminal](t); ok && tty && g.Starts() != nil {
		asked := &starts.Prompt{In: a.stdin, Say: a.notices.SayLines, Terminal: g}
		go asked.Follow()
		in = asked
	}
	go a.feed(t, in, noStdin)
	errs := make(chan error, 1)
	go func() {
		var err error
		if s, ok := backend.TerminalAs[backend.StderrTerminal](t); ok {
			if r := s.Stderr(); r != nil {
				_, err = io.Copy(a.stderr, r)
			}
		}
		errs <- err
	}()
	_, outErr := io.Copy(a.stdout, t)
	if outErr != nil && !errors.Is(outErr, backend.ErrUnavailable) && !errors.Is(outErr, backend.ErrClosed) {
		t.Close() // our stdout is gone: a closed pipe ends the command, as it would locally
	}
	<-errs
	return t.Wait()
}

// feed sends standard input and its end. It may outlive the program; the
// process ends then.
func (a *app) feed(t backend.Terminal, in io.Reader, noStdin bool) {
	if !noStdin {
		if _, err := io.Copy(t, in); err != nil {
			return
		}
	}
	if h, ok := backend.TerminalAs[backend.HalfCloser](t); ok {
		h.CloseWrite()
	}
}

// forwardSignals sends this process's signals to the program. An interrupt is the
// program's to handle, as it would be locally; a second one closes the session. A
// TERM closes it if the program has not ended in five seconds.
func (a *app) forwardSignals(t backend.Terminal, tty bool) (stop func()) {
	got := make(chan os.Signal, 4)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	forward := func(name string) {
		if s, ok := backend.TerminalAs[backend.Signaler](t); ok && !tty {
			s.Signal(name)
		}
	}
	go func() {
		var first time.Time
		for {
			select {
			case <-done:
				return
			case s := <-got:
				switch {
				case s == syscall.SIGTERM:
					forward("TERM")
					time.AfterFunc(5*time.Second, func() { t.Close() })
				case first.IsZero():
					first = time.Now()
					forward("INT")
				case time.Since(first) > again:
					t.Close()
				}
			}
		}
	}()
	return func() { signal.Stop(got); close(done) }
}

// again is the least time between two interrupts that are two: one press may
// arrive twice, to the process and to its group.
const again = 300 * time.Millisecond

// completeTarget completes names from the roster on disk, without the network.
func (a *app) completeTarget(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	b, err := a.control()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer b.Close()
	var names []string
	for _, m := range b.Home().Roster().Agents() {
		if strings.HasPrefix(m.Name, prefix) {
			names = append(names, m.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
