package fleet

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

// Tags choose machines: those that have all of them.
type Tags map[string]string

// ParseTags reads tags as people write them, each as key=value.
func ParseTags(list []string) (Tags, error) {
	tags := Tags{}
	for _, t := range list {
		k, v, ok := strings.Cut(t, "=")
		if !ok {
			return nil, fmt.Errorf("--tag %s: write it as key=value", sanitize.Clean(t))
		}
		tags[k] = v
	}
	return tags, nil
}

// On reports whether a machine has all tags.
func (tags Tags) On(t backend.Target) bool {
	for k, v := range tags {
		if t.Tags[k] != v {
			return false
		}
	}
	return true
}

// A Chooser knows machines and what policy answers: a backend.Backend that is a
// backend.BatchEvaluator is one.
type Chooser interface {
	Targets(ctx context.Context) iter.Seq2[backend.Target, error]
	backend.BatchEvaluator
}

// PlanOf finds the machines with these tags, and what policy answers for req there.
func PlanOf(ctx context.Context, from Chooser, tags Tags, req backend.OpenRequest) (Plan, error) {
	return PlanWhere(ctx, from, tags.On, req)
}

// PlanWhere is PlanOf for the machines that on chooses.
func PlanWhere(ctx context.Context, from Chooser, on func(backend.Target) bool, req backend.OpenRequest) (Plan, error) {
	var plan Plan
	var reqs []backend.OpenRequest
	for t, err := range from.Targets(ctx) {
		if err != nil {
			return nil, err
		}
		if !on(t) {
			continue
		}
		req.Target = t.ID
		plan, reqs = append(plan, Machine{Name: t.Name, State: t.State, Request: req}), append(reqs, req)
	}
	verdicts, err := from.EvaluateBatch(ctx, reqs)
	if err != nil {
		return nil, err
	}
	for i := range plan {
		plan[i].Verdict = verdicts[i]
	}
	return plan, nil
}

// Show prints the machines of a plan with their verdicts.
func (p Plan) Show(w io.Writer) error {
	t := output.NewTable(w, "NAME", "STATE", "VERDICT", "WHY")
	for _, m := range p {
		t.Row(sanitize.Clean(m.Name), sanitize.Clean(m.State.String()), sanitize.Clean(m.Verdict.Effect.String()), sanitize.Clean(m.Verdict.Reason))
	}
	return t.Flush()
}
