package approvals

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
)

// An Attention has the backend tell others which request is open here to be decided. The
// zero value tells nothing.
type Attention struct {
	id   backend.ApprovalID // empty: none
	stop context.CancelFunc
}

// Follow looks at the dialogs that are open. It gives what tells of a request that has
// come, nil if none has; of one that has gone it tells no more.
func (a *Attention) Follow(ctx context.Context, b backend.Backend, open []dialog.Dialog, now time.Time) tea.Cmd {
	var id backend.ApprovalID
	for _, d := range open {
		if r, ok := d.(*Request); ok && r.decidable(now) {
			id = r.Seen[0].ID
		}
	}
	at, ok := backend.As[backend.Attender](b)
	if !ok || id == a.id {
		return nil
	}
	if a.stop != nil {
		a.stop()
	}
	if a.id, a.stop = id, nil; id == "" {
		return nil
	}
	ctx, a.stop = context.WithCancel(ctx)
	return func() tea.Msg {
		_ = at.Attend(ctx, id) // a courtesy
		return nil
	}
}
