package plain

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/argv"
	"github.com/tucdesk/tucdesk/tui/console/asking"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/details"
	"github.com/tucdesk/tucdesk/tui/console/inquiry"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// find asks for a filter, in the console's form.
func (t *talk) find(ctx context.Context) error {
	s, err := t.line(ctx, "Words of the name, or a tag such as env:prod:")
	if err != nil || s == "" {
		return err
	}
	t.query = s
	return t.targets(ctx)
}

// load asks for the targets that match the filter.
func (t *talk) load(ctx context.Context) error {
	ctx, cancel := call(ctx)
	defer cancel()
	all, err := inquiry.All(t.b.Targets(ctx), maxRows)
	if err != nil {
		return err
	}
	ix := agents.NewIndex(all)
	t.rows = nil
	for _, row := range ix.Filter(t.query) {
		t.rows = append(t.rows, all[row])
	}
	return nil
}

// targets lists targets by pages, and has one chosen.
func (t *talk) targets(ctx context.Context) error {
	if err := t.load(ctx); err != nil {
		t.failed("The list of targets did not come", err)
		return nil
	}
	t.blank()
	switch {
	case len(t.rows) == 0 && t.query == "":
		t.say("There are no targets yet. Enrol an agent on a machine first.")
		return nil
	case len(t.rows) == 0:
		t.say("No target matches %q.", sanitize.Clean(t.query).String())
		return nil
	case t.query == "":
		t.say("Targets: %d.%s", len(t.rows), t.ofShells(""))
	default:
		t.say("Targets that match %q: %d.%s", sanitize.Clean(t.query).String(), len(t.rows), t.ofShells(""))
	}
	for first := 0; first < len(t.rows); first += pageSize {
		page := t.rows[first:min(first+pageSize, len(t.rows))]
		verdicts := t.verdicts(ctx, page)
		for i, target := range page {
			t.say("  %d. %s", first+i+1, t.row(target, verdicts[i]))
		}
		question := "Number of a target:"
		if left := len(t.rows) - first - len(page); left > 0 {
			question = fmt.Sprintf("Number of a target, or n for the next %d:", min(left, pageSize))
		}
		n, more, err := t.pick(ctx, question, first+len(page))
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if n == 0 {
			return nil
		}
		return t.target(ctx, t.rows[n-1])
	}
	return nil
}

// ofShells says what the verdicts in a list are about, where there are any.
func (t *talk) ofShells(more string) string {
	if !inquiry.Policy(t.b) {
		return ""
	}
	return " The verdicts are those of a login shell" + more + "."
}

// pick asks for a number up to most, for n, or for nothing.
func (t *talk) pick(ctx context.Context, question string, most int) (n int, more bool, err error) {
	for {
		s, err := t.line(ctx, question)
		if err != nil || s == "" {
			return 0, false, err
		}
		if strings.EqualFold(s, "n") {
			return 0, true, nil
		}
		if n, err := strconv.Atoi(s); err == nil && n >= 1 && n <= most {
			return n, false, nil
		}
		t.say("%q is none of the numbers 1 to %d.", sanitize.Clean(s).String(), most)
	}
}

// verdicts gives a verdict for each target, nil where none is known.
func (t *talk) verdicts(ctx context.Context, page []backend.Target) []*backend.Verdict {
	ctx, cancel := call(ctx)
	defer cancel()
	out := make([]*backend.Verdict, len(page))
	reqs := make([]backend.OpenRequest, len(page))
	for i, target := range page {
		reqs[i] = agents.Shell(target.ID)
	}
	verdicts, err := inquiry.Verdicts(ctx, t.b, reqs)
	for i := range verdicts {
		if err == nil {
			out[i] = &verdicts[i]
		}
	}
	return out
}

// row is a target in one line.
func (t *talk) row(target backend.Target, v *backend.Verdict) string {
	verdict := "verdict not known"
	switch {
	case v != nil:
		verdict = word(t.st, v.Effect)
	case !inquiry.Policy(t.b):
		verdict = "no policy"
	}
	parts := []string{phrase.Brief(target.Name).String() + ": " + verdict, target.State.String()}
	for _, k := range slices.Sorted(maps.Keys(target.Tags)) {
		parts = append(parts, phrase.Brief(k+"="+target.Tags[k]).String())
	}
	return strings.Join(parts, ", ") + "."
}

// word is a verdict without its glyph.
func word(st *canvas.Styles, e backend.Effect) string {
	s, _ := phrase.Verdict(st, e)
	_, s, _ = strings.Cut(s, " ")
	return s
}

// target offers what can be done with one target.
func (t *talk) target(ctx context.Context, target backend.Target) error {
	for {
		t.blank()
		t.say("%s.", phrase.Clean(target.Name))
		v := t.verdicts(ctx, []backend.Target{target})[0]
		if v != nil {
			t.why(*v)
		}
		t.more(ctx, target.ID)
		choices := []string{"Run one command"}
		if t.o.Attach != nil {
			choices = append(choices, "Open a login shell")
		}
		n, err := t.choose(ctx, "What do you want to do?", choices...)
		if err != nil || n == 0 {
			return err
		}
		req := agents.Shell(target.ID)
		req.Cols, req.Rows, req.Term = t.o.Cols, t.o.Rows, t.o.Term
		if n == 1 {
			words, err := t.command(ctx)
			if err != nil {
				return err
			}
			if words == nil {
				continue
			}
			req = backend.OpenRequest{Target: target.ID, Kind: backend.KindExec, Argv: words}
		}
		if err := t.open(ctx, req); err != nil {
			return err
		}
	}
}

// more says what would change the verdict, what the machine says of itself, and who was
// there lately.
func (t *talk) more(ctx context.Context, id backend.TargetID) {
	from, ok := backend.As[backend.Informer](t.b)
	if !ok {
		return
	}
	ctx, cancel := call(ctx)
	defer cancel()
	info, err := from.Inform(ctx, agents.Shell(id))
	t.paras(details.Paras(t.st, info))
	if err != nil {
		t.failed("More is not known", err)
	}
}

// command asks for an argument list; nil for none.
func (t *talk) command(ctx context.Context) ([]string, error) {
	t.say("There is no shell in between: words go to the program as they are.")
	for {
		s, err := t.line(ctx, "Command:")
		if err != nil || s == "" {
			return nil, err
		}
		words, err := argv.Split(s)
		if err == nil {
			return words, nil
		}
		t.failed("That can't be run", err)
	}
}

// open opens a terminal by the ways that policy leaves open, and carries it to its
// end. Its error is of the input.
func (t *talk) open(ctx context.Context, req backend.OpenRequest) error {
	try := func() (backend.Terminal, error) {
		ctx, cancel := call(ctx)
		defer cancel()
		return t.b.Open(ctx, req)
	}
	term, err := try()
	if errors.Is(err, backend.ErrConfirm) {
		v, _ := backend.VerdictOf(err)
		t.why(v)
		yes, lineErr := t.line(ctx, "Type yes to run it:")
		if lineErr != nil {
			return lineErr
		}
		if yes != "yes" {
			t.say("Not run.")
			return nil
		}
		req.Confirmed = true
		term, err = try()
	}
	if errors.Is(err, backend.ErrHeld) {
		approved, askErr := t.ask(ctx, &req, err)
		if askErr != nil || !approved {
			return askErr
		}
		term, err = try()
	}
	if err != nil {
		if v, ok := backend.VerdictOf(err); ok && errors.Is(err, backend.ErrDenied) {
			t.say("Denied.")
			t.why(v)
			return nil
		}
		t.failed("It did not open", err)
		return nil
	}
	defer term.Close()
	t.carry(term, req)
	return nil
}

// ask asks people for an approval, and waits.
func (t *talk) ask(ctx context.Context, req *backend.OpenRequest, held error) (approved bool, _ error) {
	v, _ := backend.VerdictOf(held)
	t.say("It needs an approval first.")
	t.why(v)
	asker, ok := backend.As[backend.Asker](t.b)
	if !ok {
		t.say("This backend can't ask for one.")
		return false, nil
	}
	reason, err := t.line(ctx, "Why do you need it? The approvers read this. Enter alone does not ask:")
	if err != nil || reason == "" {
		return false, err
	}
	req.Reason = reason
	for {
		s, err := t.line(ctx, asking.HowLong+"; Enter alone means as long as policy lets:")
		if err != nil {
			return false, err
		}
		if req.Lasts, err = asking.Lasts(s, v.MaxSession); err == nil {
			break
		}
		t.failed("That can't be asked for", err)
	}
	id, err := t.file(ctx, asker, *req)
	if err != nil {
		t.failed("Nobody was asked", err)
		return false, nil
	}
	t.say("Asked for approval %s. Waiting for a decision; it goes on by itself.", sanitize.Clean(string(id)))
	if err := asker.Await(ctx, id); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		t.failed("Not approved", err)
		return false, nil
	}
	t.say("Approved.")
	req.Approval = id
	return true, nil
}

func (t *talk) file(ctx context.Context, asker backend.Asker, req backend.OpenRequest) (backend.ApprovalID, error) {
	ctx, cancel := call(ctx)
	defer cancel()
	return asker.Ask(ctx, req)
}

// carry shows a terminal to its end. A command gets no input; its output is written
// by lines, made safe.
func (t *talk) carry(term backend.Terminal, req backend.OpenRequest) {
	a := term.Assurance()
	t.say("Open. %s.", spoken(phrase.Assurance(a, t.st.Plain)))
	var exit backend.Exit
	var err error
	if req.Kind == backend.KindShell {
		exit, err = t.o.Attach(term)
	} else {
		exit, err = t.output(term)
	}
	if err != nil {
		t.failed("How it ended is not known", err)
		return
	}
	t.say("Ended: %s.", phrase.Exit(exit))
}

// output writes what a command says, stdout and stderr as they come.
func (t *talk) output(term backend.Terminal) (backend.Exit, error) {
	if h, ok := backend.TerminalAs[backend.HalfCloser](term); ok {
		_ = h.CloseWrite()
	}
	var (
		mu   sync.Mutex
		both sync.WaitGroup
	)
	write := func(label string, r io.Reader) {
		for piece, more := range pieces(r) {
			mu.Lock()
			for _, line := range sanitize.Block(piece) {
				t.say("  %s: %s%s", label, line, more)
			}
			mu.Unlock()
		}
	}
	if s, ok := backend.TerminalAs[backend.StderrTerminal](term); ok && s.Stderr() != nil {
		both.Go(func() { write("error", s.Stderr()) })
	}
	both.Go(func() { write("output", term) })
	both.Wait()
	return term.Wait()
}

// pieces gives lines, and long ones in parts that end in "…".
func pieces(r io.Reader) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		in := bufio.NewReaderSize(r, 4096)
		for {
			b, err := in.ReadSlice('\n')
			more := ""
			if errors.Is(err, bufio.ErrBufferFull) {
				more, err = "…", nil
			}
			if len(b) > 0 && !yield(strings.TrimRight(string(b), "\r\n"), more) {
				return
			}
			if err != nil {
				return
			}
		}
	}
}

// spoken is a status line without its dots between.
func spoken(spans []canvas.Span) string {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(s.Text.String())
	}
	return strings.ReplaceAll(b.String(), " · ", ", ")
}
