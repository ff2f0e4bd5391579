//go:build !unix

package local

import (
	"errors"

	"github.com/tucdesk/tucdesk/backend"
)

// terminal does not exist here: there is no PTY yet on this system.
type terminal struct {
	backend.Terminal
	ended chan struct{}
}

func start(backend.OpenRequest) (*terminal, error) {
	return nil, errors.New("not yet on this system: terminals need a Unix PTY; connect to a remote target instead")
}
