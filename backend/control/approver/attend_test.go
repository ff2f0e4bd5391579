package approver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// apid hears who reads what, and answers as a test says.
type apid struct {
	API
	began  time.Time
	heard  []string
	answer error
}

func (a *apid) Attend(ctx context.Context, _ token.ID, over bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.heard = append(a.heard, fmt.Sprint(time.Since(a.began), " over:", over))
	return a.answer
}

// It is said again before the time is over, also to a server that was away, and the last
// word reaches the server although its reader is gone. A no is final.
func TestAttend(t *testing.T) {
	kept := []string{"0s over:false", "10s over:false", "20s over:false", "25s over:true"}
	denied := wire.NewProblem(wire.KindDenied, "no", "")
	for name, tc := range map[string]struct {
		answer, want error
		heard        []string
	}{
		"heard":    {nil, context.DeadlineExceeded, kept},
		"away":     {wire.NewProblem(wire.KindUnavailable, "away", ""), context.DeadlineExceeded, kept},
		"too many": {wire.NewProblem(wire.KindTooMany, "full", ""), context.DeadlineExceeded, kept},
		"denied":   {denied, backend.ErrDenied, kept[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &apid{began: time.Now(), answer: tc.answer}
				a := Approver{API: api, Translate: func(error) error { return backend.ErrDenied }}
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				err := a.Attend(ctx, backend.ApprovalID(token.NewID().String()))
				if !errors.Is(err, tc.want) || !slices.Equal(api.heard, tc.heard) {
					t.Errorf("%v, heard %q; want %v, %q", err, api.heard, tc.want, tc.heard)
				}
			})
		})
	}
	if err := new(Approver).Attend(t.Context(), "no id"); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("no id: %v", err)
	}
}
