//go:build !linux

package gate

import (
	"os/exec"

	"github.com/tucdesk/tucdesk/agent/host/gate/shim"
)

// A Gate starts gated sessions; not on this system.
type Gate struct{}

// New answers ErrUnsupported.
func New(...string) (*Gate, error) { return nil, ErrUnsupported }

// Open answers ErrUnsupported.
func Open([]string) (*Gate, shim.Features, error) { return nil, shim.Features{}, ErrUnsupported }

// Close does nothing.
func (*Gate) Close() {}

// Probe answers ErrUnsupported.
func (*Gate) Probe() (shim.Features, error) { return shim.Features{}, ErrUnsupported }

// A Session is a gated tree of processes.
type Session struct{}

// Start answers ErrUnsupported.
func (*Gate) Start(*exec.Cmd, Judge) (*Session, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Session) Close() {}
