package hindsight

import (
	"errors"
	"iter"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/oracle"
)

func requestOf(q oracle.Request) *policy.Request {
	return &policy.Request{
		Member: q.Member, Roles: q.Roles, Target: q.Target, Tags: q.Tags, LoginUser: q.LoginUser,
		Kind: policy.Kind(q.Kind), As: q.As, Argv: q.Argv, At: q.At, BreakGlass: q.BreakGlass,
	}
}

func parse(t testing.TB, p oracle.Policy) *policy.Snapshot {
	t.Helper()
	parsed, err := policy.Parse([]byte(p.Document()))
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Snapshot{Policy: parsed}
}

func drawn(seed uint64, n int) iter.Seq2[*policy.Request, error] {
	return func(yield func(*policy.Request, error) bool) {
		r := oracle.New(seed)
		for range n {
			if !yield(requestOf(r.Request()), nil) {
				return
			}
		}
	}
}

// The counts are those of the oracle: TUCDESK_TEST_STEPS requests, or 5,000.
func TestCountsAreTheOracles(t *testing.T) {
	steps := 5_000
	if text := os.Getenv("TUCDESK_TEST_STEPS"); text != "" {
		steps, _ = strconv.Atoi(text)
	}
	const pairs = 10
	effects := []string{"deny", "hold", "confirm", "allow"}
	looser, stricter := 0, 0
	for pair := range uint64(pairs) {
		r := oracle.New(pair)
		now, proposed := r.Policy(), r.Policy()
		rep, err := Compare(drawn(pair, steps/pairs), parse(t, now), parse(t, proposed))
		if err != nil {
			t.Fatal(err)
		}
		want := struct{ looser, stricter, same int }{}
		gains := map[string]int{}
		again := oracle.New(pair)
		for range steps / pairs {
			q := again.Request()
			a, b := slices.Index(effects, now.Judge(q).Effect), slices.Index(effects, proposed.Judge(q).Effect)
			switch {
			case b > a:
				want.looser++
				gains[q.Member]++
			case b < a:
				want.stricter++
				gains[q.Member]--
			default:
				want.same++
			}
		}
		if rep.Looser != want.looser || rep.Stricter != want.stricter || rep.Same+rep.Terms != want.same || rep.Requests != steps/pairs {
			t.Fatalf("pair %d: %+v, want %+v", pair, rep, want)
		}
		listed := rep.Unlisted
		for _, m := range rep.Moves {
			listed += m.Count
			if m.Terms != (m.From == m.To) {
				t.Errorf("%+v", m)
			}
		}
		if listed != rep.Looser+rep.Stricter+rep.Terms {
			t.Errorf("the moves count %d of %+v", listed, rep)
		}
		for _, p := range rep.People {
			if p.Gains-p.Loses != gains[p.Member] {
				t.Errorf("%+v, want %d", p, gains[p.Member])
			}
		}
		looser, stricter = looser+rep.Looser, stricter+rep.Stricter
	}
	t.Logf("%d requests, %d looser, %d stricter", steps, looser, stricter)
	if looser == 0 || stricter == 0 {
		t.Error("nothing has changed")
	}
}

func TestReportIsBounded(t *testing.T) {
	open := oracle.Policy{Mode: "allowlist", Commands: oracle.Commands{Default: -1}, Allow: []oracle.Rule{{Name: "a", Members: []string{"*"}, Names: []string{"*"}, Sessions: []string{"shell"}}}}
	shut := oracle.Policy{Mode: "lockdown", Commands: oracle.Commands{Default: -1}}
	many := func(yield func(*policy.Request, error) bool) {
		for i := range 3 * MaxMoves {
			q := oracle.New(1).Request()
			q.Member, q.Kind, q.As, q.LoginUser, q.BreakGlass, q.Argv = "m"+strconv.Itoa(i)+"@x", "shell", "", "deploy", false, nil
			if !yield(requestOf(q), nil) {
				return
			}
		}
	}
	rep, _ := Compare(many, parse(t, open), parse(t, shut))
	if rep.Stricter != 3*MaxMoves || len(rep.Moves) != MaxMoves || rep.Unlisted != 2*MaxMoves || len(rep.People) != MaxMoves+1 {
		t.Errorf("%d stricter, %d moves, %d unlisted, %d people", rep.Stricter, len(rep.Moves), rep.Unlisted, len(rep.People))
	}
	broken := errors.New("broken")
	rep, err := Compare(func(yield func(*policy.Request, error) bool) {
		yield(nil, broken)
	}, parse(t, open), parse(t, shut))
	if !errors.Is(err, broken) || rep.Requests != 0 {
		t.Errorf("%+v %v", rep, err)
	}
}

func BenchmarkCompare(b *testing.B) {
	r := oracle.New(7)
	now, proposed := parse(b, r.Policy()), parse(b, r.Policy())
	var requests []*policy.Request
	for req := range drawn(7, 100_000) {
		requests = append(requests, req)
	}
	for b.Loop() {
		Compare(func(yield func(*policy.Request, error) bool) {
			for _, req := range requests {
				if !yield(req, nil) {
					return
				}
			}
		}, now, proposed)
	}
}
