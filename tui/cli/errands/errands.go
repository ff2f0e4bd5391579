// Package errands is cp, forward and proxy: what goes between this device and a machine,
// or what the machine reaches, and is no program's.
//
// It opens backend.KindCopy, KindForward and KindProxy and speaks internal/filecopy or
// internal/tunnel over them. What policy allows is decided elsewhere.
//
// Invariants:
//   - nothing is written here but where the command says: names that a machine sends stay
//     below it, and files appear whole;
//   - a port is opened on loopback unless another address is named;
//   - texts and names from a machine are cleaned before they are shown.
//
// It must not import backend/control, agent or internal/channel.
package errands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// An Opener opens a request, and takes the ways that policy leaves open: a confirmation,
// an approval. done ends what it was opened on.
type Opener func(ctx context.Context, req backend.OpenRequest) (t backend.Terminal, done func(), err error)

// A CLI makes the commands.
type CLI struct {
	In       io.Reader
	Out, Err io.Writer
	// Asking puts the flags of a request on a command (--as, --reason, ...), and gives
	// what opens one with them.
	Asking func(*cobra.Command) Opener
	// Complete completes names of machines, as a command's first argument.
	Complete cobra.CompletionFunc
}

// Commands gives the commands.
func (c *CLI) Commands() []*cobra.Command {
	return []*cobra.Command{c.copyCommand(), c.forwardCommand(), c.proxyCommand()}
}

// What says what a request is for.
func What(req backend.OpenRequest) sanitize.Text {
	switch {
	case len(req.Argv) == 0:
		return sanitize.Literal("a login shell")
	case req.Kind == backend.KindExec:
		return sanitize.Argv(req.Argv)
	}
	return sanitize.Argv(append([]string{string(req.Kind)}, req.Argv...))
}

// watched reports whether a person looks at Err: progress is shown.
func (c *CLI) watched() bool {
	f, ok := c.Err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (c *CLI) say(format string, args ...any) {
	fmt.Fprintf(c.Err, "tucdesk: %s\n", sanitize.Clean(fmt.Sprintf(format, args...)))
}

// notes gathers what a machine says beside the bytes, and shows each line. The returned
// function waits for the end, and gives the last line.
func (c *CLI) notes(t backend.Terminal, shown bool) (last func() string) {
	done := make(chan string, 1)
	s, ok := backend.TerminalAs[backend.StderrTerminal](t)
	if !ok || s.Stderr() == nil {
		return func() string { return "" }
	}
	go func() {
		const most = 64 << 10 // that is looked at; the rest only passes
		text, _ := io.ReadAll(io.LimitReader(s.Stderr(), most))
		io.Copy(io.Discard, s.Stderr())
		lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		if shown {
			for _, line := range lines[:len(lines)-1] {
				c.say("%s", line)
			}
		}
		done <- lines[len(lines)-1]
	}()
	return func() string { return <-done }
}

// ended waits for the machine's side, and gives why it failed, if it did. why is this
// side's own reason, which counts where the machine has none.
func ended(t backend.Terminal, target string, last func() string, why error) error {
	if why != nil && !errors.Is(why, backend.ErrUnavailable) {
		t.Close()
	}
	io.Copy(io.Discard, t)
	x, err := t.Wait()
	said := last()
	for _, prefix := range []string{"filecopy: ", "errand: ", "tunnel: ", "reach: "} {
		said = strings.TrimPrefix(said, prefix)
	}
	switch {
	case x.Reason != "":
		return fmt.Errorf("%s: %s", target, x.Reason)
	case x.Code != 0 && said != "":
		return fmt.Errorf("%s: %s", target, said)
	case x.Code != 0:
		return fmt.Errorf("%s: it failed there, with exit code %d", target, x.Code)
	case why != nil:
		return why
	}
	return err
}

// closeWrite says that no more bytes come from here.
func closeWrite(t backend.Terminal) error {
	if h, ok := backend.TerminalAs[backend.HalfCloser](t); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}
