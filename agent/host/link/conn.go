//go:build unix

package link

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
	// maxFiles is how many descriptors one frame carries, at most.
	maxFiles = 3
	// MaxCalls bounds the calls of the other side that are worked on at a time.
	MaxCalls = 64
	// maxWaiting bounds the calls that the other side has not answered.
	maxWaiting = 1024
	// writeTime is how long the other side may take to read.
	writeTime = 10 * time.Second
)

// Errors of a connection.
var (
	// ErrProtocol means that the other side sent what SPEC.md does not have.
	ErrProtocol = errors.New("link: protocol violation by the other process")
	// ErrBusy means that the other process works on as many calls as it takes.
	ErrBusy = errors.New("link: too many calls at once")
)

// An Op names what a call or a note is about.
type Op byte

// The kinds of Frames.
const (
	KindCall    = 1
	KindAnswer  = 2
	KindFailure = 3
	KindNote    = 4
)

// A Frame is one message, as SPEC.md has it.
type Frame struct {
	Kind  byte
	Op    Op
	Files byte   // descriptors that belong to it
	ID    uint32 // of the call; 0 in a note
	Body  []byte
}

// Bytes is the inverse of ReadFrame.
func (f Frame) Bytes() []byte {
	b := make([]byte, headerSize, headerSize+len(f.Body))
	binary.BigEndian.PutUint32(b, uint32(len(f.Body)))
	b[4], b[5], b[6] = f.Kind, byte(f.Op), f.Files
	binary.BigEndian.PutUint32(b[7:], f.ID)
	return append(b, f.Body...)
}

// ReadFrame reads one frame whose body has at most limit bytes. What it allocates
// is what has arrived.
func ReadFrame(r io.Reader, limit int) (Frame, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	n := binary.BigEndian.Uint32(h[:])
	f := Frame{Kind: h[4], Op: Op(h[5]), Files: h[6], ID: binary.BigEndian.Uint32(h[7:])}
	switch {
	case int64(n) > int64(limit), f.Files > maxFiles:
		return Frame{}, ErrProtocol
	case f.Kind < KindCall || f.Kind > KindNote:
		return Frame{}, ErrProtocol
	case (f.ID == 0) != (f.Kind == KindNote):
		return Frame{}, ErrProtocol
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(body) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return Frame{}, err
	}
	f.Body = body
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

func CloseFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// A Request is a call or a note of the other side.
type Request struct {
	Op    Op
	Body  []byte
	Files []*os.File // the handler's, to close
}

// A Reply answers a call.
type Reply struct {
	Body  any        // nil: nothing but that it is done
	Files []*os.File // sent along; the sender's, closed once sent
	Sent  func()     // called once it is, or can't be; may be nil
}

// A Side is what one process does with the other's calls and notes. Calls come in
// goroutines of their own; a note must not block. An error that is ErrProtocol ends
// the connection.
type Side interface {
	Call(ctx context.Context, r Request) (Reply, error)
	Note(r Request) error
}

// A Failure is why a call failed, as it passes.
type Failure struct {
	Code uint64 `cbor:"code"`
	Text string `cbor:"text"`
}

// Options are what two protocols have of their own.
type Options struct {
	Inward int           // bound of bodies that come in, in bytes
	Rate   *rate.Limiter // of calls and notes that come in; nil: any
	// Fail says what passes of an error, and Err is its inverse.
	Fail func(error) Failure
	Err  func(Failure) error
}

// A Conn is one connection. It is safe for concurrent use.
type Conn struct {
	c  *net.UnixConn
	in *fileReader
	o  Options

	wmu sync.Mutex // one frame at a time

	mu      sync.Mutex
	next    uint32
	waiting map[uint32]pending
	err     error // why it is over
	done    chan struct{}
}

// pending is a call that waits.
type pending struct {
	op     Op
	answer chan answer // room for one; nil: nobody waits any more
}

type answer struct {
	frame Frame
	files []*os.File
}

// New makes a connection of a socket, which it owns.
func New(c *net.UnixConn, o Options) *Conn {
	if o.Rate == nil {
		o.Rate = rate.NewLimiter(rate.Inf, 0)
	}
	return &Conn{c: c, in: &fileReader{c: c}, o: o, waiting: map[uint32]pending{}, done: make(chan struct{})}
}

// Serve handles what comes until the connection ends, and says why it did.
func (k *Conn) Serve(s Side) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var calls sync.WaitGroup
	slots := make(chan struct{}, MaxCalls)
	r := bufio.NewReaderSize(k.in, 64<<10)
	var err error
	for err == nil {
		var f Frame
		if f, err = ReadFrame(r, k.o.Inward); err != nil {
			break
		}
		var files []*os.File
		if files, err = k.in.take(f.Files); err != nil {
			break
		}
		q := Request{Op: f.Op, Body: f.Body, Files: files}
		if f.Kind == KindNote || f.Kind == KindCall {
			if err = k.o.Rate.Wait(ctx); err != nil {
				CloseFiles(files)
				break
			}
		}
		switch f.Kind {
		case KindNote:
			err = s.Note(q)
		case KindCall:
			select {
			case slots <- struct{}{}:
				calls.Go(func() {
					defer func() { <-slots }()
					k.answer(ctx, s, f.ID, q)
				})
			default:
				CloseFiles(files)
				k.fail(f.ID, f.Op, ErrBusy)
			}
		default:
			err = k.deliver(f, files)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		err = ErrAway
	}
	k.End(err)
	cancel()
	calls.Wait()
	CloseFiles(k.in.files)
	return k.Err()
}

func (k *Conn) answer(ctx context.Context, s Side, id uint32, q Request) {
	r, err := s.Call(ctx, q)
	if r.Sent != nil {
		defer r.Sent()
	}
	if err == nil {
		var body []byte
		if body, err = Encode(r.Body); err == nil {
			err = k.send(Frame{Kind: KindAnswer, Op: q.Op, ID: id, Body: body}, r.Files)
			CloseFiles(r.Files)
			if err != nil {
				k.End(err)
			}
			return
		}
		CloseFiles(r.Files)
	}
	if errors.Is(err, ErrProtocol) {
		k.End(err)
		return
	}
	k.fail(id, q.Op, err)
}

// fail answers a call with an error.
func (k *Conn) fail(id uint32, o Op, err error) {
	body, merr := Encode(k.o.Fail(err))
	if merr == nil {
		merr = k.send(Frame{Kind: KindFailure, Op: o, ID: id, Body: body}, nil)
	}
	if merr != nil {
		k.End(merr)
	}
}

// deliver brings an answer to who waits for it. An answer to nothing is a violation.
func (k *Conn) deliver(f Frame, files []*os.File) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	w, ok := k.waiting[f.ID]
	delete(k.waiting, f.ID)
	if !ok || w.op != f.Op {
		CloseFiles(files)
		return ErrProtocol
	}
	if w.answer == nil {
		CloseFiles(files)
		return nil
	}
	w.answer <- answer{f, files}
	return nil
}

// Call asks the other side. out is nil or a pointer. The files are sent along and
// stay the caller's. The answer's files are the caller's, too.
func (k *Conn) Call(ctx context.Context, o Op, in, out any, files ...*os.File) ([]*os.File, error) {
	body, err := Encode(in)
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
	if err := k.send(Frame{Kind: KindCall, Op: o, ID: id, Body: body}, files); err != nil {
		k.End(err)
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
func (k *Conn) giveUp(id uint32, w pending) {
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
		CloseFiles(a.files)
	default:
	}
}

// take reads an answer. One that is wrong ends the connection.
func (k *Conn) take(a answer, out any) ([]*os.File, error) {
	if a.frame.Kind == KindFailure {
		CloseFiles(a.files)
		var f Failure
		if err := Decode(a.frame.Body, &f); err != nil {
			k.End(err)
			return nil, ErrAway
		}
		return nil, k.o.Err(f)
	}
	if err := Decode(a.frame.Body, out); err != nil {
		CloseFiles(a.files)
		k.End(err)
		return nil, ErrAway
	}
	return a.files, nil
}

// Tell sends a note.
func (k *Conn) Tell(o Op, in any) {
	body, err := Encode(in)
	if err == nil {
		err = k.send(Frame{Kind: KindNote, Op: o, Body: body}, nil)
	}
	if err != nil {
		k.End(err)
	}
}

// send writes one frame. An error leaves the connection unusable.
func (k *Conn) send(f Frame, files []*os.File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("link: %d descriptors in one frame", len(files))
	}
	f.Files = byte(len(files))
	b := f.Bytes()
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

// End ends the connection, for the first reason given.
func (k *Conn) End(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return
	}
	k.err = err
	close(k.done)
	k.c.Close()
}

// Err says why the connection has ended; nil while it has not.
func (k *Conn) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// Encode gives the body for a message; nil is empty.
func Encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return envelope.Marshal(v)
}

// Decode reads a body in the strict form into v; nil wants an empty one.
func Decode(b []byte, v any) error {
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

// Done is closed when the connection has ended.
func (k *Conn) Done() <-chan struct{} { return k.done }

// With decodes a call's body, and answers with what f gives.
func With[M any](r Request, f func(M) (any, error)) (Reply, error) {
	var m M
	if err := Decode(r.Body, &m); err != nil {
		return Reply{}, err
	}
	v, err := f(m)
	return Reply{Body: v}, err
}
