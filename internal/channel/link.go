package channel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/tucdesk/tucdesk/internal/session"
)

const (
	// keepAlive is how often the operator's side makes itself heard, and so hears
	// the agent, while there is nothing to say.
	keepAlive = 2 * time.Second
	// doubt is for how long nothing is heard before people are told. A keepalive and
	// its first repetition have failed by then.
	doubt = 4 * time.Second
	// silence is for how long nothing is heard before the link counts as lost. One
	// keepalive and its repetitions have failed by then.
	silence = 8 * time.Second
	// tendEvery is how often the operator's side looks whether the link is well.
	tendEvery = time.Second
	// probeTime bounds one attempt to reach the agent on a path that was silent.
	probeTime = 5 * time.Second
	// confirmTime bounds how long a resume waits for a record under its keys.
	confirmTime = 10 * time.Second
)

// A link is QUIC's path of an operator's Mux, which changes when the way does.
type link struct {
	turn   chan struct{} // a token: one attempt at a time; it guards:
	active *quic.Path    // nil: the first one
	next   *quic.Path    // that is probed; kept, since each costs a connection id

	hurry chan struct{} // has one when an attempt of tend must make room
}

// Session is the keys below, for a resume: see [session.Chain.Initiate] and
// [session.Chain.Respond].
func (m *Mux) Session() *session.Chain { return m.chain }

// Lost reports whether the link is lost, as far as can be told, and when the peer was
// heard last. A link that is lost may come back by itself, or with Resume.
func (m *Mux) Lost() (heard time.Time, lost bool) {
	quiet := m.path.quiet()
	return time.Now().Add(-quiet), quiet > silence || m.path.stranded()
}

// Silent reports whether the peer is silent for so long that whoever waits for it
// should know, and when it was heard last. That is sooner than the link counts as lost.
func (m *Mux) Silent() (heard time.Time, silent bool) {
	quiet := m.path.quiet()
	return time.Now().Add(-quiet), quiet > doubt || m.path.stranded()
}

// Resume goes on with the keys of a resume, on the path that conn is; without conn on
// the one that is there. It owns conn and est from the call on. It returns when the
// peer has used the new keys, and on the operator's side when everything that was
// lost on the way is being sent again. An error leaves the Mux as it was, but for the
// path.
func (m *Mux) Resume(ctx context.Context, est *session.Established, conn net.PacketConn, peer net.Addr) error {
	ctx, cancel := context.WithTimeoutCause(ctx, confirmTime, ErrLost)
	defer cancel()
	turned := m.chain.Turned()
	if err := m.chain.Follow(est); err != nil {
		if conn != nil {
			conn.Close()
		}
		return fmt.Errorf("channel: resume: %w", err)
	}
	if conn != nil {
		if err := m.path.replace(conn, peer); errors.Is(err, net.ErrClosed) {
			conn.Close()
			return fmt.Errorf("channel: resume: %w", ErrLost)
		}
	}
	if !m.operator {
		if err := m.path.sendAccept(ctx, turned); err != nil {
			return fmt.Errorf("channel: resume: %w", err)
		}
		return nil
	}
	select {
	case <-turned:
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return fmt.Errorf("channel: resume: %w", context.Cause(ctx))
	}
	if conn == nil {
		return nil
	}
	select {
	case m.link.hurry <- struct{}{}:
	default:
	}
	return m.migrate(ctx)
}

// tend brings a link back whose path was silent, and is not any more.
func (m *Mux) tend() {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-m.conn.Context().Done():
			return
		case <-tick.C:
		}
		if m.path.quiet() > silence && !m.path.stranded() {
			m.probe()
		}
	}
}

// probe is one attempt of tend: the next tick makes the next one.
func (m *Mux) probe() {
	select {
	case <-m.link.hurry: // of long ago
	default:
	}
	ctx, cancel := context.WithTimeout(m.conn.Context(), probeTime)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-m.link.hurry:
		case <-ctx.Done():
		}
	}()
	_ = m.migrate(ctx)
}

// migrate tells QUIC that the way has changed, once the agent answers on it. QUIC
// then measures anew and sends at once what was lost, instead of when it would have
// tried next: after a long silence that is a minute.
func (m *Mux) migrate(ctx context.Context) error {
	select {
	case m.link.turn <- struct{}{}:
		defer func() { <-m.link.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := m.path.again(); err != nil { // a probe waits where QUIC has sent all it may
		return err
	}
	if m.link.next == nil {
		p, err := m.conn.AddPath(m.transport)
		if err != nil {
			return muxError(err)
		}
		m.link.next = p
	}
	if err := m.link.next.Probe(ctx); err != nil {
		return muxError(err)
	}
	if err := m.link.next.Switch(); err != nil {
		return muxError(err)
	}
	if m.link.active != nil {
		_ = m.link.active.Close()
	}
	m.link.active, m.link.next = m.link.next, nil
	// Only a packet that is no probe makes the agent's side follow, and there may
	// be nothing to send.
	if s, err := m.conn.OpenStream(); err == nil {
		s.CancelWrite(codeAborted)
		s.CancelRead(codeAborted)
	}
	return nil
}
