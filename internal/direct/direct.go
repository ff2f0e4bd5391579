package direct

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/tucdesk/tucdesk/internal/path"
)

// Kind is the kind of the channel that the two sides speak on.
const Kind = "path"

const (
	// maxAttempts bounds the attempts of a session, and with them what one
	// side can make the other contact: see internal/decisions/0025.
	maxAttempts = 32
	// answerTime is how long the leader waits for an answer.
	answerTime = 10 * time.Second
	// pauseFirst and pauseMost bound the pause before the next attempt; it
	// doubles, and begins anew after a path that has lived for goodLife.
	pauseFirst = time.Second
	pauseMost  = 10 * time.Minute
	goodLife   = time.Minute
)

// A Switch is the session's path; see [On].
type Switch interface {
	Gather(context.Context) (Attempt, error)
}

// An Attempt is one try at a direct path: a Attempt, or one that another
// process makes.
type Attempt interface {
	// Local is what to tell the peer.
	Local() path.Description
	// Connect returns nil once the switch is on the direct path.
	Connect(ctx context.Context, peer path.Description, lead bool) error
	// Lost is closed when the attempt is over.
	Lost() <-chan struct{}
	// Close may be called more than once.
	Close()
}

// On makes a Switch of a path in this process.
func On(s *path.Switch) Switch { return on{s} }

type on struct{ s *path.Switch }

// Gather implements [Switch].
func (o on) Gather(ctx context.Context) (Attempt, error) {
	a, err := o.s.Gather(ctx)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// talk is one side of the conversation.
type talk struct {
	ch  io.ReadWriter
	in  chan message // what the peer says
	err error        // why in was closed
}

// listen starts to read. The goroutine ends with ctx or the channel: the caller
// closes that.
func listen(ctx context.Context, ch io.ReadWriter) *talk {
	t := &talk{ch: ch, in: make(chan message)}
	go func() {
		defer close(t.in)
		for {
			m, err := read(ch)
			if err != nil {
				t.err = err
				return
			}
			select {
			case t.in <- m:
			case <-ctx.Done():
				t.err = context.Cause(ctx)
				return
			}
		}
	}()
	return t
}

// Lead looks for a direct path as the operator's side, again and again while there
// is hope, until ctx ends or the channel does. Its error says why it stopped; the
// session goes on whatever it is. The caller closes ch.
func Lead(ctx context.Context, ch io.ReadWriter, s Switch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := listen(ctx, ch)
	pause := pauseFirst
	for n := uint64(1); n <= maxAttempts; n++ {
		began := time.Now()
		if err := t.lead(ctx, s, n); err != nil {
			return err
		}
		if time.Since(began) > goodLife {
			pause = pauseFirst
		}
		if err := t.pause(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, pauseMost)
	}
	return errors.New("direct: no more attempts in this session")
}

// pause waits. What comes meanwhile is about attempts that are over.
func (t *talk) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-t.in:
			if !ok {
				return t.err
			}
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lead is one attempt. Its error ends them all.
func (t *talk) lead(ctx context.Context, s Switch, n uint64) error {
	a, err := s.Gather(ctx)
	switch {
	case errors.Is(err, path.ErrNoDirect):
		return nil // perhaps later: this machine may get an address
	case err != nil:
		return err
	}
	defer a.Close()
	local := a.Local()
	if err := write(t.ch, message{Attempt: n, Description: &local}); err != nil {
		return err
	}
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	for {
		select {
		case m, ok := <-t.in:
			switch {
			case !ok:
				return t.err
			case m.Attempt != n:
				continue // a late word about an earlier one
			case m.Description == nil:
				return nil
			}
			_, err := t.hold(ctx, a, n, *m.Description, true)
			return err
		case <-timer.C:
			return t.gone(n)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Follow answers the operator's offers, on the agent's side, until ctx ends or the
// channel does. It is otherwise like Lead.
func Follow(ctx context.Context, ch io.ReadWriter, s Switch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := listen(ctx, ch)
	var last uint64
	var next *message // an offer that has come while the last attempt was on
	for count := 0; count < maxAttempts; {
		m := next
		next = nil
		for m == nil {
			select {
			case got, ok := <-t.in:
				if !ok {
					return t.err
				}
				if got.Description != nil {
					m = &got
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if m.Attempt <= last {
			return ErrProtocol
		}
		last = m.Attempt
		count++
		var err error
		if next, err = t.follow(ctx, s, *m); err != nil {
			return err
		}
	}
	return errors.New("direct: no more attempts in this session")
}

// follow is one attempt. It gives an offer that has ended it.
func (t *talk) follow(ctx context.Context, s Switch, offer message) (*message, error) {
	a, err := s.Gather(ctx)
	switch {
	case errors.Is(err, path.ErrNoDirect):
		return nil, t.gone(offer.Attempt)
	case err != nil:
		return nil, err
	}
	defer a.Close()
	local := a.Local()
	if err := write(t.ch, message{Attempt: offer.Attempt, Description: &local}); err != nil {
		return nil, err
	}
	return t.hold(ctx, a, offer.Attempt, *offer.Description, false)
}

// gone tells the peer that attempt n is over on this side.
func (t *talk) gone(n uint64) error { return write(t.ch, message{Attempt: n}) }

// hold connects and stays until the path is lost on either side. Its error ends
// the conversation; the message is an offer that has ended this attempt.
func (t *talk) hold(ctx context.Context, a Attempt, n uint64, peer path.Description, lead bool) (*message, error) {
	ctx, cancel := context.WithCancel(ctx)
	connected := make(chan error, 1)
	go func() { connected <- a.Connect(ctx, peer, lead) }()
	waiting := true
	defer func() {
		cancel()
		a.Close()
		if waiting {
			<-connected
		}
	}()
	for {
		select {
		case err := <-connected:
			waiting = false
			switch {
			case errors.Is(err, path.ErrCandidate):
				return nil, err
			case err != nil:
				return nil, t.gone(n)
			}
		case <-a.Lost():
			return nil, t.gone(n)
		case m, ok := <-t.in:
			switch {
			case !ok:
				return nil, t.err
			case m.Attempt == n && m.Description == nil:
				return nil, nil
			case m.Attempt == n:
				return nil, ErrProtocol
			case m.Attempt > n && m.Description != nil:
				return &m, nil // only an operator's side makes offers: see Follow
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
