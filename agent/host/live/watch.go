package live

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/gallery"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/channel"
)

// Kinds of channels on which a shell of another session is watched. Join types, too.
const (
	Observe = "observe"
	Join    = "join"
)

// A Guide is what a Keeper does for who watches.
type Guide interface {
	// Guide leads to the shell that a committed task is about: what that says to who
	// watches (internal/watching), and where it takes what is typed. Its error is like
	// Decide's.
	Guide(ctx context.Context, t Task) (net.Conn, error)
}

// An Onlooker is a member who is let in to watch.
type Onlooker struct {
	Who   string // e-mail address, as the roster has it
	Types bool
}

var errNoShell = errors.New("live: there is no shell to watch")

// Watch lets somebody watch the session's shell, who is at the other end of conn. It owns
// conn, also when it fails.
func (s *Session) Watch(o Onlooker, conn net.Conn) error {
	s.mu.Lock()
	d := s.desk
	s.mu.Unlock()
	if d == nil || s.ctx.Err() != nil {
		conn.Close()
		return errNoShell
	}
	return d.above.Add(o.Who, o.Types, conn)
}

// seen notes that somebody came to watch, or left: in the recording, and for the owner.
func (s *Session) seen(d *desk, c gallery.Change) {
	what := "watches"
	if c.Who.Types {
		what = "has joined"
	}
	if c.Left {
		what = "does not watch any more"
	}
	d.track.Mark("watchers: " + c.Who.Who + " " + what)
	s.audience.Set(c.Watch)
}

// tellOwner serves the channel on which the owner hears who watches, one for each
// connection.
func (s *Session) tellOwner(c *conn, ch *channel.Channel) {
	s.mu.Lock()
	may := s.conn == c && !c.hears
	c.hears = true
	s.mu.Unlock()
	if !may {
		_ = ch.Answer(channel.Answer{Reason: "this connection has had its channel about who watches"})
		return
	}
	if ch.Answer(channel.Answer{Effect: channel.Allow}) != nil {
		return
	}
	stop := context.AfterFunc(s.ctx, func() { ch.Close() })
	defer stop()
	s.audience.Tell(s.ctx, ch, func(n uint64) {
		s.mu.Lock()
		d := s.desk
		if s.conn != c {
			d = nil // another client has the shell
		}
		s.mu.Unlock()
		if d != nil {
			d.above.Dismiss(n, "the shell's owner has ended it")
		}
	})
}

// watch serves a channel on which a shell of another session is watched, to its end.
func (s *Session) watch(ch *channel.Channel) {
	t, err := s.keeper.Decide(s.ctx, ch.Request())
	if err == nil {
		err = s.keeper.Commit(s.ctx, t)
	}
	if err != nil {
		_ = ch.Answer(answerOf(err))
		return
	}
	reason := "the watcher has left"
	shell, err := s.keeper.Guide(s.ctx, t)
	if err != nil {
		answer := answerOf(err)
		reason = answer.Reason
		_ = ch.Answer(answer)
	} else if ch.Answer(t.Answer) == nil {
		ended := s.follows(ch, shell)
		switch {
		case s.ctx.Err() != nil:
			reason = s.why()
		case ended:
			reason = "the shell has ended, or its owner has ended the watching"
		}
		shell.Close()
	}
	if err := s.keeper.Outcome(t, process.Exit{}, reason, nil); err != nil {
		s.cancel(err)
	}
	_ = ch.Exit(channel.Exit{Reason: reason})
}

// follows carries bytes between a shell and who watches it; true if the shell's side has
// ended it. Who does not read makes only this carrying wait.
func (s *Session) follows(ch *channel.Channel, shell net.Conn) bool {
	over := context.AfterFunc(s.ctx, func() {
		shell.Close()
		time.AfterFunc(lastWords, func() { ch.Close() }) // who watches does not read
	})
	defer over()
	types := ch.Request().Kind == Join
	go func() {
		defer shell.Close()
		for {
			f, err := ch.ReadFrame()
			if err != nil {
				return
			}
			if f.Type == channel.FrameStdin && types {
				if _, err := shell.Write(f.Payload); err != nil {
					return
				}
			}
		}
	}()
	_, err := io.Copy(ch, shell)
	return err == nil
}
