package live

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/agent/host/content"
	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Enforced is the Answer.Gate of a channel whose program starts are all judged.
const Enforced = string(gate.Enforced)

const (
	// maxAsked bounds the words of a program that somebody is asked about, in bytes.
	maxAsked = 32 << 10
	// maxMarks bounds the markers about program starts in one channel's recording.
	maxMarks = 10_000
	// maxQueued bounds the events that wait to be sent; more are dropped, but for
	// those about a start that waits, which are sent again to whoever comes.
	maxQueued = 64
)

// A Start is a program that is about to start inside a channel.
type Start struct {
	Requested string      // the file's name, as asked for
	Argv      []string    // as asked for
	Loads     []string    // as the kernel will load it: a #! line's words come first
	Cwd       string      // absolute
	Env       [][2]string // variables that make it do something else, and that the channel did not begin with
	Files     []StartFile // the scripts, each followed by its interpreter; last the program
	// Bound is the first of Files with the hash of what is in it, once the start is held.
	// Absent where that can't be told, and for what need not be approved.
	Bound []token.Bound
}

// A StartFile is one file of a Start.
type StartFile struct {
	Path     string // "" where it has none any more
	Names    []string
	Owner    uint32
	Links    uint64
	Writable bool // by somebody other than root
	New      bool // changed since the channel began
}

// A Ruling is the keeper's word about a Start. The zero value denies.
type Ruling struct {
	Effect string // allow, confirm, hold, deny; anything else is deny
	Tier   string
	Rule   string
	Line   int
	Reason string
	Argv   []string      // what confirm and hold ask for: the file's own name first, where that is clearer
	Wait   time.Duration // how long it may wait
}

// A Gatekeeper is a Keeper that also judges the programs that start inside a channel.
type Gatekeeper interface {
	// Judge answers at once: each program start waits for it.
	Judge(ctx context.Context, t Task, s Start) Ruling
	// Permit checks the operator's answer to a ruling that asks for one. nil: it is
	// used and evidence, on disk, and the program may start.
	Permit(ctx context.Context, t Task, s Start, r Ruling, a gating.Answer) error
	// Report makes evidence of a start that was refused, killed or given up.
	Report(t Task, s Start, r Ruling, o gating.State, reason string)
}

var (
	errNoGate    = errors.New("live: this agent can't gate what policy wants gated")
	errUnwanted  = errors.New("the operator does not want it any more")
	errWaited    = errors.New("nobody decided in time")
	errTalkTwice = errors.New("this connection has had its channel about program starts")
)

// gated is the judge of one channel's program starts.
type gated struct {
	s       *Session
	w       *work
	keeper  Gatekeeper
	began   time.Time
	env     []string      // that the channel began with
	reading chan struct{} // room for one file at a time

	mu      sync.Mutex
	asked   map[*gate.Program]*question
	started uint64
	refused uint64
	noticed uint64
	marks   int
}

// A question is a program start that the gate asks about, or tells about.
type question struct {
	start  Start
	ruling Ruling
	event  gating.Event
	answer chan gating.Answer
	held   content.Held // what Bound is the hash of
}

// judgeOf makes what judges the starts of one channel.
func (s *Session) judgeOf(w *work) (*gated, error) {
	k, ok := s.keeper.(Gatekeeper)
	if !ok {
		return nil, errNoGate
	}
	return &gated{s: s, w: w, keeper: k, began: time.Now(), asked: map[*gate.Program]*question{}, reading: make(chan struct{}, 1)}, nil
}

// gateOf starts programs of a channel under the gate.
func (s *Session) gateOf(w *work) (start func(*exec.Cmd) error, end func(), err error) {
	g, err := s.judgeOf(w)
	if err != nil || s.Gate == nil {
		return nil, nil, errNoGate
	}
	var session *gate.Session
	start = func(cmd *exec.Cmd) (err error) {
		g.env = slices.Clone(cmd.Env)
		session, err = s.Gate.Start(cmd, g)
		return err
	}
	end = func() {
		if session != nil {
			session.Close()
			g.sum()
		}
	}
	return start, end, nil
}

// sum says at a recording's end how much was gated.
func (g *gated) sum() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w.track.Mark(fmt.Sprintf("gate: %s: %d started, %d did not, %d were noticed", g.w.Answer.Gate, g.started, g.refused, g.noticed))
}

// Judge implements gate.Judge.
func (g *gated) Judge(p *gate.Program) gate.Answer {
	q := g.judge(g.startOf(p))
	if q.allowed() {
		return gate.Start
	}
	g.keep(p, q)
	if q.waits() {
		return gate.Hold
	}
	return gate.Refuse
}

// judge asks the keeper. What nobody can be asked about is denied.
func (g *gated) judge(s Start) *question {
	q := &question{start: s, answer: make(chan gating.Answer, 1)}
	q.ruling = g.keeper.Judge(g.s.ctx, g.w.Task, s)
	if q.waits() {
		if why := unaskable(s, q.ruling); why != "" {
			q.ruling.Effect, q.ruling.Reason = "deny", q.ruling.Reason+"; "+why
		}
	}
	return q
}

func (q *question) allowed() bool { return q.ruling.Effect == "allow" }

func (q *question) waits() bool { return gating.State(q.ruling.Effect).Waits() }

// unaskable says why nobody can be asked about a start.
func unaskable(s Start, r Ruling) string {
	size := len(s.Cwd)
	texts := append(slices.Clone(r.Argv), s.Cwd)
	for _, kv := range s.Env {
		texts = append(texts, kv[:]...)
	}
	for _, t := range texts {
		if size += len(t) + 1; size > maxAsked {
			return "it is too long to be asked about here: use a script, or exec"
		}
		if !utf8.ValidString(t) {
			return "its words are not UTF-8, and can't be shown to whom it must be asked"
		}
	}
	return ""
}

func (g *gated) keep(p *gate.Program, q *question) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[p] = q
}

func (g *gated) take(p *gate.Program) *question {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.asked[p]
	delete(g.asked, p)
	return q
}

func (g *gated) question(p *gate.Program) *question {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[p]
}

// Decide implements gate.Judge.
func (g *gated) Decide(ctx context.Context, p *gate.Program) error {
	q := g.question(p)
	if q == nil {
		return errNoGate
	}
	if q.ruling.Effect == string(gating.Hold) && len(p.Files) > 0 {
		f := p.Files[0]
		q.held = content.Held{Path: f.Path, Dev: f.Dev, Ino: f.Ino, Size: f.Size, Changed: f.Changed}
		q.start.Bound = g.bound(ctx, q.held)
	}
	return g.decide(ctx, q)
}

// bound reads what is in the file that would start. What is rare may take its time:
// nobody but who has typed it waits.
func (g *gated) bound(ctx context.Context, f content.Held) []token.Bound {
	sum, err := g.read(ctx, f)
	if err != nil {
		return nil
	}
	return []token.Bound{{Path: f.Path, Hash: sum}}
}

// read hashes one file at a time.
func (g *gated) read(ctx context.Context, f content.Held) (envelope.Hash, error) {
	select {
	case g.reading <- struct{}{}:
		defer func() { <-g.reading }()
	case <-ctx.Done():
		return envelope.Hash{}, ctx.Err()
	}
	u, err := g.s.user(g.w.User)
	if err != nil {
		return envelope.Hash{}, err
	}
	return f.Sum(ctx, u)
}

// stays says that what is in a held start's file is what was asked about. The gate looks
// at the file's times besides, which a shared mapping may leave as they are.
func (g *gated) stays(ctx context.Context, q *question) error {
	if len(q.start.Bound) == 0 {
		return nil
	}
	sum, err := g.read(ctx, q.held)
	if err == nil && sum != q.start.Bound[0].Hash {
		err = content.ErrChanged
	}
	return err
}

// decide waits for the operator's answer, and for the keeper's word about that.
func (g *gated) decide(ctx context.Context, q *question) error {
	wait := time.NewTimer(q.ruling.Wait)
	defer wait.Stop()
	g.s.talk.ask(q)
	select {
	case a := <-q.answer:
		if len(a.Bundle) == 0 {
			return errUnwanted
		}
		if err := g.stays(ctx, q); err != nil {
			return err
		}
		return g.keeper.Permit(ctx, g.w.Task, q.start, q.ruling, a)
	case <-wait.C:
		return errWaited
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ended implements gate.Judge. Starts that policy allows are only counted.
func (g *gated) Ended(p *gate.Program, o gate.Outcome, why string) {
	q := g.take(p)
	if q == nil && o == gate.Killed {
		q = &question{start: g.startOf(p)}
	}
	g.ended(q, o, why)
}

// ended counts a start, and tells how it ended; q is nil for what the kernel refuses
// too, and for what simply ran.
func (g *gated) ended(q *question, o gate.Outcome, why string) {
	g.mu.Lock()
	if o == gate.Started {
		g.started++
	} else {
		g.refused++
	}
	g.mu.Unlock()
	if q == nil {
		return
	}
	state := map[gate.Outcome]gating.State{
		gate.Started: gating.Started, gate.Killed: gating.Killed, gate.Canceled: gating.Canceled, gate.Failed: gating.Canceled,
	}[o]
	reason := why
	switch o {
	case gate.Refused:
		state = gating.Refused
		if q.event.ID == 0 {
			reason = q.ruling.Reason // the policy's own word
		}
	case gate.Started:
		reason = ""
	case gate.Killed:
		reason = "it was killed before its first instruction: " + why
	}
	if state != gating.Started {
		g.keeper.Report(g.w.Task, q.start, q.ruling, state, reason)
	}
	g.mark(fmt.Sprintf("gate: %s: %s", state, sanitize.Argv(q.start.Argv)))
	g.s.talk.tell(q, state, reason)
}

func (g *gated) mark(label string) {
	g.mu.Lock()
	g.marks++
	last := g.marks
	g.mu.Unlock()
	if last <= maxMarks {
		g.w.track.Mark(label)
	}
}

// startOf gives a program as the keeper judges it.
func (g *gated) startOf(p *gate.Program) Start {
	s := Start{Requested: p.Path, Argv: p.Argv, Loads: p.Loads, Cwd: p.Dir}
	for _, kv := range p.LoadingEnv(g.env) {
		name, value, _ := strings.Cut(kv, "=")
		s.Env = append(s.Env, [2]string{name, value})
	}
	for _, f := range p.Files {
		file := StartFile{
			Path: f.Path, Names: f.Names(), Owner: f.UID, Links: f.Links, Writable: f.IsWritable(), New: f.Changed > g.began.UnixNano(),
		}
		if f.Links == 0 {
			file.Path = ""
		}
		s.Files = append(s.Files, file)
	}
	return s
}

// talk is the session's channel about program starts, if the operator's side has
// opened one, and what waits for it.
type talk struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*question
	out     chan gating.Event // nil without a channel
}

// ask tells the operator's side that a start waits.
func (t *talk) ask(q *question) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name(q)
	q.event.State = gating.State(q.ruling.Effect)
	if t.waiting == nil {
		t.waiting = map[uint64]*question{}
	}
	t.waiting[q.event.ID] = q
	t.send(q.event)
}

// tell tells how a start has ended.
func (t *talk) tell(q *question, state gating.State, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name(q)
	delete(t.waiting, q.event.ID)
	q.event.State = state
	if reason != "" {
		q.event.Reason = reason
	}
	t.send(q.event)
}

// name numbers a start's events and fills them. It and send want mu held.
func (t *talk) name(q *question) {
	if q.event.ID != 0 {
		return
	}
	t.last++
	q.event = gating.Event{
		ID: t.last, Argv: q.ruling.Argv, Cwd: q.start.Cwd, Env: q.start.Env, Tier: q.ruling.Tier, Rule: q.ruling.Rule,
		Line: int64(q.ruling.Line), Reason: q.ruling.Reason, Bound: q.start.Bound,
	}
	if q.event.Argv == nil || unaskable(q.start, q.ruling) != "" {
		q.event.Argv, q.event.Cwd, q.event.Env, q.event.Bound = []string{shown(q.start.Argv)}, "", nil, nil
	}
	if q.event.Env == nil {
		q.event.Env = [][2]string{}
	}
}

// shown cuts words that are too long, or are no text, to something to read.
func shown(argv []string) string {
	text := sanitize.Argv(argv).String()
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

func (t *talk) send(e gating.Event) {
	if t.out == nil {
		return
	}
	select {
	case t.out <- e:
	default:
	}
}

// open begins a channel, in place of one of an earlier connection: it hears first of all
// that waits.
func (t *talk) open() chan gating.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = make(chan gating.Event, maxQueued)
	for _, q := range t.waiting { // at most gate.MaxHolds for each channel
		t.send(q.event)
	}
	return t.out
}

func (t *talk) close(out chan gating.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out == out {
		t.out = nil
	}
}

// answer hands on an answer, the first for a start that waits.
func (t *talk) answer(a gating.Answer) {
	t.mu.Lock()
	q := t.waiting[a.ID]
	delete(t.waiting, a.ID)
	t.mu.Unlock()
	if q != nil {
		q.answer <- a
	}
}

// converse serves the channel about program starts.
func (s *Session) converse(c *conn, ch *channel.Channel) {
	s.mu.Lock()
	may := s.conn == c && !c.talks
	c.talks = true
	s.mu.Unlock()
	if !may {
		_ = ch.Answer(channel.Answer{Reason: errTalkTwice.Error()})
		return
	}
	events := s.talk.open()
	defer s.talk.close(events)
	if ch.Answer(channel.Answer{Effect: channel.Allow}) != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ch.Close() })
	defer stop()
	go func() {
		for {
			select {
			case e := <-events:
				if gating.Write(ch, e) != nil {
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		a, err := gating.ReadAnswer(ch)
		if err != nil {
			return
		}
		s.talk.answer(a)
	}
}
