package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/token"
)

// judged are the Answer.Gate of channels whose program starts, or lines, are judged.
var judged = []string{"enforced", "line", "advisory"}

const (
	// maxStarts bounds what waits to be read of a terminal's starts. An older one is
	// dropped for a newer one.
	maxStarts = 64
	// answerStart bounds the way from a yes to the agent.
	answerStart = 30 * time.Second
)

// starts is a session's channel about program starts.
type starts struct {
	b    *Backend
	plan *plan // of the session
	ch   *channel.Channel

	mu      sync.Mutex
	out     chan backend.Start // closed at the end
	ended   bool
	waiting map[uint64]*waitingStart
}

// A waitingStart is a start that this device may help on.
type waitingStart struct {
	event  gating.Event
	cancel context.CancelFunc // of what is done about it
	why    string             // this device gave it up
}

// followStarts opens the channel, if there is something to follow. A session works
// without: then nothing that waits can start.
func (b *Backend) followStarts(p *plan, mux *channel.Mux, gate string) *starts {
	if !slices.Contains(judged, gate) || p.req.Kind.Watches() {
		return nil
	}
	s := &starts{b: b, plan: p, out: make(chan backend.Start, maxStarts), waiting: map[uint64]*waitingStart{}}
	backend.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		defer s.end()
		backend.Go(func() {
			select {
			case <-mux.Done():
				cancel()
			case <-ctx.Done():
			}
		})
		ch, err := mux.Open(ctx, channel.OpenMessage{Kind: gating.Kind})
		if err != nil {
			return
		}
		defer ch.Close()
		if a, err := ch.AwaitAnswer(ctx); err != nil || !a.Allowed() {
			return
		}
		s.ch = ch
		for {
			e, err := gating.ReadEvent(ch)
			if err != nil {
				return
			}
			s.take(ctx, e)
		}
	})
	return s
}

// take deals with an event.
func (s *starts) take(ctx context.Context, e gating.Event) {
	shown := backend.Start{
		ID: e.ID, State: backend.StartState(e.State), Argv: e.Argv, Cwd: e.Cwd, Tier: e.Tier, Reason: e.Reason,
	}
	for _, kv := range e.Env {
		shown.Env = append(shown.Env, kv[0]+"="+kv[1])
	}
	if !e.State.Waits() {
		s.mu.Lock()
		if w := s.waiting[e.ID]; w != nil {
			w.cancel()
			delete(s.waiting, e.ID)
			if w.why != "" {
				shown.Reason = w.why
			}
		}
		s.mu.Unlock()
		s.tell(shown)
		return
	}
	w := &waitingStart{event: e}
	ctx, w.cancel = context.WithCancel(ctx)
	s.mu.Lock()
	s.waiting[e.ID] = w
	s.mu.Unlock()
	if e.State == gating.Hold {
		backend.Go(func() { s.hold(ctx, e, shown) })
		return
	}
	s.tell(shown)
}

// tell shows a start. Who does not read loses the oldest.
func (s *starts) tell(shown backend.Start) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ended {
		select {
		case s.out <- shown:
			return
		default:
		}
		select {
		case <-s.out:
		default:
		}
	}
}

func (s *starts) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		w.cancel()
	}
	s.ended = true
	close(s.out)
}

// request is the exec that a start is asked for as, judged on this device.
func (s *starts) request(ctx context.Context, e gating.Event) (*plan, error) {
	r, err := s.b.syncNow(ctx)
	if err != nil {
		return nil, err
	}
	me, a, err := s.b.parties(r, s.plan.req.Target)
	if err != nil {
		return nil, err
	}
	p := &plan{
		req: backend.OpenRequest{
			Target: s.plan.req.Target, Kind: backend.KindExec, Argv: e.Argv, As: s.plan.req.As, TTY: true,
			Reason: "typed in a shell", Confirmed: e.State == gating.Confirm,
		},
		roster: r, me: me, agent: a, session: token.NewID(),
		command: token.Command{V: token.Version, Argv: e.Argv, Cwd: e.Cwd, Env: e.Env, Stdin: token.StdinTTY, Bound: e.Bound, Salt: token.NewID()},
	}
	if why := s.plan.req.Reason; why != "" {
		p.req.Reason = why
	}
	req := r.Request(me, a, policy.Exec, p.req.As, e.Argv, s.b.now())
	req.Cwd = e.Cwd
	p.verdict = policy.Evaluate(req, r.Snapshot())
	return p, p.command.Check()
}

// hold asks for the approval that a start needs, and hands it to the agent. What is
// shown says whom it waits for.
func (s *starts) hold(ctx context.Context, e gating.Event, shown backend.Start) {
	p, err := s.request(ctx, e)
	var id backend.ApprovalID
	if err == nil {
		id, err = s.b.ask(ctx, p)
	}
	if err != nil {
		s.refuse(e, fmt.Errorf("approval could not be asked for: %w", err))
		return
	}
	shown.Approval = id
	shown.Approvers = s.b.Whom(ctx, id, p.verdict.Obligations.Needs.String())
	s.tell(shown)
	if err := s.b.Await(ctx, id); err != nil {
		if ctx.Err() != nil {
			// Nobody waits for it any more: it is taken back.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerStart)
			defer cancel()
			if err := s.b.Cancel(ctx, id); err != nil {
				s.b.logger.Debug("an approval was not taken back", "id", id, "error", err)
			}
			return
		}
		s.refuse(e, err)
		return
	}
	s.b.mu.Lock()
	a := s.b.asks[id]
	delete(s.b.asks, id)
	s.b.mu.Unlock()
	if a == nil {
		return
	}
	if err := s.permit(ctx, e, p, &granted{a.body, a.approvals}); err != nil {
		s.refuse(e, err)
	}
}

// permit gets apid's grant for what was confirmed or approved, and hands all of it to
// the agent, which checks it and has the last word.
func (s *starts) permit(ctx context.Context, e gating.Event, p *plan, g *granted) error {
	ctx, cancel := context.WithTimeout(ctx, answerStart)
	defer cancel()
	// The agent wants the newest roster that this device can have.
	r, err := s.b.syncNow(ctx)
	if err != nil {
		return err
	}
	p.roster = r
	if p.me, p.agent, err = s.b.parties(r, p.req.Target); err != nil {
		return err
	}
	proof, approvals, answer, err := s.b.grant(ctx, p, g)
	if err != nil {
		return translate(err)
	}
	sealed, _, err := p.seal(token.Bundle{Proof: proof, Grant: answer.Grant, Approvals: approvals}, answer.Relay)
	if err != nil {
		return err
	}
	return s.send(gating.Answer{ID: e.ID, Session: p.session, Salt: p.command.Salt, Bundle: sealed})
}

// send sends an answer, if its start still waits.
func (s *starts) send(a gating.Answer) error {
	s.mu.Lock()
	gone := s.waiting[a.ID] == nil || s.ended
	s.mu.Unlock()
	if gone {
		return errors.New("control: nobody waits for it any more")
	}
	return gating.Write(s.ch, a)
}

// refuse gives a start up. The agent says so when it has ended it; why is said then.
func (s *starts) refuse(e gating.Event, why error) {
	s.mu.Lock()
	if w := s.waiting[e.ID]; w != nil {
		w.why = why.Error()
	}
	s.mu.Unlock()
	if err := s.send(gating.Answer{ID: e.ID, Bundle: []byte{}}); err != nil {
		s.b.logger.Debug("a program start was not given up", "error", err)
	}
}

// Starts implements backend.GatedTerminal.
func (t *terminal) Starts() <-chan backend.Start {
	if t.starts == nil {
		return nil
	}
	return t.starts.out
}

// Confirm implements backend.GatedTerminal: a yes is signed by this device, over
// exactly what starts.
func (t *terminal) Confirm(id uint64, yes bool) {
	s := t.starts
	if s == nil {
		return
	}
	s.mu.Lock()
	w := s.waiting[id]
	s.mu.Unlock()
	if w == nil || w.event.State != gating.Confirm {
		return
	}
	backend.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), answerStart)
		defer cancel()
		err := errors.New("not confirmed")
		if yes {
			var p *plan
			if p, err = s.request(ctx, w.event); err == nil {
				err = s.permit(ctx, w.event, p, nil)
			}
		}
		if err != nil {
			s.refuse(w.event, err)
		}
	})
}
