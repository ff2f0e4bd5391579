//go:build unix

package cell

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"

	"github.com/tucdesk/tucdesk/agent/host/halves"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/path"
)

// A way is the session's path: this process reads and writes one end of its socket,
// and keeps for the next keeper what that needs to have it opened again.
type way struct {
	*link.Packets
	h            *inmate
	id           uint64
	kept         halves.Kept
	theirs, sock *os.File

	mu       sync.Mutex
	over     bool
	last     uint64 // number of the last attempt
	attempts map[uint64]*attempt
}

// pathFiles says whether these are a path's: this end, the other end and, where that can
// be handed on, the socket to the relay. A stream to a relay can't.
func pathFiles(files []*os.File) bool { return len(files) == 2 || len(files) == 3 }

// newWay owns the files, which are a path's.
func newWay(h *inmate, m keepCall, files []*os.File) (*way, error) {
	ours, err := link.Unix(files[0])
	if err != nil {
		link.CloseFiles(files[1:])
		return nil, err
	}
	w := &way{Packets: link.NewPackets(ours), h: h, id: m.Way, kept: m.kept(), theirs: files[1], attempts: map[uint64]*attempt{}}
	if len(files) == 3 {
		w.sock = files[2]
	}
	w.SetPeer(net.UDPAddrFromAddrPort(m.Peer))
	return w, nil
}

// left gives copies of what the next keeper needs. A path whose socket can't be handed
// on ends with the network half that has it.
func (w *way) left() (files []*os.File, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.sock == nil {
		return nil, net.ErrClosed
	}
	for _, f := range []*os.File{w.theirs, w.sock} {
		c, err := link.Copy(f)
		if err != nil {
			link.CloseFiles(files)
			return nil, err
		}
		files = append(files, c)
	}
	return files, nil
}

// Close ends the path.
func (w *way) Close() error {
	w.mu.Lock()
	again := w.over
	w.over = true
	w.mu.Unlock()
	if again {
		return nil
	}
	w.lose(0)
	w.h.moved(w)
	w.theirs.Close()
	if w.sock != nil {
		w.sock.Close()
	}
	if k := w.h.now(); k != nil {
		k.Tell(opClose, attemptCall{Way: w.id})
	}
	return w.Packets.Close()
}

// An attempt is one try at a direct path, which others make.
type attempt struct {
	w     *way
	id    uint64
	local path.Description
	once  sync.Once
	gone  chan struct{}
}

// Gather implements live.Way.
func (w *way) Gather(ctx context.Context) (direct.Attempt, error) {
	w.mu.Lock()
	w.last++
	a := &attempt{w: w, id: w.last, gone: make(chan struct{})}
	w.attempts[a.id] = a
	w.mu.Unlock()
	var got gatherAnswer
	if err := w.h.ask(ctx, opGather, attemptCall{w.id, a.id}, &got); err != nil {
		w.lose(a.id)
		if errors.Is(err, errAway) {
			err = path.ErrNoDirect
		}
		return nil, err
	}
	a.local = got.Description
	return a, nil
}

// Local implements direct.Attempt.
func (a *attempt) Local() path.Description { return a.local }

// Connect implements direct.Attempt.
func (a *attempt) Connect(ctx context.Context, peer path.Description, lead bool) error {
	err := a.w.h.ask(ctx, opConnect, connectCall{a.w.id, a.id, peer, lead}, nil)
	if errors.Is(err, errAway) {
		return path.ErrNoDirect
	}
	return err
}

// Lost implements direct.Attempt.
func (a *attempt) Lost() <-chan struct{} { return a.gone }

// Close implements direct.Attempt.
func (a *attempt) Close() {
	a.w.lose(a.id)
	if k := a.w.h.now(); k != nil {
		k.Tell(opLeave, attemptCall{a.w.id, a.id})
	}
}

// lose ends an attempt; 0: all of them.
func (w *way) lose(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, a := range w.attempts {
		if id == 0 || n == id {
			delete(w.attempts, n)
			a.once.Do(func() { close(a.gone) })
		}
	}
}
