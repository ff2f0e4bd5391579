package policy

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/policy/oracle"
)

// steps is how many requests a long property test judges: TUCDESK_TEST_STEPS, or few.
func steps(t *testing.T) int {
	text := os.Getenv("TUCDESK_TEST_STEPS")
	if text == "" {
		return 4000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func requestOf(q oracle.Request) *Request {
	return &Request{
		Member: q.Member, Roles: q.Roles, Target: q.Target, Tags: q.Tags, LoginUser: q.LoginUser,
		Kind: Kind(q.Kind), As: q.As, Argv: q.Argv, At: q.At, BreakGlass: q.BreakGlass,
	}
}

// Random policies and requests are judged by both evaluators: effect, rule, tier,
// approvers, quorum and recording.
func TestEvaluateAgreesWithOracle(t *testing.T) {
	const requests = 8 // of one policy
	effects, rules, tallies := map[string]int{}, map[string]int{}, map[bool]int{}
	for seed := range uint64(steps(t) / requests) {
		r := oracle.New(seed)
		o := r.Policy()
		doc := o.Document()
		p, err := Parse([]byte(doc))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, doc)
		}
		for range requests {
			q := r.Request()
			v, want := Evaluate(requestOf(q), &Snapshot{Policy: p}), o.Judge(q)
			effects[want.Effect]++
			rules[want.Tier]++
			if v.Effect.String() != want.Effect || want.Rule != "" && v.Rule != want.Rule || v.Tier != want.Tier && want.Effect != "deny" ||
				v.Obligations.Record != want.Record {
				t.Fatalf("seed %d: got %+v\nthe oracle says %+v\n%+v\n%s", seed, v, want, q, doc)
			}
			if v.Effect == Hold {
				people := r.People()
				snap, ids, twice := &Snapshot{Policy: p}, []string(nil), []string{"asker"}
				for i, someone := range people {
					id := strconv.Itoa(i)
					snap.People, ids = append(snap.People, Person{MemberID: id, Email: someone.Email, Roles: someone.Roles}), append(ids, id)
				}
				snap.People = append(snap.People, Person{MemberID: "asker", Email: "alice@example.com", Roles: []string{"sre", "admin", "dba"}})
				met := want.Hold.Met(people)
				twice = append(append(twice, ids...), ids...)
				if got := snap.Tally(v, "asker", twice).Complete(); got != met {
					t.Fatalf("seed %d: approved by %+v: %v, the oracle says %v\n%s\n%s", seed, people, got, met, v.Obligations.Needs, doc)
				}
				tallies[met]++
			}
			if v.Effect != Deny && v.Line > 0 && !strings.HasPrefix(v.Rule, "commands.") && !strings.Contains(v.Rule, ".commands.") &&
				!strings.Contains(strings.Split(doc, "\n")[v.Line-1], strings.TrimPrefix(v.Rule, "mode: ")) {
				t.Fatalf("seed %d: line %d is not where %s stands\n%s", seed, v.Line, v.Rule, doc)
			}
		}
	}
	t.Logf("%d requests: %v, tiers %v, approved %v", steps(t)/requests*requests, effects, rules, tallies)
	if tallies[true]*200 < steps(t) || tallies[false]*200 < steps(t) {
		t.Errorf("less than one in two hundred is approved, or is not: %v", tallies)
	}
	for _, effect := range []string{"deny", "hold", "confirm", "allow"} {
		if effects[effect]*200 < steps(t) {
			t.Errorf("less than one in two hundred is %s: %v", effect, effects)
		}
	}
}
