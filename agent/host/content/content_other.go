//go:build !linux

package content

import (
	"context"
	"os"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/envelope"
)

type state struct{}

type taken struct {
	file  *os.File
	hash  envelope.Hash
	seen  state
	lease bool
}

func locate([]string, string, uint64, process.User) (string, error) { return "", ErrUnsupported }

func take(string, uint64, process.User) (taken, error) { return taken{}, ErrUnsupported }

func (h Held) sum(context.Context, process.User) (envelope.Hash, error) {
	return envelope.Hash{}, ErrUnsupported
}

func (all *Files) still() error { return ErrUnsupported }
