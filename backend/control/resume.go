package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// keepEvery is how often a link is looked at.
	keepEvery = 500 * time.Millisecond
	// resumeTime bounds one attempt to resume.
	resumeTime = 12 * time.Second
	// relayTime bounds how much of that is for the relay: what lies behind is not
	// reached without it.
	relayTime = 4 * time.Second
	// retryFirst and retryMost bound the pause after an attempt that has failed. It
	// doubles, and half of it is random. The grace time ends the attempts.
	retryFirst = time.Second
	retryMost  = 4 * time.Second
	// healEvery is how old keys get before a resume makes others.
	healEvery = time.Hour
	// healRetry is the pause after such a resume has failed.
	healRetry = time.Minute
	// tokenLeast is how long the access token is good for, at least, while there are
	// sessions: a resume needs it when apid may not be there.
	tokenLeast = 8 * time.Minute
	// renewEvery is how often that is looked at.
	renewEvery = 30 * time.Second
)

// keep looks after a link until its session ends: it resumes the session when the
// path is lost, and every hour for new keys.
func (l *link) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	backend.Go(func() {
		<-l.mux.Done()
		cancel()
	})
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	now := time.Now()
	var next, pause = now, time.Duration(0)
	heal, renew := now.Add(healEvery), now.Add(renewEvery)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_, lost := l.mux.Lost()
		switch now := time.Now(); {
		case !lost:
			l.failed(nil)
			next, pause = now, 0
			if !now.Before(heal) {
				if heal = now.Add(healEvery); l.resume(ctx, false) != nil {
					heal = now.Add(healRetry)
				}
			}
			if !now.Before(renew) {
				renew = now.Add(renewEvery)
				l.renew(ctx)
			}
		case !now.Before(next) && l.plan.verdict.Obligations.Grace > 0:
			if err := l.resume(ctx, true); err != nil {
				l.failed(err)
				pause = min(max(2*pause, retryFirst), retryMost)
				next = time.Now().Add(pause/2 + rand.N(pause/2))
				continue
			}
			heal = time.Now().Add(healEvery)
		}
	}
}

// renew keeps the access token good for some time.
func (l *link) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	if _, err := l.b.api.Renew(ctx, tokenLeast); err != nil {
		l.b.logger.Debug("the access token was not renewed", "error", err)
	}
}

// resume is one attempt: a handshake under the session's keys and, where fresh is
// set, another path. Nothing has changed after an error.
func (l *link) resume(ctx context.Context, fresh bool) error {
	ctx, cancel := context.WithTimeout(ctx, resumeTime)
	defer cancel()
	est, way, peer, err := l.meet(ctx, l.mux.Session().Initiate, nil, fresh)
	if wire.IsGone(err, wire.ReasonGone) {
		switch _, lost := l.mux.Lost(); {
		case !lost:
		case wire.IsGone(err, wire.ReasonTaken):
			l.end(l.taken())
		default:
			l.end(fmt.Errorf("%s does not have this session any more for this client: its agent was started again, or its time there was over; `tucdesk ps` lists what runs", l.plan.agent.Name))
		}
		return err
	}
	if err != nil {
		return err
	}
	if !fresh {
		return l.mux.Resume(ctx, est, nil, nil)
	}
	l.use(way)
	if err := l.mux.Resume(ctx, est, way, peer); err != nil {
		return err
	}
	l.b.logger.Info("session resumed", "target", l.plan.agent.Name, "session", l.plan.session)
	if l.b.path != RelayOnly {
		backend.Go(func() { l.steer(way) })
	}
	return nil
}

// taken is the end of a session that another client has attached.
func (l *link) taken() error {
	return fmt.Errorf("%w; it goes on there: tucdesk attach %s", backend.ErrTaken, l.plan.session)
}

// use notes another path.
func (l *link) use(way *path.Switch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.way = way
}

// failed keeps what the last attempt has met; nil: the link works.
func (l *link) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = err
}

// end ends a session that the machine does not have any more.
func (l *link) end(why error) {
	l.mu.Lock()
	l.gone = why
	l.mu.Unlock()
	l.mux.Close()
}

// ended says why the session ended, if the link knows.
func (l *link) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// state is how the link stands, for people.
func (l *link) state() backend.Link {
	heard, silent := l.mux.Silent()
	if !silent {
		return backend.Link{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := backend.Link{Lost: true, Since: heard}
	if grace := l.plan.verdict.Obligations.Grace; grace > 0 {
		s.Until = heard.Add(grace)
	}
	if l.why != nil && !errors.Is(l.why, context.Canceled) {
		s.Why = l.why.Error()
	}
	return s
}
