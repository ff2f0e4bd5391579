package protocol

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
)

// Limits and lines of the protocol, SPEC.md "Frames" and "Limits".
const (
	VersionLine = "tucdesk-backend 1\n"
	maxHeader   = 64      // bytes of a header, with its newline
	maxWord     = 32      // bytes of its word
	MaxBody     = 1 << 20 // bytes after a header
	MaxData     = 1 << 15 // of these in a frame of input or output; a reader takes up to MaxBody
	Window      = 1 << 18 // bytes that a stream may have under way
)

// A Frame is a header and what follows it.
type Frame struct {
	Word string
	ID   uint32
	Body []byte
}

// errFrame is what is wrong with a header.
var errFrame = errors.New("execplugin: not a frame: a header is WORD ID LENGTH and a newline, see SPEC.md")

// AppendFrame is the inverse of ReadFrame.
func AppendFrame(to []byte, f Frame) []byte {
	to = append(to, f.Word...)
	to = append(to, ' ')
	to = strconv.AppendUint(to, uint64(f.ID), 10)
	to = append(to, ' ')
	to = strconv.AppendUint(to, uint64(len(f.Body)), 10)
	to = append(to, '\n')
	return append(to, f.Body...)
}

// ReadFrame reads one frame. io.EOF is an end between two of them.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	var header [maxHeader]byte
	n := 0
	for {
		c, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return Frame{}, fmt.Errorf("execplugin: the end came within a header: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return Frame{}, err
		case c == '\n':
			return readBody(r, header[:n])
		case n == maxHeader-1:
			return Frame{}, errFrame
		}
		header[n] = c
		n++
	}
}

func readBody(r *bufio.Reader, header []byte) (Frame, error) {
	word, rest := field(header)
	id, length := field(rest)
	i, err1 := number(id, 1<<32-1)
	n, err2 := number(length, MaxBody)
	if err := errors.Join(err1, err2); err != nil || !validWord(word) {
		return Frame{}, errFrame
	}
	f := Frame{Word: string(word), ID: uint32(i), Body: make([]byte, n)}
	if _, err := io.ReadFull(r, f.Body); err != nil {
		return Frame{}, fmt.Errorf("execplugin: the end came within a body: %w", io.ErrUnexpectedEOF)
	}
	return f, nil
}

// field cuts at the first space.
func field(b []byte) (before, after []byte) {
	for i, c := range b {
		if c == ' ' {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

func validWord(b []byte) bool {
	if len(b) == 0 || len(b) > maxWord || b[0] < 'a' || b[0] > 'z' {
		return false
	}
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// number reads a decimal number that is written in its only form.
func number(b []byte, most uint64) (uint64, error) {
	if len(b) == 0 || len(b) > 10 || b[0] == '0' && len(b) > 1 {
		return 0, errFrame
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, errFrame
		}
		n = n*10 + uint64(c-'0')
	}
	if n > most {
		return 0, errFrame
	}
	return n, nil
}

// grease is a frame that means nothing. Both sides send some, so that nobody writes a
// reader which breaks on the words of a later version.
func grease() Frame {
	return Frame{Word: GreaseWord(), Body: make([]byte, rand.IntN(32))}
}

// GreaseWord is a word, or a member of an object, that means nothing.
func GreaseWord() string {
	b := []byte("grease-....")
	for i := len(b) - 4; i < len(b); i++ {
		b[i] = 'a' + byte(rand.IntN(26))
	}
	return string(b)
}
