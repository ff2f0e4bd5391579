package policies

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/hindsight"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

func (c *CLI) log() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "log", Short: "List every policy that admins have signed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, r, err := c.team(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			type row struct {
				Version   uint64    `json:"version"`
				Statement uint64    `json:"statement"`
				At        time.Time `json:"at"`
				SignedBy  []string  `json:"signed_by"`
				Added     int       `json:"lines_added"`
				Removed   int       `json:"lines_removed"`
				Hash      string    `json:"hash"`
			}
			rows := []row{}
			var before []byte
			for _, v := range r.Policies() {
				added, removed := count(output.Diff("", before, "-", v.Document))
				rows = append(rows, row{v.Version, v.Seq, v.At.UTC(), v.Signed, added, removed, v.Hash.String()})
				before = v.Document
			}
			if asJSON {
				return output.JSON(c.Out, rows)
			}
			if len(rows) == 0 {
				return errNoPolicy
			}
			t := output.NewTable(c.Out, "VERSION", "STATEMENT", "SIGNED", "BY", "LINES")
			for _, r := range rows {
				t.Row(sanitize.Clean(fmt.Sprint(r.Version)), sanitize.Clean(fmt.Sprint(r.Statement)), sanitize.Clean(r.At.Format("2006-01-02 15:04 MST")),
					sanitize.Clean(strings.Join(r.SignedBy, ", ")), sanitize.Clean(fmt.Sprintf("+%d -%d", r.Added, r.Removed)))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// count counts the lines that a diff adds and removes.
func count(text string) (added, removed int) {
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
		case line[0] == '+':
			added++
		case line[0] == '-':
			removed++
		}
	}
	return added, removed
}

// A side is one of two policies that are compared.
type side struct {
	name string
	doc  []byte
	snap *policy.Snapshot
}

// sideOf reads a file, or a version by its number.
func (c *CLI) sideOf(r *roster.Roster, arg string) (side, error) {
	s := side{name: arg}
	if version, err := strconv.ParseUint(arg, 10, 32); err == nil {
		v, err := versionOf(r, version)
		if err != nil {
			return s, err
		}
		s.name, s.doc = fmt.Sprintf("version %d", v.Version), v.Document
	} else if s.doc, err = c.Read(arg, roster.MaxPolicy); err != nil {
		return s, err
	}
	var err error
	if s.snap, err = r.WithPolicy(s.doc); err != nil {
		return s, fmt.Errorf("%s: %w", s.name, err)
	}
	return s, nil
}

// sides gives what the arguments mean: nothing is the last change, one is what would
// change, two are compared.
func (c *CLI) sides(r *roster.Roster, args []string) (old, neu side, err error) {
	inForce := r.PolicyVersion()
	switch {
	case inForce == 0:
		return old, neu, errNoPolicy
	case len(args) == 0 && inForce == 1:
		return old, neu, errors.New("there is one version of the policy only; name a file to compare it with")
	case len(args) == 0:
		args = []string{fmt.Sprint(inForce - 1), fmt.Sprint(inForce)}
	case len(args) == 1:
		args = []string{fmt.Sprint(inForce), args[0]}
	}
	if old, err = c.sideOf(r, args[0]); err == nil {
		neu, err = c.sideOf(r, args[1])
	}
	return old, neu, err
}

func (c *CLI) diff() *cobra.Command {
	var (
		since             string
		everybody, asJSON bool
	)
	cmd := &cobra.Command{
		Use: "diff [FILE | VERSION [VERSION]]", Short: "What changes between two policies, and for whom", Args: cobra.MaximumNArgs(2),
		Long: "Compare a policy file with the policy in force, or two signed versions; without arguments, the last change.\n" +
			"--replay 30d asks both about every session that was asked for in that time, as the audit log has it, and says who would\n" +
			"have gained and who would have lost. --everybody asks both about every member, machine and kind of session, now.",
		Example: "  tucdesk policy diff new.yaml --replay 30d\n  tucdesk policy diff 3 4",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, r, err := c.team(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			old, neu, err := c.sides(r, args)
			if err != nil {
				return err
			}
			out := jsonDiff{From: old.name, To: neu.name, Diff: output.Diff(old.name, old.doc, neu.name, neu.doc)}
			if !asJSON {
				output.Text(c.Out, out.Diff)
				if out.Diff == "" {
					fmt.Fprintf(c.Err, "%s and %s are the same\n", sanitize.Clean(old.name), sanitize.Clean(neu.name))
				}
			}
			show := func(what string, requests iter.Seq2[*policy.Request, error]) (*jsonReport, error) {
				rep, err := hindsight.Compare(requests, old.snap, neu.snap)
				if err != nil {
					return nil, err
				}
				if !asJSON {
					return nil, c.printReport(what, rep)
				}
				return reportJSON(what, rep), nil
			}
			if everybody {
				if out.Everybody, err = show("every member, machine and kind of session, now", combinations(r)); err != nil {
					return err
				}
			}
			if since != "" {
				length, err := output.ParseLength(since)
				if err != nil {
					return fmt.Errorf("--replay %w", err)
				}
				p, err := readPast(cmd.Context(), b, r, time.Now().Add(-length), c.Err)
				if err != nil {
					return err
				}
				if out.Replay, err = show(p.String(), p.all()); err != nil {
					return err
				}
			}
			if asJSON {
				return output.JSON(c.Out, out)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&since, "replay", "", "ask both policies about the requests of this time, such as 30d or 12h (auditors and admins)")
	cmd.Flags().BoolVar(&everybody, "everybody", false, "ask both policies about every member, machine and kind of session")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// combinations asks for every kind of session of every member on every machine, as
// its login user.
func combinations(r *roster.Roster) iter.Seq2[*policy.Request, error] {
	return func(yield func(*policy.Request, error) bool) {
		now, seen := time.Now(), map[string]bool{}
		agents := r.Agents()
		for _, d := range r.Devices() {
			if seen[d.MemberID] {
				continue
			}
			seen[d.MemberID] = true
			for _, a := range agents {
				for _, kind := range policy.Kinds() {
					if !yield(r.Request(d, a, kind, "", nil, now), nil) {
						return
					}
				}
			}
		}
	}
}

type jsonDiff struct {
	From      string      `json:"from"`
	To        string      `json:"to"`
	Diff      string      `json:"diff"`
	Everybody *jsonReport `json:"everybody,omitempty"`
	Replay    *jsonReport `json:"replay,omitempty"`
}

type jsonReport struct {
	About    string       `json:"about"`
	Requests int          `json:"requests"`
	Same     int          `json:"same"`
	Terms    int          `json:"other_terms"`
	Looser   int          `json:"looser"`
	Stricter int          `json:"stricter"`
	Unlisted int          `json:"unlisted"`
	People   []jsonPerson `json:"people"`
	Moves    []jsonMove   `json:"moves"`
}

type jsonPerson struct {
	Member string `json:"member"`
	Gains  int    `json:"gains"`
	Loses  int    `json:"loses"`
}

type jsonMove struct {
	Count    int       `json:"count"`
	Member   string    `json:"member"`
	Target   string    `json:"target"`
	Session  string    `json:"session"`
	As       string    `json:"as"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	FromRule string    `json:"from_rule,omitempty"`
	ToRule   string    `json:"to_rule,omitempty"`
	ToLine   int       `json:"to_line,omitempty"`
	Terms    bool      `json:"other_terms,omitempty"`
	Last     time.Time `json:"last"`
}

func reportJSON(about string, rep *hindsight.Report) *jsonReport {
	out := &jsonReport{About: about, Requests: rep.Requests, Same: rep.Same, Terms: rep.Terms, Looser: rep.Looser, Stricter: rep.Stricter,
		Unlisted: rep.Unlisted, People: []jsonPerson{}, Moves: []jsonMove{}}
	for _, p := range rep.People {
		out.People = append(out.People, jsonPerson(p))
	}
	for _, m := range rep.Moves {
		out.Moves = append(out.Moves, jsonMove{m.Count, m.Member, m.Target, string(m.Kind), m.As, m.From.String(), m.To.String(),
			m.FromRule, m.ToRule, m.ToLine, m.Terms, m.Last.UTC()})
	}
	return out
}

// shownMoves is how many lines of a report people get; --json has all.
const shownMoves = 40

func (c *CLI) printReport(about string, rep *hindsight.Report) error {
	w := c.Out
	fmt.Fprintf(w, "\n%s\n%d stay the same, %d on other terms, %d get a better answer, %d a worse one\n",
		sanitize.Clean(about), rep.Same, rep.Terms, rep.Looser, rep.Stricter)
	if len(rep.People) > 0 {
		fmt.Fprintln(w)
		t := output.NewTable(w, "MEMBER", "GAINS", "LOSES")
		for _, p := range rep.People[:min(len(rep.People), shownMoves)] {
			t.Row(sanitize.Clean(p.Member), number(p.Gains), number(p.Loses))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		more(w, len(rep.People)-shownMoves, "people")
	}
	if len(rep.Moves) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := output.NewTable(w, "COUNT", "MEMBER", "TARGET", "SESSION", "AS", "ANSWER", "BY")
	for _, m := range rep.Moves[:min(len(rep.Moves), shownMoves)] {
		answer, by := m.From.String()+" -> "+m.To.String(), m.FromRule+" -> "+m.ToRule
		if m.Terms {
			answer = m.To.String() + ", other terms"
		}
		if m.FromRule == m.ToRule {
			by = m.ToRule
		}
		if m.ToLine > 0 {
			by += fmt.Sprintf(" (line %d)", m.ToLine)
		}
		t.Row(number(m.Count), sanitize.Clean(m.Member), sanitize.Clean(m.Target), sanitize.Clean(string(m.Kind)), sanitize.Clean(m.As),
			sanitize.Clean(answer), sanitize.Clean(by))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	more(w, len(rep.Moves)-shownMoves, "kinds of change (--json lists them)")
	return nil
}

func number(n int) sanitize.Text { return sanitize.Clean(strconv.Itoa(n)) }

func more(w io.Writer, n int, what string) {
	if n > 0 {
		fmt.Fprintf(w, "… and %d more %s\n", n, what)
	}
}
