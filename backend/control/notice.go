package control

import (
	"context"
	"errors"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/receipts"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// Notices says what stands out of the team: a log that has told two stories, and removals
// that not every machine has confirmed.
func (b *Backend) Notices(ctx context.Context) ([]backend.Notice, error) {
	missing, gone, err := b.Unconfirmed(ctx)
	return receipts.Notices(b.Forks(), missing, gone), err
}

// Unconfirmed is [receipts.Book.Missing] of the newest roster.
func (b *Backend) Unconfirmed(ctx context.Context) (missing []string, gone roster.Removal, err error) {
	r, serr := b.Sync(ctx)
	missing, gone, err = b.receipts.Missing(ctx, r)
	return missing, gone, errors.Join(serr, translate(err))
}
