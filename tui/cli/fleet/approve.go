package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// An Asker asks people for many approvals at once, of which they make one decision.
type Asker interface {
	AskTogether(ctx context.Context, reqs []backend.OpenRequest) ([]backend.ApprovalID, error)
	Await(ctx context.Context, id backend.ApprovalID) error
	Cancel(ctx context.Context, id backend.ApprovalID) error
	// Whom says in words whom a request waits for, and who could say yes now; needs is
	// what policy asks for.
	Whom(ctx context.Context, id backend.ApprovalID, needs string) string
}

// Approve asks for one decision about all machines that are held, and waits; with
// noWait it refuses them instead. What it does it says on w.
func (p Plan) Approve(ctx context.Context, from Asker, noWait bool, w io.Writer) error {
	held := p.With(backend.Hold)
	if len(held) == 0 {
		return nil
	}
	v := p[held[0]].Verdict
	if noWait {
		return v.Err()
	}
	reqs := make([]backend.OpenRequest, len(held))
	for i, at := range held {
		reqs[i] = p[at].Request
	}
	fmt.Fprintf(w, "tucdesk: asking for approval of %d request(s) at once\n", len(held))
	ids, err := from.AskTogether(ctx, reqs)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "tucdesk: asked for approval %s (%s); waiting, Ctrl-C takes it back\n", ids[0], p.whom(ctx, from, held, ids))
	for i, id := range ids {
		if err := from.Await(ctx, id); err != nil {
			// A plan runs whole or not at all: what is not used is taken back.
			undo, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer stop()
			for _, other := range ids {
				if cerr := from.Cancel(undo, other); cerr != nil && undo.Err() != nil {
					return fmt.Errorf("%w; and a request could not be taken back: %w", err, cerr)
				}
			}
			if ctx.Err() != nil {
				return errors.New("interrupted; the requests were taken back")
			}
			return fmt.Errorf("nothing was run: %w", err)
		}
		p[held[i]].Request.Approval = id
	}
	fmt.Fprintln(w, "tucdesk: approved")
	return nil
}

// whom says whom the held machines wait for, once for all of which policy asks the same.
func (p Plan) whom(ctx context.Context, from Asker, held []int, ids []backend.ApprovalID) sanitize.Text {
	var needs, words []string
	machines := map[string][]string{}
	for i, at := range held {
		need := p[at].Verdict.Approvers
		if machines[need] == nil {
			needs, words = append(needs, need), append(words, from.Whom(ctx, ids[i], need))
		}
		machines[need] = append(machines[need], p[at].Name)
	}
	if len(needs) > 1 {
		for i, need := range needs {
			words[i] = strings.Join(machines[need], ", ") + ": " + words[i]
		}
	}
	return sanitize.Clean(strings.Join(words, " | "))
}
