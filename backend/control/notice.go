package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// confirmFresh is how old the last look at what agents have confirmed may be.
const confirmFresh = 5 * time.Second

// Notices says what stands out of the team: a log that has told two stories, and removals
// that not every machine has confirmed.
func (b *Backend) Notices(ctx context.Context) ([]backend.Notice, error) {
	var out []backend.Notice
	if forks := b.Forks(); len(forks) > 0 {
		out = append(out, backend.Notice{
			Grave: true, Short: "the audit log told two stories",
			Text: "The audit log has told two stories; evidence: " + joinWords(forks) + ". Tell the admins and auditors of your team.",
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

// Unconfirmed gives the names of the machines that have not signed that they know of the
// newest removal, in order of name, and that removal: Seq 0 if nobody was ever removed.
// What a machine has confirmed once is remembered, also while it is offline.
func (b *Backend) Unconfirmed(ctx context.Context) (missing []string, gone roster.Removal, err error) {
	r, serr := b.Sync(ctx)
	if gone = r.Removal(); gone.Seq == 0 {
		return nil, gone, serr
	}
	b.confirming.Lock()
	defer b.confirming.Unlock()
	if b.confirmed.Seq != gone.Seq {
		b.confirmed, b.confirmedAt = b.home.Confirmed(gone.Seq), time.Time{}
	}
	if b.now().Sub(b.confirmedAt) >= confirmFresh {
		if err = b.askConfirmed(ctx, r, gone); err == nil {
			b.confirmedAt = b.now()
		}
	}
	for _, a := range r.Agents() {
		if !b.confirmed.Has(a.Kid) {
			missing = append(missing, a.Name)
		}
	}
	return missing, gone, errors.Join(serr, err)
}

// askConfirmed asks the rendezvous for the newest words of the machines that have not
// confirmed. Only a machine's own signature counts.
func (b *Backend) askConfirmed(ctx context.Context, r *roster.Roster, gone roster.Removal) error {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	var ask []roster.Agent
	for _, a := range r.Agents() {
		if !b.confirmed.Has(a.Kid) {
			ask = append(ask, a)
		}
	}
	var news bool
	for part := range slices.Chunk(ask, wire.MaxAgents) {
		kids := make([]key.Kid, len(part))
		for i, a := range part {
			kids[i] = a.Kid
		}
		words, err := b.api.Receipts(ctx, b.home.Profile.Rendezvous, kids)
		if err == nil && len(words) != len(kids) {
			err = errors.New("control: the rendezvous answers for other machines than it was asked about")
		}
		if err != nil {
			return translate(err)
		}
		for i, a := range part {
			head, _, ok := token.LastWord(words[i], a.Public)
			if ok && head.Seq >= gone.Seq && (head.Seq > r.Head().Seq || r.Knows(roster.Head(head))) {
				b.confirmed.Add(a.Kid)
				news = true
			}
		}
	}
	if !news {
		return nil
	}
	return b.home.KeepConfirmed(b.confirmed)
}
