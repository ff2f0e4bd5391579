//go:build unix

package halves

import (
	"errors"
	"os"

	"github.com/tucdesk/tucdesk/agent/host/cage"
	"github.com/tucdesk/tucdesk/agent/host/link"
)

// Main is the network half's process. It returns when the privileged side is gone.
func Main() error {
	socket, err := cage.Enter()
	if err != nil {
		return err
	}
	if err := Serve(socket, cage.NewLogger(os.Stderr)); !errors.Is(err, link.ErrAway) {
		return err
	}
	return nil
}
