package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrMessage means bytes of a stream that are no message, or a message that is cut.
var ErrMessage = errors.New("envelope: not a message")

// WriteMessage sends a value on a stream: the length of its deterministic CBOR as four
// bytes, big endian, then that. It is an error, and nothing is sent, if it has more than
// limit bytes.
func WriteMessage(w io.Writer, limit int, message any) error {
	b, err := Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > limit {
		return fmt.Errorf("envelope: a message of %d bytes, at most %d", len(b), limit)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// ReadMessage reads the next value that WriteMessage has sent, of at most limit bytes.
// The error is the stream's own, io.EOF, only between two; else it wraps ErrMessage.
func ReadMessage(r io.Reader, limit int, into any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if int64(n) > int64(limit) {
		return ErrMessage
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if Unmarshal(b, into) != nil {
		return ErrMessage
	}
	return nil
}
