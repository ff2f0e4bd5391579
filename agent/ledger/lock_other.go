//go:build !unix

package ledger

import (
	"errors"
	"io"
)

// lockFile refuses: without a lock two agents could use one nonce each.
func lockFile(string) (io.Closer, error) {
	return nil, errors.New("ledger: not yet on this system")
}
