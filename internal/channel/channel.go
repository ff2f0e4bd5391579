package channel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// A Channel is one stream of frames each way. One goroutine may read while any
// number write. Writing blocks while the peer does not read.
//
// Frames of one direction keep their order, so a Resize or Signal waits behind
// bytes that the peer has not read.
type Channel struct {
	stream  *quic.Stream
	opener  bool
	request OpenMessage

	rmu sync.Mutex
	in  *frameReader

	wmu      sync.Mutex
	wbuf     []byte
	mayWrite bool  // an allowing answer was sent or received
	eof      bool  // we said EOF
	exit     bool  // we said Exit
	werr     error // sticky
	once     sync.Once
}

// stream error codes: what a peer's stream is reset with.
const (
	codeAborted  quic.StreamErrorCode = 1 // ended without its end being said
	codeProtocol quic.StreamErrorCode = 2
)

func newChannel(s *quic.Stream, opener bool) *Channel {
	return &Channel{stream: s, opener: opener, in: newFrameReader(s, !opener)}
}

// urgency orders channels that want to send at the same time (RFC 9218): 0
// comes first. Keystrokes and their echo go before bulk.
func urgency(kind string) int8 {
	switch kind {
	case "path": // rare, short, and what hangs is waiting for it
		return 0
	case "shell", "join":
		return 1
	case "exec", "observe":
		return 2
	}
	return 5
}

func (c *Channel) setRequest(m OpenMessage) {
	c.request = m
	c.stream.SetPriority(urgency(m.Kind), true)
}

// Request is what was asked for when the channel was opened. The caller must
// not change it.
func (c *Channel) Request() OpenMessage { return c.request }

// Answer sends the verdict, once, from the agent's side. Any effect but allow
// closes the channel.
func (c *Channel) Answer(a Answer) error {
	b, err := encode(a)
	if err != nil {
		return err
	}
	if err := c.write(FrameAnswer, b); err != nil {
		return err
	}
	if !a.Allowed() {
		return c.Close()
	}
	return nil
}

// AwaitAnswer waits for the verdict, on the operator's side. A refusal is an
// Answer, not an error; the caller then closes the channel. When ctx ends first
// the channel can only be closed.
func (c *Channel) AwaitAnswer(ctx context.Context) (Answer, error) {
	stop := context.AfterFunc(ctx, func() { c.stream.SetReadDeadline(time.Unix(1, 0)) })
	f, err := c.ReadFrame()
	if !stop() {
		return Answer{}, fmt.Errorf("channel: waiting for the agent's answer: %w", context.Cause(ctx))
	}
	if err != nil {
		return Answer{}, err
	}
	return f.answer()
}

// ReadPast reads what a terminal had shown before, which comes first where an answer says
// so; else it is nil. When ctx ends first the channel is closed.
func (c *Channel) ReadPast(ctx context.Context, a Answer) (past []byte, err error) {
	if a.Past == nil {
		return nil, nil
	}
	if a.Past.Bytes > MaxPast {
		return nil, fmt.Errorf("%w: a past of %d bytes", ErrProtocol, a.Past.Bytes)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	for uint64(len(past)) < a.Past.Bytes {
		f, err := c.ReadFrame()
		if err != nil {
			return nil, err
		}
		if f.Type != FrameStdout || uint64(len(past)+len(f.Payload)) > a.Past.Bytes {
			return nil, fmt.Errorf("%w: %v within the past", ErrProtocol, f.Type)
		}
		past = append(past, f.Payload...)
	}
	return past, nil
}

// ReadFrame gives the next frame. A long frame of bytes may come in pieces. It
// is io.EOF only when the peer has said its end and closed, and ErrTruncated
// when the channel ends in any other way. Errors are sticky.
func (c *Channel) ReadFrame() (Frame, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	f, err := c.in.frame()
	if err != nil {
		return Frame{}, c.readFailed(err)
	}
	if f.Type == FrameAnswer && !c.in.last {
		c.wmu.Lock()
		c.mayWrite = true
		c.wmu.Unlock()
	}
	return f, nil
}

// Read gives the bytes of the peer's Stdin or Stdout, until its EOF. It is for
// channels that carry nothing else; on others it fails with ErrProtocol, and
// ReadFrame is the way.
func (c *Channel) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if !c.in.started && c.in.err == nil {
		return 0, fmt.Errorf("%w: reading before the answer", ErrNotAllowed)
	}
	n, err := c.in.read(p)
	if err != nil {
		return n, c.readFailed(err)
	}
	return n, nil
}

// readFailed turns an error of reading into ours, and ends a channel whose peer
// broke the protocol.
func (c *Channel) readFailed(err error) error {
	switch {
	case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case errors.Is(err, ErrProtocol):
		c.stream.CancelRead(codeProtocol)
		c.stream.CancelWrite(codeProtocol)
		return err
	}
	return fmt.Errorf("%w: %w", ErrTruncated, streamError(err))
}

// streamError drops what a peer could have put into the text of an error.
func streamError(err error) error {
	var s *quic.StreamError
	switch {
	case errors.As(err, &s) && s.Remote:
		return errors.New("the peer gave it up")
	case errors.As(err, &s):
		return errors.New("closed by this side")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return muxError(err)
}

// Write sends p as Stdin from the operator, as Stdout from the agent.
func (c *Channel) Write(p []byte) (int, error) {
	t := FrameStdout
	if c.opener {
		t = FrameStdin
	}
	return c.writeBytes(t, p)
}

// WriteFrame sends a frame of any type that this side may send: Stdin, Resize,
// Signal, EOF or Stdout, Stderr, EOF, Exit. Bytes of any length are split.
func (c *Channel) WriteFrame(f Frame) error {
	if f.Type.bytes() {
		_, err := c.writeBytes(f.Type, f.Payload)
		return err
	}
	if f.Type == FrameOpen || f.Type == FrameAnswer {
		return fmt.Errorf("%w: %v has its own method", ErrNotAllowed, f.Type)
	}
	return c.write(f.Type, f.Payload)
}

// Resize tells the agent the new size of the terminal.
func (c *Channel) Resize(cols, rows uint16) error {
	b := binary.BigEndian.AppendUint16(nil, cols)
	return c.write(FrameResize, binary.BigEndian.AppendUint16(b, rows))
}

// Signal asks the agent to send a signal, named without SIG, to what runs.
func (c *Channel) Signal(name string) error { return c.write(FrameSignal, []byte(name)) }

// CloseWrite says that no more bytes come from this side. Control frames may
// follow; reading goes on.
func (c *Channel) CloseWrite() error { return c.write(FrameEOF, nil) }

// Exit says how what ran ended. It is the last frame of the agent.
func (c *Channel) Exit(e Exit) error {
	b, err := encode(e)
	if err != nil {
		return err
	}
	return c.write(FrameExit, b)
}

func (c *Channel) writeBytes(t FrameType, p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(chunk, len(p)-done)
		if err := c.write(t, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// write sends one frame whole, if the state allows it.
func (c *Channel) write(t FrameType, payload []byte) error {
	if !t.from(c.opener) {
		return fmt.Errorf("%w: %v is the other side's", ErrNotAllowed, t)
	}
	if !t.bytes() {
		if err := (Frame{t, payload}).check(); err != nil {
			return fmt.Errorf("%w: malformed %v", ErrNotAllowed, t)
		}
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	first := t == FrameOpen || t == FrameAnswer
	switch {
	case c.werr != nil:
		return c.werr
	case !first && !c.mayWrite, t == FrameAnswer && c.mayWrite, c.exit, c.eof && (t.bytes() || t == FrameEOF):
		return fmt.Errorf("%w: %v", ErrNotAllowed, t)
	}
	c.wbuf = append(c.wbuf[:0], byte(t))
	c.wbuf = binary.BigEndian.AppendUint32(c.wbuf, uint32(len(payload)))
	c.wbuf = append(c.wbuf, payload...)
	if _, err := c.stream.Write(c.wbuf); err != nil {
		c.werr = fmt.Errorf("%w: %w", ErrTruncated, streamError(err))
		return c.werr
	}
	switch t {
	case FrameAnswer:
		a, err := Frame{t, payload}.answer()
		c.mayWrite, c.exit = err == nil && a.Allowed(), err != nil || !a.Allowed()
	case FrameEOF:
		c.eof = true
	case FrameExit:
		c.exit = true
	}
	return nil
}

// Close ends the channel and stops reading. What was written still arrives if
// this side has said its end (CloseWrite, Exit, a refusing Answer); otherwise
// the peer reads ErrTruncated. It never blocks on the peer and may be called
// more than once, at any time.
func (c *Channel) Close() error {
	c.once.Do(func() {
		c.stream.SetWriteDeadline(time.Unix(1, 0)) // frees a write that holds wmu
		c.wmu.Lock()
		defer c.wmu.Unlock()
		if c.werr == nil && (c.eof || c.exit) {
			c.stream.Close()
		} else {
			c.stream.CancelWrite(codeAborted)
		}
		if c.werr == nil {
			c.werr = fmt.Errorf("%w: the channel is closed", ErrNotAllowed)
		}
		c.stream.CancelRead(codeAborted)
	})
	return nil
}
