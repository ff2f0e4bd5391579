// Package plain is TucDesk without a screen: numbered choices, one line after
// another, for screen readers, dumb terminals and pipes. It says with the console's
// words what the console shows.
//
// Invariants:
//
//   - Nothing that was written is painted over, and nothing is a picture: every line
//     makes sense when it is heard once, from top to bottom.
//   - Text from a network is a sanitize.Text when it is written.
//   - The end of the input ends every question with "no".
//   - What the console asks for is asked for here: a reason for a refusal, the
//     target's name before a high tier is approved, a yes before what policy wants
//     confirmed.
//
// It knows backend and the console's words; no network and no key.
package plain

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

const (
	// pageSize is how many rows of a list are said at once.
	pageSize = 20
	// maxLine bounds a line that is typed, in bytes.
	maxLine = 64 << 10
	// callTimeout bounds each question to the backend, but for those that wait
	// for people.
	callTimeout = 45 * time.Second
	// maxRows bounds what a backend can make this hold.
	maxRows = 1_000_000
)

// errEnd is the end of the input.
var errEnd = errors.New("plain: the input has ended")

// Options say how the conversation runs.
type Options struct {
	In  io.Reader
	Out io.Writer
	Who string // who one is, and where
	// Echo writes what was read, for an input that nobody sees being typed.
	Echo bool
	// Attach carries an open terminal until it ends: a login shell on the
	// terminal that In is. Nil where In is none: then there are only commands.
	Attach func(backend.Terminal) (backend.Exit, error)
	// Many runs one command on many targets: it shows the plan on out, asks what it has
	// to with answer, and gives an exit code. Nil: one target at a time.
	Many func(ctx context.Context, targets []backend.TargetID, argv []string, answer func() (string, error), out io.Writer) (int, error)
	// Cols, Rows and Term are of that terminal.
	Cols, Rows uint16
	Term       string
}

// A talk is one conversation.
type talk struct {
	b     backend.Backend
	o     Options
	in    *bufio.Reader
	st    *canvas.Styles
	now   func() time.Time
	rows  []backend.Target // of the last list of targets
	query string
	wrote error
}

// Run talks until the person quits, the input ends or ctx is done. It does not
// close b. Its error is of the output, or says that ctx is done.
func Run(ctx context.Context, b backend.Backend, o Options) error {
	t := &talk{b: b, o: o, in: bufio.NewReaderSize(o.In, 4096), st: canvas.NewStyles(true), now: time.Now}
	err := t.run(ctx)
	if errors.Is(err, errEnd) {
		err = nil
	}
	return errors.Join(err, t.wrote)
}

func (t *talk) run(ctx context.Context) error {
	t.say("TucDesk, plain mode. You are %s.", sanitize.Clean(t.o.Who))
	t.say("Type the number of a choice and press Enter. Enter alone goes back.")
	for {
		t.blank()
		t.count(ctx)
		n, err := t.choose(ctx, "Main menu.", "Targets: list all", "Targets: find by name or tag", "Approvals", "Watch for changes", "One command on several targets", "Shells that run: come back to one of yours, hear which of others you may watch", "Recordings: hear what a terminal showed", "Quit")
		switch {
		case err != nil:
			return err
		case n == 1:
			t.query = ""
			err = t.targets(ctx)
		case n == 2:
			err = t.find(ctx)
		case n == 3:
			err = t.approvals(ctx)
		case n == 4:
			err = t.watch(ctx)
		case n == 5:
			err = t.several(ctx)
		case n == 6:
			err = t.attach(ctx)
		case n == 7:
			err = t.recordings(ctx)
		default:
			t.say("Goodbye.")
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// say writes a line. Its arguments are numbers, words of the program's own, and
// sanitize.Text.
func (t *talk) say(format string, args ...any) {
	if _, err := fmt.Fprintf(t.o.Out, format+"\n", args...); err != nil && t.wrote == nil {
		t.wrote = fmt.Errorf("plain: %w", err)
	}
}

func (t *talk) blank() { t.say("") }

// paras writes the console's paragraphs, each as one line with its label.
func (t *talk) paras(paras []canvas.Para) {
	label := ""
	for _, p := range paras {
		if strings.TrimSpace(p.Label) != "" {
			label = p.Label
		}
		switch {
		case p.Text.IsZero():
		case p.Label == "":
			t.say("  %s", p.Text)
		default:
			t.say("  %s: %s", label, p.Text)
		}
	}
}

// why explains a verdict.
func (t *talk) why(v backend.Verdict) {
	t.say("  Verdict: %s", word(t.st, v.Effect))
	t.paras(phrase.WhyVerdict(t.st, v)[1:]) // the first is the verdict with its glyph
}

// failed says what went wrong, and that nothing else did.
func (t *talk) failed(what string, err error) {
	t.say("%s: %s.", what, phrase.Error(err))
}

// line asks for a line. The end of the input, and of ctx, is an error.
func (t *talk) line(ctx context.Context, question string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if t.wrote != nil {
		return "", t.wrote
	}
	fmt.Fprint(t.o.Out, question+" ")
	var b []byte
	for {
		part, err := t.in.ReadSlice('\n')
		if b = append(b, part...); len(b) > maxLine {
			t.blank()
			t.say("The line is too long.")
			return "", errEnd
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && len(b) == 0:
			t.blank()
			t.say("The input has ended, and with it this conversation. What was not answered was not done.")
			return "", errEnd
		default:
			s := strings.TrimSpace(strings.TrimRight(string(b), "\r\n"))
			if t.o.Echo {
				t.say("%s", sanitize.Clean(s))
			}
			return s, nil
		}
	}
}

// choose asks for one of the choices: 1 for the first, 0 for none. At the main menu
// there is nothing to go back to, so it asks again.
func (t *talk) choose(ctx context.Context, title string, choices ...string) (int, error) {
	t.say("%s", title)
	for i, c := range choices {
		t.say("  %d. %s", i+1, c)
	}
	for {
		s, err := t.line(ctx, "Your choice:")
		if err != nil || s == "" {
			return 0, err
		}
		n, err := strconv.Atoi(s)
		if err == nil && n >= 1 && n <= len(choices) {
			return n, nil
		}
		t.say("%q is none of the numbers 1 to %d.", sanitize.Clean(s).String(), len(choices))
	}
}

// call bounds a question to the backend.
func call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}
