package host

import (
	"context"

	"github.com/tucdesk/tucdesk/agent/host/process"
)

// checkApart has nothing to check: the agent does not run here.
func checkApart(Config) error { return nil }

func (*Host) apart(*inside, func(), context.CancelCauseFunc) (networkHalf, error) {
	return nil, process.ErrUnsupported
}

// NetworkMain is the process of a network half.
func NetworkMain() error { return process.ErrUnsupported }

// SessionMain is the process of a session half.
func SessionMain() error { return process.ErrUnsupported }
