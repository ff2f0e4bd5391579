package approval

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// MaxPlan bounds the asks of one plan.
const MaxPlan = 256

// A Plan says that an ask is one of several that were made together: one command
// on many machines, or the steps of a runbook. The zero value is that of an ask that stands alone.
//
// Each agent still gets an approval of its own, for it and for one use, and
// learns nothing of the others. The plan is for people: what they decide
// together is a set that nobody can add to or take from.
type Plan struct {
	Hash envelope.Hash `cbor:"hash"` // of all Parts
	Size uint64        `cbor:"size"` // how many
}

// A Part is one command on one machine of a plan, and the one use of its approval.
type Part struct {
	_     struct{} `cbor:",toarray"`
	Agent key.Kid
	Nonce token.ID
}

// Part is the ask's own part of its plan.
func (a Ask) Part() Part { return Part{Agent: a.Agent, Nonce: a.Nonce} }

// IsZero reports whether the ask stands alone.
func (p Plan) IsZero() bool { return p == Plan{} }

// PlanOf names a set of parts, in whatever order. Each nonce is in it once; a machine is
// in it once for each command that it shall run.
func PlanOf(parts []Part) (Plan, error) {
	if len(parts) < 2 || len(parts) > MaxPlan {
		return Plan{}, malformed("a plan has 2 to %d requests, not %d", MaxPlan, len(parts))
	}
	parts = slices.Clone(parts)
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(bytes.Compare(a.Agent[:], b.Agent[:]), bytes.Compare(a.Nonce[:], b.Nonce[:]))
	})
	nonces := map[token.ID]bool{}
	for _, p := range parts {
		if p.Agent.IsZero() || p.Nonce.IsZero() || nonces[p.Nonce] {
			return Plan{}, malformed("a plan names machines, and each nonce once")
		}
		nonces[p.Nonce] = true
	}
	b, err := envelope.Marshal(parts)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Hash: envelope.Sum(append([]byte("tucdesk-plan-v1\x00"), b...)), Size: uint64(len(parts))}, nil
}

// Whole answers nil if the asks are one whole plan: all of it, nothing else, and
// all by one device under one policy. Errors: ErrMismatch, ErrMalformed.
func Whole(asks []VerifiedAsk) error {
	parts := make([]Part, len(asks))
	var first Ask
	for i, v := range asks {
		a := v.Body()
		if i == 0 {
			first = a
		}
		if a.Plan.IsZero() || a.Plan != first.Plan || a.Operator != first.Operator || a.PolicyHash != first.PolicyHash {
			return fmt.Errorf("%w: these requests were not made together", ErrMismatch)
		}
		parts[i] = a.Part()
	}
	switch p, err := PlanOf(parts); {
	case err != nil:
		return err
	case uint64(len(parts)) != first.Plan.Size:
		return fmt.Errorf("%w: %d of the plan's %d requests are here", ErrMismatch, len(parts), first.Plan.Size)
	case p != first.Plan:
		return fmt.Errorf("%w: not the machines that the plan names", ErrMismatch)
	}
	return nil
}
