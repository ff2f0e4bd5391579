package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// Notices says what stands out of the team: a log that has told two stories, and removals
// that not every machine has confirmed.
func (b *Backend) Notices(ctx context.Context) ([]backend.Notice, error) {
	var out []backend.Notice
	if forks := b.Forks(); len(forks) > 0 {
		out = append(out, backend.Notice{
			Grave: true, Short: "the audit log told two stories",
			Text: "The audit log has told two stories; evidence: " + strings.Join(forks, ", ") + ". Tell the admins and auditors of your team.",
		})
	}
	missing, gone, err := b.Unconfirmed(ctx)
	if len(missing) > 0 {
		out = append(out, backend.Notice{
			Short: fmt.Sprintf("%d not confirmed: removal", len(missing)),
			Text:  fmt.Sprintf("%d machine(s) have not confirmed that %s was removed; `tucdesk doctor` names them.", len(missing), gone.What),
		})
	}
	return out, err
}

// Unconfirmed is [receipts.Book.Missing] of the newest roster.
func (b *Backend) Unconfirmed(ctx context.Context) (missing []string, gone roster.Removal, err error) {
	r, serr := b.Sync(ctx)
	missing, gone, err = b.receipts.Missing(ctx, r)
	return missing, gone, errors.Join(serr, translate(err))
}
