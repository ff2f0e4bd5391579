package mem

import (
	"context"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

var _ backend.Attender = (*Backend)(nil)

// Attend implements backend.Attender.
func (b *Backend) Attend(ctx context.Context, id backend.ApprovalID) error {
	if err := b.world.read(id, backend.Reader{Who: b.member, Since: time.Now()}); err != nil {
		return err
	}
	<-ctx.Done()
	b.world.unread(id, b.member)
	return ctx.Err()
}

func (w *World) read(id backend.ApprovalID, r backend.Reader) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, err := w.find(id)
	if err != nil {
		return err
	}
	a.readers = append(a.readers, r)
	w.tell()
	return nil
}

func (w *World) unread(id backend.ApprovalID, member string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, err := w.find(id)
	if err != nil {
		return // it has made room for another
	}
	if at := slices.IndexFunc(a.readers, func(r backend.Reader) bool { return r.Who == member }); at >= 0 {
		a.readers = slices.Delete(a.readers, at, at+1)
	}
	w.tell()
}

// readBy gives who else reads a, each once. The world is locked.
func (a *approval) readBy(member string) (list []backend.Reader) {
	for _, r := range a.readers {
		if r.Who != member && !slices.ContainsFunc(list, func(o backend.Reader) bool { return o.Who == r.Who }) {
			list = append(list, r)
		}
	}
	return list
}
