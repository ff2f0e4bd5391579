package fleet

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Show prints what machines answered, once for all that answered the same.
func Show(w io.Writer, results []Result) error {
	out := bufio.NewWriter(w)
	for _, g := range Groups(results) {
		fmt.Fprintf(out, "== %s (%s)\n", sanitize.Clean(strings.Join(g.Names, ", ")), outcome(g.Result))
		for _, stream := range []struct {
			mark string
			text []byte
		}{{"", g.Result.Stdout}, {"! ", g.Result.Stderr}} {
			text := strings.TrimSuffix(string(stream.text), "\n")
			if text == "" {
				continue
			}
			for line := range strings.Lines(text) {
				fmt.Fprintf(out, "%s%s\n", stream.mark, sanitize.Clean(strings.TrimRight(line, "\r\n")))
			}
		}
		if g.Result.Cut {
			fmt.Fprintln(out, "(more output was not kept; --max-output keeps more)")
		}
	}
	return out.Flush()
}

// outcome says in a few words what became of a machine.
func outcome(r Result) sanitize.Text {
	switch r.Phase {
	case Skipped:
		return sanitize.Literal("not begun")
	case Done:
		text := fmt.Sprintf("exit %d", r.Exit.Code)
		if r.Exit.Signal != "" {
			text += ", signal " + r.Exit.Signal
		}
		if r.Exit.Reason != "" {
			text += ", ended: " + r.Exit.Reason
		}
		return sanitize.Clean(text)
	case Failed:
		return sanitize.Clean(r.Err.Error())
	}
	return sanitize.Clean(string(r.Phase))
}

type jsonMachine struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Effect string `json:"effect"`
	Rule   string `json:"rule,omitempty"`
	Line   int    `json:"line,omitempty"`
	Reason string `json:"reason"`
}

// JSON gives the plan as scripts see it.
func (p Plan) JSON() any {
	out := []jsonMachine{}
	for _, m := range p {
		v := m.Verdict
		out = append(out, jsonMachine{m.Name, m.State.String(), v.Effect.String(), v.Rule, v.Line, v.Reason})
	}
	return out
}

// jsonResult is a machine's result as scripts see it. Output that is not UTF-8 is
// base64, in a field of its own.
type jsonResult struct {
	Name      string     `json:"name"`
	Phase     string     `json:"phase"`
	Exit      *int       `json:"exit,omitempty"`
	Signal    string     `json:"signal,omitempty"`
	Error     string     `json:"error,omitempty"`
	Stdout    string     `json:"stdout,omitempty"`
	Stderr    string     `json:"stderr,omitempty"`
	StdoutRaw []byte     `json:"stdout_base64,omitempty"`
	StderrRaw []byte     `json:"stderr_base64,omitempty"`
	Cut       bool       `json:"cut,omitempty"`
	Began     *time.Time `json:"began,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
}

// JSON gives results as scripts see them.
func JSON(results []Result) any {
	out := []jsonResult{}
	for _, r := range results {
		j := jsonResult{Name: r.Name, Phase: string(r.Phase), Signal: r.Exit.Signal, Cut: r.Cut}
		if r.Phase == Done {
			j.Exit = &r.Exit.Code
		}
		if r.Err != nil {
			j.Error = r.Err.Error()
		}
		if !r.Began.IsZero() {
			j.Began, j.Ended = &r.Began, &r.Ended
		}
		for _, s := range []struct {
			b    []byte
			text *string
			raw  *[]byte
		}{{r.Stdout, &j.Stdout, &j.StdoutRaw}, {r.Stderr, &j.Stderr, &j.StderrRaw}} {
			if utf8.Valid(s.b) {
				*s.text = string(s.b)
			} else {
				*s.raw = s.b
			}
		}
		out = append(out, j)
	}
	return out
}

// A Progress shows a run on stderr: a table that is drawn anew on a terminal, a
// line for each end elsewhere.
type Progress struct {
	w       io.Writer
	live    bool
	rows    int
	results []Result
	drawn   int // lines of the table that stand on the screen
}

// NewProgress begins with nothing begun.
func NewProgress(w io.Writer, plan Plan) *Progress {
	p := &Progress{w: w, results: make([]Result, len(plan))}
	for i, m := range plan {
		p.results[i] = Result{Name: m.Name, Phase: Waiting}
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		if _, rows, err := term.GetSize(int(f.Fd())); err == nil && rows > 4 {
			p.live, p.rows = true, min(rows-3, 20)
		}
	}
	return p
}

// Changed takes a change of a machine.
func (p *Progress) Changed(at int, r Result) {
	p.results[at] = r
	if !p.live {
		if r.Phase != Running {
			fmt.Fprintf(p.w, "%s: %s\n", sanitize.Clean(r.Name), outcome(r))
		}
		return
	}
	p.draw()
}

// draw shows the tally, and the machines on which something happens or went wrong.
func (p *Progress) draw() {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	p.drawn = 1
	fmt.Fprintf(&b, "\r\x1b[J%s\n", Count(p.results))
	for _, r := range p.results {
		if p.drawn >= p.rows {
			break
		}
		if r.Phase == Running || r.Failed() {
			line := fmt.Sprintf("  %s: %s", sanitize.Clean(r.Name), outcome(r))
			if len(line) > 78 {
				line = strings.ToValidUTF8(line[:75], "") + "..."
			}
			fmt.Fprintln(&b, line)
			p.drawn++
		}
	}
	io.WriteString(p.w, b.String())
}

// End takes the table away: what is printed next says it all.
func (p *Progress) End() {
	if p.live && p.drawn > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA\r\x1b[J", p.drawn)
	}
}
