package live

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/gallery"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/agent/host/seat"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/session"
)

const (
	// awayFirst and awayMost bound the pause between two words to the keeper about
	// whether the operator is there. It doubles: a path that comes and goes all day
	// must not fill the audit log.
	awayFirst = 2 * time.Second
	awayMost  = 5 * time.Minute
)

var (
	errNoDesk = errors.New("live: the session has no terminal to come back to")
	errGrace  = errors.New("nobody came back to the terminal within its grace time")
	errAlone  = errors.New("the program ended while nobody was attached")
)

// A Doorkeeper is what a Keeper says of operators who leave a terminal and come back.
type Doorkeeper interface {
	// Attach judges a channel that wants the session's terminal again, of the
	// handshake whose bundle has the hash, and makes it evidence, on disk. said is
	// what its operator knew. Its error is like Decide's.
	Attach(ctx context.Context, bundle envelope.Hash, said session.Evidence, m channel.OpenMessage) (channel.Answer, error)
	// Away makes evidence of an operator who is not heard any more, or has left, or
	// is there again. After an error it is said again.
	Away(ctx context.Context, away bool) error
}

// A conn is one connection of the session: that of its first handshake, or of an operator
// who comes back.
type conn struct {
	mux    *channel.Mux
	hand   Handshake         // without HS1
	back   *session.Evidence // what an operator who comes back knew; nil for the first
	way    Way               // guarded by Session.mu, like what follows
	direct bool              // it has had its channel about paths
	talks  bool              // and that about program starts
	hears  bool              // and that about who watches
}

// A desk is the terminal of the session: a program that outlives connections.
type desk struct {
	seat   *seat.Seat
	above  *gallery.Gallery // of its watchers
	p      *running
	track  *recorder.Track
	gone   func() // called when the operator has closed the terminal
	answer channel.Answer
	ch     *channel.Channel // of who sits there; nil: nobody. Guarded by Session.mu
}

// newDesk makes a program's terminal one that can be come back to and watched, if it is
// one.
func (s *Session) newDesk(ch *channel.Channel, p *running, t *work, gone func()) *desk {
	if t.m.TTY == nil {
		return nil
	}
	d := &desk{seat: seat.New(ch, channel.MaxPast, t.m.TTY.Cols, t.m.TTY.Rows), p: p, track: t.track, gone: gone, answer: t.Answer, ch: ch}
	d.above = gallery.New(d.seat, p.Stdin, func(c gallery.Change) { s.seen(d, c) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.desk != nil {
		return nil // the first one is the session's
	}
	s.desk = d
	return d
}

// clear takes the desk away, whose program has ended, and gives the channel of who sits
// there; nil: nobody.
func (s *Session) clear(d *desk) *channel.Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desk = nil
	if s.vacant != nil {
		s.vacant.Stop()
	}
	return d.ch
}

// sits gives the channel of who sits at the desk; nil: nobody.
func (s *Session) sits(d *desk) *channel.Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return d.ch
}

// remains reports whether a channel has ended, as err says, and the terminal remains: its
// operator has left it to be come back to, or another one sits there.
func (s *Session) remains(ch *channel.Channel, p *running, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.desk
	if d == nil || d.p != p || s.Grace <= 0 {
		return false
	}
	if d.ch == ch && errors.Is(err, channel.ErrLeft) {
		d.ch = nil
	}
	return d.ch != ch
}

// Attach answers the first message of an operator who comes back to the session's
// terminal, from wherever. The session goes on as it is until a channel of that handshake
// has been allowed. It owns the way, also when it fails.
func (s *Session) Attach(h Handshake, w Way) (hs2 []byte, err error) {
	s.mu.Lock()
	ok := s.desk != nil && s.Grace > 0 && s.ctx.Err() == nil
	s.mu.Unlock()
	if !ok {
		w.Close()
		return nil, errNoDesk
	}
	responder, hs2, err := session.Respond(s.responder(h), h.HS1)
	if err != nil {
		w.Close()
		return nil, err
	}
	h.HS1 = nil
	s.turn(&halfOpen{responder: responder, way: w, peer: net.UDPAddrFromAddrPort(h.Peer), hand: &h})
	return hs2, nil
}

// attached takes the third message of an operator who comes back. It does not block.
func (s *Session) attached(hs3 []byte) {
	s.mu.Lock()
	again := s.again.try()
	s.mu.Unlock()
	if again == nil || again.hand == nil {
		return
	}
	go func() {
		est, err := again.responder.Consume(hs3)
		if err != nil {
			s.logger.Info("handshake refused", "session", s.ID, "error", err)
			return
		}
		if !s.mine(again) {
			est.Close()
			return
		}
		mux, err := channel.Accept(s.ctx, again.way, again.peer, est, s.options())
		if err != nil {
			s.logger.Info("the operator who wanted to come back did not", "session", s.ID, "error", err)
			return
		}
		c := &conn{mux: mux, hand: *again.hand, back: &est.Peer, way: again.way}
		if !s.join(c) {
			mux.Close()
			return
		}
		time.AfterFunc(HandshakeTime, func() {
			if !s.isCurrent(c) {
				mux.Close()
			}
		})
	}()
}

func (s *Session) options() channel.Options {
	return channel.Options{MaxChannels: maxChannels, Grace: s.Grace}
}

// mine takes a handshake that is done, if a later one has not come in its place.
func (s *Session) mine(again *halfOpen) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again != again {
		return false
	}
	s.again = nil
	return true
}

// join serves the channels of a connection; false if the session is over.
func (s *Session) join(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.channels.Go(func() {
		for {
			ch, err := c.mux.Accept(s.ctx)
			if err != nil {
				s.parted(c, err)
				return
			}
			s.channels.Go(func() { s.serve(c, ch) })
		}
	})
	return true
}

// parted is called when a connection has ended, or the session.
func (s *Session) parted(c *conn, err error) {
	s.mu.Lock()
	current := s.conn == c
	waits := current && s.desk != nil && s.Grace > 0 && errors.Is(err, channel.ErrLeft)
	if waits && s.ctx.Err() == nil {
		s.desk.ch = nil
		s.vacant = time.AfterFunc(s.Grace, func() { s.cancel(errGrace) })
	}
	s.mu.Unlock()
	switch {
	case !current:
		c.mux.Close()
	case !waits:
		s.cancel(err)
	}
}

func (s *Session) isCurrent(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn == c
}

// comeBack serves a channel of an operator who wants the terminal again. Whoever sits
// there is told that the session goes on elsewhere.
func (s *Session) comeBack(c *conn, ch *channel.Channel) {
	s.mu.Lock()
	d := s.desk
	s.mu.Unlock()
	if d == nil || ch.Request().TTY == nil {
		_ = ch.Answer(channel.Answer{Reason: "its program has ended: there is no terminal to come back to; open a new session"})
		return
	}
	if _, err := s.keeper.Attach(s.ctx, c.hand.BundleHash, *c.back, ch.Request()); err != nil {
		_ = ch.Answer(answerOf(err))
		return
	}
	s.mu.Lock()
	before := s.conn
	if s.desk != d || s.ctx.Err() != nil {
		s.mu.Unlock()
		_ = ch.Answer(channel.Answer{Reason: "its program has just ended; open a new session"})
		return
	}
	d.ch, s.conn, s.told = ch, c, false
	if s.vacant != nil {
		s.vacant.Stop()
	}
	s.mu.Unlock()
	if before != c {
		before.mux.Leave()
	}
	tty := ch.Request().TTY
	lost := false
	err := d.seat.Take(ch, func(p seat.Past) error {
		lost = p.Lost > 0
		answer := d.answer
		answer.Past = &channel.Past{Bytes: uint64(len(p.Kept)), Lost: p.Lost, Cols: p.Cols, Rows: p.Rows}
		if err := ch.Answer(answer); err != nil {
			return err
		}
		_, err := ch.Write(p.Kept)
		return err
	})
	if err == nil {
		if lost && tty.Rows > 1 { // it draws anew what is not kept, if it has another size first
			d.resize(tty.Cols, tty.Rows-1)
		}
		d.resize(tty.Cols, tty.Rows)
	}
	s.logger.Info("the operator came back to the terminal", "session", s.ID)
	s.input(ch, d.p, nil, d.gone, d.resize)
}

// resize gives the terminal the size of who sits there.
func (d *desk) resize(cols, rows uint16) {
	d.track.Resize(cols, rows)
	d.seat.Resize(cols, rows)
	_ = d.p.Resize(process.Size{Cols: cols, Rows: rows}) // the old size is no reason to end
}

// attend watches whether the operator is there, and ends a session in which nothing runs
// and of whose operator nothing is heard.
func (s *Session) attend() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	pause, next := awayFirst, time.Time{}
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		mux, d, idle, told := s.conn.mux, s.desk, s.runs == 0, s.told
		if s.Grace <= 0 {
			d = nil // nobody comes back to it
		}
		sits := d != nil && d.ch != nil
		s.mu.Unlock()
		heard, lost := mux.Lost()
		if idle && lost && time.Since(heard) > forgetTime {
			s.cancel(channel.ErrLost)
			return
		}
		away := d != nil && (lost || !sits)
		if away == told || d == nil || time.Now().Before(next) {
			continue
		}
		if err := s.keeper.Away(s.ctx, away); err != nil {
			s.logger.Info("where the operator is could not be said", "session", s.ID, "error", err)
			continue
		}
		s.mu.Lock()
		s.told = away
		s.mu.Unlock()
		next, pause = time.Now().Add(pause), min(2*pause, awayMost)
	}
}
