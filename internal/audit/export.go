package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strings"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

// exportHeader is the first line of an export.
const exportHeader = "tucdesk audit export v1\n"

// Kinds of records in an export, in the order in which they stand.
const (
	recordGenesis    = 'G' // one
	recordStatement  = 'S' // any number, in order
	recordEntry      = 'E' // any number, in order
	recordCheckpoint = 'C' // one
	recordEnd        = 'Z' // one: SHA-256 of every byte before this record
)

// ErrCut means an export that ends before its end record.
var ErrCut = errors.New("audit: the export is cut off")

// An Export is what an export file holds. Statements are the roster's after the
// genesis, Entries all those under the checkpoint.
type Export struct {
	Genesis    []byte
	Statements iter.Seq2[[]byte, error]
	Entries    iter.Seq2[[]byte, error]
	Checkpoint []byte
}

// WriteExport writes an export. It holds one record at a time in memory. It
// does not verify: whoever reads does.
func WriteExport(w io.Writer, x Export) error {
	e := &exportWriter{w: w, sum: sha256.New()}
	e.write([]byte(exportHeader))
	e.record(recordGenesis, x.Genesis)
	for b, err := range x.Statements {
		if err != nil {
			return err
		}
		e.record(recordStatement, b)
	}
	for b, err := range x.Entries {
		if err != nil {
			return err
		}
		e.record(recordEntry, b)
	}
	e.record(recordCheckpoint, x.Checkpoint)
	e.record(recordEnd, e.sum.Sum(nil))
	return e.err
}

type exportWriter struct {
	w   io.Writer
	sum hash.Hash
	err error
}

func (e *exportWriter) record(kind byte, b []byte) {
	if len(b) == 0 || len(b) > envelope.MaxSize {
		e.err = errors.Join(e.err, malformed("export: a record of %d bytes", len(b)))
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(b)))
	e.write(head)
	e.write(b)
}

func (e *exportWriter) write(b []byte) {
	if e.err != nil {
		return
	}
	e.sum.Write(b)
	if _, err := e.w.Write(b); err != nil {
		e.err = fmt.Errorf("audit: write the export: %w", err)
	}
}

// exportReader reads records and refuses any that stand out of order.
type exportReader struct {
	r    *bufio.Reader
	sum  hash.Hash
	last byte // kind of the record before; 0 at the start
}

func newExportReader(r io.Reader) (*exportReader, error) {
	e := &exportReader{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	// A few bytes of something else are no export that was cut.
	if start, _ := e.r.Peek(len(exportHeader)); !strings.HasPrefix(exportHeader, string(start)) {
		return nil, malformed("export: does not begin with %q", exportHeader)
	}
	if err := e.full(make([]byte, len(exportHeader))); err != nil {
		return nil, err
	}
	return e, nil
}

// next gives the next record. After the end record it gives io.EOF.
func (e *exportReader) next() (kind byte, b []byte, err error) {
	if e.last == recordEnd {
		if _, err := e.r.ReadByte(); err != io.EOF {
			return 0, nil, malformed("export: bytes after the end record")
		}
		return 0, nil, io.EOF
	}
	before := e.sum.Sum(nil)
	var head [5]byte
	if err := e.full(head[:]); err != nil {
		return 0, nil, err
	}
	kind = head[0]
	if !follows(e.last, kind) {
		return 0, nil, malformed("export: a record of kind %q after %q", kind, e.last)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n == 0 || n > maxRecord(kind) {
		return 0, nil, malformed("export: a record of kind %q and %d bytes", kind, n)
	}
	b = make([]byte, n)
	if err := e.full(b); err != nil {
		return 0, nil, err
	}
	if kind == recordEnd && !bytes.Equal(b, before) {
		return 0, nil, malformed("export: the end record is not the SHA-256 of what is before it")
	}
	e.last = kind
	return kind, b, nil
}

// follows is the order of records.
func follows(last, kind byte) bool {
	switch kind {
	case recordGenesis:
		return last == 0
	case recordStatement:
		return last == recordGenesis || last == recordStatement
	case recordEntry:
		return last == recordGenesis || last == recordStatement || last == recordEntry
	case recordCheckpoint:
		return last == recordGenesis || last == recordStatement || last == recordEntry
	case recordEnd:
		return last == recordCheckpoint
	}
	return false
}

func maxRecord(kind byte) uint32 {
	switch kind {
	case recordEntry:
		return MaxEntry
	case recordCheckpoint:
		return MaxCheckpoint
	case recordEnd:
		return sha256.Size
	}
	return envelope.MaxSize
}

func (e *exportReader) full(b []byte) error {
	_, err := io.ReadFull(e.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	if err != nil {
		return fmt.Errorf("audit: read the export: %w", err)
	}
	e.sum.Write(b)
	return nil
}
