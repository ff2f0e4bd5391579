// Package receipts knows which machines have signed that they know of a removal. Only a
// machine's own signature counts; a rendezvous that withholds one is seen as a machine
// that has not confirmed.
//
// It must not import control.
package receipts

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// fresh is how old the last look at what machines have confirmed may be.
	fresh = 5 * time.Second
	// answerIn bounds the look.
	answerIn = 15 * time.Second
)

// A Book is safe for concurrent use. Its fields are set before the first call.
type Book struct {
	Home *profile.Home
	API  *wire.Client
	Now  func() time.Time

	mu   sync.Mutex
	kept profile.Confirmed // of the newest removal
	at   time.Time         // of the last look
}

// Missing gives the names of the machines that have not signed that they know of a
// roster's newest removal, in order of name, and that removal: Seq 0 if nobody was ever
// removed. What a machine has confirmed once is remembered, also while it is offline. What
// is known comes with an error of wire's that says why it may not be all.
func (k *Book) Missing(ctx context.Context, r *roster.Roster) (missing []string, gone roster.Removal, err error) {
	if gone = r.Removal(); gone.Seq == 0 {
		return nil, gone, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept.Seq != gone.Seq {
		k.kept, k.at = k.Home.Confirmed(gone.Seq), time.Time{}
	}
	if k.Now().Sub(k.at) >= fresh {
		if err = k.ask(ctx, r, gone); err == nil {
			k.at = k.Now()
		}
	}
	for _, a := range r.Agents() {
		if !k.kept.Has(a.Kid) {
			missing = append(missing, a.Name)
		}
	}
	return missing, gone, err
}

// ask asks the rendezvous for the newest words of the machines that have not confirmed.
func (k *Book) ask(ctx context.Context, r *roster.Roster, gone roster.Removal) error {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	var ask []roster.Agent
	for _, a := range r.Agents() {
		if !k.kept.Has(a.Kid) {
			ask = append(ask, a)
		}
	}
	var news bool
	for part := range slices.Chunk(ask, wire.MaxAgents) {
		kids := make([]key.Kid, len(part))
		for i, a := range part {
			kids[i] = a.Kid
		}
		words, err := k.API.Receipts(ctx, k.Home.Profile.Rendezvous, kids)
		if err == nil && len(words) != len(kids) {
			err = errors.New("receipts: the rendezvous answers for other machines than it was asked about")
		}
		if err != nil {
			return err
		}
		for i, a := range part {
			head, _, ok := token.LastWord(words[i], a.Public)
			if ok && head.Seq >= gone.Seq && (head.Seq > r.Head().Seq || r.Knows(roster.Head(head))) {
				k.kept.Add(a.Kid)
				news = true
			}
		}
	}
	if !news {
		return nil
	}
	return k.Home.KeepConfirmed(k.kept)
}
