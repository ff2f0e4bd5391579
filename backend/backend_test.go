package backend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"testing"
)

func TestZeroValuesPromiseNothing(t *testing.T) {
	var v Verdict
	if v.Effect != Deny || !errors.Is(v.Err(), ErrDenied) {
		t.Errorf("zero verdict: effect %v, error %v", v.Effect, v.Err())
	}
	if (Effect(200)).String() != "deny" || !errors.Is(Verdict{Effect: 200}.Err(), ErrDenied) {
		t.Error("an effect out of range must deny")
	}
	if (Assurance{}).E2EE || (Assurance{}).Policy {
		t.Error("zero assurance promises something")
	}
	if State(0) != Unknown || State(9).String() != "unknown" {
		t.Error("zero state is not unknown")
	}
}

func TestVerdictErrors(t *testing.T) {
	for _, tc := range []struct {
		effect Effect
		want   error
	}{{Deny, ErrDenied}, {Hold, ErrHeld}, {Confirm, ErrConfirm}, {Allow, nil}} {
		t.Run(tc.effect.String(), func(t *testing.T) {
			v := Verdict{Effect: tc.effect, Rule: "no-root", Line: 12, Reason: "because\x1b[2J"}
			err := v.Err()
			if tc.want == nil {
				if err != nil {
					t.Fatalf("got %v", err)
				}
				return
			}
			err = fmt.Errorf("control: %w", err)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v does not wrap %v", err, tc.want)
			}
			if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("error text carries a control: %q", err)
			}
			if !strings.Contains(err.Error(), `"no-root" (line 12)`) {
				t.Errorf("error does not name rule and line: %v", err)
			}
			got, ok := VerdictOf(err)
			if !ok || got != v {
				t.Errorf("VerdictOf = %v, %v", got, ok)
			}
			if got, ok := VerdictOf(fmt.Errorf("x: %w", tc.want)); !ok || got.Effect != tc.effect {
				t.Errorf("VerdictOf(sentinel) = %v, %v", got, ok)
			}
		})
	}
	if _, ok := VerdictOf(ErrNotFound); ok {
		t.Error("ErrNotFound carries a verdict")
	}
}

type plain struct{}

func (plain) Targets(context.Context) iter.Seq2[Target, error] {
	return func(func(Target, error) bool) {}
}
func (plain) Open(context.Context, OpenRequest) (Terminal, error) { return nil, ErrNotFound }
func (plain) Close() error                                        { return nil }

type judging struct{ plain }

func (judging) Evaluate(context.Context, OpenRequest) (Verdict, error) { return Verdict{}, nil }

type wrapped struct{ Backend }

func (w wrapped) Unwrap() Backend { return w.Backend }

func TestAs(t *testing.T) {
	if _, ok := As[Evaluator](wrapped{wrapped{judging{}}}); !ok {
		t.Error("capability is hidden by decorators")
	}
	if _, ok := As[Evaluator](wrapped{plain{}}); ok {
		t.Error("found a capability that is not there")
	}
	if _, ok := As[Evaluator](nil); ok {
		t.Error("found a capability in nil")
	}
}

func TestRegistry(t *testing.T) {
	open := func(context.Context, *url.URL, Env) (Backend, error) { return plain{}, nil }
	var r Registry
	for _, d := range []Driver{
		{Scheme: "", Open: open}, {Scheme: "Local", Open: open}, {Scheme: "a b", Open: open}, {Scheme: "local"},
	} {
		if r.Register(d) == nil {
			t.Errorf("registered %+v", d)
		}
	}
	for _, s := range []string{"mem", "local"} {
		if err := r.Register(Driver{Scheme: s, Open: open}); err != nil {
			t.Fatal(err)
		}
	}
	if r.Register(Driver{Scheme: "mem", Open: open}) == nil {
		t.Error("a second driver took a scheme")
	}
	if d := r.Drivers(); len(d) != 2 || d[0].Scheme != "local" {
		t.Errorf("Drivers() = %v", d)
	}
	if _, err := r.Open(t.Context(), "mem:", Env{}); err != nil {
		t.Error(err)
	}
	if _, err := r.Open(t.Context(), "gopher://x", Env{}); err == nil || !strings.Contains(err.Error(), "local: mem:") {
		t.Errorf("unknown scheme: %v", err)
	}
	if _, err := r.Open(t.Context(), "mem://u:hunter2@%zz", Env{}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("bad URL: %v", err)
	}
}
