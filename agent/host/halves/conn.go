//go:build unix

package halves

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

const (
	headerSize = 11
	// maxInward and maxOutward bound a frame's body towards the privileged side
	// and away from it, in bytes. An offer and a bounded batch of statements come
	// in; a segment of a recording goes out.
	maxInward  = 256 << 10
	maxOutward = 9 << 20
	// maxFiles is how many descriptors one frame carries, at most.
	maxFiles = 2
	// maxCalls bounds the calls of the other side that are worked on at a time.
	maxCalls = 64
	// callsPerSecond and callsAtOnce bound the calls and notes of the network half:
	// signing and checking cost time.
	callsPerSecond = 200
	callsAtOnce    = 400
	// maxWaiting bounds the calls that the other side has not answered.
	maxWaiting = 1024
	// writeTime is how long the other side may take to read.
	writeTime = 10 * time.Second
)

// Errors of a connection.
var (
	// ErrProtocol means that the other side sent what SPEC.md does not have.
	ErrProtocol = errors.New("halves: protocol violation by the other half")
	// ErrAway means that the other half is not there, for now.
	ErrAway = errors.New("halves: the network half is not there; it is being started again")
)

// The kinds of frames.
const (
	kindCall    = 1
	kindAnswer  = 2
	kindFailure = 3
	kindNote    = 4
)

// A frame is one message, as SPEC.md has it.
type frame struct {
	kind  byte
	op    op
	files byte   // descriptors that belong to it
	id    uint32 // of the call; 0 in a note
	body  []byte
}

// header gives the bytes before the body.
func (f frame) header() []byte {
	b := make([]byte, headerSize)
	binary.BigEndian.PutUint32(b, uint32(len(f.body)))
	b[4], b[5], b[6] = f.kind, byte(f.op), f.files
	binary.BigEndian.PutUint32(b[7:], f.id)
	return b
}

// readFrame reads one frame whose body has at most limit bytes. What it allocates
// is what has arrived.
func readFrame(r io.Reader, limit int) (frame, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(h[:])
	f := frame{kind: h[4], op: op(h[5]), files: h[6], id: binary.BigEndian.Uint32(h[7:])}
	switch {
	case int64(n) > int64(limit), f.files > maxFiles:
		return frame{}, ErrProtocol
	case f.kind < kindCall || f.kind > kindNote:
		return frame{}, ErrProtocol
	case (f.id == 0) != (f.kind == kindNote):
		return frame{}, ErrProtocol
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(body) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return frame{}, err
	}
	f.body = body
	return f, nil
}

// fileReader reads a socket, and keeps the descriptors that come along until the
// frame is there to which they belong.
type fileReader struct {
	c     *net.UnixConn
	files []*os.File
}

func (r *fileReader) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, flags, _, err := r.c.ReadMsgUnix(p, oob)
	n = max(n, 0) // -1 beside an error
	if oobn > 0 {
		if aerr := r.add(oob[:oobn]); err == nil {
			err = aerr
		}
	}
	if err == nil && (flags&unix.MSG_CTRUNC != 0 || len(r.files) > 2*maxFiles) {
		err = ErrProtocol
	}
	return n, err
}

func (r *fileReader) add(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return ErrProtocol
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return ErrProtocol
		}
		for _, fd := range fds {
			r.files = append(r.files, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	return nil
}

// take gives the first n descriptors.
func (r *fileReader) take(n byte) ([]*os.File, error) {
	if int(n) > len(r.files) {
		return nil, ErrProtocol
	}
	out := r.files[:n:n]
	r.files = r.files[n:]
	return out, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// A request is a call or a note of the other side.
type request struct {
	op    op
	body  []byte
	files []*os.File // the handler's, to close
}

// a reply answers a call.
type reply struct {
	body  any        // nil: nothing but that it is done
	files []*os.File // sent along; the sender's, closed once sent
	sent  func()     // called once it is, or can't be; may be nil
}

// side is what one half does with the other's calls and notes. Calls come in
// goroutines of their own; a note must not block. An error that is ErrProtocol ends
// the connection.
type side interface {
	call(ctx context.Context, r request) (reply, error)
	note(r request) error
}

// conn is one connection between the halves. It is safe for concurrent use.
type conn struct {
	c     *net.UnixConn
	in    *fileReader
	limit int // of bodies that come in
	// strict: this is the privileged side, which bounds what it is asked and
	// believes no text.
	strict bool
	rate   *rate.Limiter

	wmu sync.Mutex // one frame at a time

	mu      sync.Mutex
	next    uint32
	waiting map[uint32]pending
	err     error // why it is over
	done    chan struct{}
}

// pending is a call that waits.
type pending struct {
	op     op
	answer chan answer // room for one; nil: nobody waits any more
}

type answer struct {
	frame frame
	files []*os.File
}

// newConn makes a connection of a socket. strict is the privileged side's.
func newConn(c *net.UnixConn, strict bool) *conn {
	k := &conn{
		c: c, in: &fileReader{c: c}, limit: maxOutward, strict: strict,
		rate: rate.NewLimiter(rate.Inf, 0), waiting: map[uint32]pending{}, done: make(chan struct{}),
	}
	if strict {
		k.limit, k.rate = maxInward, rate.NewLimiter(callsPerSecond, callsAtOnce)
	}
	return k
}

// serve handles what comes until the connection ends, and says why it did.
func (k *conn) serve(s side) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var calls sync.WaitGroup
	slots := make(chan struct{}, maxCalls)
	r := bufio.NewReaderSize(k.in, 64<<10)
	var err error
	for err == nil {
		var f frame
		if f, err = readFrame(r, k.limit); err != nil {
			break
		}
		var files []*os.File
		if files, err = k.in.take(f.files); err != nil {
			break
		}
		q := request{op: f.op, body: f.body, files: files}
		if f.kind == kindNote || f.kind == kindCall {
			if err = k.rate.Wait(ctx); err != nil {
				closeFiles(files)
				break
			}
		}
		switch f.kind {
		case kindNote:
			err = s.note(q)
		case kindCall:
			select {
			case slots <- struct{}{}:
				calls.Go(func() {
					defer func() { <-slots }()
					k.answer(ctx, s, f.id, q)
				})
			default:
				closeFiles(files)
				k.fail(f.id, f.op, errBusy)
			}
		default:
			err = k.deliver(f, files)
		}
	}
	if err == io.EOF {
		err = ErrAway
	}
	k.end(err)
	cancel()
	calls.Wait()
	closeFiles(k.in.files)
	return k.why()
}

func (k *conn) answer(ctx context.Context, s side, id uint32, q request) {
	r, err := s.call(ctx, q)
	if r.sent != nil {
		defer r.sent()
	}
	if err == nil {
		var body []byte
		if body, err = encode(r.body); err == nil {
			err = k.send(frame{kind: kindAnswer, op: q.op, id: id, body: body}, r.files)
			closeFiles(r.files)
			if err != nil {
				k.end(err)
			}
			return
		}
		closeFiles(r.files)
	}
	if errors.Is(err, ErrProtocol) {
		k.end(err)
		return
	}
	k.fail(id, q.op, err)
}

// fail answers a call with an error.
func (k *conn) fail(id uint32, o op, err error) {
	body, merr := encode(failureOf(err, k.strict))
	if merr == nil {
		merr = k.send(frame{kind: kindFailure, op: o, id: id, body: body}, nil)
	}
	if merr != nil {
		k.end(merr)
	}
}

// deliver brings an answer to who waits for it. An answer to nothing is a violation.
func (k *conn) deliver(f frame, files []*os.File) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	w, ok := k.waiting[f.id]
	delete(k.waiting, f.id)
	if !ok || w.op != f.op {
		closeFiles(files)
		return ErrProtocol
	}
	if w.answer == nil {
		closeFiles(files)
		return nil
	}
	w.answer <- answer{f, files}
	return nil
}

// call asks the other side. out is nil or a pointer. The files are sent along and
// stay the caller's. The answer's files are the caller's, too.
func (k *conn) call(ctx context.Context, o op, in, out any, files ...*os.File) ([]*os.File, error) {
	body, err := encode(in)
	if err != nil {
		return nil, err
	}
	w := pending{op: o, answer: make(chan answer, 1)}
	k.mu.Lock()
	if k.err != nil || len(k.waiting) >= maxWaiting {
		k.mu.Unlock()
		return nil, ErrAway
	}
	k.next++
	if k.next == 0 {
		k.next++
	}
	id := k.next
	k.waiting[id] = w
	k.mu.Unlock()
	if err := k.send(frame{kind: kindCall, op: o, id: id, body: body}, files); err != nil {
		k.end(err)
		return nil, ErrAway
	}
	select {
	case a := <-w.answer:
		return k.take(a, out)
	case <-k.done:
		select {
		case a := <-w.answer:
			return k.take(a, out)
		default:
			return nil, ErrAway
		}
	case <-ctx.Done():
		k.giveUp(id, w)
		return nil, context.Cause(ctx)
	}
}

// giveUp leaves the answer to nobody: it must still come.
func (k *conn) giveUp(id uint32, w pending) {
	k.mu.Lock()
	_, still := k.waiting[id]
	if still {
		k.waiting[id] = pending{op: w.op}
	}
	k.mu.Unlock()
	if still {
		return
	}
	select {
	case a := <-w.answer:
		closeFiles(a.files)
	default:
	}
}

// take reads an answer. One that is wrong ends the connection.
func (k *conn) take(a answer, out any) ([]*os.File, error) {
	if a.frame.kind == kindFailure {
		closeFiles(a.files)
		var f failure
		if err := decode(a.frame.body, &f); err != nil {
			k.end(err)
			return nil, ErrAway
		}
		return nil, f.err(k.strict)
	}
	if err := decode(a.frame.body, out); err != nil {
		closeFiles(a.files)
		k.end(err)
		return nil, ErrAway
	}
	return a.files, nil
}

// tell sends a note.
func (k *conn) tell(o op, in any) {
	body, err := encode(in)
	if err == nil {
		err = k.send(frame{kind: kindNote, op: o, body: body}, nil)
	}
	if err != nil {
		k.end(err)
	}
}

// send writes one frame. An error leaves the connection unusable.
func (k *conn) send(f frame, files []*os.File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("halves: %d descriptors in one frame", len(files))
	}
	f.files = byte(len(files))
	b := append(f.header(), f.body...)
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, file := range files {
			fds[i] = int(file.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	k.wmu.Lock()
	defer k.wmu.Unlock()
	if err := k.c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	n, _, err := k.c.WriteMsgUnix(b, oob, nil)
	if err == nil && n < len(b) {
		_, err = k.c.Write(b[n:])
	}
	return err
}

// end ends the connection, for the first reason given.
func (k *conn) end(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return
	}
	k.err = err
	close(k.done)
	k.c.Close()
}

func (k *conn) why() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// encode gives the body for a message; nil is empty.
func encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return envelope.Marshal(v)
}

// decode reads a body in the strict form into v; nil wants an empty one.
func decode(b []byte, v any) error {
	if v == nil {
		if len(b) > 0 {
			return ErrProtocol
		}
		return nil
	}
	if err := envelope.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}
