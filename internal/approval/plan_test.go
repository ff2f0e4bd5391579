package approval

import (
	"errors"
	"slices"
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// planned signs one ask for each machine of a plan. change may spoil the i-th.
func planned(t testing.TB, n byte, change func(i int, a *Ask)) []VerifiedAsk {
	t.Helper()
	asks, parts := make([]Ask, n), make([]Part, n)
	for i := range asks {
		a := goodAsk()
		a.ID, a.SessionID, a.Nonce, a.Agent = token.ID{9, byte(i)}, token.ID{8, byte(i)}, token.ID{7, byte(i)}, identity(100+byte(i)).Kid()
		asks[i], parts[i] = a, a.Part()
	}
	plan, err := PlanOf(parts)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]VerifiedAsk, n)
	for i, a := range asks {
		a.Plan = plan
		by := alice
		if change != nil {
			change(i, &a)
		}
		if a.Operator == carol.Kid() {
			by = carol
		}
		b, err := SignAsk(by, a)
		if err != nil {
			t.Fatal(err)
		}
		u, err := ParseAsk(b)
		if err != nil {
			t.Fatal(err)
		}
		if out[i], err = u.Verify(keys, a.TeamFP, now); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestWhole(t *testing.T) {
	good := planned(t, 3, nil)
	if err := Whole(good); err != nil {
		t.Fatal(err)
	}
	if err := Whole([]VerifiedAsk{good[2], good[0], good[1]}); err != nil {
		t.Errorf("in another order: %v", err)
	}
	spoilt := func(change func(*Ask)) []VerifiedAsk {
		return planned(t, 3, func(i int, a *Ask) {
			if i == 1 {
				change(a)
			}
		})
	}
	other := planned(t, 4, nil)
	for name, asks := range map[string][]VerifiedAsk{
		"nothing":             nil,
		"one missing":         good[:2],
		"one twice":           append(slices.Clone(good[:2]), good[0]),
		"one more":            append(slices.Clone(good), other[3]),
		"another plan's":      {good[0], good[1], other[2]},
		"another machine":     spoilt(func(a *Ask) { a.Agent = identity(200).Kid() }),
		"another nonce":       spoilt(func(a *Ask) { a.Nonce = token.ID{66} }),
		"another's nonce":     spoilt(func(a *Ask) { a.Nonce = token.ID{7, 0} }),
		"another operator":    spoilt(func(a *Ask) { a.Operator = carol.Kid() }),
		"another policy":      spoilt(func(a *Ask) { a.PolicyHash = envelope.Sum([]byte("newer")) }),
		"another size":        spoilt(func(a *Ask) { a.Plan.Size++ }),
		"no plan":             spoilt(func(a *Ask) { a.Plan = Plan{} }),
		"asks without a plan": {verifiedAsk(t), verifiedAsk(t)},
	} {
		if err := Whole(asks); !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlanOf(t *testing.T) {
	part := func(n byte) Part { return Part{Agent: identity(n).Kid(), Nonce: token.ID{n}} }
	for name, parts := range map[string][]Part{
		"none":     nil,
		"one":      {part(1)},
		"no agent": {part(1), {Nonce: token.ID{2}}},
		"no nonce": {part(1), {Agent: identity(2).Kid()}},
		"too many": make([]Part, MaxPlan+1),
	} {
		if _, err := PlanOf(parts); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One machine may have two requests in it, in whatever order; a nonce has one.
	two := []Part{{Agent: part(1).Agent, Nonce: token.ID{2}}, part(1), part(3)}
	p1, err := PlanOf(two)
	p2, err2 := PlanOf([]Part{two[2], two[1], two[0]})
	if err != nil || err2 != nil || p1 != p2 || p1.Size != 3 {
		t.Errorf("%+v %+v, %v %v", p1, p2, err, err2)
	}
	if _, err := PlanOf([]Part{part(1), part(1)}); !errors.Is(err, ErrMalformed) {
		t.Errorf("one twice: %v", err)
	}
	if _, err := PlanOf([]Part{part(1), {Agent: part(2).Agent, Nonce: part(1).Nonce}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("one nonce twice: %v", err)
	}
	// The vector of an implementation of SPEC.md's text alone.
	p, err := PlanOf([]Part{{Agent: key.Kid{2}, Nonce: token.ID{4}}, {Agent: key.Kid{1}, Nonce: token.ID{3}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := byHand(); p.Hash != want || p.Size != 2 {
		t.Errorf("%s, want %s", p.Hash, want)
	}
}

// byHand makes the hash of that vector byte by byte.
func byHand() envelope.Hash {
	b := append([]byte("tucdesk-plan-v1\x00"), 0x82) // array of 2
	for n := byte(1); n <= 2; n++ {
		kid, nonce := make([]byte, len(key.Kid{})), make([]byte, len(token.ID{}))
		kid[0], nonce[0] = n, n+2
		b = append(b, 0x82, 0x58, byte(len(kid))) // array of 2, byte string with a length byte
		b = append(b, kid...)
		b = append(b, 0x50) // byte string of 16
		b = append(b, nonce...)
	}
	return envelope.Sum(b)
}
