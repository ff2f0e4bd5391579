package direct

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path"
)

// maxMessage bounds one message, in bytes: eight IPv6 candidates and the
// credentials take less than 700.
const maxMessage = 1024

// ErrProtocol means that the peer sent what is no message.
var ErrProtocol = errors.New("direct: protocol violation by the peer")

// A message is the one kind of message there is.
type message struct {
	Attempt     uint64            `cbor:"attempt"`
	Description *path.Description `cbor:"description,omitempty"` // nil: the attempt is gone
}

// parse reads what encode has written.
func parse(b []byte) (message, error) {
	var m message
	if len(b) > maxMessage || envelope.Unmarshal(b, &m) != nil || m.Attempt == 0 {
		return message{}, ErrProtocol
	}
	return m, nil
}

func encode(m message) ([]byte, error) {
	b, err := envelope.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("direct: %w", err)
	}
	if len(b) > maxMessage {
		return nil, fmt.Errorf("direct: message of %d bytes, at most %d", len(b), maxMessage)
	}
	return b, nil
}

func write(w io.Writer, m message) error {
	b, err := encode(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

func read(r io.Reader) (message, error) {
	var h [2]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return message{}, err
	}
	n := binary.BigEndian.Uint16(h[:])
	if n > maxMessage {
		return message{}, ErrProtocol
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return message{}, err
	}
	return parse(b)
}
