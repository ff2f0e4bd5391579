package live

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/gallery"
	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
)

const (
	// HandshakeTime is how long a session may be half open.
	HandshakeTime = 10 * time.Second
	// MaxTries bounds the third messages that one half-open session looks at:
	// the first forged one must not end it.
	MaxTries = 3
	// maxChannels bounds the channels of one session.
	maxChannels = 16
	// killGrace is what a program gets between SIGHUP and SIGKILL.
	killGrace = 3 * time.Second
	// lastWords is how long an ended session waits for the operator to have
	// read how it ended.
	lastWords = 2 * time.Second
)

// ErrStopping means that the agent stops, and its sessions with it.
var ErrStopping = errors.New("the agent stops")

var (
	errEndsBy = errors.New("the session's time is over; open a new one")
	errBusy   = errors.New("live: a handshake is on, or was")
)

// A Way is a path to the operator.
type Way interface {
	net.PacketConn
	// Gather begins an attempt at a path without the relay.
	Gather(ctx context.Context) (direct.Attempt, error)
}

// A Refusal is a no of the keeper's, as the operator may read it. The keeper has made
// it evidence.
type Refusal struct{ Answer channel.Answer }

func (r *Refusal) Error() string { return r.Answer.Reason }

// A Task is a command that the keeper allows, and how.
type Task struct {
	ID     uint64
	Answer channel.Answer // but for the state of the recording
	User   string         // whom it runs as
	Record string         // what policy wants: recorder.Required, On or Off
	// Auditors are whom the recording is sealed to, Label what its marker says.
	Auditors []key.Recipient
	Label    string
	Output   int64 // bytes that it may print on both streams together; 0: any number
	// Facts are the keeper's own, who may have been started again when the task
	// is over.
	Facts []byte
}

// Rules say what may be.
type Rules interface {
	// Decide judges a channel, except one about paths. Commit makes what was decided
	// used and evidence, on disk: only then it may run. Their error is a Refusal
	// where the keeper said no; every error is a no.
	Decide(ctx context.Context, m channel.OpenMessage) (Task, error)
	Commit(ctx context.Context, t Task) error
	// Refuse makes it evidence that this half could not do what was decided. code is
	// CodeHost, CodeRecording or CodeContent.
	Refuse(t Task, code, reason string)
}

// Codes of refusals by a session half.
const (
	CodeHost      = "host"      // this machine can't: no such user, …
	CodeRecording = "recording" // required, and can't be had
	CodeContent   = "content"   // a file is not the one that was approved, or can't be read
)

// A Witness makes evidence of what happens. Its calls return once that is on disk, or
// can't be.
type Witness interface {
	// Start makes the session used, once the handshake is done; its error is like
	// Decide's.
	Start(ctx context.Context, said session.Evidence) error
	// Outcome says how a task ended, or that it could not start.
	// report is what a copy has carried, for the auditors; else nil.
	Outcome(t Task, x process.Exit, reason string, report []byte) error
	// End says how the session ended, how its last program did, and what its
	// recording's last manifest is.
	End(last process.Exit, reason string, recording envelope.Hash)
}

// A Keeper is the process that has the agent's identity, its roster, its ledger and
// its audit entries, as one session sees it. It is safe for concurrent use.
type Keeper interface {
	session.Signer
	recorder.Store
	Rules
	Witness
	Doorkeeper
	Guide
}

// Facts are what a session is about.
type Facts struct {
	ID     token.ID
	TeamFP envelope.Hash
	Title  string        // of its recording
	Life   time.Duration // from the end of the handshake on
	Grace  time.Duration // for which it outlives its connection; 0: not at all
	Self   bool          // who is not root may run programs as itself: a demo's agent
	Gate   *gate.Gate    // of this process; nil: programs are not gated
	Errand []string      // arguments that lead this program to errand.Main; nil: no copies and forwards
}

// A Handshake is an operator's first message, with what the keeper has checked.
type Handshake struct {
	Operator   key.Public
	BundleHash envelope.Hash
	Evidence   session.Evidence // for the operator
	MinSuite   session.Suite
	Peer       netip.AddrPort // where the operator is
	HS1        []byte
}

// A Session is safe for concurrent use.
type Session struct {
	Facts
	keeper Keeper
	logger *slog.Logger
	ctx    context.Context // its cause is why the session ends
	cancel context.CancelCauseFunc
	tape   *recorder.Tape
	done   chan struct{}
	no     *channel.Answer // why it may do nothing, if so

	channels sync.WaitGroup // and connections; more only while over is false

	mu     sync.Mutex
	half   *halfOpen   // between the second and the third message
	began  bool        // the handshake is done, or can't be any more
	hand   Handshake   // that was answered, without HS1
	conn   *conn       // that has the session now; nil before the first stands
	again  *halfOpen   // a resume, or coming back, between its second and third message
	desk   *desk       // nil: no terminal that could be come back to
	vacant *time.Timer // until when somebody must come back
	told   bool        // the keeper has been told that the operator is away
	over   bool
	last   process.Exit
	runs   int // programs
	talk   talk

	audience gallery.Audience
}

// halfOpen is a handshake that waits for its third message.
type halfOpen struct {
	responder *session.Responder
	way       Way
	peer      net.Addr
	hand      *Handshake // of an operator who comes back
	tries     int
}

// New makes a session. It ends with ctx, whose cause is then why.
func New(ctx context.Context, f Facts, k Keeper, logger *slog.Logger) *Session {
	s := &Session{Facts: f, keeper: k, logger: logger, done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.tape = recorder.NewTape(f.ID, f.TeamFP, k, logger, s.cancel)
	return s
}

// Respond answers an operator's first message. It owns the way, also when it fails.
func (s *Session) Respond(h Handshake, w Way) (hs2 []byte, err error) {
	responder, hs2, err := session.Respond(s.responder(h), h.HS1)
	if err != nil {
		w.Close()
		return nil, err
	}
	half := &halfOpen{responder: responder, way: w, peer: net.UDPAddrFromAddrPort(h.Peer)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.half != nil || s.began || s.ctx.Err() != nil {
		half.abort()
		return nil, errBusy
	}
	h.HS1 = nil
	s.half, s.hand = half, h
	return hs2, nil
}

// responder is this side of a handshake.
func (s *Session) responder(h Handshake) session.ResponderConfig {
	return session.ResponderConfig{
		ID: session.ID(s.ID), Self: s.keeper, Peer: h.Operator, TeamFP: s.TeamFP, BundleHash: h.BundleHash,
		Evidence: h.Evidence, MinSuite: h.MinSuite,
	}
}

func (h *halfOpen) abort() {
	h.responder.Abort()
	if h.way != nil {
		h.way.Close()
	}
}

// try counts a third message; nil if no more are looked at.
func (h *halfOpen) try() *halfOpen {
	if h == nil || h.tries >= MaxTries {
		return nil
	}
	h.tries++
	return h
}

// Abort ends a session whose handshake is not done. Others go on.
func (s *Session) Abort() {
	s.mu.Lock()
	half, began := s.half, s.began
	s.half, s.began = nil, true
	s.mu.Unlock()
	if half != nil {
		half.abort()
	}
	if !began {
		s.cancel(context.Canceled)
		close(s.done)
	}
}

// Cut ends the session for a reason that the operator may read. It does not wait.
func (s *Session) Cut(why error) { s.cancel(why) }

// Done is closed when all of the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Finish takes an operator's third message. It does not block.
func (s *Session) Finish(hs3 []byte) {
	if session.IsResume(hs3) {
		s.resumed(hs3)
		return
	}
	s.mu.Lock()
	half, began := s.half.try(), s.began
	s.mu.Unlock()
	if began {
		s.attached(hs3)
		return
	}
	if half == nil {
		return
	}
	go func() {
		est, err := half.responder.Consume(hs3)
		if err != nil {
			s.logger.Info("handshake refused", "session", s.ID, "error", err)
			return
		}
		s.mu.Lock()
		mine := s.half == half
		if mine {
			s.half, s.began = nil, true
		}
		s.mu.Unlock()
		if !mine {
			est.Close()
			return
		}
		s.begin(half, est)
	}()
}

// begin serves a session whose handshake is done, to its end. If it may not be, the
// operator, who has proved to be there, is told why on the first channel.
func (s *Session) begin(half *halfOpen, est *session.Established) {
	defer close(s.done)
	defer s.cancel(channel.ErrClosed)
	life := s.Life
	if err := s.keeper.Start(s.ctx, est.Peer); err != nil {
		no := answerOf(err)
		s.no, life = &no, HandshakeTime
	}
	last, reason := s.run(half.way, half.peer, est, life)
	if s.no != nil {
		return
	}
	head, err := s.tape.End()
	if err != nil {
		reason += "; its recording is not whole: " + err.Error()
	}
	s.keeper.End(last, reason, head)
}

// answerOf gives a no as the operator reads it.
func answerOf(err error) channel.Answer {
	var no *Refusal
	if errors.As(err, &no) && !no.Answer.Allowed() {
		return no.Answer
	}
	return channel.Answer{Effect: "deny", Reason: err.Error()}
}

// run serves the connection until it ends, and tells why. It owns the way.
func (s *Session) run(w Way, peer net.Addr, est *session.Established, life time.Duration) (last process.Exit, reason string) {
	// A timer counts on the monotonic clock: setting the clock back gains nothing.
	end := time.AfterFunc(life, func() { s.cancel(errEndsBy) })
	defer end.Stop()
	mux, err := channel.Accept(s.ctx, w, peer, est, s.options())
	if err != nil {
		return process.Exit{}, "the operator did not come: " + err.Error()
	}
	s.mu.Lock()
	s.conn = &conn{mux: mux, way: w, hand: s.hand}
	s.mu.Unlock()
	defer s.giveUp(nil)
	go s.attend()
	s.join(s.conn)
	<-s.ctx.Done()
	s.mu.Lock()
	s.over, mux = true, s.conn.mux
	s.mu.Unlock()
	s.channels.Wait()
	select {
	case <-mux.Done():
	case <-time.After(lastWords):
	}
	mux.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.why()
}

// why says, in words, what ended the session.
func (s *Session) why() string {
	switch cause := context.Cause(s.ctx); {
	case errors.Is(cause, channel.ErrClosed):
		return "the operator closed the session"
	case errors.Is(cause, channel.ErrLeft):
		return "the operator left, and there was no terminal to come back to"
	case errors.Is(cause, channel.ErrLost):
		return "the connection to the operator was lost"
	default:
		return cause.Error()
	}
}
