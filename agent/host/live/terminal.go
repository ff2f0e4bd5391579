package live

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/content"
	"github.com/tucdesk/tucdesk/agent/host/errand"
	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/line"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/watching"
)

const (
	// MaxHashed bounds an input whose hash an approval binds, in bytes: it is
	// read whole before anything runs.
	MaxHashed = 1 << 20
	// hashedTime bounds how long that may take.
	hashedTime = 2 * time.Minute
)

// work is what runs on one channel.
type work struct {
	Task
	m     channel.OpenMessage
	track *recorder.Track
	watch *errand.Watch // of a copy, forward or proxy; else nil
	files *content.Files
}

// serve is one channel, from the request to the exit.
func (s *Session) serve(c *conn, ch *channel.Channel) {
	defer ch.Close()
	if s.no != nil {
		_ = ch.Answer(*s.no)
		return
	}
	if ch.Request().Kind == direct.Kind {
		s.follow(c, ch)
		return
	}
	if ch.Request().Kind == gating.Kind {
		s.converse(c, ch)
		return
	}
	if ch.Request().Kind == watching.Kind {
		s.tellOwner(c, ch)
		return
	}
	if c.back != nil {
		s.comeBack(c, ch)
		return
	}
	switch ch.Request().Kind {
	case Look:
		s.look(ch)
		return
	case Observe, Join:
		s.watch(ch)
		return
	}
	t, user, err := s.admit(ch.Request())
	if err != nil {
		_ = ch.Answer(answerOf(err))
		return
	}
	defer t.files.Close()
	s.mu.Lock()
	s.runs++
	s.mu.Unlock()
	exit, reason, out := s.execute(ch, t, user)
	s.mu.Lock()
	s.last = exit
	s.runs--
	s.mu.Unlock()
	why, passed, report := t.watch.Ended()
	if why != "" {
		reason = why
	}
	said := reason
	if passed != "" {
		said = strings.TrimPrefix(reason+"; "+passed, "; ")
		t.track.Mark(passed)
	}
	if err := s.keeper.Outcome(t.Task, exit, said, report); err != nil {
		s.cancel(err)
	}
	if out == nil {
		s.cancel(errAlone)
		return
	}
	_ = out.Exit(channel.Exit{Code: exit.Code, Signal: exit.Signal, Reason: reason})
}

// admit has a channel judged, and makes sure that it can be served, before what was
// judged is committed to.
func (s *Session) admit(m channel.OpenMessage) (*work, process.User, error) {
	task, err := s.keeper.Decide(s.ctx, m)
	if err != nil {
		return nil, process.User{}, err
	}
	w := &work{Task: task, m: m}
	if w.watch, err = errand.New(m); err != nil {
		s.keeper.Refuse(task, CodeHost, err.Error())
		return nil, process.User{}, err
	}
	user, err := s.user(w.User)
	if err == nil && gate.Level(w.Answer.Gate) == gate.Advisory {
		err = line.CanTell(user)
	}
	if err != nil {
		s.keeper.Refuse(task, CodeHost, err.Error())
		return nil, user, err
	}
	if w.files, err = content.Open(m.Argv, m.Cwd, m.Bound, user); err != nil {
		s.keeper.Refuse(task, CodeContent, err.Error())
		return nil, user, err
	}
	if err := s.record(w); err != nil {
		w.files.Close()
		s.keeper.Refuse(task, CodeRecording, err.Error())
		return nil, user, err
	}
	if err := s.keeper.Commit(s.ctx, task); err != nil {
		w.files.Close()
		return nil, user, err
	}
	return w, user, nil
}

// Look is the kind of a channel on which the operator's side learns what an exec would
// run: the files of the words that Bound names, as []token.Bound in CBOR.
const Look = "look"

// look answers a look. Nothing runs.
func (s *Session) look(ch *channel.Channel) {
	m := ch.Request()
	found, err := s.find(m)
	if err != nil {
		_ = ch.Answer(answerOf(err))
		return
	}
	b, err := envelope.Marshal(found)
	if err != nil || ch.Answer(channel.Answer{Effect: channel.Allow}) != nil {
		return
	}
	if _, err := ch.Write(b); err == nil {
		_ = ch.Exit(channel.Exit{})
	}
}

// find looks at what the keeper allows to be looked at.
func (s *Session) find(m channel.OpenMessage) ([]token.Bound, error) {
	task, err := s.keeper.Decide(s.ctx, m)
	if err != nil {
		return nil, err
	}
	words := make([]uint64, len(m.Bound))
	for i, b := range m.Bound {
		words[i] = b.Word
	}
	user, err := s.user(task.User)
	if err != nil {
		s.keeper.Refuse(task, CodeHost, err.Error())
		return nil, err
	}
	found, err := content.Look(m.Argv, m.Cwd, words, user)
	if err != nil {
		s.keeper.Refuse(task, CodeContent, err.Error())
	}
	return found, err
}

// record begins the recording that policy wants.
func (s *Session) record(w *work) (err error) {
	h := recording.Header{Title: s.Title, Command: sanitize.Argv(w.m.Argv).String()}
	if tty := w.m.TTY; tty != nil {
		h.Cols, h.Rows, h.Term = int(tty.Cols), int(tty.Rows), tty.Term
	}
	w.track, w.Answer.Recording, err = s.tape.Start(recorder.Request{
		Want: w.Record, Auditors: w.Auditors, Header: h, Label: w.Label,
	})
	return err
}

// follow lets the operator's side look for a path without the relay, on one
// channel for each connection. Nothing is asked of policy: it opens nothing.
func (s *Session) follow(c *conn, ch *channel.Channel) {
	s.mu.Lock()
	again, way := c.direct, c.way
	c.direct = true
	s.mu.Unlock()
	if again {
		_ = ch.Answer(channel.Answer{Reason: "this connection has had its channel about paths"})
		return
	}
	if ch.Answer(channel.Answer{Effect: channel.Allow}) != nil {
		return
	}
	// Neither this error nor the log names an address.
	err := direct.Follow(s.ctx, ch, way)
	s.logger.Debug("no more attempts at a direct path", "session", s.ID, "error", err)
}

// user finds whom the channel runs as. Nothing falls back to root: policy has judged
// the name, and the name is what is taken.
func (s *Session) user(name string) (process.User, error) {
	u, err := process.Lookup(name)
	if err != nil && s.Self {
		if me, merr := process.Self(); merr == nil && !me.IsRoot() {
			return me.AtHome(), nil
		}
	}
	if err == nil && u.IsRoot() && name != "root" {
		err = errors.New("the user is another name of root, which policy must spell out")
	}
	if s.Self {
		u = u.AtHome()
	}
	return u, err
}

// spec is the work as the process package takes it.
func (w *work) spec() process.Spec {
	p := process.Spec{
		Argv: w.m.Argv, Dir: w.m.Cwd, Env: w.m.Env,
		Stdin: w.m.Stdin != "" && w.m.Stdin != token.StdinNone && w.m.Stdin != token.StdinTTY,
	}
	if tty := w.m.TTY; tty != nil {
		p.TTY = &process.TTY{Size: process.Size{Cols: tty.Cols, Rows: tty.Rows}, Term: tty.Term}
	}
	return p
}

// execute runs a task on its channel. reason is why TucDesk ended it, if it did. out is
// the channel on which its operator is then; nil: nobody is there.
func (s *Session) execute(ch *channel.Channel, t *work, u process.User) (exit process.Exit, reason string, out *channel.Channel) {
	err := ch.Answer(t.Answer)
	if err != nil {
		return failed(126), "the operator went away", ch
	}
	var bound []byte // the input, where its hash was approved
	if want, ok := (&token.Command{Stdin: t.m.Stdin}).StdinDigest(); ok {
		if bound, err = readBound(s.ctx, ch, want); err != nil {
			return failed(126), err.Error(), ch
		}
	}
	spec := t.spec()
	if t.watch != nil {
		if spec, err = errand.Spec(t.m, s.Errand); err != nil {
			return failed(126), err.Error(), ch
		}
	}
	t.files.Apply(&spec)
	p, ungate, err := s.launch(t, spec, u)
	defer ungate()
	switch {
	case errors.Is(err, process.ErrNoProgram):
		return failed(127), "the program can't be run: " + startError(err), ch
	case err != nil:
		return failed(126), "the command can't be run: " + startError(err), ch
	}
	defer p.Close()

	gone := make(chan struct{})
	leave := sync.OnceFunc(func() { close(gone) })
	d := s.newDesk(ch, p, t, leave)
	stdout := func(b []byte) error { return ch.WriteFrame(channel.Frame{Type: channel.FrameStdout, Payload: b}) }
	if d != nil {
		stdout = func(b []byte) error {
			_, err := d.seat.Write(b)
			return err
		}
	}
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.ctx.Done():
			p.Kill(killGrace)
		case <-ended:
			return
		}
		select {
		case <-ended:
		case <-time.After(killGrace + lastWords):
			out := ch
			if d != nil {
				out = s.sits(d)
			}
			if out != nil {
				out.Close() // the operator does not read: this frees the writers
			}
		}
	})
	resize := func(cols, rows uint16) {
		t.track.Resize(cols, rows)
		_ = p.Resize(process.Size{Cols: cols, Rows: rows}) // the old size is no reason to end
	}
	if d != nil {
		resize = d.resize
	}
	go s.input(ch, p, bound, leave, resize)
	var streams sync.WaitGroup
	printed := newQuota(t.Output)
	stdout = printed.of(stdout)
	streams.Go(func() { s.output(stdout, p.Stdout, p, t.stdout()); t.halve(ch) })
	if p.Stderr != nil {
		stderr := func(b []byte) error { return ch.WriteFrame(channel.Frame{Type: channel.FrameStderr, Payload: b}) }
		stderr = printed.of(stderr)
		streams.Go(func() { s.output(stderr, p.Stderr, p, t.track.Stream(false)) })
	}
	<-p.Done()
	// Output that is still in the pipes goes out before the exit does.
	streams.Wait()
	close(ended)
	watching.Wait()
	exit = p.Exit()
	t.track.Exit(exit.Code)
	switch {
	case s.ctx.Err() != nil:
		reason = s.why()
	case closed(gone):
		reason = "the operator closed the channel"
	case printed.spent():
		reason = fmt.Sprintf("it printed more than the %d MiB that policy allows (max_output)", t.Output>>20)
	}
	if d != nil {
		ch = s.clear(d)
		d.above.Close(cmp.Or(reason, "the shell has ended"))
	}
	return exit, reason, ch
}

// stdout gives where a program's output is recorded: not that of an errand, which is
// evidence by itself.
func (w *work) stdout() *recorder.Stream {
	if w.watch != nil {
		return nil
	}
	return w.track.Stream(w.m.TTY != nil)
}

// halve says the end of the output by itself, where the input may go on.
func (w *work) halve(ch *channel.Channel) {
	if w.watch.Halves() {
		_ = ch.CloseWrite() // the exit follows
	}
}

func failed(code int) process.Exit { return process.Exit{Code: code} }

// startError keeps names of programs and folders, which are part of the command,
// out of entries and logs.
func startError(err error) string {
	for _, known := range []error{errNoGate, line.ErrShell, process.ErrNoProgram, process.ErrNoDir, process.ErrUnsupported, process.ErrNotRoot, content.ErrChanged} {
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
// away without an end ends the program, unless its terminal remains.
func (s *Session) input(ch *channel.Channel, p *running, bound []byte, gone func(), resize func(cols, rows uint16)) {
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
			if s.remains(ch, p, err) {
				return
			}
			if !closed(p.Done()) {
				gone()
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
			resize(f.Size())
		case channel.FrameSignal:
			_ = p.Signal(string(f.Payload)) // unknown names do nothing
		}
	}
}

// output sends one stream. An operator who does not read slows the program; one
// who is gone ends it, unless its terminal remains.
// What can't be recorded, and must be, does not go out.
func (s *Session) output(send func([]byte) error, r io.Reader, p *running, rec *recorder.Stream) {
	defer rec.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			_, werr := rec.Write(buf[:n])
			if werr == nil {
				werr = send(buf[:n])
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
			if len(b)+len(f.Payload) > MaxHashed {
				return nil, fmt.Errorf("an input that an approval binds has at most %d bytes", MaxHashed)
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
