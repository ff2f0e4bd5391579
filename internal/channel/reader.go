package channel

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// frameReader reads and checks the frames of one direction: their form, that
// this side may send them, and that they come in an order that makes sense. It
// knows nothing of QUIC. Errors are sticky; those of the stream pass through.
type frameReader struct {
	r      *bufio.Reader
	opener bool // whether the sender of these frames opened the channel

	buf      []byte    // payload of the last frame
	left     int       // bytes of the current frame that were not read
	leftType FrameType // and its type
	started  bool      // the first frame was read: Open or Answer
	ended    bool      // EOF was read, or what implies it
	last     bool      // nothing may follow: Exit, or an Answer that refuses
	err      error
}

func newFrameReader(r io.Reader, opener bool) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 4096), opener: opener}
}

// frame gives the next frame, or a piece of it if it is one of bytes.
func (f *frameReader) frame() (Frame, error) {
	if err := f.header(); err != nil {
		return Frame{}, err
	}
	if !f.leftType.bytes() {
		return f.control()
	}
	if len(f.buf) < chunk {
		f.buf = make([]byte, chunk)
	}
	n, err := f.body(f.buf)
	if err != nil {
		return Frame{}, err
	}
	return Frame{f.leftType, f.buf[:n]}, nil
}

// read gives the bytes of Stdin or Stdout, until EOF.
func (f *frameReader) read(p []byte) (int, error) {
	if f.err == nil && f.left == 0 && f.ended {
		return 0, io.EOF
	}
	if err := f.header(); err != nil {
		return 0, err
	}
	switch f.leftType {
	case FrameStdin, FrameStdout:
		return f.body(p)
	case FrameEOF:
		if _, err := f.control(); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	return 0, f.violation("%v on a channel of bytes", f.leftType)
}

// header makes left and leftType those of a frame with something to read: the
// rest of the current one, or the next. It is io.EOF where the stream may end.
func (f *frameReader) header() error {
	if f.err != nil || f.left > 0 {
		return f.err
	}
	var h [frameHeader]byte
	if _, err := io.ReadFull(f.r, h[:]); err != nil {
		if err == io.EOF && !f.ended {
			err = io.ErrUnexpectedEOF
		}
		f.err = err
		return err
	}
	t, n := FrameType(h[0]), binary.BigEndian.Uint32(h[1:])
	first := FrameAnswer
	if f.opener {
		first = FrameOpen
	}
	switch {
	case !t.from(f.opener), f.started == (t == first), f.last, f.ended && (t.bytes() || t == FrameEOF):
		return f.violation("unexpected %v", t)
	case t.bytes() && (n == 0 || n > MaxFrame), !t.bytes() && n > MaxControl:
		return f.violation("%v of %d bytes", t, n)
	}
	f.left, f.leftType = int(n), t
	return nil
}

// body reads some of the bytes of the current frame.
func (f *frameReader) body(p []byte) (int, error) {
	n, err := f.r.Read(p[:min(len(p), f.left)])
	f.left -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if n > 0 {
		return n, nil // an error comes again
	}
	f.err = err
	return 0, err
}

// control reads the payload of the current frame, which is not bytes, and
// follows what it says. The buffer grows with what has come, not with what the
// header promises.
func (f *frameReader) control() (Frame, error) {
	payload := f.buf[:0]
	for len(payload) < f.left {
		step := min(f.left-len(payload), 4096)
		if cap(payload)-len(payload) < step {
			payload = append(make([]byte, 0, len(payload)+max(step, len(payload))), payload...)
		}
		n, err := io.ReadFull(f.r, payload[len(payload):len(payload)+step])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			f.err = err
			return Frame{}, err
		}
		payload = payload[:len(payload)+n]
	}
	f.buf, f.left = payload[:cap(payload)], 0
	frame := Frame{f.leftType, payload}
	if err := frame.check(); err != nil {
		return Frame{}, f.violation("payload of %v", f.leftType)
	}
	switch frame.Type {
	case FrameOpen:
		f.started = true
	case FrameAnswer:
		a, err := frame.answer()
		f.started, f.last = true, err != nil || !a.Allowed()
	case FrameEOF:
		f.ended = true
	case FrameExit:
		f.last = true
	}
	f.ended = f.ended || f.last
	return frame, nil
}

func (f *frameReader) violation(format string, args ...any) error {
	f.err = fmt.Errorf("%w: "+format, append([]any{ErrProtocol}, args...)...)
	return f.err
}
