package token

import "github.com/tucdesk/tucdesk/internal/envelope"

// A Head names a state of the roster: the number and the payload hash of its
// last statement. Number 0 is the genesis.
type Head struct {
	Seq  uint64        `cbor:"seq"`
	Hash envelope.Hash `cbor:"hash"`
}
