package recording

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

const (
	// A chunk is sealed and kept when it has chunkSize bytes or is chunkTime
	// old: what a crash can lose.
	chunkSize = 256 << 10
	chunkTime = 5 * time.Second
	// A segment is signed when another chunk might not fit, or when it is
	// segmentTime old.
	segmentTime = time.Minute
	// pieceSize bounds the output in one event, so that its line and a chunk
	// with it stay within their bounds even when all of it is escaped.
	pieceSize = 16 << 10
	// maxLabel bounds a marker, in bytes.
	maxLabel = 4 << 10
)

// A Sink keeps the sealed bytes of one recording. Calls come one at a time.
type Sink interface {
	// Append adds bytes to segment n, the newest, and makes them durable before
	// it returns nil.
	Append(n uint64, b []byte) error
	// Sign ends segment m.N: it signs the manifest with the agent's identity, keeps
	// it durably and gives its hash.
	Sign(m Manifest) (envelope.Hash, error)
}

// Config says what is recorded, and for whom.
type Config struct {
	TeamFP    envelope.Hash
	SessionID token.ID
	Auditors  []key.Recipient // of the roster; none is an error
	Header    Header          // a Timestamp of 0 becomes now
	// Failed is told, once, when the recording can't go on for a reason that no
	// caller is there to hear: a flush by time. It must not block.
	Failed func(error)
}

// A Writer records one terminal. It is safe for concurrent use. After an error
// every later call gives the same error, and the chain ends without a final
// manifest.
type Writer struct {
	cfg   Config
	sink  Sink
	began time.Time

	mu     sync.Mutex
	err    error
	closed bool
	enc    encoder
	plain  []byte // of the chunk to come
	seg    segment
	prev   envelope.Hash // of the newest manifest
	cols   int
	rows   int

	chunkDue, segmentDue *time.Timer
}

// segment is the open segment.
type segment struct {
	n      uint64
	size   int
	sum    hasher
	t0, t1 int64 // ms
}

// NewWriter begins a recording: its first chunk, with the header, is durable when
// NewWriter returns.
func NewWriter(cfg Config, sink Sink) (*Writer, error) {
	if len(cfg.Auditors) == 0 {
		return nil, errors.New("recording: the roster names no auditors to seal to; an admin signs a recording-recipients statement")
	}
	if cfg.Header.Cols < 1 || cfg.Header.Rows < 1 {
		cfg.Header.Cols, cfg.Header.Rows = 80, 24
	}
	w := &Writer{cfg: cfg, sink: sink, began: time.Now(), cols: cfg.Header.Cols, rows: cfg.Header.Rows}
	if w.cfg.Header.Timestamp == 0 {
		w.cfg.Header.Timestamp = w.began.Unix()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.chunkDue = time.AfterFunc(time.Hour, w.flushLate)
	w.segmentDue = time.AfterFunc(time.Hour, w.signLate)
	w.chunkDue.Stop()
	w.segmentDue.Stop()
	w.plain = appendHeader(nil, w.cfg.Header)
	w.begin(1, 0)
	if w.flush(); w.err != nil {
		return nil, w.err
	}
	w.segmentDue.Reset(segmentTime)
	return w, nil
}

// begin opens segment n in memory; its first bytes go out with its first chunk.
func (w *Writer) begin(n uint64, t0 int64) { w.seg = segment{n: n, sum: newHasher(), t0: t0, t1: t0} }

// add records one event now.
func (w *Writer) add(code Code, data string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.closed {
		return w.state()
	}
	if len(w.plain) == 0 {
		w.chunkDue.Reset(chunkTime)
		if w.seg.size == 0 {
			w.segmentDue.Reset(segmentTime)
			if code != Resize {
				// A segment can be opened by itself: it says how large the screen is.
				w.plain = w.enc.append(w.plain, Event{time.Since(w.began), Resize, resized(w.cols, w.rows)})
			}
		}
	}
	w.plain = w.enc.append(w.plain, Event{time.Since(w.began), code, data})
	if len(w.plain) >= chunkSize {
		w.flush()
	}
	return w.err
}

func (w *Writer) state() error {
	if w.err == nil {
		return errors.New("recording: closed")
	}
	return w.err
}

// Mark records a label: a verdict, an approval. What is longer than 4 KiB is cut.
func (w *Writer) Mark(label string) error {
	if len(label) > maxLabel {
		label = label[:maxLabel] + "…"
	}
	return w.add(Marker, valid(label))
}

// Resize records the terminal's new size.
func (w *Writer) Resize(cols, rows int) error {
	if cols < 1 || rows < 1 || cols > maxSide || rows > maxSide {
		return nil
	}
	w.mu.Lock()
	w.cols, w.rows = cols, rows
	w.mu.Unlock()
	return w.add(Resize, resized(cols, rows))
}

// Exit records how the program ended.
func (w *Writer) Exit(code int) error { return w.add(Exit, strconv.Itoa(code)) }

// Close signs the last segment as the final one, and gives the hash of the newest
// manifest: zero if there is none. After a failure, or after Abandon, it signs
// nothing.
func (w *Writer) Close() (envelope.Hash, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && w.err == nil {
		w.flush()
		w.sign(true)
	}
	w.closed = true
	w.stop()
	return w.prev, w.err
}

func (w *Writer) stop() {
	w.chunkDue.Stop()
	w.segmentDue.Stop()
}

func (w *Writer) fail(err error) {
	w.err = fmt.Errorf("recording: %w", err)
	w.plain = nil
	w.stop()
}

// flush seals what was recorded since the last time and keeps it.
func (w *Writer) flush() {
	if len(w.plain) == 0 || w.err != nil {
		return
	}
	sealed, err := key.Seal(w.plain, w.cfg.Auditors...)
	if err == nil && len(sealed) > maxSealed {
		err = fmt.Errorf("a chunk for %d auditors has %d bytes, at most %d", len(w.cfg.Auditors), len(sealed), maxSealed)
	}
	if err != nil {
		w.fail(err)
		return
	}
	clear(w.plain)
	w.plain = w.plain[:0]
	w.chunkDue.Stop()
	var b []byte
	if w.seg.size == 0 {
		b = append(b, segmentMagic...)
	}
	b = appendChunk(b, sealed, w.enc.last)
	if !w.keep(b) {
		return
	}
	w.seg.t1 = w.enc.last.Milliseconds()
	if w.seg.size+chunkHead+maxSealed+4 > MaxSegment {
		w.sign(false)
	}
}

// keep adds bytes to the open segment.
func (w *Writer) keep(b []byte) bool {
	if err := w.sink.Append(w.seg.n, b); err != nil {
		w.fail(err)
		return false
	}
	w.seg.size += len(b)
	w.seg.sum.Write(b)
	return true
}

// sign ends the open segment.
func (w *Writer) sign(final bool) {
	if w.err != nil || w.seg.size == 0 && !(final && w.keep([]byte(segmentMagic))) {
		return
	}
	hash, err := w.sink.Sign(Manifest{
		TeamFP: w.cfg.TeamFP, SessionID: w.cfg.SessionID, N: w.seg.n, SHA256: w.seg.sum.hash(), Len: uint64(w.seg.size),
		T0: w.seg.t0, T1: w.seg.t1, Prev: w.prev, Final: final,
	})
	if err != nil {
		w.fail(err)
		return
	}
	w.prev = hash
	w.segmentDue.Stop()
	w.begin(w.seg.n+1, w.seg.t1)
}

// flushLate and signLate are what the timers call.
func (w *Writer) flushLate() { w.late(func() { w.flush() }) }
func (w *Writer) signLate()  { w.late(func() { w.flush(); w.sign(false) }) }

func (w *Writer) late(do func()) {
	w.mu.Lock()
	if w.closed || w.err != nil {
		w.mu.Unlock()
		return
	}
	do()
	err := w.err
	w.mu.Unlock()
	if err != nil && w.cfg.Failed != nil {
		w.cfg.Failed(err)
	}
}

// A Stream records one stream of output. Its Write is for one goroutine.
type Stream struct {
	w     *Writer
	plain bool   // not a terminal: a new line begins at its left
	rest  []byte // of a character that is not whole yet
}

// Stream begins a stream of output. tty says whether it comes from a terminal; a
// pipe's line feeds are recorded as what a terminal would have made of them.
func (w *Writer) Stream(tty bool) *Stream { return &Stream{w: w, plain: !tty} }

// Write records b. Bytes that are not UTF-8 become U+FFFD; a character that is
// cut by the end of b waits for the next call.
func (s *Stream) Write(b []byte) (int, error) {
	n := len(b)
	b = append(s.rest, b...)
	end := len(b) - partial(b)
	s.rest = append([]byte(nil), b[end:]...)
	b = b[:end]
	for len(b) > 0 {
		cut := min(len(b), pieceSize)
		if cut < len(b) {
			cut -= partial(b[:cut])
		}
		if err := s.w.add(Output, s.text(b[:cut])); err != nil {
			return 0, err
		}
		b = b[cut:]
	}
	return n, nil
}

// Flush records what is left of a character that never became whole.
func (s *Stream) Flush() error {
	if len(s.rest) == 0 {
		return nil
	}
	s.rest = nil
	return s.w.add(Output, string(utf8.RuneError))
}

func (s *Stream) text(b []byte) string {
	t := valid(string(b))
	if s.plain {
		t = crlf(t)
	}
	return t
}
