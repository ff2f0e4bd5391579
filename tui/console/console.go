package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/charmbracelet/x/term"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/kept"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/pane/predict"
	"github.com/tucdesk/tucdesk/tui/console/program"
)

// DefaultPrefix is the key that speaks to the console from within a terminal.
const DefaultPrefix = keymap.DefaultPrefix

// ErrNoTerminal means that there is no terminal that the console could use.
var ErrNoTerminal = errors.New("console: no usable terminal")

// Options say how the console runs. The zero value is right for most.
type Options struct {
	// Prefix is the key before a console key within a terminal, in Bubble
	// Tea's spelling, such as "ctrl+]" or "ctrl+a". Twice, it reaches the
	// terminal once. Empty means DefaultPrefix.
	Prefix string
	// Keys are the keys that this person has bound otherwise; nil: none.
	Keys *keymap.Keys
	// Theme is the colours. The zero value follows the terminal.
	Theme canvas.Theme
	// Quiet rings no bell.
	Quiet bool
	// Views are arrangements of the list of targets that have names; Arranged is how
	// it is shown first.
	Views    []agents.Saved
	Arranged agents.Arrangement
	// Kept is what was kept by the run before, and Keeper keeps it for the next; nil:
	// nothing outlives the console.
	Kept   kept.State
	Keeper kept.Keeper
	// Tour begins with the tour, after Notice.
	Tour bool
	// NoMouse leaves the mouse to the terminal whatever programs ask for.
	NoMouse bool
	// Silent shows nothing of what programs announce.
	Silent bool
	// OpenURL opens an http or https address in this person's browser; nil: there is
	// none. It must return soon.
	OpenURL func(url string) error
	// Many runs one command on many targets, and is its terminal: it shows what policy
	// says of each and asks before it starts anything. nil: one target at a time.
	Many func(ctx context.Context, targets []backend.TargetID, argv []string) (backend.Terminal, error)
	// Who is shown at the right of the tab bar: who one is, and where.
	Who string
	// Notice is shown above everything at the start, a paragraph for each line,
	// until it is dismissed. Empty means none.
	Notice string
	// Echo says when what is typed is shown before the far end echoes it. Run
	// takes it from TUCDESK_ECHO (auto, always or never) where that is set.
	Echo predict.When
	// In and Out are the terminal; nil means standard input and output.
	In, Out *os.File
	// Environ is the environment; nil means the process's own.
	Environ []string
}

func (o *Options) setDefaults() {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.In == nil {
		o.In = os.Stdin
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
}

// check refuses what can't work: no terminal, a dumb one, and a prefix that
// is needed to type.
func (o *Options) check() error {
	const instead = "use tucdesk --plain here, or a command such as tucdesk exec, or start tucdesk in a full terminal"
	if !term.IsTerminal(o.In.Fd()) || !term.IsTerminal(o.Out.Fd()) {
		return fmt.Errorf("%w: input or output is not a terminal; %s", ErrNoTerminal, instead)
	}
	if slices.Contains(o.Environ, "TERM=dumb") {
		return fmt.Errorf("%w: TERM is dumb, so it can't be painted on; %s", ErrNoTerminal, instead)
	}
	return keymap.CheckPrefix(o.Prefix)
}

// A BrokeError is a panic in the console. It holds nothing that was typed or shown but in
// Panic.Value. Terminals are left to the end of the process.
type BrokeError struct {
	Panic      *program.PanicError
	Did        []string // names of what was done and of what came last, the newest at the end
	Cols, Rows int
	Tabs       int
}

// Error implements error.
func (e *BrokeError) Error() string { return "console: " + e.Panic.Error() }

// Unwrap implements errors.
func (e *BrokeError) Unwrap() error { return e.Panic }

// Run shows the console until its user quits or ctx is done. It closes the
// terminals that it opened, but not b.
func Run(ctx context.Context, b backend.Backend, o Options) error {
	o.setDefaults()
	echo, err := predict.Setting(o.Environ, o.Echo)
	if err = errors.Join(o.check(), err); err != nil {
		return err
	}
	o.Echo = echo
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(ctx, b, o)
	p := program.New(program.Options{ // remote: at the far end of SSH
		Model: m, Title: "TucDesk", In: o.In, Out: o.Out, Environ: o.Environ, Remote: slices.ContainsFunc(o.Environ, func(s string) bool { return strings.HasPrefix(s, "SSH_TTY=") }), Colours: o.Theme.Depth,
	})
	m.wake = p.Wake
	defer backend.Catch(p.Broke)()
	err = p.Run(ctx)
	cancel()
	var broke *program.PanicError
	if errors.As(err, &broke) {
		return &BrokeError{Panic: broke, Did: m.did.Names, Cols: m.cols, Rows: m.rows, Tabs: len(m.tabs)}
	}
	m.closeTabs()
	if err != nil && !errors.Is(err, program.ErrStopped) {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}
