//go:build unix

package cell

import (
	"context"
	"net"
	"os"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
)

// Watch has the half let somebody watch its shell, who is at the other end of conn, a
// unix socket. It owns conn.
func (h *Half) Watch(ctx context.Context, o live.Onlooker, conn net.Conn) error {
	file, err := link.Hand(conn)
	if err != nil {
		return err
	}
	defer file.Close()
	if !h.comes(ctx) {
		return link.ErrAway
	}
	h.mu.Lock()
	k, old := h.k, h.version < version
	h.mu.Unlock()
	if k == nil || old {
		return errVersion
	}
	_, err = k.Call(ctx, opWatch, watchCall{o.Who, o.Types}, nil, file)
	return err
}

// guide leads a half to the shell that it is to watch.
func (h *Half) guide(ctx context.Context, r link.Request) (link.Reply, error) {
	var m taskCall
	if err := link.Decode(r.Body, &m); err != nil {
		return link.Reply{}, err
	}
	conn, err := h.keeper.Guide(ctx, live.Task{ID: m.Task})
	v, err := verdictOf(err)
	if err != nil || !v.Answer.Allowed() {
		return link.Reply{Body: v}, err
	}
	file, err := link.Hand(conn)
	if err != nil {
		return link.Reply{}, err
	}
	return link.Reply{Body: v, Files: []*os.File{file}}, nil
}

// Guide implements live.Guide.
func (h *inmate) Guide(ctx context.Context, t live.Task) (net.Conn, error) {
	k := h.now()
	if k == nil {
		return nil, errAway
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var v verdict
	files, err := k.Call(ctx, opGuide, taskCall{t.ID}, &v)
	if err == nil {
		err = yes(v.Answer)
	}
	if err == nil && len(files) != 1 {
		err = link.ErrProtocol
	}
	if err != nil {
		link.CloseFiles(files)
		return nil, err
	}
	return link.Unix(files[0])
}

// watched lets somebody watch this session's shell.
func (h *inmate) watched(r link.Request) error {
	var m watchCall
	if err := link.Decode(r.Body, &m); err != nil {
		link.CloseFiles(r.Files)
		return err
	}
	conn, err := link.Unix(r.Files[0])
	if err != nil {
		return err
	}
	return h.session.Watch(live.Onlooker{Who: m.Who, Types: m.Types}, conn)
}
