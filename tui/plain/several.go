package plain

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// maxSeveral is how many targets one command runs on at most.
const maxSeveral = 1000

// several runs one command on targets that are chosen by their numbers.
func (t *talk) several(ctx context.Context) error {
	if t.o.Many == nil {
		t.say("This backend runs a command on one target at a time.")
		return nil
	}
	t.query = ""
	if err := t.load(ctx); err != nil {
		t.failed("The list of targets did not come", err)
		return nil
	}
	t.blank()
	t.say("Targets: %d.%s", len(t.rows), t.ofShells("; what a command's are is said before it runs"))
	chosen, err := t.numbers(ctx)
	if err != nil || chosen == nil {
		return err
	}
	argv, err := t.command(ctx)
	if err != nil || argv == nil {
		return err
	}
	ids := make([]backend.TargetID, len(chosen))
	for i, n := range chosen {
		ids[i] = t.rows[n-1].ID
	}
	code, err := t.o.Many(ctx, ids, argv, func() (string, error) { return t.line(ctx, "") }, t.o.Out)
	if err != nil {
		t.failed("It ended", err)
		return nil
	}
	t.say("Ended: exit code %d.", code)
	return nil
}

// numbers lists the targets by pages and has some of them chosen; nil for none.
func (t *talk) numbers(ctx context.Context) ([]int, error) {
	for first := 0; first < len(t.rows); first += pageSize {
		page := t.rows[first:min(first+pageSize, len(t.rows))]
		for i, v := range t.verdicts(ctx, page) {
			t.say("  %d. %s", first+i+1, t.row(page[i], v))
		}
		last := first + len(page)
		question := "Numbers, such as 1,3-5, or all:"
		if left := len(t.rows) - last; left > 0 {
			question = fmt.Sprintf("Numbers, such as 1,3-5, or all, or n for the next %d:", min(left, pageSize))
		}
		for {
			s, err := t.line(ctx, question)
			if err != nil || s == "" {
				return nil, err
			}
			if strings.EqualFold(s, "n") && last < len(t.rows) {
				break
			}
			chosen, err := choice(s, len(t.rows))
			if err == nil {
				return chosen, nil
			}
			t.failed("That is no choice", err)
		}
	}
	return nil, nil
}

// choice reads numbers from 1 to most: "1,3-5", or "all". It gives each once, in order.
func choice(s string, most int) (out []int, _ error) {
	if strings.EqualFold(s, "all") {
		s = fmt.Sprintf("1-%d", most)
	}
	in := make(map[int]bool)
	for part := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.Atoi(strings.TrimSpace(from))
		b := a
		if ranged && err == nil {
			b, err = strconv.Atoi(strings.TrimSpace(to))
		}
		if err != nil || a < 1 || b > most || a > b {
			return nil, fmt.Errorf("%q is none of the numbers 1 to %d", sanitize.Clean(part).String(), most)
		}
		if b-a >= maxSeveral || len(in) > maxSeveral {
			return nil, fmt.Errorf("one command runs on %d targets at most", maxSeveral)
		}
		for n := a; n <= b; n++ {
			in[n] = true
		}
	}
	if len(in) > maxSeveral {
		return nil, fmt.Errorf("one command runs on %d targets at most", maxSeveral)
	}
	for n := 1; n <= most; n++ {
		if in[n] {
			out = append(out, n)
		}
	}
	return out, nil
}

// attach comes back to one of the member's shells that nobody is at.
func (t *talk) attach(ctx context.Context) error {
	t.others(ctx)
	from, ok := backend.As[backend.Sessioner](t.b)
	if !ok {
		t.say("This backend knows no shells to come back to.")
		return nil
	}
	asking, cancel := call(ctx)
	all, err := from.Sessions(asking)
	cancel()
	if err != nil {
		t.failed("The list of shells did not come", err)
		return nil
	}
	var shells []backend.Session
	var choices []string
	for _, s := range all {
		if !s.Returns || s.Away.IsZero() || t.now().After(s.Until) || len(shells) == pageSize {
			continue
		}
		shells = append(shells, s)
		choices = append(choices, fmt.Sprintf("%s, since %s, %s left.", phrase.Brief(string(s.Target)),
			s.Began.Local().Format(time.TimeOnly), s.Until.Sub(t.now()).Round(time.Second)))
	}
	if len(shells) == 0 {
		t.say("No shell of yours runs that nobody is at.")
		return nil
	}
	if t.o.Attach == nil {
		for _, c := range choices {
			t.say("  %s", c)
		}
		t.say("A shell needs a terminal, and this is none. In one, tucdesk attach comes back to it.")
		return nil
	}
	n, err := t.choose(ctx, "Which one do you come back to?", choices...)
	if err != nil || n == 0 {
		return err
	}
	s := shells[n-1]
	return t.open(ctx, backend.OpenRequest{
		Target: s.Target, Kind: s.Kind, As: s.As, Session: s.ID, TTY: true, Cols: t.o.Cols, Rows: t.o.Rows, Term: t.o.Term,
	})
}

// others says which shells of other members this one may watch, and by which command: what
// is watched goes on by itself, and no choice would end it.
func (t *talk) others(ctx context.Context) {
	from, ok := backend.As[backend.Overseer](t.b)
	if !ok {
		return
	}
	asking, cancel := call(ctx)
	defer cancel()
	all, err := from.Watchable(asking)
	switch {
	case err != nil:
		t.failed("The list of others' shells did not come", err)
		return
	case len(all) > 0:
		t.say("Shells of others that you may watch: %d.", len(all))
	}
	for _, s := range all[:min(len(all), pageSize)] {
		how := "observe"
		if !s.Observe {
			how = "join"
		}
		t.say("  %s of %s, since %s: tucdesk %s %s", phrase.Brief(string(s.Target)), phrase.Brief(s.Owner), sanitize.Clean(s.Began.Local().Format(time.TimeOnly)), how, phrase.Brief(string(s.ID)))
		if s.Observe && s.Join {
			t.say("  To type in it, too: tucdesk join %s", phrase.Brief(string(s.ID)))
		}
	}
	if more := len(all) - pageSize; more > 0 {
		t.say("  And %d more: tucdesk ps --all lists them.", more)
	}
}
