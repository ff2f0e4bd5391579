package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/session"
)

const (
	// maxChannels bounds the channels of one session.
	maxChannels = 16
	// killGrace is what a program gets between SIGHUP and SIGKILL.
	killGrace = 3 * time.Second
	// lastWords is how long an ended session waits for the operator to have
	// read how it ended.
	lastWords = 2 * time.Second
	// maxHashed bounds an input whose hash an approval binds, in bytes: it is
	// read whole before anything runs.
	maxHashed = 1 << 20
	// hashedTime bounds how long that may take.
	hashedTime = 2 * time.Minute
)

var (
	errStopping = errors.New("the agent stops")
	errEndsBy   = errors.New("the session's time is over; open a new one")
)

// live is a session whose handshake is done.
type live struct {
	*admission
	s      *sessions
	no     *refusal        // why it may do nothing, if so
	ctx    context.Context // its cause is why the session ends
	cancel context.CancelCauseFunc

	tape *recorder.Tape

	way way // of run

	mu     sync.Mutex
	ran    bool // an exec session runs its command once
	direct bool // the session has had its channel about paths
	last   process.Exit
}

func newLive(s *sessions, a *admission) *live {
	l := &live{admission: a, s: s}
	l.ctx, l.cancel = context.WithCancelCause(s.ctx)
	l.tape = s.recorder.Session(a.id, l.cancel)
	return l
}

// run serves the session until it ends, and tells why. It owns the way.
func (l *live) run(w way, peer net.Addr, est *session.Established) (last process.Exit, reason string) {
	// A timer counts on the monotonic clock: setting the clock back gains nothing.
	l.way = w
	end := time.AfterFunc(l.life, func() { l.cancel(errEndsBy) })
	defer end.Stop()
	mux, err := channel.Accept(l.ctx, w, peer, est, channel.Options{MaxChannels: maxChannels})
	if err != nil {
		return process.Exit{}, "the operator did not come: " + err.Error()
	}
	var channels sync.WaitGroup
	for {
		ch, err := mux.Accept(l.ctx)
		if err != nil {
			l.cancel(err)
			break
		}
		channels.Go(func() { l.serve(ch) })
	}
	channels.Wait()
	select {
	case <-mux.Done():
	case <-time.After(lastWords):
	}
	mux.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.why()
}

// why says, in words, what ended the session.
func (l *live) why() string {
	switch cause := context.Cause(l.ctx); {
	case errors.Is(cause, channel.ErrClosed):
		return "the operator closed the session"
	case errors.Is(cause, channel.ErrLost):
		return "the connection to the operator was lost"
	default:
		return cause.Error()
	}
}

// serve is one channel, from the request to the exit.
func (l *live) serve(ch *channel.Channel) {
	defer ch.Close()
	if l.no != nil {
		_ = ch.Answer(l.no.answer())
		return
	}
	if ch.Request().Kind == direct.Kind {
		l.follow(ch)
		return
	}
	t, no := l.s.checker.decide(l.ctx, l.admission, ch.Request())
	var user process.User
	if no == nil {
		user, no = l.user()
	}
	if no == nil {
		no = l.record(t)
	}
	if no == nil {
		no = l.commit(t)
	}
	if no != nil {
		l.s.metrics.refusals.WithLabelValues(no.code).Inc()
		l.s.logger.Warn("channel refused", "session", l.id, "operator", l.operator.Email, "code", no.code, "rule", no.rule, "line", no.line)
		l.s.evidence.refused(l.admission, t, no)
		_ = ch.Answer(no.answer())
		return
	}
	exit, reason := l.execute(ch, t, user)
	l.mu.Lock()
	l.last = exit
	l.mu.Unlock()
	if err := l.s.evidence.outcome(l.admission, t, exit, reason); err != nil {
		l.cancel(err)
	}
	_ = ch.Exit(channel.Exit{Code: exit.Code, Signal: exit.Signal, Reason: reason})
}

// record begins the recording that policy wants.
func (l *live) record(t *task) *refusal {
	h := recording.Header{
		Title: l.operator.Email + " on " + l.agent.Name, Command: sanitize.Argv(t.command.Argv).String(),
	}
	if t.tty != nil {
		h.Cols, h.Rows, h.Term = int(t.tty.Cols), int(t.tty.Rows), t.tty.Term
	}
	var err error
	t.track, t.recorded, err = l.tape.Start(recorder.Request{
		Want: t.verdict.Obligations.Record, Auditors: t.roster.Auditors(), Header: h,
		Label: fmt.Sprintf("%s: %s", l.proof.Body().Kind, t.verdict.Reason),
	})
	if err != nil {
		return because(codeRecording, err)
	}
	return nil
}

// follow lets the operator's side look for a path without the relay, on one
// channel in the session's life. Nothing is asked of policy: it opens nothing.
func (l *live) follow(ch *channel.Channel) {
	l.mu.Lock()
	again := l.direct
	l.direct = true
	l.mu.Unlock()
	if again {
		_ = ch.Answer(channel.Answer{Reason: "this session has had its channel about paths"})
		return
	}
	if ch.Answer(channel.Answer{Effect: channel.Allow}) != nil {
		return
	}
	// Neither this error nor the log names an address.
	err := direct.Follow(l.ctx, ch, l.way)
	l.s.logger.Debug("no more attempts at a direct path", "session", l.id, "error", err)
}

// commit is step 8: the session's one command, the approval's nonce and the
// signed intent are on disk before anything runs.
func (l *live) commit(t *task) *refusal {
	if len(t.command.Argv) > 0 {
		l.mu.Lock()
		ran := l.ran
		l.ran = true
		l.mu.Unlock()
		if ran {
			return refuse(codeUsed, nil, "this session has run its command; open a new one")
		}
	}
	if len(t.approved) > 0 {
		if err := l.s.use(t.approved...); err != nil {
			return because(codeUsed, err)
		}
	}
	if err := l.s.evidence.intent(l.admission, t); err != nil {
		return because(codeLedger, err)
	}
	return nil
}

// user finds whom the session runs as. Nothing falls back to root: policy has
// judged the name, and the name is what is taken.
func (l *live) user() (process.User, *refusal) {
	name := l.proof.Body().As
	if name == "" {
		name = l.agent.LoginUser
	}
	u, err := process.Lookup(name)
	if err != nil && l.s.self {
		if me, merr := process.Self(); merr == nil && !me.IsRoot() {
			return me, nil
		}
	}
	if err != nil {
		return u, because(codeHost, err)
	}
	if u.IsRoot() && name != "root" {
		return u, refuse(codeHost, nil, "the user is another name of root, which policy must spell out")
	}
	return u, nil
}

// execute runs a task on its channel. reason is why TucDesk ended it, if it did.
func (l *live) execute(ch *channel.Channel, t *task, u process.User) (exit process.Exit, reason string) {
	err := ch.Answer(channel.Answer{
		Effect: channel.Allow, Rule: t.verdict.Rule, Line: t.verdict.Line, Reason: t.verdict.Reason,
		Gate: gateLevel, Recording: t.recorded,
	})
	if err != nil {
		return failed(126), "the operator went away"
	}
	var bound []byte // the input, where its hash was approved
	if want, ok := t.command.StdinDigest(); ok {
		if bound, err = readBound(l.ctx, ch, want); err != nil {
			return failed(126), err.Error()
		}
	}
	p, err := process.Start(t.spec(), u)
	switch {
	case errors.Is(err, process.ErrNoProgram):
		return failed(127), "the program can't be run: " + startError(err)
	case err != nil:
		return failed(126), "the command can't be run: " + startError(err)
	}
	defer p.Close()

	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-l.ctx.Done():
			p.Kill(killGrace)
		case <-ended:
			return
		}
		select {
		case <-ended:
		case <-time.After(killGrace + lastWords):
			ch.Close() // the operator does not read: this frees the writers
		}
	})
	gone := make(chan struct{})
	go l.input(ch, p, bound, gone, t.track)
	var streams sync.WaitGroup
	streams.Go(func() { l.output(ch, channel.FrameStdout, p.Stdout, p, t.track.Stream(t.tty != nil)) })
	if p.Stderr != nil {
		streams.Go(func() { l.output(ch, channel.FrameStderr, p.Stderr, p, t.track.Stream(false)) })
	}
	<-p.Done()
	// Output that is still in the pipes goes out before the exit does.
	streams.Wait()
	close(ended)
	watching.Wait()
	exit = p.Exit()
	t.track.Exit(exit.Code)
	switch {
	case l.ctx.Err() != nil:
		reason = l.why()
	case closed(gone):
		reason = "the operator closed the channel"
	}
	return exit, reason
}

func failed(code int) process.Exit { return process.Exit{Code: code} }

// startError keeps names of programs and folders, which are part of the command,
// out of entries and logs.
func startError(err error) string {
	for _, known := range []error{process.ErrNoProgram, process.ErrNoDir, process.ErrUnsupported, process.ErrNotRoot} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "the system refused to start it"
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// input takes the operator's frames until the channel ends. An operator who goes
// away without an end ends the program.
func (l *live) input(ch *channel.Channel, p *process.Process, bound []byte, gone chan<- struct{}, track *recorder.Track) {
	done := bound != nil
	if done && p.Stdin != nil {
		go func() {
			io.Copy(p.Stdin, bytes.NewReader(bound))
			p.CloseInput()
		}()
	}
	for {
		f, err := ch.ReadFrame()
		if err == io.EOF {
			return
		}
		if err != nil {
			if !closed(p.Done()) {
				close(gone)
			}
			p.Kill(killGrace)
			return
		}
		switch f.Type {
		case channel.FrameStdin:
			if p.Stdin != nil && !done {
				// A program that has closed its input does not want the rest.
				if _, err := p.Stdin.Write(f.Payload); err != nil {
					done = true
				}
			}
		case channel.FrameEOF:
			if !done {
				p.CloseInput()
			}
			done = true
		case channel.FrameResize:
			cols, rows := f.Size()
			track.Resize(cols, rows)
			_ = p.Resize(process.Size{Cols: cols, Rows: rows}) // the old size is no reason to end
		case channel.FrameSignal:
			_ = p.Signal(string(f.Payload)) // unknown names do nothing
		}
	}
}

// output sends one stream. An operator who does not read slows the program; one
// who is gone ends it.
// What can't be recorded, and must be, does not go out.
func (l *live) output(ch *channel.Channel, t channel.FrameType, r io.Reader, p *process.Process, rec *recorder.Stream) {
	defer rec.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			_, werr := rec.Write(buf[:n])
			if werr == nil {
				werr = ch.WriteFrame(channel.Frame{Type: t, Payload: buf[:n]})
			}
			if werr != nil {
				p.Kill(killGrace)
				io.Copy(io.Discard, r)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// readBound reads an input whole and compares it with the hash that was
// approved. Nothing has started yet.
func readBound(ctx context.Context, ch *channel.Channel, want [sha256.Size]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, hashedTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ch.Close() })
	defer stop()
	b := []byte{}
	for {
		f, err := ch.ReadFrame()
		if err != nil {
			return nil, errors.New("the input ended before its end was said")
		}
		switch f.Type {
		case channel.FrameStdin:
			if len(b)+len(f.Payload) > maxHashed {
				return nil, fmt.Errorf("an input that an approval binds has at most %d bytes", maxHashed)
			}
			b = append(b, f.Payload...)
		case channel.FrameEOF:
			if sha256.Sum256(b) != want {
				return nil, errors.New("the input is not the one that was approved")
			}
			return b, nil
		}
	}
}
