package filecopy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

const (
	// MaxReport bounds a Report, in bytes of its CBOR.
	MaxReport = 8 << 10
	maxListed = 6 << 10
	reportV   = 1
)

// A Report says what a stream carried.
type Report struct {
	V       uint64        `cbor:"v"`
	Entries uint64        `cbor:"entries"`
	Bytes   uint64        `cbor:"bytes"`
	Whole   bool          `cbor:"whole"` // the stream came to its end
	Files   []Copied      `cbor:"files"` // the first
	Digest  envelope.Hash `cbor:"digest"`
}

// A Copied is a file that passed whole.
type Copied struct {
	Name   string        `cbor:"name"` // "" is what was copied itself
	Mode   uint64        `cbor:"mode"`
	Size   uint64        `cbor:"size"`
	SHA256 envelope.Hash `cbor:"sha256"`
}

// ParseReport reads a Report strictly.
func ParseReport(b []byte) (Report, error) {
	var r Report
	if len(b) > MaxReport {
		return r, ErrFormat
	}
	if err := envelope.Unmarshal(b, &r); err != nil || r.V != reportV {
		return Report{}, ErrFormat
	}
	return r, nil
}

// Marshal gives the report as ParseReport reads it.
func (r Report) Marshal() ([]byte, error) { return envelope.Marshal(r) }

// String is the first files, on a line. Their names are as they came.
func (r Report) String() string {
	const most = 3
	var b strings.Builder
	for _, f := range r.Files[:min(len(r.Files), most)] {
		fmt.Fprintf(&b, "%s %d bytes sha256:%s; ", f.Name, f.Size, f.SHA256)
	}
	fmt.Fprintf(&b, "%d in all", r.Entries)
	return strings.TrimSpace(b.String())
}

// A Tally reads a stream that passes by.
type Tally struct {
	in   *io.PipeWriter
	done chan struct{}
	shut sync.Once

	report Report // these two once done is closed
	err    error
}

// NewTally begins. tree says whether a directory may pass.
func NewTally(tree bool, l Limits) *Tally {
	out, in := io.Pipe()
	t := &Tally{in: in, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.report, t.err = tally(out, tree, l)
		err := t.err
		if err == nil {
			err = ErrFormat // nothing may follow
		}
		out.CloseWithError(err)
	}()
	return t
}

// Write takes what passes. Its error says that the stream is not one, or too much: then
// nothing more of it should pass.
func (t *Tally) Write(p []byte) (int, error) { return t.in.Write(p) }

// Report ends the tally, and says what has passed. The error is nil only for a stream
// that was whole.
func (t *Tally) Report() (Report, error) {
	t.shut.Do(func() { t.in.Close() })
	<-t.done
	return t.report, t.err
}

// ErrTree: a directory where a file was meant.
var ErrTree = errors.New("filecopy: it is a directory; say -r to copy one")

func tally(in io.Reader, tree bool, l Limits) (rep Report, err error) {
	rep = Report{V: reportV, Files: []Copied{}}
	all, listed := sha256.New(), 0
	defer func() { all.Sum(rep.Digest[:0]) }()
	r := NewReader(in, l)
	buf := make([]byte, 32<<10)
	for {
		e, err := r.Next()
		switch {
		case err == io.EOF:
			rep.Whole = true
			return rep, nil
		case err != nil:
			return rep, err
		case e.Dir && !tree:
			return rep, ErrTree
		case e.Dir:
			rep.Entries++
			continue
		}
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, buf); err != nil {
			return rep, err
		}
		rep.Entries++
		rep.Bytes += uint64(e.Size)
		c := Copied{Name: e.Name, Mode: uint64(e.Mode), Size: uint64(e.Size), SHA256: r.Sum()}
		all.Write(c.SHA256[:])
		io.WriteString(all, e.Name+"\x00")
		if listed += len(e.Name) + 80; listed <= maxListed {
			rep.Files = append(rep.Files, c)
		}
	}
}
