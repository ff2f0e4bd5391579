// Package cli is TucDesk's command line: commands, flags, output and exit codes.
// It is public, so that a main of a third party can call Main with a registry
// that holds further backends.
//
// What is printed goes to stdout where it is the answer, and to stderr where it
// is about the answer. Text that came from a network passes internal/sanitize.
// A remote command's exit code passes through; TucDesk's own failures also print
// a line "tucdesk: error=…" on stderr, so that a remote 127 is not mistaken.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/tui/cli/approvals"
	"github.com/tucdesk/tucdesk/tui/cli/backends"
	"github.com/tucdesk/tucdesk/tui/cli/breakglass"
	"github.com/tucdesk/tucdesk/tui/cli/fleet"
	"github.com/tucdesk/tucdesk/tui/cli/membership"
	"github.com/tucdesk/tucdesk/tui/cli/notice"
	"github.com/tucdesk/tucdesk/tui/cli/policies"
	"github.com/tucdesk/tucdesk/tui/cli/runbooks"
	"github.com/tucdesk/tucdesk/tui/cli/sessions"
	"github.com/tucdesk/tucdesk/tui/cli/usage"
	"github.com/tucdesk/tucdesk/tui/settings"
)

// Exit codes of TucDesk's own outcomes. Everything else is a remote command's.
const (
	exitExpired  = 124 // nobody decided the approval in time
	exitFailed   = 125 // TucDesk itself failed
	exitDenied   = 126 // denied by policy or by a person, or held and not waited for
	exitNotFound = 127 // no such target
)

// exitError carries an exit code that says all there is to say: a remote
// command's, or a check's result that was printed already.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// An app is what commands share.
type app struct {
	registry *backend.Registry
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
	notices  *notice.Notices
}

// Main runs the command line of this process and gives its exit code.
func Main(registry *backend.Registry) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{registry: registry, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, notices: notice.New(os.Stderr)}
	root := a.root()
	var failed error
	keepErrors(root, &failed)
	err := fang.Execute(ctx, root,
		fang.WithoutVersion(),
		fang.WithErrorHandler(func(w io.Writer, _ fang.Styles, err error) { report(w, err) }))
	if err == nil && failed != nil {
		report(os.Stderr, failed)
		err = failed
	}
	return exitCode(err)
}

// keepErrors has what commands return kept from fang, which would ask the terminal for its
// colours first: while something else still reads standard input, it waits for ever.
func keepErrors(cmd *cobra.Command, into *error) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*into = run(cmd, args)
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		keepErrors(sub, into)
	}
}

// root builds the command tree.
func (a *app) root() *cobra.Command {
	var (
		url, way string
		lines    bool
	)
	root := &cobra.Command{
		Use:   "tucdesk",
		Short: "Remote terminals in which no server has to be trusted",
		Long: "TucDesk opens end-to-end encrypted terminals on your team's machines. Without a command it opens the console.\n" +
			"State is kept in TUCDESK_HOME (default: the user's configuration folder).",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return a.runConsole(cmd.Context(), url, way, lines) },
	}
	root.Flags().StringVar(&way, "path", "auto", "of the console's terminals: auto, by relay, then directly when that works; relay; direct")
	root.Flags().BoolVar(&lines, "plain", false, "numbered choices, line by line, instead of a screen: for screen readers, dumb terminals and pipes")
	root.Flags().StringVar(&url, "backend", "", "open the console on another backend, such as local: or a program tucdesk-backend-NAME (`tucdesk backend list` shows them)")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.AddCommand(
		a.agentsCommand(), a.connectCommand(), a.execCommand(), a.sessions().PS(), a.sessions().Attach(), a.sessions().Observe(), a.sessions().Join(),
		a.approvals().Command(), a.breakGlass().Command(),
		a.policies().Command(), a.runbooks().Command(), a.rosterCommand(), a.auditCommand(), a.recordingsCommand(), a.backends().Command(), a.doctorCommand(),
		a.upCommand(), a.demoCommand(), a.partCommand(), a.versionCommand(), settings.Command(a.stdout, profile.DefaultDir),
	)
	root.AddCommand((&usage.CLI{Out: a.stdout, Err: a.stderr, Open: a.control}).Command())
	root.AddCommand(a.errands().Commands()...)
	root.AddCommand(a.membership().Commands()...)
	return root
}

// membership gives what makes the commands that found, join and change teams.
func (a *app) membership() *membership.CLI {
	return &membership.CLI{In: a.stdin, Out: a.stdout, Err: a.stderr, Open: a.control, Dir: profile.DefaultDir}
}

// sessions gives what makes the commands about terminals that run.
func (a *app) sessions() *sessions.CLI {
	return &sessions.CLI{Out: a.stdout, Err: a.stderr, Open: a.control, Person: a.isTerminal, Run: func(ctx context.Context, req backend.OpenRequest, way string) error {
		return a.runTerminal(ctx, req, requestFlags{path: way}, input{}, 0)
	}}
}

// approvals gives what makes the commands about what waits for approval.
func (a *app) approvals() *approvals.CLI {
	return &approvals.CLI{In: a.stdin, Out: a.stdout, Err: a.stderr, Open: a.control, Person: a.isTerminal}
}

// breakGlass gives what makes the commands for when apid is gone.
func (a *app) breakGlass() *breakglass.CLI {
	return &breakglass.CLI{
		In: a.stdin, Out: a.stdout, Err: a.stderr, Open: a.control, Person: a.isTerminal, Read: readFile, Target: a.completeTarget,
		Show: func(ctx context.Context, t backend.Terminal, req backend.OpenRequest) error {
			return a.show(ctx, t, req, input{}, 0)
		},
	}
}

// backends gives what makes the commands about where terminals come from.
func (a *app) backends() *backends.CLI {
	return &backends.CLI{Out: a.stdout, Err: a.stderr, Registry: a.registry, Exit: func(code int) error { return &exitError{code} }}
}

// person is who may answer questions.
func (a *app) person() fleet.Person {
	return fleet.Person{In: a.stdin, Err: a.stderr, There: a.isTerminal()}
}

// runbooks gives what makes the commands about runbooks.
func (a *app) runbooks() *runbooks.CLI {
	return &runbooks.CLI{
		Out: a.stdout, Err: a.stderr, Person: a.person, Open: a.controlBy, Read: readFile, Sign: a.membership().Sign, Cosign: a.membership().Cosign,
		Tag: a.completeTag, OpenIn: openIn, Exit: func(code int) error { return &exitError{code} },
	}
}

// policies gives what makes the commands about the policy.
func (a *app) policies() *policies.CLI {
	return &policies.CLI{
		Out: a.stdout, Err: a.stderr, Open: a.control, Read: readFile, Sign: a.membership().Sign, Target: a.completeTarget,
		Exit: func(code int) error { return &exitError{code} },
	}
}

// control opens the control plane's backend of this home.
func (a *app) control() (*control.Backend, error) {
	dir, err := profile.DefaultDir()
	if err != nil {
		return nil, err
	}
	home, err := profile.Open(dir)
	if err != nil {
		return nil, err
	}
	b, err := control.New(home, nil)
	if err != nil {
		return nil, err
	}
	b.OnAlarm(func(err error) { a.notices.Say(sanitize.Clean("alarm: " + err.Error())) })
	for _, file := range b.Forks() {
		a.notices.Say(sanitize.Clean("alarm: the audit log has told two stories; show " + file + " to the admins and auditors of your team, then move it away"))
	}
	return b, nil
}

// controlBy is control with terminals that take a way, as --path names it.
func (a *app) controlBy(way string) (*control.Backend, error) {
	path, err := control.ParsePath(way)
	if err != nil {
		return nil, err
	}
	b, err := a.control()
	if err != nil {
		return nil, err
	}
	b.UsePath(path)
	return b, nil
}

// kind gives the word after "error=" and the exit code of an error.
func kind(err error) (string, int) {
	var by *sessions.SignalError
	switch {
	case errors.As(err, &by):
		return "signal", 128 + int(by.Signal)
	case errors.Is(err, backend.ErrExpired), errors.Is(err, wire.ErrExpired):
		return "expired", exitExpired
	case errors.Is(err, backend.ErrDenied), errors.Is(err, wire.ErrDenied):
		return "denied", exitDenied
	case errors.Is(err, backend.ErrHeld):
		return "held", exitDenied
	case errors.Is(err, backend.ErrConfirm):
		return "confirm", exitDenied
	case errors.Is(err, backend.ErrNotFound), errors.Is(err, wire.ErrNotFound):
		return "not-found", exitNotFound
	case errors.Is(err, backend.ErrUnavailable), errors.Is(err, wire.ErrUnavailable):
		return "unavailable", exitFailed
	case errors.Is(err, fleet.ErrTimeout):
		return "timeout", exitFailed
	case errors.Is(err, recording.ErrTampered):
		return "tampered", exitFailed
	}
	return "failed", exitFailed
}

func exitCode(err error) int {
	var e *exitError
	if err == nil {
		return 0
	}
	if errors.As(err, &e) {
		return e.code
	}
	_, code := kind(err)
	return code
}

// report prints an error for a person and for a script.
func report(w io.Writer, err error) {
	var e *exitError
	if errors.As(err, &e) {
		return
	}
	word, _ := kind(err)
	text := err.Error()
	switch err.(type) {
	case *backend.DeniedError, *backend.HeldError, *backend.ConfirmError:
		if v, _ := backend.VerdictOf(err); v.Reason != "" {
			text = v.Reason // it names rule and line itself
		}
	}
	for i, line := range sanitize.Block(text) {
		if i == 0 {
			fmt.Fprintf(w, "tucdesk: error=%s %s\n", word, line)
			continue
		}
		fmt.Fprintf(w, "  %s\n", line)
	}
}

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := daemon.Version()
			if asJSON {
				return writeJSON(a.stdout, v)
			}
			_, err := fmt.Fprintf(a.stdout, "tucdesk %s\n", v)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verifyExit turns a verification report into an exit code.
func verifyExit(r audit.Report) error {
	if c := r.ExitCode(); c != 0 {
		return &exitError{c}
	}
	return nil
}
