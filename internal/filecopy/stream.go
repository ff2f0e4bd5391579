package filecopy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"strings"
	"unicode/utf8"
)

const (
	magic = "TDC1"

	typeDir  = 1
	typeFile = 2
	typeEnd  = 3

	maxName  = 4096
	maxPart  = 255
	maxDepth = 64
	maxSize  = 1 << 62
)

// Bounds of a copy, where a Reader is given none.
const (
	MaxEntries = 1_000_000
	MaxBytes   = 1 << 40
)

var (
	// ErrFormat: the stream is not what SPEC.md says.
	ErrFormat = errors.New("filecopy: not a copy, or a damaged one")
	// ErrDigest: a file's content is not what its digest says.
	ErrDigest = errors.New("filecopy: a file's content and digest differ")
	// ErrTooMuch: a bound of the reader's is passed.
	ErrTooMuch = errors.New("filecopy: more than this side takes")
	// ErrCut: the stream ended before its end was said.
	ErrCut = errors.New("filecopy: cut off before its end")
)

// An Entry is a file or a directory.
type Entry struct {
	Name string // relative, with /; "" is what is copied itself
	Dir  bool
	Mode fs.FileMode // permissions only
	Size int64       // of a file
}

// order checks that entries come as SPEC.md wants it, one by one.
type order struct {
	last []string // parts of the entry before
	dir  bool     // whether that is a directory
	any  bool
}

// next checks the entry that comes now.
func (o *order) next(name string, dir bool) error {
	if !o.any {
		if name != "" {
			return fmt.Errorf("%w: the first entry has a name", ErrFormat)
		}
		o.any, o.dir = true, dir
		return nil
	}
	if len(name) > maxName || !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: a name is UTF-8 without NUL, of at most %d bytes", ErrFormat, maxName)
	}
	parts := strings.Split(name, "/")
	if len(parts) > maxDepth {
		return fmt.Errorf("%w: a name has more than %d parts", ErrFormat, maxDepth)
	}
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || len(p) > maxPart {
			return fmt.Errorf("%w: a name has a part that is empty, . or .., or too long", ErrFormat)
		}
	}
	// It is in the directory before, or comes after it or something around it.
	n := 0
	for n < len(parts) && n < len(o.last) && parts[n] == o.last[n] {
		n++
	}
	inside := n == len(o.last) && o.dir && len(parts) == n+1
	after := n < len(o.last) && len(parts) == n+1 && parts[n] > o.last[n]
	if !inside && !after {
		return fmt.Errorf("%w: names are not in order, or in no directory", ErrFormat)
	}
	o.last, o.dir = parts, dir
	return nil
}

// A Writer writes a stream. It holds to SPEC.md whatever it is given, or fails.
type Writer struct {
	w       io.Writer
	order   order
	entries uint32
	bytes   int64
}

// NewWriter begins a stream.
func NewWriter(w io.Writer) (*Writer, error) {
	_, err := io.WriteString(w, magic)
	return &Writer{w: w}, err
}

func (w *Writer) header(e Entry) error {
	if err := w.order.next(e.Name, e.Dir); err != nil {
		return err
	}
	if w.entries == math.MaxUint32 {
		return ErrTooMuch
	}
	w.entries++
	b := []byte{typeFile}
	if e.Dir {
		b[0] = typeDir
	}
	b = binary.BigEndian.AppendUint16(b, uint16(e.Mode.Perm()))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Name)))
	b = append(b, e.Name...)
	if !e.Dir {
		b = binary.BigEndian.AppendUint64(b, uint64(e.Size))
	}
	_, err := w.w.Write(b)
	return err
}

// Dir writes a directory.
func (w *Writer) Dir(name string, mode fs.FileMode) error {
	return w.header(Entry{Name: name, Dir: true, Mode: mode})
}

// File writes a file of exactly size bytes from r.
func (w *Writer) File(name string, mode fs.FileMode, size int64, r io.Reader) error {
	if err := w.header(Entry{Name: name, Mode: mode, Size: size}); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(w.w, io.TeeReader(io.LimitReader(r, size), h))
	if err != nil {
		return err
	}
	if n != size {
		return errors.New("filecopy: a file became shorter while it was read")
	}
	w.bytes += n
	_, err = w.w.Write(h.Sum(nil))
	return err
}

// Close writes the end of the stream. It does not close what is below.
func (w *Writer) Close() error {
	b := binary.BigEndian.AppendUint32([]byte{typeEnd}, w.entries)
	_, err := w.w.Write(binary.BigEndian.AppendUint64(b, uint64(w.bytes)))
	return err
}

// Limits bound what a Reader takes. Zero is MaxEntries and MaxBytes.
type Limits struct {
	Entries int
	Bytes   int64
}

// A Reader reads a stream.
type Reader struct {
	r       io.Reader
	limits  Limits
	order   order
	begun   bool
	err     error // sticky
	entries uint32
	bytes   int64

	left   int64 // of the content that is being read
	digest hash.Hash
	sum    [sha256.Size]byte
}

// NewReader reads from r, which need not be buffered.
func NewReader(r io.Reader, l Limits) *Reader {
	if l.Entries <= 0 {
		l.Entries = MaxEntries
	}
	if l.Bytes <= 0 {
		l.Bytes = MaxBytes
	}
	return &Reader{r: r, limits: l}
}

// Next gives the next entry. Whatever was not read of the file before is skipped, and
// its digest compared. After the end of the stream it is io.EOF.
func (r *Reader) Next() (Entry, error) {
	e, err := r.next()
	if err != nil {
		r.err = err
	}
	return e, err
}

func (r *Reader) next() (e Entry, err error) {
	if r.err != nil {
		return e, r.err
	}
	if err := r.finish(); err != nil {
		return e, err
	}
	if !r.begun {
		head := make([]byte, len(magic))
		if err := r.full(head); err != nil {
			return e, err
		}
		if string(head) != magic {
			return e, ErrFormat
		}
		r.begun = true
	}
	var b [13]byte
	if err := r.full(b[:1]); err != nil {
		return e, err
	}
	if b[0] == typeEnd {
		if err := r.full(b[1:13]); err != nil {
			return e, err
		}
		if !r.order.any || binary.BigEndian.Uint32(b[1:]) != r.entries || binary.BigEndian.Uint64(b[5:]) != uint64(r.bytes) {
			return e, fmt.Errorf("%w: the end does not say what there was", ErrFormat)
		}
		if n, err := r.r.Read(b[:1]); n != 0 || err != io.EOF {
			return e, fmt.Errorf("%w: something follows the end", ErrFormat)
		}
		return e, io.EOF
	}
	if b[0] != typeDir && b[0] != typeFile || r.order.any && r.order.last == nil && !r.order.dir {
		return e, ErrFormat
	}
	if err := r.full(b[1:5]); err != nil {
		return e, err
	}
	e.Dir, e.Mode = b[0] == typeDir, fs.FileMode(binary.BigEndian.Uint16(b[1:]))
	n := int(binary.BigEndian.Uint16(b[3:]))
	if e.Mode != e.Mode.Perm() || n > maxName {
		return e, ErrFormat
	}
	name := make([]byte, n)
	if err := r.full(name); err != nil {
		return e, err
	}
	e.Name = string(name)
	if err := r.order.next(e.Name, e.Dir); err != nil {
		return e, err
	}
	if !e.Dir {
		if err := r.full(b[:8]); err != nil {
			return e, err
		}
		size := binary.BigEndian.Uint64(b[:8])
		switch {
		case size > maxSize:
			return e, ErrFormat
		case int64(size) > r.limits.Bytes-r.bytes:
			return e, fmt.Errorf("%w: more than %d bytes", ErrTooMuch, r.limits.Bytes)
		}
		e.Size, r.left, r.digest = int64(size), int64(size), sha256.New()
		r.bytes += e.Size
	}
	if r.entries++; int64(r.entries) > int64(r.limits.Entries) {
		return e, fmt.Errorf("%w: more than %d files and directories", ErrTooMuch, r.limits.Entries)
	}
	return e, nil
}

// full fills b. An end is never the stream's: that is said.
func (r *Reader) full(b []byte) error {
	_, err := io.ReadFull(r.r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrCut
	}
	return err
}

// Read gives the content of the file that Next gave last. It is io.EOF after the last
// byte, once the digest was compared.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.digest == nil {
		return 0, io.EOF
	}
	if r.left == 0 {
		if err := r.compare(); err != nil {
			r.err = err
			return 0, err
		}
		return 0, io.EOF
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.left)])
	r.digest.Write(p[:n])
	r.left -= int64(n)
	if err == io.EOF {
		err = nil
		if n == 0 {
			err = ErrCut
		}
	}
	if err != nil {
		r.err = err
	}
	return n, err
}

func (r *Reader) compare() error {
	var sum [sha256.Size]byte
	if err := r.full(sum[:]); err != nil {
		return err
	}
	r.digest.Sum(r.sum[:0])
	r.digest = nil
	if sum != r.sum {
		return ErrDigest
	}
	return nil
}

// Sum is the SHA-256 of the last file whose content was read to its end.
func (r *Reader) Sum() [sha256.Size]byte { return r.sum }

func (r *Reader) finish() error {
	if r.digest == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{r}); err != nil {
		return err
	}
	return nil
}
