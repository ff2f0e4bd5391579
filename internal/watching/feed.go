package watching

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// MaxScreen bounds the output that a Screen begins with, in bytes, and MaxOutput
	// that of one Output.
	MaxScreen = 1 << 20
	MaxOutput = 32 << 10
	// MaxReason bounds the text of an End, in bytes.
	MaxReason = 1 << 10

	header     = 5
	screenHead = 12 // of a Screen's payload, before its output
)

// A Type is the first byte of a message to who watches.
type Type byte

// The types. Another one ends the watching.
const (
	Screen Type = 1 // all that was shown is void; this is how it begins now
	Output Type = 2 // bytes that the shell has printed
	Size   Type = 3 // the terminal has another size
	End    Type = 4 // the last message: why there is no more
)

// A Message is one message to who watches. Only the fields of its type are set.
type Message struct {
	Type       Type
	Bytes      []byte // of a Screen: the newest output of the shell; of an Output
	Lost       uint64 // of a Screen: bytes of output before these
	Cols, Rows uint16 // of a Screen and a Size: the terminal's; never 0
	Reason     string // of an End
}

// ErrProtocol means bytes that are no message.
var ErrProtocol = errors.New("watching: not a message")

// Append appends the message to b. Whoever calls it keeps the bounds.
func (m Message) Append(b []byte) []byte {
	start := len(b)
	b = append(b, byte(m.Type), 0, 0, 0, 0)
	switch m.Type {
	case Screen:
		b = binary.BigEndian.AppendUint64(b, m.Lost)
		b = binary.BigEndian.AppendUint16(b, m.Cols)
		b = binary.BigEndian.AppendUint16(b, m.Rows)
		b = append(b, m.Bytes...)
	case Output:
		b = append(b, m.Bytes...)
	case Size:
		b = binary.BigEndian.AppendUint16(b, m.Cols)
		b = binary.BigEndian.AppendUint16(b, m.Rows)
	case End:
		b = append(b, m.Reason...)
	}
	binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-header))
	return b
}

// Read reads the next message; its error is io.EOF only between two.
func Read(r io.Reader) (m Message, err error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return m, err
	}
	m.Type = Type(h[0])
	n := int64(binary.BigEndian.Uint32(h[1:]))
	least, most := bounds(m.Type)
	if n < least || n > most {
		return m, ErrProtocol
	}
	b, err := io.ReadAll(io.LimitReader(r, n))
	if err == nil && int64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	switch m.Type {
	case Screen:
		m.Lost = binary.BigEndian.Uint64(b)
		m.Cols, m.Rows = binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
		m.Bytes = b[screenHead:]
	case Output:
		m.Bytes = b
	case Size:
		m.Cols, m.Rows = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	case End:
		if m.Reason = string(b); strings.ToValidUTF8(m.Reason, "") != m.Reason {
			return m, ErrProtocol
		}
	}
	if sized := m.Type == Screen || m.Type == Size; sized && (m.Cols == 0 || m.Rows == 0) {
		return m, ErrProtocol
	}
	return m, nil
}

// bounds gives how long the payload of a type may be.
func bounds(t Type) (least, most int64) {
	switch t {
	case Screen:
		return screenHead, screenHead + MaxScreen
	case Output:
		return 1, MaxOutput
	case Size:
		return 4, 4
	case End:
		return 0, MaxReason
	}
	return 1, 0
}
