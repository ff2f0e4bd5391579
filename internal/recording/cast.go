package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrMalformed means bytes that are not an asciicast, a segment or a manifest.
var ErrMalformed = errors.New("recording: malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

const (
	// MaxLine bounds a line of an asciicast, in bytes.
	MaxLine = 1 << 20
	// maxTime bounds an interval, and a whole recording.
	maxTime = 366 * 24 * time.Hour
	// maxSide bounds the size of a terminal, in cells.
	maxSide = 65535
)

// A Header is the first line of an asciicast v3 file. Other members that the
// format knows (theme, env, tags, idle_time_limit) are read over.
type Header struct {
	Cols, Rows int    // of the terminal at the beginning; 1 to 65535
	Term       string // the value of TERM; empty: not known
	Timestamp  int64  // Unix seconds of the beginning; 0: not known
	Command    string // what ran, as words for a shell; empty: a login shell
	Title      string
}

// A Code says what an event is. Readers pass over codes that they do not know.
type Code byte

// The codes of asciicast v3.
const (
	Output Code = 'o' // text that the program wrote
	Input  Code = 'i' // text that the operator wrote; TucDesk's agents do not record it
	Marker Code = 'm' // a label: a verdict, an approval, a gap
	Resize Code = 'r' // "COLSxROWS"
	Exit   Code = 'x' // the program's exit status, in decimal
)

// An Event is one line of an asciicast after the header.
type Event struct {
	Time time.Duration // since the beginning; the file holds the difference to the event before
	Code Code
	Data string // UTF-8
}

// Size gives the sides of a Resize event.
func (e Event) Size() (cols, rows int, ok bool) {
	if e.Code != Resize {
		return 0, 0, false
	}
	a, b, _ := bytes.Cut([]byte(e.Data), []byte("x"))
	cols, err1 := strconv.Atoi(string(a))
	rows, err2 := strconv.Atoi(string(b))
	ok = err1 == nil && err2 == nil && cols > 0 && rows > 0 && cols <= maxSide && rows <= maxSide
	return cols, rows, ok
}

// resized makes a Resize event's data.
func resized(cols, rows int) string { return strconv.Itoa(cols) + "x" + strconv.Itoa(rows) }

// fileHeader is the JSON of a header. Only what we write is named.
type fileHeader struct {
	Version int `json:"version"`
	Term    struct {
		Cols int    `json:"cols"`
		Rows int    `json:"rows"`
		Type string `json:"type,omitempty"`
	} `json:"term"`
	Timestamp int64  `json:"timestamp,omitempty"`
	Command   string `json:"command,omitempty"`
	Title     string `json:"title,omitempty"`
}

// appendHeader writes the first line of a v3 file.
func appendHeader(b []byte, h Header) []byte {
	b = append(b, `{"version":3,"term":{"cols":`...)
	b = strconv.AppendInt(b, int64(h.Cols), 10)
	b = append(b, `,"rows":`...)
	b = strconv.AppendInt(b, int64(h.Rows), 10)
	if h.Term != "" {
		b = appendText(append(b, `,"type":`...), h.Term)
	}
	b = append(b, '}')
	return append(appendAbout(b, h), "}\n"...)
}

// appendAbout writes the members that v2 and v3 have in common.
func appendAbout(b []byte, h Header) []byte {
	if h.Timestamp != 0 {
		b = strconv.AppendInt(append(b, `,"timestamp":`...), h.Timestamp, 10)
	}
	if h.Command != "" {
		b = appendText(append(b, `,"command":`...), h.Command)
	}
	if h.Title != "" {
		b = appendText(append(b, `,"title":`...), h.Title)
	}
	return b
}

// appendEvent writes one line: [seconds, code, data].
func appendEvent(b []byte, seconds time.Duration, e Event) []byte {
	b = appendSeconds(append(b, '['), seconds)
	b = appendText(append(b, ", "...), string(e.Code))
	b = appendText(append(b, ", "...), e.Data)
	return append(b, "]\n"...)
}

// appendSeconds writes a duration to the microsecond, without an exponent.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := d.Microseconds()
	b = strconv.AppendInt(b, us/1e6, 10)
	if us %= 1e6; us == 0 {
		return b
	}
	frac := strconv.AppendInt(nil, 1e6+us, 10)[1:]
	return append(append(b, '.'), bytes.TrimRight(frac, "0")...)
}

// appendText writes a JSON string in which everything that is not printable is
// escaped: who prints the file prints text, and no terminal command.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	unit := func(u uint16) {
		b = append(b, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r >= 0x10000:
			r -= 0x10000
			unit(0xd800 + uint16(r>>10))
			unit(0xdc00 + uint16(r&0x3ff))
		default:
			unit(uint16(r))
		}
	}
	return append(b, '"')
}

// An encoder writes a v3 text piece by piece. It keeps times to the
// millisecond; rounding does not add up.
type encoder struct{ last time.Duration }

func (e *encoder) append(b []byte, ev Event) []byte {
	at := max(ev.Time.Truncate(time.Millisecond), e.last)
	b = appendEvent(b, at-e.last, ev)
	e.last = at
	return b
}

// A Reader reads an asciicast v3 text.
type Reader struct {
	Header Header

	in   *bufio.Reader
	line int
	at   time.Duration
}

// NewReader reads the header of a v3 file.
func NewReader(r io.Reader) (*Reader, error) {
	d := newReader(r, 0)
	b, err := d.next()
	if err == io.EOF {
		return nil, malformed("no header")
	}
	if err != nil {
		return nil, err
	}
	var h fileHeader
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, malformed("line %d: the header is not a JSON object of the format", d.line)
	}
	if h.Version != 3 {
		return nil, malformed("line %d: asciicast version %d; this program reads 3", d.line, h.Version)
	}
	if h.Term.Cols < 1 || h.Term.Rows < 1 || h.Term.Cols > maxSide || h.Term.Rows > maxSide {
		return nil, malformed("line %d: a terminal of %d by %d cells", d.line, h.Term.Cols, h.Term.Rows)
	}
	d.Header = Header{
		Cols: h.Term.Cols, Rows: h.Term.Rows, Term: h.Term.Type,
		Timestamp: h.Timestamp, Command: h.Command, Title: h.Title,
	}
	return d, nil
}

// newReader reads events that follow one at a time given.
func newReader(r io.Reader, at time.Duration) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), at: at}
}

// next gives the next line that is neither empty nor a comment.
func (d *Reader) next() ([]byte, error) {
	for {
		var b []byte
		for {
			part, err := d.in.ReadSlice('\n')
			if len(b)+len(part) > MaxLine {
				return nil, malformed("line %d is longer than %d bytes", d.line+1, MaxLine)
			}
			b = append(b, part...)
			if err == bufio.ErrBufferFull {
				continue
			}
			if err != nil && (err != io.EOF || len(b) == 0) {
				return nil, err
			}
			break
		}
		d.line++
		b = bytes.TrimRight(b, "\r\n")
		if len(b) > 0 && b[0] != '#' {
			return b, nil
		}
	}
}

// Next gives the next event, io.EOF after the last.
func (d *Reader) Next() (Event, error) {
	b, err := d.next()
	if err != nil {
		return Event{}, err
	}
	bad := func(what string) (Event, error) { return Event{}, malformed("line %d: %s", d.line, what) }
	var fields []json.RawMessage
	if json.Unmarshal(b, &fields) != nil || len(fields) != 3 {
		return bad("an event is an array of interval, code and data")
	}
	var seconds float64
	var code, data string
	if json.Unmarshal(fields[0], &seconds) != nil || bytes.Equal(fields[0], []byte("null")) || seconds < 0 || seconds > maxTime.Seconds() {
		return bad("the interval is not a number of seconds from 0 on")
	}
	if json.Unmarshal(fields[1], &code) != nil || len(code) != 1 {
		return bad("the code is not one letter")
	}
	if json.Unmarshal(fields[2], &data) != nil || bytes.Equal(fields[2], []byte("null")) {
		return bad("the data is not a string")
	}
	d.at += time.Duration(math.Round(seconds*1e6)) * time.Microsecond
	if d.at > maxTime {
		return bad("the recording is longer than a year")
	}
	return Event{Time: d.at, Code: Code(code[0]), Data: data}, nil
}

// codesV2 are the codes that asciicast v2 has.
var codesV2 = []Code{Output, Input, Marker, Resize}

// An Exporter writes a recording as an asciicast file, version 3 or 2. Version 2
// has absolute times and no exit status.
type Exporter struct {
	w   io.Writer
	v2  bool
	enc encoder
	buf []byte
}

// NewExporter writes the header.
func NewExporter(w io.Writer, h Header, v2 bool) (*Exporter, error) {
	x := &Exporter{w: w, v2: v2}
	if !v2 {
		_, err := w.Write(appendHeader(nil, h))
		return x, err
	}
	b := append([]byte(nil), `{"version":2,"width":`...)
	b = strconv.AppendInt(b, int64(h.Cols), 10)
	b = append(b, `,"height":`...)
	b = strconv.AppendInt(b, int64(h.Rows), 10)
	b = appendAbout(b, h)
	if h.Term != "" {
		b = append(appendText(append(b, `,"env":{"TERM":`...), h.Term), '}')
	}
	_, err := w.Write(append(b, "}\n"...))
	return x, err
}

// Write writes one event.
func (x *Exporter) Write(e Event) error {
	x.buf = x.buf[:0]
	switch {
	case !x.v2:
		x.buf = x.enc.append(x.buf, e)
	case slices.Contains(codesV2, e.Code):
		x.buf = appendEvent(x.buf, e.Time, e)
	default:
		return nil
	}
	_, err := x.w.Write(x.buf)
	return err
}
