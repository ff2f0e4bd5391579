package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/onlookers"
)

// Observe gives the command that looks at a shell of another member.
func (c *CLI) Observe() *cobra.Command {
	return c.watch(backend.KindObserve, "observe SESSION", "See a shell of another member, as it runs, and type nothing",
		"See a shell of another member, as it runs, and type nothing. Policy must let you `observe` on that machine as the\n"+
			"user that the shell runs as; `tucdesk ps --all` lists the shells that you may watch. The owner sees at once who\n"+
			"watches, and may end it; both are in the audit log. The screen has the owner's size: a smaller terminal shows the\n"+
			"part in which the cursor is. q leaves.\n\n"+
			"Where the output is a file or a pipe, the shell's output comes as it is, escape sequences and all, until the shell\n"+
			"ends (exit code 0, and stderr says why), or until a signal, as which it then ends: 130 after an interrupt.")
}

// Join gives the command that types in a shell of another member, too.
func (c *CLI) Join() *cobra.Command {
	return c.watch(backend.KindJoin, "join SESSION", "See a shell of another member, and type in it, too",
		"See a shell of another member, and type in it, too. Policy must let you `join` on that machine as the user that the\n"+
			"shell runs as; where programs that start in it are judged, policy must also allow you a shell there by the owner's\n"+
			"rule, and you approve nothing that starts in it from then on. The owner sees who has joined, and may end it.\n"+
			"Enter ~ & leaves; the shell goes on.")
}

func (c *CLI) watch(kind backend.Kind, use, short, long string) *cobra.Command {
	var way, reason string
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.chooseShell(cmd.Context(), kind, args[0])
			if err == nil {
				err = c.fits(kind)
			}
			if err != nil {
				return err
			}
			req := backend.OpenRequest{Target: s.Target, Kind: kind, As: s.As, Session: s.ID, Owner: s.Owner, TTY: kind == backend.KindJoin || c.Person(), Reason: reason}
			return c.Run(cmd.Context(), req, way)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) (out []string, _ cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), completeIn)
			defer cancel()
			all, _ := c.watchable(ctx)
			for _, s := range all {
				if maySee(s, kind) && strings.HasPrefix(string(s.ID), prefix) {
					out = append(out, fmt.Sprintf("%s\t%s of %s", s.ID, sanitize.Clean(string(s.Target)), sanitize.Clean(s.Owner)))
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().StringVar(&way, "path", "auto", "auto: by relay, then directly when that works; relay; direct")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the approvers, where policy wants an approval")
	return cmd
}

// fits refuses a terminal on which nothing can be drawn, and none where keys are needed.
// What a shell prints is not written to a terminal as it is.
func (c *CLI) fits(kind backend.Kind) error {
	switch out, file := c.Out.(*os.File); {
	case c.Person():
	case kind == backend.KindJoin:
		return errors.New("who joins types, and there is no terminal here; `tucdesk observe` also writes to a file or a pipe")
	case file && term.IsTerminal(int(out.Fd())):
		return errors.New("there is a terminal to draw on and no keyboard: let standard input be the terminal, too, or send the output to a file or a pipe")
	}
	return nil
}

func (c *CLI) watchable(ctx context.Context) ([]backend.Session, error) {
	b, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return b.Watchable(ctx)
}

func maySee(s backend.Session, kind backend.Kind) bool {
	return kind == backend.KindObserve && s.Observe || kind == backend.KindJoin && s.Join
}

// chooseShell finds the one shell that is meant.
func (c *CLI) chooseShell(ctx context.Context, kind backend.Kind, prefix string) (backend.Session, error) {
	all, err := c.watchable(ctx)
	if err != nil {
		return backend.Session{}, err
	}
	return pick(all, kind, prefix)
}

func pick(all []backend.Session, kind backend.Kind, prefix string) (found backend.Session, err error) {
	n, others := 0, 0
	for _, s := range all {
		switch {
		case !strings.HasPrefix(string(s.ID), prefix):
		case maySee(s, kind):
			found, n = s, n+1
		default:
			others++
		}
	}
	switch {
	case n == 1:
		return found, nil
	case n > 1:
		return backend.Session{}, fmt.Errorf("%d shells begin with %q; write more of it", n, prefix)
	case others > 0:
		return backend.Session{}, fmt.Errorf("%w: policy lets you watch that shell, but not %s it; `tucdesk policy explain` says why", backend.ErrDenied, kind)
	}
	return backend.Session{}, fmt.Errorf("%w: no shell that you may %s begins with %q; `tucdesk ps --all` lists them", backend.ErrNotFound, kind, prefix)
}

// A SignalError is a signal that has ended the watching. The shell goes on.
type SignalError struct{ Signal syscall.Signal }

// Error implements error.
func (e *SignalError) Error() string {
	return fmt.Sprintf("not watching any more: %s; the shell goes on", e.Signal)
}

// Look shows a shell to who watches it. carry moves bytes between this process and a
// terminal, with what is typed. A signal ends the watching, and is the *SignalError.
func Look(out, errs io.Writer, in io.Reader, t backend.Terminal, req backend.OpenRequest, carry func(in io.Reader) (backend.Exit, error)) error {
	exit := &way{in: in, t: t, observes: req.Kind == backend.KindObserve}
	if !exit.observes {
		exit.in = &Door{in: in, t: exit}
	}
	if req.TTY {
		fmt.Fprintf(errs, "tucdesk: watching %s; %s leaves\n", sanitize.Clean(string(req.Target)), map[bool]string{true: "q", false: "Enter ~ &"}[exit.observes])
		io.WriteString(out, "\x1b[?1049h")
	}
	got, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(got)
	defer close(over)
	var by atomic.Pointer[SignalError]
	go func() {
		select {
		case s := <-got:
			n, _ := s.(syscall.Signal)
			by.Store(&SignalError{n})
			exit.Detach()
		case <-over:
		}
	}()
	ended, err := carry(exit)
	if req.TTY {
		io.WriteString(out, plain)
	}
	switch {
	case by.Load() != nil:
		return by.Load()
	case exit.left.Load():
		return nil
	case err != nil:
		return err
	case ended.Reason != "":
		fmt.Fprintf(errs, "tucdesk: ended: %s\n", sanitize.Clean(ended.Reason))
	}
	return nil
}

// A way is out of watching. It is the backend.Detacher of its Door: what is left is only
// the watching.
type way struct {
	in       io.Reader
	t        backend.Terminal
	observes bool
	left     atomic.Bool
}

// Read implements io.Reader. Of who observes, only the wish to leave counts.
func (w *way) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if w.observes && strings.ContainsAny(string(p[:n]), "q\x03\x04") {
		w.Detach()
		return 0, io.EOF
	}
	return n, err
}

// Detach implements backend.Detacher.
func (w *way) Detach() (backend.SessionID, error) {
	w.left.Store(true)
	return "", w.t.Close()
}

// TellWatchers says who comes to watch a terminal, and who leaves. dismiss ends them all.
func TellWatchers(say func(sanitize.Text), t backend.Terminal) (dismiss func()) {
	watched, ok := backend.TerminalAs[backend.WatchedTerminal](t)
	if !ok || watched.Watchers() == nil {
		return nil
	}
	var mu sync.Mutex
	var now []backend.Onlooker
	go func() {
		for all := range watched.Watchers() {
			mu.Lock()
			before := now
			now = all
			mu.Unlock()
			for _, c := range onlookers.Changes(before, all) {
				text := c.Words("this shell")
				if !c.Left {
					text += "; Enter ~ w ends that"
				}
				say(sanitize.Clean(text))
			}
		}
	}()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		for _, o := range now {
			watched.Dismiss(o.N)
		}
	}
}
