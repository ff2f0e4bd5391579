package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/errand"
	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/onlook"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/session"
)

// maxTasks bounds what one session has decided and not ended.
const maxTasks = 64

// errAgain: a task that this process does not know, or knows as done.
var errAgain = errors.New("the agent was started again meanwhile; open the channel again")

// A ward is one session as the keeper has it: what it may, and how far it got. It is
// the live.Keeper of its half, which asks and is not believed more than it must be.
type ward struct {
	s      *sessions
	a      *admission
	half   half        // under s.mu while it is half open; nil until it has started
	expire *time.Timer // of the handshake

	mu    sync.Mutex
	tasks map[uint64]*task // decided, and not over
	next  uint64
	ran   bool               // an exec session runs its command once
	began bool               // its start is evidence
	over  bool               // its end is evidence
	sink  *recording.Spooled // its recording, or nil

	by      atomic.Pointer[admission] // who came back to it last; nil: nobody
	returns []*admission              // who are on the way back

	hash [32]byte // what a half of its own is known by

	typists onlook.Typists // of its shell
}

var _ live.Keeper = (*ward)(nil)

func newWard(s *sessions, a *admission) *ward {
	return &ward{s: s, a: a, tasks: map[uint64]*task{}}
}

// facts are what the half must know of the session.
func (d *ward) facts() live.Facts {
	return live.Facts{
		ID: d.a.id, TeamFP: d.a.roster.TeamFP(), Title: d.a.operator.Email + " on " + d.a.agent.Name, Life: d.a.life, Self: d.s.self,
		Grace: d.a.verdict.Obligations.Grace,
		Gate:  d.s.gate, Errand: d.s.errand,
	}
}

// Kid implements session.Signer.
func (d *ward) Kid() key.Kid { return d.s.identity.Kid() }

// Public implements session.Signer.
func (d *ward) Public() key.Public { return d.s.identity.Public() }

// Sign implements session.Signer. Nothing is signed here but handshakes.
func (d *ward) Sign(context string, parts ...[]byte) key.Signature {
	sig, err := session.SignResponder(d.s.identity, context, parts...)
	if err != nil {
		d.s.logger.Error("a session half wants more signed than its handshake", "session", d.a.id)
	}
	return sig
}

// Create implements recorder.Store.
func (d *ward) Create() (recorder.Sink, error) {
	k, err := d.s.spool.Create(d.a.id)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.sink = k
	d.mu.Unlock()
	return k, nil
}

// Start implements live.Witness.
func (d *ward) Start(_ context.Context, said session.Evidence) error {
	if !d.s.enter(d) {
		return d.refused(nil, refuse(codeBusy, nil, "too many sessions, or this one took too long to begin"))
	}
	if no := d.s.start(d.a, said); no != nil {
		return d.refused(nil, no)
	}
	if err := d.remember(); err != nil {
		d.End(process.Exit{}, err.Error(), envelope.Hash{})
		return &live.Refusal{Answer: because(codeLedger, err).answer()}
	}
	d.mu.Lock()
	d.began = true
	d.mu.Unlock()
	d.s.logger.Info("session", "session", d.a.id, "operator", d.a.operator.Email, "kind", d.a.proof.Body().Kind)
	return nil
}

// refused makes a refusal evidence, and gives what the operator may read of it. t is
// nil where it was the session.
func (d *ward) refused(t *task, no *refusal) error {
	if t == nil {
		_ = d.s.refused(d.a, no)
		return &live.Refusal{Answer: no.answer()}
	}
	d.s.metrics.Refusals.WithLabelValues(no.code).Inc()
	d.s.logger.Warn("channel refused", "session", d.a.id, "operator", d.a.operator.Email, "code", no.code, "rule", no.rule, "line", no.line)
	d.s.evidence.refused(d.a, t, no)
	return &live.Refusal{Answer: no.answer()}
}

// Decide implements live.Rules.
func (d *ward) Decide(ctx context.Context, m channel.OpenMessage) (live.Task, error) {
	t, no := d.s.checker.decide(ctx, d.a, m)
	if no == nil {
		no = d.findShell(t)
	}
	if no == nil {
		no = d.keep(t)
	}
	if no != nil {
		return live.Task{}, d.refused(t, no)
	}
	facts, err := envelope.Marshal(t.facts())
	if err != nil {
		return live.Task{}, err
	}
	p, v := d.a.proof.Body(), t.verdict
	user := p.As
	if user == "" {
		user = d.a.agent.LoginUser
	}
	record, owner := v.Obligations.Record, ""
	if !errand.Recorded(p.Kind) {
		record = recorder.Off
	}
	if t.shell != nil {
		record = recorder.Off // its owner's session is what is recorded
		owner = t.shell.a.operator.Email
	}
	level := cmp.Or(t.level, gate.None) // an exec is one argument list, which was judged: what it starts is not
	return live.Task{
		ID: t.id, User: user, Record: record, Auditors: t.roster.Auditors(), Label: fmt.Sprintf("%s: %s; gate: %s", p.Kind, v.Reason, level), Facts: facts, Output: v.Obligations.MaxOutput,
		Answer: channel.Answer{Effect: channel.Allow, Rule: v.Rule, Line: v.Line, Reason: v.Reason, Gate: string(level), Recording: t.recorded, Owner: owner},
	}, nil
}

// keep remembers a task until it is over.
func (d *ward) keep(t *task) *refusal {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.tasks) >= maxTasks {
		return refuse(codeBusy, nil, "too many channels of this session are being opened")
	}
	d.next++
	t.id = d.next
	d.tasks[t.id] = t
	return nil
}

// take gives a task that is over, or nil, and forgets it.
func (d *ward) take(id uint64) *task {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tasks[id]
	delete(d.tasks, id)
	return t
}

// Refuse implements live.Rules.
func (d *ward) Refuse(t live.Task, code, reason string) {
	if !slices.Contains([]string{live.CodeHost, live.CodeRecording, live.CodeContent}, code) {
		code = codeHost
	}
	if known := d.take(t.ID); known != nil {
		_ = d.refused(known, refuse(code, nil, "%s", reason))
	}
}

// Commit implements live.Rules: it is step 8. The session's one command, the
// approval's nonce and the signed intent are on disk before anything runs.
func (d *ward) Commit(_ context.Context, asked live.Task) error {
	d.mu.Lock()
	t := d.tasks[asked.ID]
	known := t != nil && !t.committed
	used := false
	if known {
		t.committed = true
		if len(t.command.Argv) > 0 && !errand.Many(d.a.proof.Body().Kind) {
			used, d.ran = d.ran, true
		}
	}
	d.mu.Unlock()
	no := func() *refusal {
		switch {
		case !known:
			return refuse(codeUsed, nil, "%s", errAgain)
		case used:
			return refuse(codeUsed, nil, "this session has run its command; open a new one")
		}
		if len(t.approved) > 0 {
			if err := d.s.use(t.approved...); err != nil {
				return because(codeUsed, err)
			}
			d.a.spent.Store(d.s.checker.now().Unix())
		}
		if err := d.s.evidence.intent(d.a, t); err != nil {
			return because(codeLedger, err)
		}
		return nil
	}()
	if no == nil {
		return nil
	}
	if !known {
		return &live.Refusal{Answer: no.answer()}
	}
	d.take(t.id)
	return d.refused(t, no)
}

// Outcome implements live.Witness.
func (d *ward) Outcome(asked live.Task, x process.Exit, reason string, report []byte) error {
	if t := d.take(asked.ID); t != nil {
		return d.s.evidence.outcome(d.a, t.roster, t.facts(), x, reason, report)
	}
	// It began before this process did: the half has kept what we said of it.
	var f facts
	if err := envelope.Unmarshal(asked.Facts, &f); err != nil {
		return fmt.Errorf("host: the outcome of no task: %w", err)
	}
	r, err := d.s.checker.team.At(f.Seq)
	if err != nil {
		return err
	}
	return d.s.evidence.outcome(d.a, r, f, x, reason, report)
}

// End implements live.Witness.
func (d *ward) End(last process.Exit, reason string, head envelope.Hash) {
	d.mu.Lock()
	again := d.over
	d.over = true
	d.mu.Unlock()
	if again {
		return
	}
	d.s.logger.Info("session ended", "session", d.a.id, "reason", reason)
	_ = d.s.evidence.ended(d.a, last, reason, head) // logged there
	if d.s.cells != nil {
		if err := d.s.remembered.Remove(d.a.id); err != nil {
			d.s.fail(err)
		}
	}
}

// vanished is called when nothing is left of a half of its own. One that has not said
// goodbye gets its last words from here.
func (d *ward) vanished() {
	d.mu.Lock()
	began, sink := d.began && !d.over, d.sink
	running := slices.Collect(maps.Values(d.tasks))
	d.mu.Unlock()
	if began {
		const reason = "the session's process has ended before the session"
		for _, t := range running {
			if t.committed {
				_ = d.s.evidence.outcome(d.a, t.roster, t.facts(), process.Exit{Code: 125}, reason, nil) // logged there
			}
		}
		var head envelope.Hash
		if sink != nil {
			head = sink.Head()
		}
		d.End(process.Exit{Code: 125}, reason, head)
	}
	d.s.gone(d)
}

// facts of a task are what its outcome says of the verdict.
type facts struct {
	Seq    uint64 `cbor:"seq"` // of the roster that it was judged by
	Effect string `cbor:"effect"`
	Rule   string `cbor:"rule"`
	Tier   string `cbor:"tier"`
}

func (t *task) facts() facts {
	return facts{Seq: t.roster.Head().Seq, Effect: t.verdict.Effect.String(), Rule: t.verdict.Rule, Tier: t.verdict.Tier}
}
