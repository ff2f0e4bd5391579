package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Group is the machines of which the same is to be said.
type Group struct {
	Names  []string
	Result Result // of the first
}

// Groups puts results together that differ in nothing but name and time, the
// largest group first, and the ones that failed last.
func Groups(results []Result) []Group {
	at := map[string]int{}
	var out []Group
	for _, r := range results {
		k := r.sameness()
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, Group{Result: r})
		}
		out[i].Names = append(out[i].Names, r.Name)
	}
	rank := func(g Group) int {
		switch {
		case g.Result.Phase == Skipped:
			return 2
		case g.Result.Failed():
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(len(b.Names), len(a.Names)))
	})
	return out
}

// sameness is equal for results of which the same is to be said.
func (r Result) sameness() string {
	why := ""
	if r.Err != nil {
		// Errors name the machine that they are about.
		why = strings.ReplaceAll(r.Err.Error(), r.Name, "\x00")
	}
	return fmt.Sprintf("%s %d %q %q %v %q %q", r.Phase, r.Exit.Code, r.Exit.Signal, r.Exit.Reason, r.Cut, why,
		string(r.Stdout)+"\x00\x00"+string(r.Stderr))
}

// Exit codes of a run, of which one must be told.
const (
	ExitSome   = 123 // it ran everywhere, and ended with another code than 0 on some machine
	ExitNotAll = 125 // on some machine it did not run, or its end is not known
)

// ExitCode is 0 where the command ended with 0 on every machine; else ExitNotAll,
// or ExitSome.
func ExitCode(results []Result) int {
	code := 0
	for _, r := range results {
		switch {
		case r.Phase != Done:
			return ExitNotAll
		case r.Exit.Code != 0:
			code = ExitSome
		}
	}
	return code
}

// Tally counts results by what became of them.
type Tally struct{ All, Running, Good, Bad, Skipped int }

// Count makes a Tally.
func Count(results []Result) (t Tally) {
	for _, r := range results {
		t.All++
		switch {
		case r.Phase == Running:
			t.Running++
		case r.Phase == Skipped:
			t.Skipped++
		case r.Failed():
			t.Bad++
		case r.Phase == Done:
			t.Good++
		}
	}
	return t
}

func (t Tally) String() string {
	s := fmt.Sprintf("%d of %d ended well", t.Good, t.All)
	if t.Bad > 0 {
		s += fmt.Sprintf(", %d failed", t.Bad)
	}
	if t.Running > 0 {
		s += fmt.Sprintf(", %d running", t.Running)
	}
	if t.Skipped > 0 {
		s += fmt.Sprintf(", %d not begun", t.Skipped)
	}
	return s
}
