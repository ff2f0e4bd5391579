package path

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pion/stun/v4"
)

// ErrGone means a relay that has lost the allocation, or is not there any more.
// A path that has no other way to it is closed then.
var ErrGone = errors.New("path: relay lost")

// Times of looking after a relay. What a killed relay costs is known after at most
// quiet + tick + confirmations*confirmTime, or quiet + tick + refusedFor: less than
// five seconds.
const (
	tick          = 250 * time.Millisecond  // between two looks at the clock
	quiet         = 1500 * time.Millisecond // without a datagram from the relay, before it is asked
	askTime       = time.Second             // for its answer
	refusedFor    = 1500 * time.Millisecond // that nobody has listened at its address
	confirmations = 4                       // questions that a relay which lives must leave unanswered
	confirmTime   = 400 * time.Millisecond  // for each
	longQuiet     = 15 * time.Second        // without a datagram, after which it is asked less often:
	longPause     = 5 * time.Second         // this long after the last time
)

// A watch looks after an allocation: it asks the relay to refresh it whenever the
// relay has been quiet. A relay that was restarted answers, but not that; one that
// has gone is told of by its host. Mere silence proves nothing, since networks fail
// and come back: what is above has a longer patience.
type watch struct {
	l        *leg
	username string
	password string
	nonce    stun.Nonce
	realm    stun.Realm
	refused  time.Time // since when nobody listens there; zero: not so
}

// run looks until the leg is closed or lost.
func (w *watch) run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	var asked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		silence := w.l.silence()
		if silence < quiet && len(w.l.refused) == 0 && w.refused.IsZero() {
			continue
		}
		if silence > longQuiet && time.Since(asked) < longPause {
			continue
		}
		asked = time.Now()
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.l.lose(err)
			return
		}
	}
}

// look gives an error when the allocation is lost for certain.
func (w *watch) look(ctx context.Context) error {
	code, err := w.refresh(ctx, lifetime, askTime)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return w.unreachable()
	case err != nil:
		return nil // silence
	}
	w.refused = time.Time{}
	switch code {
	case 0:
		return nil
	case stun.CodeUnauthorized, stun.CodeStaleNonce: // the first time, each hour, or it is another relay now
		return w.confirm(ctx)
	}
	return fmt.Errorf("%w: it answers %d %s; open the session again", ErrGone, code, reason(code))
}

// unreachable counts how long the relay's host has said that nobody listens.
func (w *watch) unreachable() error {
	if w.refused.IsZero() {
		w.refused = time.Now()
	}
	if time.Since(w.refused) < refusedFor {
		return nil
	}
	return fmt.Errorf("%w: it is down; open the session again once it is back", ErrGone)
}

// confirm asks a relay that has just given a new nonce again, until it answers for
// this allocation. One that answers other questions, and not this, does not know it.
func (w *watch) confirm(ctx context.Context) error {
	for range confirmations {
		code, err := w.refresh(ctx, lifetime, confirmTime)
		if err != nil {
			continue
		}
		if code == 0 || code == stun.CodeStaleNonce {
			return nil
		}
		return fmt.Errorf("%w: it answers %d %s; open the session again", ErrGone, code, reason(code))
	}
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return nil
	}
	if _, err := w.ask(ctx, m, confirmTime); err != nil {
		return nil // it answers nothing
	}
	return fmt.Errorf("%w: it was restarted; open the session again", ErrGone)
}

// forget releases the allocation that somebody else had on this socket, with the
// same credential. It is asked twice: the first answer brings the nonce.
func (w *watch) forget(ctx context.Context) error {
	for range 2 {
		if code, err := w.refresh(ctx, 0, askTime); err != nil || code == 0 {
			return err
		}
	}
	return errors.New("path: the relay does not release what this socket had")
}

// refresh asks for the allocation to be kept so long, or to be released (RFC 8656,
// section 7). It gives the code of a refusal, or 0. A new nonce is kept for the next
// time.
func (w *watch) refresh(ctx context.Context, keep, limit time.Duration) (stun.ErrorCode, error) {
	var life [4]byte
	binary.BigEndian.PutUint32(life[:], uint32(keep/time.Second))
	setters := []stun.Setter{
		stun.TransactionID, stun.NewType(stun.MethodRefresh, stun.ClassRequest),
		stun.RawAttribute{Type: stun.AttrLifetime, Length: 4, Value: life[:]},
	}
	if len(w.nonce) > 0 {
		setters = append(setters, stun.NewUsername(w.username), w.realm, w.nonce,
			stun.NewLongTermIntegrity(w.username, w.realm.String(), w.password), stun.Fingerprint)
	}
	m, err := stun.Build(setters...)
	if err != nil {
		return 0, err
	}
	answer, err := w.ask(ctx, m, limit)
	if err != nil {
		return 0, err
	}
	if answer.Type.Class == stun.ClassSuccessResponse {
		return 0, nil
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(answer); err != nil {
		return 0, err
	}
	if code.Code == stun.CodeUnauthorized && len(w.nonce) > 0 {
		return stun.CodeForbidden, nil // not a question for our name: a no
	}
	if code.Code == stun.CodeUnauthorized || code.Code == stun.CodeStaleNonce {
		w.nonce, w.realm = nil, nil
		if w.nonce.GetFrom(answer) != nil || w.realm.GetFrom(answer) != nil {
			return 0, errors.New("path: no nonce")
		}
	}
	return code.Code, nil
}

// lifetime is what the relay gives an allocation at a time, also when it is opened.
const lifetime = 10 * time.Minute

func (w *watch) ask(ctx context.Context, m *stun.Message, limit time.Duration) (*stun.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	go func() {
		select {
		case <-w.l.refused:
			refuse(syscall.ECONNREFUSED)
		case <-ctx.Done():
		}
	}()
	result, err := w.l.client.PerformTransactionWithContext(m, w.l.client.TURNServerAddr(), false, ctx)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return result.Msg, nil
}
